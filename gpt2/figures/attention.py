"""Maps of attention from tokens to those before them: one of any kind, and that of one head."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.cells import Cells
from gpt2.figures.base.heatmap import Layout, heatmap, share_scale
from gpt2.figures.base.picture import check_field, check_words
from gpt2.figures.base.style import LIGHT, Theme
from gpt2.figures.base.text import counted, percent, quoted, shorten, visible

MAX_TOKENS = 64

_SHARE = "share of attention, 0 to 1"


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Any map from tokens to those before them: rollout, attention weighted by values, a window.

    Args:
        weights: [T, T], rows look at columns; T is at most MAX_TOKENS.
        pieces: T tokens.
        title: of the figure.
        unit: of the weights.
        high: the value that gets the brightest colour, the greatest there may be.
        words: the tokens for the CSV file; none are the pieces.
        first: the first token's place in its text.

    Raises:
        ValueError: too many tokens, lengths differ, or a value is NaN or out of 0..high.
    """

    weights: np.ndarray
    pieces: Sequence[str]
    title: str
    unit: str = _SHARE
    high: float = 1.0
    words: Sequence[str] = ()
    first: int = 0

    def __post_init__(self) -> None:
        check_tokens(len(self.pieces))
        check_high(self.high)
        check_field(self, "weights", (len(self.pieces),) * 2, low=0, high=self.high)
        check_words(self)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Each row is a token, and its colours say which tokens it looks at."""
        past = np.tri(len(self.weights), dtype=bool)
        note = "blank: a token cannot\nlook at what comes later" if len(past) >= 6 else ""
        return heatmap(
            np.where(past, self.weights, np.nan),
            Layout.of(self.pieces, width),
            title=self.title,
            names=("token looked at (key)", "token that looks (query)"),
            scale=share_scale(self.unit, high=self.high),
            note=note,
            theme=theme,
        )

    def cells(self, width: int) -> Cells:
        """A cell for each pair of tokens, the one that looks first."""
        names, share = [shorten(visible(piece), 24) for piece in self.pieces], self.unit == _SHARE
        values = [
            [percent(value) if share else f"{value:.2g}" for value in row[: query + 1].tolist()]
            + [""] * (len(names) - query - 1)
            for query, row in enumerate(self.weights)
        ]
        said = "“{row}” takes {value} from “{column}”"
        return Cells.of(Layout.of(self.pieces, width).grid, names, names, values, said)

    def alt(self) -> str:
        """Its title and its strongest pair."""
        said = f"{self.title}, over {counted(len(self.weights), 'token')}."
        for query, key, value in self.strongest(1):
            said += f" Strongest: {quoted(self.pieces[query])} (token {query}) looking at "
            said += "itself" if query == key else f"{quoted(self.pieces[key])} (token {key})"
            said += f", {value:.3g}."
        return said

    def columns(self) -> dict[str, Sequence]:
        """Every pair of tokens, the one that looks and the one looked at."""
        rows, columns = np.tril_indices(len(self.weights))
        return {
            "query": (rows + self.first).tolist(),
            "query token": [self.words[row] for row in rows],
            "key": (columns + self.first).tolist(),
            "key token": [self.words[column] for column in columns],
            "value": self.weights[rows, columns].tolist(),
        }

    def strongest(self, count: int) -> list[tuple[int, int, float]]:
        """The greatest values, strongest first, each as (query, key, value).

        The first row is left out: the first token can look at nothing but itself.
        """
        queries, keys = (places[1:] for places in np.tril_indices(len(self.weights)))
        found = self.weights[queries, keys]
        order = np.argsort(-found, kind="stable")[:count]
        return [(int(queries[i]), int(keys[i]), float(found[i])) for i in order]


@dataclass(frozen=True, eq=False)
class HeadMap:
    """One head's map: each row is a token, and its colours say which tokens it looks at.

    Args:
        weights, pieces, words, first: as of an AttentionMap.
        layer, head: counted from 0; head -1 is the mean over heads.
    """

    weights: np.ndarray
    pieces: Sequence[str]
    layer: int
    head: int
    words: Sequence[str] = ()
    first: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", self._map.weights)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """As that of any map."""
        return self._map.figure(theme, width)

    def cells(self, width: int) -> Cells:
        """As those of any map."""
        return self._map.cells(width)

    def alt(self) -> str:
        """Its strongest pair, and how much the first token gets."""
        said = f"Attention of layer {self.layer}, {head_name(self.head)}, over "
        said += f"{counted(len(self.weights), 'token')}."
        if len(self.weights) == 1:
            return said + " With one token there is nothing to look back at."
        ((query, key, share),) = self._map.strongest(1)
        said += f" Strongest: {quoted(self.pieces[query])} (token {query}) gives "
        said += f"{percent(share)} of its attention to "
        said += "itself." if query == key else f"{quoted(self.pieces[key])} (token {key})."
        return said + f" The first token gets {percent(self.weights[1:, 0].mean())} on average."

    def columns(self) -> dict[str, Sequence]:
        """As those of any map."""
        return self._map.columns()

    @property
    def _map(self) -> AttentionMap:
        title = f"Layer {self.layer}, {head_name(self.head)}: where each token looks"
        return AttentionMap(self.weights, self.pieces, title, words=self.words, first=self.first)


def head_name(head: int) -> str:
    """What titles call a head; -1 is the mean."""
    return "mean over heads" if head < 0 else f"head {head}"


def check_tokens(tokens: int) -> None:
    """Refuse more tokens than can be told apart, MAX_TOKENS."""
    if tokens > MAX_TOKENS:
        raise ValueError(
            f"{tokens} tokens are too many to draw, the limit is {MAX_TOKENS}; pass the last "
            f"{MAX_TOKENS} rows and columns"
        )


def check_high(high: float) -> None:
    """Refuse a greatest value that is not above 0."""
    if not high > 0:
        raise ValueError(f"high is {high}; the greatest value of a map must be above 0")
