"""Whose turn it is: visitors share the places at which something is done, and none takes them all.

A visitor is an address, and there a session: a page, or a program that calls. Of all addresses
that wait the one comes first that was given the least (shares.py), and of its sessions the one of
which the least runs. Behind a proxy all visitors have its address, unless --trusted-proxy names it
(see connections.py).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from gpt2.ui.server.incoming import Refused
from gpt2.ui.server.shares import Given, fair_order

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

    One address has as many of those that run as there are places left for others, half of all if
    nobody else has any, and as many of those that wait. So two or three addresses take neither all
    places, which they would hold for as long as their texts are written, nor the queue.

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
        """Requests of one address while nobody else has any."""
        return (self.running + 1) // 2 + (self.waiting + 1) // 2


class Turn:
    """One request's place in a line."""

    def __init__(self, line: "Line", visitor: Visitor) -> None:
        self.visitor, self._line = visitor, line
        self.place = -1  # in the queue, counted from 1; 0 once it may run
        self.began = 0.0  # time.monotonic of that
        self.took = 0.0  # tokens; of what is no text the seconds are counted, at its end
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


def count_tokens(tokens: float) -> None:
    """Count what the request takes that the running task answers."""
    if turn := TURN.get():
        turn.took += tokens


class Line:
    """Requests of one kind: those that run, and the queue behind them. Of one event loop."""

    def __init__(self, places: Places) -> None:
        """Empty."""
        self.places = places
        self.running: list[Turn] = []
        self.waiting: list[Turn] = []  # in their order
        self._seconds = 1.0  # that a request runs, lately
        self._given = Given()

    def join(self, visitor: Visitor) -> Turn:
        """A request more, at its fair place.

        Raises:
            Refused: the queue is full, or the visitor's address has its share.
        """
        places, what, address = self.places, self.places.what, visitor.address
        wait, run = _of(address, self.waiting), _of(address, self.running)
        free_to_run, free = places.running - len(self.running), places.waiting - len(self.waiting)
        runs = run < free_to_run
        seconds = math.ceil(self._seconds * (len(self.waiting) + 1) / places.running)
        seconds = max(1, min(LONGEST_WAIT, seconds))
        again = {"retry-after": str(seconds)}
        if not runs and wait >= free and (wait or run >= free_to_run > 0):
            raise Refused(
                f"{wait + run} {what} of your address are worked on or wait, and one address may "
                f"have {wait + run} at a time while {free + free_to_run} places are left for all "
                f"others; wait until some are done, or try again in {seconds} s",
                429,
                again,
            )
        if not runs and not free:
            raise Refused(
                f"{len(self.running)} {what} are worked on and {len(self.waiting)} wait, so yours "
                f"would be number {len(self.waiting) + 1} in a queue that holds {places.waiting}; "
                f"try again in {seconds} s",
                503,
                again,
            )
        turn = Turn(self, visitor)
        if not wait:
            self._given.ask(address)
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
            seconds = time.monotonic() - turn.began
            self._seconds += (seconds - self._seconds) / 10
            self._given.end(turn.visitor.address, turn.took or seconds)
        elif turn in self.waiting:
            self.waiting.remove(turn)
        self._settle()

    def _settle(self) -> None:
        """Have those begin for whom there are places, and tell the others theirs."""
        self._sort()
        while first := self._first():
            self.waiting.remove(first)
            addresses = [turn.visitor.address for turn in self.waiting]
            self._given.begin(self._had(first.visitor.address), addresses)
            self.running.append(first)
            first.began = time.monotonic()
            first.move(0)
            self._sort()
        for place, turn in enumerate(self.waiting, 1):
            turn.move(place)

    def _first(self) -> Turn | None:
        """Who may run now, of those that wait."""
        running, free = self.running, self.places.running - len(self.running)
        found = (turn for turn in self.waiting if _of(turn.visitor.address, running) < free)
        return next(found, None)

    def _sort(self) -> None:
        """Have who waits in the fair order."""
        runs = Counter(turn.visitor for turn in self.running)
        by_session = fair_order(self.waiting, lambda turn: turn.visitor, runs)
        had = {address: self._had(address) for address in {t.visitor.address for t in by_session}}
        self.waiting = fair_order(
            by_session, lambda turn: turn.visitor.address, had, self._given.usual
        )

    def _had(self, address: str) -> float:
        """What an address was given; what runs takes as much as others did, or more already."""
        theirs = (turn for turn in self.running if turn.visitor.address == address)
        return self._given.of(address) + sum(max(turn.took, self._given.usual) for turn in theirs)


def _of(address: str, turns: Sequence[Turn]) -> int:
    return sum(turn.visitor.address == address for turn in turns)
