"""Guesses of what a text says next, which the model then checks several at a time.

What is guessed changes no answer: every token is drawn as ever, and a guess that it is not is
forgotten. Source: Saxena 2023, "Prompt Lookup Decoding"; Leviathan et al. 2023, "Fast Inference
from Transformers via Speculative Decoding" (here the draw has one random number for each place, so
a guess is right or wrong and nothing is weighed).
"""

from collections.abc import Sequence
from typing import Protocol

LONGEST, SHORTEST = 4, 2  # tokens that must have stood there before in the same order
FIRST, MOST = 4, 7  # guesses at a time: at the beginning, and where they keep being right
REST = 64  # tokens without a guess, once guessing has not paid; then one more try
# The same of a smaller model, whose guesses take time: a sixth of a step each.
FIRST_DRAFTED, REST_DRAFTED = 2, 256


class Source(Protocol):
    """Where guesses come from."""

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """Tokens that may follow the text, at most so many; none if there is nothing to go by."""


class Speculation:
    """One text's guesses: that it goes on as it did before, else what a smaller model would say."""

    def __init__(self, drafter: Source | None = None) -> None:
        """Guess by a text's repetitions, and by another source where there are none."""
        self.guessed = self.right = 0
        self._sources = [_Paced(Lookup(), first=FIRST, rest=REST)]
        if drafter is not None:
            self._sources.append(_Paced(drafter, first=FIRST_DRAFTED, rest=REST_DRAFTED))
        self._last = self._sources[0]

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """Tokens that may follow, none where guessing does not pay.

        Args:
            ids: the text so far, which may only have grown since the last call.
            most: guesses wanted, at most.
        """
        for source in self._sources:
            if guesses := source.guess(ids, most):
                self._last = source
                return guesses
        return []

    def learn(self, guesses: int, right: int, length: int) -> None:
        """What came of the last guesses.

        Args:
            guesses: how many there were.
            right: how many of them the model drew too.
            length: of the text now.
        """
        self.guessed += guesses
        self.right += right
        self._last.learn(guesses, right, length)


class _Paced:
    """A source that guesses more where it is right, fewer where it is not, and soon rests."""

    def __init__(self, source: Source, *, first: int, rest: int) -> None:
        self._source, self._width, self._rest, self._resting = source, first, rest, 0

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        if self._resting > len(ids):
            return []
        return self._source.guess(ids, min(most, self._width))

    def learn(self, guesses: int, right: int, length: int) -> None:
        if right == guesses:
            self._width = min(MOST, self._width + 2)
        elif right:
            self._width = right + 1
        else:
            self._width //= 2
            if not self._width:
                self._width, self._resting = 1, length + self._rest


class Lookup:
    """Guesses that a text goes on as it did where it last read the same."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}  # where each run of tokens ended last
        self._known = 0  # tokens that were looked at

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        for end in range(self._known + 1, len(ids)):  # its own end is not yet followed by anything
            for length in range(SHORTEST, min(LONGEST, end) + 1):
                self._ends[tuple(ids[end - length : end])] = end
        self._known = max(self._known, len(ids) - 1)
        for length in range(min(LONGEST, len(ids)), SHORTEST - 1, -1):
            last = self._ends.get(tuple(ids[-length:]))
            if last is not None:
                period = len(ids) - last  # a text in a circle goes round it again
                return [ids[last + n % period] for n in range(most)]
        return []
