"""Is an attribution true? What happens when its strongest tokens are removed, or put back, first.

Source: Petsiuk et al. 2018, "RISE" (deletion and insertion).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import Canvas, spread
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.colors import CLASS_COLORS
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, LINE_HEIGHT, PHONE, Theme, font_size
from gpt2.figures.base.text import shorten, text_width
from gpt2.records import RANDOM_ORDER

_LIMIT = 1e9
_PLOT = 180  # height of a plot, in CSS pixels
_HEAD, _LEFT = 44, 38  # above the plots and at the left of each
_SWATCH = 16  # room for a piece of line before a name
_PANELS = (
    ("strongest tokens removed first", "the lower, the truer", "tokens removed (%)"),
    ("strongest tokens put back first", "the higher, the truer", "tokens put back (%)"),
)


@dataclass(frozen=True, eq=False)
class FaithfulnessCurves(NoCells):
    """Two plots, deletion and insertion, with a line for each method and its name at the right.

    Args:
        fractions: [F] shares of the tokens, 0..1, ascending; F is at least 2.
        deletion: [M, F] the prediction's value with that share removed, the strongest first.
        insertion: [M, F] the same with that share put back into an empty text.
        names: M methods; the random order is drawn in grey.
        unit: of the values.

    Raises:
        ValueError: lengths differ, fractions don't ascend, or a value is not a number.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    names: Sequence[str]
    unit: str = "probability of the prediction"

    def __post_init__(self) -> None:
        shares = check_field(self, "fractions", (None,), low=0, high=1)
        if len(shares) < 2 or (np.diff(shares) <= 0).any():
            raise ValueError(f"fractions are {shares.tolist()}; pass two or more that ascend")
        for name in ("deletion", "insertion"):
            shape = len(self.names), len(shares)
            check_field(self, name, shape, low=-_LIMIT, high=_LIMIT)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The plots beside each other, or below each other on a phone."""
        size, beside = font_size(width) - 1, width >= PHONE
        room = 0.2 * width if beside else 0.4 * width
        ends = [_fit(name, size, room) for name in self.names]
        across = (width / 2 if beside else width) - _LEFT - text_width(ends, size) - _SWATCH - 8
        down = 2.4 * size + _PLOT + 3.6 * size
        canvas = Canvas(width, _HEAD + (down if beside else 2 * down), theme)
        canvas.write_title("Is it true? Remove what it calls important")
        canvas.write(2, 31, f"line: {self.unit}", muted=True)
        curves = np.stack([self.deletion, self.insertion])
        low, most = min(0.0, float(curves.min())), max(float(curves.max()), 1e-9)
        ticks = MaxNLocator(4).tick_values(low, most)
        for index, words in enumerate(_PANELS):
            x = _LEFT + (index * width / 2 if beside else 0)
            y = _HEAD + 2.4 * size + (0 if beside else index * down)
            shares = self.fractions[0], self.fractions[-1]
            plot = Plot(canvas, x, y, across, _PLOT, shares, (ticks[0], ticks[-1]))
            _frame(plot, ticks, words)
            self._draw_lines(plot, curves[index], ends)
        return canvas.figure

    def alt(self) -> str:
        """The area under each curve."""
        curves = np.stack([self.deletion, self.insertion])
        width = np.diff(self.fractions)
        areas = ((curves[..., 1:] + curves[..., :-1]) / 2 * width).sum(-1)  # [2,M]
        said = f"Mean {self.unit} as tokens are removed, and as they are put back, strongest first:"
        for name, one, other in zip(self.names, *(areas / width.sum()), strict=True):
            said += f" {name} {one:.3g} and {other:.3g};"
        return said[:-1] + ". Removed: the lower, the truer. Put back: the higher, the truer."

    def columns(self) -> dict[str, Sequence]:
        """A row for each point of each line."""
        rows, steps = np.indices(self.deletion.shape).reshape(2, -1)
        return {
            "method": [self.names[row] for row in rows],
            "fraction": self.fractions[steps].tolist(),
            "deletion": self.deletion.ravel().tolist(),
            "insertion": self.insertion.ravel().tolist(),
        }

    def _draw_lines(self, plot: Plot, curves: np.ndarray, ends: Sequence[str]) -> None:
        """A line for each method, the random order in grey; names at the right, in that order."""
        colored, canvas = 0, plot.canvas
        apart = LINE_HEIGHT * canvas.size
        heights = spread(plot.at_y(curves.mean(1)) - plot.top, apart, high=_PLOT)
        for index, curve in enumerate(curves):
            random = self.names[index] == RANDOM_ORDER
            color, dashes = CLASS_COLORS[colored % 4], "-" if colored < 4 else "--"
            colored += not random
            style: dict[str, Any] = {"color": color, "linestyle": dashes, "linewidth": 2}
            if random:
                style = {"color": canvas.theme.bar, "linewidth": 2}
            plot.line(self.fractions, curve, **style)
            y, x = plot.top + heights[index], plot.left + plot.across + 6
            canvas.axes.plot([x, x + _SWATCH - 4], [y, y], **style)
            canvas.write(x + _SWATCH, y, ends[index])


def _frame(plot: Plot, ticks: np.ndarray, words: tuple[str, str, str]) -> None:
    """Titles, grid and numbers. Words: what was done, how to read it, the lower axis."""
    canvas = plot.canvas
    canvas.write(plot.left, plot.top - 1.2 * canvas.size, words[0], weight="bold")
    plot.rows(ticks, [f"{tick:g}" for tick in ticks])
    shown = [share for share in (0, 0.25, 0.5, 0.75, 1) if plot.x[0] <= share <= plot.x[1]]
    plot.columns(shown, [f"{100 * share:g}" for share in shown])
    said = f"{words[2]}; {words[1]}"
    canvas.write(plot.left, plot.bottom + 2.4 * canvas.size, said, muted=True)


def _fit(name: str, size: float, room: float) -> str:
    columns, shown = len(name), name
    while text_width([shown], size) > room:
        columns -= 1
        shown = shorten(name, columns)
    return shown
