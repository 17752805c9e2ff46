"""How often one may ask for what has no queue: some at once, then on a clock, in order."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Hashable

from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2.ui.server.incoming import Refused
from gpt2.ui.server.routes import API, path_of
from gpt2.ui.server.visitors import visitor_of

REMEMBERED = 10_000  # who asked; who did so longest ago is forgotten first

# Of the page's events that have no queue (Stop, the line under the prompt) and of cancelling. A
# page waits for the answer before it asks for the next line, so that of one address even 50 pages
# on which somebody types all the time are a little slower and never refused.
AT_ONCE = 100
EVERY = 1 / 50  # seconds
LONGEST = 1.0  # seconds
PACED = tuple(f"{API}{way}" for way in ("run/predict", "cancel", "reset"))


class Pace:
    """The clock of each who asks (GCRA, ITU-T I.371)."""

    def __init__(self, *, free: int, every: float, longest: float) -> None:
        """Nobody has asked yet.

        Args:
            free: done at once for who has not asked in a while.
            every: seconds from one to the next, after these.
            longest: seconds that one may have to wait for that.
        """
        self._ahead, self._every, self._longest = (free - 1) * every, every, longest
        self._due: OrderedDict[Hashable, float] = OrderedDict()  # when all is done that was asked

    async def wait(self, whose: Hashable) -> float:
        """Until one more may be done; 0, or for how many seconds it may not be asked for at all."""
        now = time.monotonic()
        due = max(now, self._due.get(whose, now))
        seconds = due - self._ahead - now
        if seconds > self._longest:
            return seconds - self._longest
        self._due[whose] = due + self._every
        self._due.move_to_end(whose)
        if len(self._due) > REMEMBERED:
            self._due.popitem(last=False)
        if seconds > 0:
            await asyncio.sleep(seconds)
        return 0.0

    def give_back(self, whose: Hashable) -> None:
        """The last one is not to be counted."""
        if whose in self._due:
            self._due[whose] -= self._every


class Paced:
    """ASGI middleware: what has no queue has a pace, of each address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._pace = app, Pace(free=AT_ONCE, every=EVERY, longest=LONGEST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and path_of(scope).rstrip("/") in PACED:
            host, _ = scope.get("client") or ("", 0)
            if seconds := math.ceil(await self._pace.wait(visitor_of(host, "").address)):
                raise Refused(
                    f"your address asks for more than {1 / EVERY:g} such answers a second; try "
                    f"again in {seconds} s",
                    429,
                    {"retry-after": str(seconds)},
                )
        await self._app(scope, receive, send)
