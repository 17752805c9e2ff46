"""How a text looks to the model: the ranks of its tokens, and how sure the model was before each.

Source: Gehrmann et al. 2019, "GLTR" (the bands of ranks).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import Canvas, line_height, spaced
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, PHONE, Theme, font_size
from gpt2.figures.base.text import counted, percent, text_width

BANDS = (("1 to 10", 10), ("11 to 100", 100), ("101 to 1,000", 1000), ("more", np.inf))

_TOP, _BAND, _PLOT = 48, 26, 120  # CSS pixels: above the bar, its height, a histogram's height
_LEFT = 34  # room for the counts
_NATS = 0.5  # width of a bar of entropies


@dataclass(frozen=True, eq=False)
class ScoreBands(NoCells):
    """Bands of ranks as one stacked bar, and histograms of ranks and of entropies.

    Args:
        ranks: [T] of the text's tokens, 1 for the most likely.
        entropies: [T] of the distribution each was predicted from, in nats.
        logprobs: [T] natural log of each token's probability.
        ids, words: the T tokens, for the CSV file.

    Raises:
        ValueError: lengths differ, or a value is NaN or out of its range.
    """

    ranks: np.ndarray
    entropies: np.ndarray
    logprobs: np.ndarray
    ids: Sequence[int]
    words: Sequence[str]

    def __post_init__(self) -> None:
        ranks = check_field(self, "ranks", (None,), low=1, high=1e9)
        object.__setattr__(self, "ranks", ranks.round().astype(int))
        check_field(self, "entropies", ranks.shape, low=0, high=1e3)
        check_field(self, "logprobs", ranks.shape, low=-1e6, high=0)
        if not len(self.ids) == len(self.words) == len(ranks):
            raise ValueError(f"pass {len(ranks)} ids and words, one for each rank")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The bar and its key above; the histograms beside or below each other."""
        size, beside = font_size(width) - 1, width >= PHONE
        words = [
            f"{name}: {count:,} ({percent(count / len(self.ranks))})"
            for (name, _), count in zip(BANDS, self._counts(), strict=True)
        ]
        entries = list(zip(theme.tint, words, strict=True))
        on_one_line = sum(text_width([said], size) + 2.6 * size for said in words) < width
        lines = [entries] if on_one_line else [[entry] for entry in entries]
        top = _TOP + _BAND + 8 + len(lines) * line_height(size)
        plot = 3.2 * size + _PLOT + 3.4 * size
        canvas = Canvas(width, top + (plot if beside else 2 * plot), theme)
        canvas.write_title(self._title())
        canvas.write(2, 33, "rank the model had given each token, 1 = most likely", muted=True)
        self._draw_bands(canvas)
        for index, line in enumerate(lines):
            canvas.write_key(2, _TOP + _BAND + 14 + index * line_height(size), line)
        x, y = _LEFT, top + 3.2 * size
        across = (width / 2 if beside else width) - _LEFT - 12
        edges = 2.0 ** np.arange(17)
        names = {int(edge): f"{int(edge):,}" for edge in edges[::3]}
        said = "rank of the token (log scale)"
        _draw_histogram(canvas, (x, y, across), self.ranks, edges, names, said)
        x, y = (_LEFT + width / 2, y) if beside else (_LEFT, y + plot)
        edges = np.arange(0, 11 + _NATS, _NATS)
        names = {nat: str(nat) for nat in range(0, 12, 2)}
        said = "entropy in nats: 0 = sure of the next token"
        _draw_histogram(canvas, (x, y, across), self.entropies, edges, names, said)
        return canvas.figure

    def alt(self) -> str:
        """The counts of the bands, the median rank and the mean entropy."""
        pairs = zip(BANDS, self._counts(), strict=True)
        listed = ", ".join(f"{name}: {count}" for (name, _), count in pairs)
        return (
            f"{self._title()}. Ranks: {listed}. Median rank {np.median(self.ranks):,.0f}, "
            f"mean entropy {self.entropies.mean():.2f} nats."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each token."""
        return {
            "id": self.ids,
            "token": self.words,
            "logprob": self.logprobs.tolist(),
            "rank": self.ranks.tolist(),
            "entropy": self.entropies.tolist(),
        }

    def _title(self) -> str:
        first = int((self.ranks == 1).sum())
        perplexity = exp(min(-self.logprobs.mean(), 13.8))
        shown = f"{perplexity:,.1f}" if perplexity < 100 else f"{perplexity:,.0f}"
        shown = "above 900,000" if perplexity > 9e5 else shown
        return f"First choice: {first:,} of {counted(len(self.ranks), 'token')}; perplexity {shown}"

    def _counts(self) -> list[int]:
        """How many tokens each band has."""
        edges = [0, *(high for _, high in BANDS)]
        return [int(((self.ranks > a) & (self.ranks <= b)).sum()) for a, b in pairwise(edges)]

    def _draw_bands(self, canvas: Canvas) -> None:
        """One bar over the whole width, a part for each band, with its count where it fits."""
        x, line = 2.0, canvas.width - 4
        for count, color in zip(self._counts(), canvas.theme.tint, strict=True):
            across, words = line * count / len(self.ranks), f"{count:,}"
            style = {"edgecolors": canvas.theme.muted, "linewidths": 0.5}
            places = [(x, _TOP, across, _BAND)] if count else []
            canvas.boxes(places, facecolors=color, **style)
            if text_width([words], canvas.size) + 6 < across:
                canvas.write(x + across / 2, _TOP + _BAND / 2, words, ha="center")
            x += across


def _draw_histogram(
    canvas: Canvas,
    place: tuple[float, float, float],
    values: np.ndarray,
    edges: np.ndarray,
    names: dict[int, str],
    words: str,
) -> None:
    """Counts between edges as bars of one width, with the named edges' values under them.

    Args:
        place: left, top and width.
    """
    left, top, across = place
    bottom, size = top + _PLOT, canvas.size
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    canvas.write(left, top - 1.4 * size, "tokens", muted=True)
    ticks = MaxNLocator(3, integer=True).tick_values(0, max(int(counts.max()), 1))
    plot = Plot(canvas, left, top, across, _PLOT, (0, len(counts)), (0, ticks[-1]))
    plot.rows(ticks, [f"{tick:,.0f}" for tick in ticks])
    step = across / len(counts)
    bars = [
        (left + i * step, bottom, step - 1, -_PLOT * count / ticks[-1])
        for i, count in enumerate(counts)
    ]
    canvas.boxes(bars, facecolors=canvas.theme.bar)
    x = [left + step * float(np.interp(value, edges, range(len(edges)))) for value in names]
    labels, room = list(names.values()), (left - 8, left + across + 10)
    for index in spaced(np.zeros(len(x)), x, labels, size):
        canvas.write_near(x[index], bottom + size, labels[index], room=room, muted=True)
    canvas.write(left, bottom + 2.4 * size, words, muted=True)
