"""Guesses of what a text says next, which the model then checks several at a time.

What is guessed changes no answer: every token is drawn as ever, and a guess that it is not is
forgotten. Source: Saxena 2023, "Prompt Lookup Decoding"; Leviathan et al. 2023, "Fast Inference
from Transformers via Speculative Decoding" (here the draw has one random number for each place, so
a guess is right or wrong and nothing is weighed).
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 4, 2  # tokens that must have stood there before in the same order
FIRST, MOST = 4, 7  # guesses at a time: at the beginning, and where they keep being right
REST = 64  # tokens without a guess, once guessing has not paid; then one more try


class Speculation:
    """Guesses that a text goes on as it did where it last read the same."""

    def __init__(self) -> None:
        self.guessed = self.right = 0
        self._ends: dict[tuple[int, ...], int] = {}  # where each run of tokens ended last
        self._known = 0  # tokens that were looked at
        self._width, self._resting = FIRST, 0

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """Tokens that may follow, none where the text has not said the same before.

        Args:
            ids: the text so far, which may only have grown since the last call.
            most: guesses wanted, at most.
        """
        if self._resting > len(ids):
            return []
        for end in range(self._known + 1, len(ids)):  # its own end is not yet followed by anything
            for length in range(SHORTEST, min(LONGEST, end) + 1):
                self._ends[tuple(ids[end - length : end])] = end
        self._known = max(self._known, len(ids) - 1)
        for length in range(min(LONGEST, len(ids)), SHORTEST - 1, -1):
            last = self._ends.get(tuple(ids[-length:]))
            if last is not None:
                period = len(ids) - last  # a text in a circle goes round it again
                return [ids[last + n % period] for n in range(min(most, self._width))]
        return []

    def learn(self, guesses: int, right: int, length: int) -> None:
        """Guess more where the text repeats itself, fewer where it does not, and soon none.

        Args:
            guesses: how many there were.
            right: how many of them the model drew too.
            length: of the text now.
        """
        self.guessed += guesses
        self.right += right
        if right == guesses:
            self._width = min(MOST, self._width + 2)
        elif right:
            self._width = right + 1
        else:
            self._width //= 2
            if not self._width:
                self._width, self._resting = 1, length + REST
