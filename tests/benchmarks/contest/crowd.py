"""What the page's clients got: how much each, and how soon."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """One text as its client saw it.

    Args:
        first, last: seconds from the call to the first token and to the end.
        tokens: how many there were.
    """

    first: float
    last: float
    tokens: int


@dataclass(frozen=True)
class Crowd:
    """What clients that write at the same time got.

    Args:
        texts: of each client.
        seconds: from the first call to the last token.
    """

    texts: Sequence[Sequence[Text]]
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second of all together."""
        return sum(text.tokens for one in self.texts for text in one) / self.seconds

    @property
    def slowest(self) -> float:
        """Seconds a token of the slowest client, as a multiple of the median client's."""
        each = [sum(t.last for t in one) / sum(t.tokens for t in one) for one in self.texts]
        return max(each) / statistics.median(each)


@dataclass
class PageTimes:
    """What the page's clients got in all rounds.

    Args:
        tokens: of each text.
        alone: tokens a second of the same model without a page, in each round.
        crowds: by number of clients and tokens of a text, one for each round.
        views: seconds of views while `writers` texts were written.
    """

    tokens: int
    alone: list[float] = field(default_factory=list)
    crowds: dict[tuple[int, int], list[Crowd]] = field(default_factory=dict)
    views: list[float] = field(default_factory=list)
    writers: int = 0
