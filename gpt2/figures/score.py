"""How a text looks to the model: the ranks of its tokens, and how sure the model was before each.

Source: Gehrmann et al. 2019, "GLTR" (the bands of ranks). Imports: numpy, matplotlib.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import (
    boxes,
    draw_key,
    line_height,
    new_canvas,
    spaced,
    write,
    write_near,
    write_title,
)
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_array, font_size
from gpt2.figures.base.text import counted, percent, text_width

BANDS = (("1 to 10", 10), ("11 to 100", 100), ("101 to 1,000", 1000), ("more", np.inf))

_TOP, _BAND, _PLOT = 48, 26, 120  # CSS pixels: above the bar, its height, a histogram's height
_LEFT = 34  # room for the counts
_NATS = 0.5  # width of a bar of entropies


def score_figure(
    ranks: Any,
    entropies: Any,
    logprobs: Any,
    *,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """Bands of ranks as one stacked bar, and histograms of ranks and of entropies.

    Args:
        ranks: [T] of the text's tokens, 1 for the most likely.
        entropies: [T] of the distribution each was predicted from, in nats.
        logprobs: [T] natural log of each token's probability.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a value is NaN or out of its range.
    """
    places, nats, logs = _check(ranks, entropies, logprobs)
    size = font_size(width) - 1
    beside = width >= PHONE
    entries = _entries(places, theme)
    lines = _lines(entries, size, width)
    top = _TOP + _BAND + 8 + len(lines) * line_height(size)
    plot = 3.2 * size + _PLOT + 3.4 * size
    figure, axes = new_canvas(width, top + (plot if beside else 2 * plot))
    write_title(axes, _title(places, logs), theme=theme, width=width)
    words = "rank the model had given each token, 1 = most likely"
    write(axes, 2, 33, words, theme=theme, size=size, color=theme.muted)
    _draw_bands(axes, places, entries, width, theme=theme, size=size)
    for index, line in enumerate(lines):
        y = _TOP + _BAND + 14 + index * line_height(size)
        draw_key(axes, (2, y), line, theme=theme, size=size)
    across = (width / 2 if beside else width) - _LEFT - 12
    edges = 2.0 ** np.arange(17)
    names = {int(edge): f"{int(edge):,}" for edge in edges[::3]}
    histogram = _Histogram(axes, across, theme, size)
    at = (_LEFT, top + 3.2 * size)
    histogram.draw(at, places, edges, names, "rank of the token (log scale)")
    edges = np.arange(0, 11 + _NATS, _NATS)
    at = (_LEFT + width / 2, at[1]) if beside else (_LEFT, at[1] + plot)
    names = {nat: str(nat) for nat in range(0, 12, 2)}
    histogram.draw(at, nats, edges, names, "entropy in nats: 0 = sure of the next token")
    return figure


def score_alt(ranks: Any, entropies: Any, logprobs: Any) -> str:
    """What `score_figure` shows, from the same data."""
    places, nats, logs = _check(ranks, entropies, logprobs)
    pairs = zip(BANDS, _counts(places), strict=True)
    said = f"{_title(places, logs)}. Ranks: "
    said += ", ".join(f"{name}: {count}" for (name, _), count in pairs)
    return said + f". Median rank {np.median(places):,.0f}, mean entropy {nats.mean():.2f} nats."


def _check(ranks: Any, entropies: Any, logprobs: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places = check_array("ranks", ranks, (None,), low=1, high=1e9).round().astype(int)
    nats = check_array("entropies", entropies, (len(places),), low=0, high=1e3)
    return places, nats, check_array("logprobs", logprobs, (len(places),), low=-1e6, high=0)


def _title(places: np.ndarray, logs: np.ndarray) -> str:
    first = int((places == 1).sum())
    perplexity = exp(min(-logs.mean(), 13.8))
    shown = f"{perplexity:,.1f}" if perplexity < 100 else f"{perplexity:,.0f}"
    shown = "above 900,000" if perplexity > 9e5 else shown
    return f"First choice: {first:,} of {counted(len(places), 'token')}; perplexity {shown}"


def _counts(places: np.ndarray) -> list[int]:
    """How many tokens each band has."""
    edges = [0, *(high for _, high in BANDS)]
    return [int(((places > low) & (places <= high)).sum()) for low, high in pairwise(edges)]


def _entries(places: np.ndarray, theme: Theme) -> list[tuple[str, str]]:
    """Colour and words of each band, for the key."""
    words = [
        f"{name}: {count:,} ({percent(count / len(places))})"
        for (name, _), count in zip(BANDS, _counts(places), strict=True)
    ]
    return list(zip(theme.tint, words, strict=True))


def _lines(entries: list[tuple[str, str]], size: float, width: int) -> list[list[tuple[str, str]]]:
    """The key on one line, or one line for each band."""
    words = sum(text_width([entry[1]], size) + 2.6 * size for entry in entries)
    return [entries] if words < width else [[entry] for entry in entries]


def _draw_bands(
    axes: Axes,
    places: np.ndarray,
    entries: list[tuple[str, str]],
    width: int,
    *,
    theme: Theme,
    size: float,
) -> None:
    """One bar over the whole width, a part for each band, with its count where it fits."""
    x, line = 2.0, width - 4
    for count, (color, _) in zip(_counts(places), entries, strict=True):
        across, words = line * count / len(places), f"{count:,}"
        style = {"facecolors": color, "edgecolors": theme.muted, "linewidths": 0.5}
        boxes(axes, [(x, _TOP, across, _BAND)] if count else [], **style)
        if text_width([words], size) + 6 < across:
            middle = x + across / 2, _TOP + _BAND / 2
            write(axes, *middle, words, theme=theme, size=size, ha="center")
        x += across


@dataclass(frozen=True)
class _Histogram:
    """What two histograms on a canvas share."""

    axes: Axes
    across: float
    theme: Theme
    size: float

    def draw(
        self,
        corner: tuple[float, float],
        values: np.ndarray,
        edges: np.ndarray,
        names: dict[int, str],
        words: str,
    ) -> None:
        """Counts between edges as bars of one width, with the named edges' values under them."""
        left, top = corner
        bottom = top + _PLOT
        style = {"theme": self.theme, "size": self.size}
        muted = style | {"color": self.theme.muted}
        counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
        write(self.axes, left, top - 1.4 * self.size, "tokens", **muted)
        ticks = MaxNLocator(3, integer=True).tick_values(0, max(int(counts.max()), 1))
        for tick in ticks:
            y = bottom - _PLOT * tick / ticks[-1]
            boxes(self.axes, [(left, y, self.across, 1)], facecolors=self.theme.grid)
            write(self.axes, left - 5, y, f"{tick:,.0f}", ha="right", **muted)
        step = self.across / len(counts)
        bars = [
            (left + i * step, bottom, step - 1, -_PLOT * count / ticks[-1])
            for i, count in enumerate(counts)
        ]
        boxes(self.axes, bars, facecolors=self.theme.bar)
        at = {
            value: left + step * float(np.interp(value, edges, range(len(edges))))
            for value in names
        }
        labels, x = list(names.values()), list(at.values())
        for index in spaced(np.zeros(len(x)), x, labels, self.size):
            write_near(
                self.axes,
                x[index],
                bottom + self.size,
                labels[index],
                room=(left - 8, left + self.across + 10),
                **muted,
            )
        write(self.axes, left, bottom + 2.4 * self.size, words, **muted)
