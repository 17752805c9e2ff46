"""How the final token rises through the layers: its rank, and its probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas, spaced
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, Theme, font_size
from gpt2.figures.base.text import named, percent, quoted, text_width
from gpt2.figures.lens import layer_names, layer_title

_SIDE, _RIGHT = 62, 14  # beside the plots, in CSS pixels
_RANKS, _PROBS = 170, 56  # their heights
_TOP = 52


@dataclass(frozen=True, eq=False)
class RankPath(NoCells):
    """One token's rank through the layers, 1 at the top, and its probability under it.

    Args:
        ranks: [R] from 1, after the embedding, after each block, and so in the output.
        probs: [R] its probabilities there.
        piece: the token.

    Raises:
        ValueError: lengths differ, a rank is below 1, or a probability is NaN or out of 0..1.
    """

    ranks: np.ndarray
    probs: np.ndarray
    piece: str

    def __post_init__(self) -> None:
        ranks = check_field(self, "ranks", (None,), low=1, high=1e9)
        object.__setattr__(self, "ranks", ranks.round().astype(int))
        check_field(self, "probs", ranks.shape, low=0, high=1)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """A line of ranks above, bars of probabilities below."""
        size = font_size(width) - 1
        step = (width - _SIDE - _RIGHT) / len(self.ranks)
        x = _SIDE + step * (np.arange(len(self.ranks)) + 0.5)
        low = _TOP + _RANKS + 14 + 2.4 * size + _PROBS  # where the bars stand
        canvas = Canvas(width, low + 3.6 * size, theme)
        canvas.write_title(f"How {named(self.piece)} rises through the layers")
        self._draw_ranks(canvas, x, step)
        scale = _PROBS / max(float(self.probs.max()), 1e-9)
        bars = [
            (at - 0.3 * step, low - scale * p, 0.6 * step, scale * p)
            for at, p in zip(x, self.probs, strict=True)
        ]
        canvas.boxes(bars, facecolors=theme.bar)
        canvas.boxes([(_SIDE, low, width - _SIDE - _RIGHT, 1)], facecolors=theme.muted)
        canvas.write(2, low - _PROBS - 1.6 * size, "probability", muted=True)
        words = [percent(p) for p in self.probs]
        for index in spaced(self._ends(), x, words, size):
            if text_width([words[index]], size) < step or index == len(x) - 1:
                y = low - scale * self.probs[index] - 0.7 * size
                canvas.write_near(x[index], y, words[index], room=(_SIDE, width))
        names = layer_names(len(self.ranks))
        for index in spaced(np.arange(len(names)) == len(names) - 1, x, names, size):
            canvas.write_near(x[index], low + size, names[index], room=(0, width))
        canvas.write(_SIDE, low + 2.5 * size, "after layer", muted=True)
        return canvas.figure

    def alt(self) -> str:
        """Where it begins and ends, and since when it is first."""
        said = f"Rank of {quoted(self.piece)} through the layers: {self.ranks[0]:,} at the start, "
        said += f"{self.ranks[-1]:,} in the output, with {percent(self.probs[-1])}."
        others = np.flatnonzero(self.ranks > 1)
        first = int(others[-1]) + 1 if len(others) else 0
        if first < len(self.ranks) - 1:
            name = layer_title(layer_names(len(self.ranks))[first])
            said += f" First for good from {name} on."
        return said

    def columns(self) -> dict[str, Sequence]:
        """A row for each layer."""
        return {
            "layer": range(len(self.ranks)),
            "rank": self.ranks.tolist(),
            "probability": self.probs.tolist(),
        }

    def _draw_ranks(self, canvas: Canvas, x: np.ndarray, step: float) -> None:
        """The line of ranks on a log scale, 1 at the top, with numbers where they fit."""
        right, size = x[-1] + step / 2, canvas.size
        decades = max(1, ceil(log10(self.ranks.max())))
        canvas.write(2, 32, "rank among all tokens, 1 = most likely", muted=True)
        edges = (_SIDE, right), (decades, 0)
        plot = Plot(canvas, _SIDE, _TOP, right - _SIDE, _RANKS, *edges)
        plot.rows(range(decades + 1), [f"{10**power:,}" for power in range(decades + 1)])
        y = plot.at_y(np.log10(self.ranks))
        line = {"color": canvas.theme.accent, "linewidth": 2, "marker": "o", "markersize": 5}
        canvas.axes.plot(x, y, **line)
        words, ends = [f"{rank:,}" for rank in self.ranks], self._ends()
        for index in spaced(ends, x, words, size):
            if text_width(words, size) < step or ends[index]:
                room = (_SIDE, right + _RIGHT)
                canvas.write_near(x[index], y[index] + size, words[index], room=room)

    def _ends(self) -> np.ndarray:
        """What is labelled first: the output, then the start and the best rank's first place."""
        ends = np.zeros(len(self.ranks))
        ends[[0, int(self.ranks.argmin())]] = 1
        ends[-1] = 2
        return ends
