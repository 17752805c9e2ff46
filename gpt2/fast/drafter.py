"""Guesses by a smaller model of the same vocabulary (Leviathan et al. 2023, see speculation.py).

It draws as the model does, with the settings and the random number of each place: so where the two
think alike they draw the same token.
"""

from collections.abc import Sequence

from gpt2.fast.decoder import Decoder, Draw, Feed
from gpt2.sampling import Sampling

SMALLER = 4  # times fewer parameters, or guessing takes as long as it saves


class Drafter:
    """One text as a smaller model reads it.

    Args:
        decoder: of the smaller model.
        sampling: as the text is drawn with.
        capacity: tokens that the text may come to.
    """

    def __init__(self, decoder: Decoder, sampling: Sampling, *, capacity: int) -> None:
        self._decoder, self._sampling = decoder, sampling
        self._cache = decoder.cache(min(capacity, decoder.model.config.n_ctx))
        self._read: list[int] = []  # that its cache holds

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """Tokens that may follow; fewer, or none, where the smaller model's context ends.

        Args:
            ids: the text so far.
            most: guesses wanted, at least 1.
        """
        most = min(most, self._cache.capacity - len(ids) + 1)
        guesses: list[int] = []
        while len(guesses) < most:
            text = [*ids, *guesses]
            self._forget(text)
            part = text[len(self._read) :]
            logits = self._decoder.read([Feed(self._cache, part)])
            self._read += part
            guesses.append(self._decoder.choose(logits, [Draw(self._sampling, text)])[0].id)
        return guesses

    def _forget(self, text: Sequence[int]) -> None:
        """Go back to where what was read is the text; its last token is read in any case."""
        same = min(len(self._read), len(text) - 1)
        while self._read[:same] != text[:same]:
            same -= 1
        del self._read[same:]
        self._cache.rewind(same)
