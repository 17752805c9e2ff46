"""What an engine tells of itself to whoever watches it run: counts and times, never a text."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds


@dataclass(frozen=True)
class Times:
    """How often something took how long.

    Args:
        counts: how often up to each of BOUNDS and not to the one before; last, how often longer.
        seconds: all of them together.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def plus(self, seconds: float) -> "Times":
        """These and one more."""
        place = bisect_left(BOUNDS, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Times(counts, self.seconds + seconds)


@dataclass(frozen=True)
class Pulse:
    """How an engine is and what it has done since it started.

    Args:
        alive: it computes, or would if it were asked.
        model, classifier: those that are loaded first.
        writing: texts that are being written.
        waiting: texts and other work that wait for their turn.
        replicas: processes that compute.
        texts: how many have ended, by finish reason; "error" of those that failed.
        tokens: that were written.
        steps: of the model, for all texts of the moment.
        first: from asking for a text to its first token.
    """

    alive: bool
    model: str
    classifier: str
    writing: int = 0
    waiting: int = 0
    replicas: int = 1
    texts: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    steps: Times = field(default_factory=Times)
    first: Times = field(default_factory=Times)
