"""Whose turn it is: visitors share the places at which something is done, and none takes them all.

A visitor is an address, and there a session: a page, or a program that calls. Who waits is taken
by turns, first of the addresses, then of the sessions of one. Behind a proxy all visitors have its
address, unless --trusted-proxy names it (see connections.py).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from gpt2.ui.incoming import Refused

LONGEST_WAIT = 60  # seconds after which to try again, at most


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Args:
        address: of the network; of IPv6 the part that one household has.
        session: of a page or a program, empty for a call by itself.
    """

    address: str
    session: str = ""


def visitor_of(host: str | None, session: str | None) -> Visitor:
    """Who asks from a network address, in a session if there is one."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return Visitor(host or "", session or "")
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        prefix = IPv6Address(int(address) >> 64 << 64)
        return Visitor(str(mapped) if mapped else f"{prefix}/64", session or "")
    return Visitor(str(address), session or "")


@dataclass(frozen=True)
class Places:
    """How many requests of one kind there may be.

    One address has at most half of them, running and altogether.

    Args:
        what: the kind, in the plural.
        running: done at the same time.
        waiting: in the queue behind them.
    """

    what: str
    running: int
    waiting: int

    @property
    def share(self) -> int:
        """Requests of one address."""
        return max(1, (self.running + self.waiting) // 2)

    @property
    def running_share(self) -> int:
        """Requests of one address that run."""
        return max(1, self.running // 2)


class Turn:
    """One request's place in a line."""

    def __init__(self, line: "Line", visitor: Visitor) -> None:
        self.visitor, self._line = visitor, line
        self.place = -1  # in the queue, counted from 1; 0 once it may run
        self.began = 0.0  # time.monotonic of that
        self._news = asyncio.Event()

    def move(self, place: int) -> None:
        """Have another place."""
        if place != self.place:
            self.place = place
            self._news.set()

    async def places(self) -> AsyncIterator[int]:
        """Its place whenever that is another one, until it may run."""
        while self.place:
            self._news.clear()
            yield self.place
            if self.place:
                await self._news.wait()

    def leave(self) -> None:
        """Give the place to others; again does nothing."""
        self._line.leave(self)


# Of the request that the running task answers; none where nobody waits, as for the page's example.
TURN: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Line:
    """Requests of one kind: those that run, and the queue behind them. Of one event loop."""

    def __init__(self, places: Places) -> None:
        """Empty."""
        self.places = places
        self.running: list[Turn] = []
        self.waiting: list[Turn] = []  # in their order
        self._seconds = 1.0  # that a request runs, lately

    def join(self, visitor: Visitor) -> Turn:
        """A request more, at its fair place.

        Raises:
            Refused: the queue is full, or the visitor's address has its share.
        """
        places, what = self.places, self.places.what
        theirs = _of(visitor.address, self.everyone)
        runs = len(self.running) < places.running
        runs = runs and _of(visitor.address, self.running) < places.running_share
        seconds = math.ceil(self._seconds * (len(self.waiting) + 1) / places.running)
        seconds = max(1, min(LONGEST_WAIT, seconds))
        again = {"retry-after": str(seconds)}
        if theirs >= places.share:
            raise Refused(
                f"{theirs} {what} of your address are worked on or wait, and one address may have "
                f"{places.share} at a time; wait until some are done, then try again",
                429,
                again,
            )
        if len(self.waiting) >= places.waiting and not runs:
            raise Refused(
                f"{len(self.running)} {what} are worked on and {len(self.waiting)} wait, so yours "
                f"would be number {len(self.waiting) + 1} in a queue that holds {places.waiting}; "
                f"try again in {seconds} s",
                503,
                again,
            )
        turn = Turn(self, visitor)
        self.waiting.append(turn)
        self._settle()
        return turn

    @property
    def everyone(self) -> list[Turn]:
        """All requests."""
        return [*self.running, *self.waiting]

    def leave(self, turn: Turn) -> None:
        """One is done, or waits no more."""
        if turn in self.running:
            self.running.remove(turn)
            self._seconds += (time.monotonic() - turn.began - self._seconds) / 10
        elif turn in self.waiting:
            self.waiting.remove(turn)
        self._settle()

    def _settle(self) -> None:
        """Have those begin for whom there are places, and tell the others theirs."""
        self.waiting = fair_order(self.waiting, self.running)
        running = Counter(turn.visitor.address for turn in self.running)
        while self.waiting and len(self.running) < self.places.running:
            first = self.waiting[0]  # nobody in the queue has less that runs
            if running[first.visitor.address] >= self.places.running_share:
                break
            running[first.visitor.address] += 1
            self.running.append(self.waiting.pop(0))
            first.began = time.monotonic()
            first.move(0)
        for place, turn in enumerate(self.waiting, 1):
            turn.move(place)


def _of(address: str, turns: Sequence[Turn]) -> int:
    return sum(turn.visitor.address == address for turn in turns)


def fair_order(waiting: Sequence[Turn], running: Sequence[Turn]) -> list[Turn]:
    """Who waits, by turns: the first request of each address, then the second of each.

    So do the sessions of one address among themselves. What already runs is counted.

    Args:
        waiting: in the order of arrival, or of an earlier call.
    """
    by_session = _by_turns(waiting, running, lambda turn: turn.visitor)
    return _by_turns(by_session, running, lambda turn: turn.visitor.address)


def _by_turns(
    waiting: Sequence[Turn], running: Sequence[Turn], whose: Callable[[Turn], Hashable]
) -> list[Turn]:
    count = Counter(map(whose, running))
    rounds = []
    for turn in waiting:
        count[whose(turn)] += 1
        rounds.append(count[whose(turn)])
    return [waiting[index] for index in sorted(range(len(waiting)), key=rounds.__getitem__)]
