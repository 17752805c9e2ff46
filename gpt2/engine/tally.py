"""What the model thread counts while it works. It alone writes here; any thread may read."""

import time
from collections import Counter

from gpt2.records import Times

STUCK = 60.0  # seconds after which a round that has not ended is taken for one that never will


class Tally:
    """Counts since the start."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()  # by finish reason
        self.tokens = 0
        self.steps = self.first = Times()
        self._begun: float | None = None  # when the round began that goes on

    def round(self) -> None:
        """The thread has found work."""
        self._begun = time.monotonic()

    def rest(self) -> None:
        """It waits for more."""
        self._begun = None

    def token(self, waited: float | None) -> None:
        """A text has gained a token.

        Args:
            waited: seconds since the text was asked for, if the token is its first.
        """
        self.tokens += 1
        if waited is not None:
            self.first = self.first.plus(waited)

    def step(self, seconds: float) -> None:
        """All texts of the moment have been gone through."""
        self.steps = self.steps.plus(seconds)

    def ended(self, reason: str) -> None:
        """A text has ended."""
        self.texts[reason] += 1

    @property
    def stuck(self) -> bool:
        """Whether the thread has been at one round for so long that it can't be well."""
        begun = self._begun
        return begun is not None and time.monotonic() - begun > STUCK
