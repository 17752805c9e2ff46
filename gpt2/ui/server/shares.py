"""What each address was given, and the order in which who waits for more is taken.

No address has a number of tokens a minute: on a machine that nobody else wants it would be refused
what nobody lacks. What is counted decides who comes first: of all that wait, those of the address
that was given the least, so that each gets the same in the end, whether it asks for long texts or
for short ones (start-time fair queueing, Goyal, Vin and Cheng 1996; counted in tokens by Sheng et
al. 2024, "Fairness in serving large language models").
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Waiting = TypeVar("Waiting")

READ = 1 / 8  # of what it costs to write a token it costs to read one of a prompt (measured)
ADDRESSES = 1_000  # that are remembered


class Given:
    """What the addresses were given that ask at present, and who is ahead of them."""

    def __init__(self) -> None:
        self.usual = 1.0  # that a request takes, lately
        self._given: dict[str, float] = {}  # of who waits, and of who had more than the level
        self._level = 0.0  # what they had who came last: who comes new begins there

    def of(self, address: str) -> float:
        """What an address was given."""
        return self._given.get(address, self._level)

    def ask(self, address: str) -> None:
        """It asks; what it has had too little from now on it is owed, and nothing from before."""
        self._given[address] = self._given.pop(address, self._level)
        if len(self._given) > ADDRESSES:  # the one that asked longest ago
            del self._given[next(iter(self._given))]

    def begin(self, had: float, waiting: Iterable[str]) -> None:
        """The turn of a request has come, of an address that had so much.

        Args:
            waiting: addresses of the others.
        """
        self._level, kept = max(self._level, had), set(waiting)
        self._given = {
            address: amount
            for address, amount in self._given.items()
            if amount > self._level or address in kept
        }

    def end(self, address: str, took: float) -> None:
        """A request has ended that took so much."""
        self._given[address] = self.of(address) + took
        self.usual += (took - self.usual) / 10


def fair_order(
    waiting: Sequence[Waiting],
    whose: Callable[[Waiting], Hashable],
    had: Mapping[Hashable, float],
    each: float = 1.0,
) -> list[Waiting]:
    """Who waits, by turns: whose had the least comes first, each request counting as given.

    Args:
        waiting: in the order of arrival, or of an earlier call.
        whose: requests that share what they are given.
        had: what they were given already.
        each: what a request takes.
    """
    ahead: Counter[Hashable] = Counter()
    places = []
    for one in waiting:
        owner = whose(one)
        places.append(had.get(owner, 0.0) + each * ahead[owner])
        ahead[owner] += 1
    return [waiting[index] for index in sorted(range(len(waiting)), key=places.__getitem__)]
