"""Wrong passwords, counted by address: after a few, each further one costs ever more time."""

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from gpt2.ui.visitors import visitor_of

FREE = 5  # wrong tries that cost no wait; a person mistypes
LONGEST = 300.0  # seconds of a wait
FORGET = 3600.0  # seconds after which an address starts anew
ADDRESSES = 10_000  # that are remembered; the one that tried longest ago goes first


@dataclass
class _Tried:
    wrong: int = 0
    last: float = -math.inf

    def until(self) -> float:
        """When the next try is looked at."""
        over = self.wrong - FREE
        return self.last + min(2.0**over, LONGEST) if over >= 0 else 0.0


class Tries:
    """Who has tried how often."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, _Tried] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until a try from here is looked at, 0 if one may come now."""
        tried = self._tried.get(visitor_of(address, None).address)
        return max(0, math.ceil(tried.until() - time.monotonic())) if tried else 0

    def tell(self, address: str, *, right: bool) -> None:
        """Remember how a try went."""
        place, now = visitor_of(address, None).address, time.monotonic()
        tried = self._tried.pop(place, _Tried())
        if right:
            return
        wrong = tried.wrong if now - tried.last < FORGET else 0
        self._tried[place] = _Tried(min(wrong + 1, 64), now)
        if len(self._tried) > ADDRESSES:
            self._tried.popitem(last=False)
