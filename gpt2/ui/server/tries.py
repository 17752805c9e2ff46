"""Wrong passwords: after a few for one name, from one address, one try is looked at at a time.

Nobody is locked out: who comes meanwhile waits in line, a minute at most, so that a guesser who
shares an address with others (all do behind a proxy that --trusted-proxy does not name) only delays
them. Who has signed in is not asked again, and a program that sends its password gets a cookie with
the first answer; neither ever stands in that line. What stays: who keeps so many guesses in line,
for the right name, that it is full, keeps those out who have no cookie yet.
"""

from gpt2.ui.server.pace import Pace
from gpt2.ui.server.visitors import visitor_of

FREE = 5  # wrong tries that cost no wait; a person mistypes
PAUSE = 3.0  # seconds from one try to the next after these: 28,800 guesses a day
LONGEST = 60.0  # seconds that one may stand in line
LENGTH = 100  # characters of a name that are remembered


class Tries:
    """Who has tried how often."""

    def __init__(self) -> None:
        self._pace = Pace(free=FREE, every=PAUSE, longest=LONGEST)

    async def begin(self, address: str, name: str) -> float:
        """Until a try may be looked at; 0, or seconds after which there is room for one more."""
        return await self._pace.wait(_whose(address, name))

    def right(self, address: str, name: str) -> None:
        """The try was right, and is not counted."""
        self._pace.give_back(_whose(address, name))


def _whose(address: str, name: str) -> tuple[str, str]:
    return visitor_of(address, None).address, name[:LENGTH]
