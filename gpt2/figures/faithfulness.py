"""Is an attribution true? What happens when its strongest tokens are removed, or put back, first.

Source: Petsiuk et al. 2018, "RISE" (deletion and insertion). Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import boxes, new_canvas, spread, write, write_title
from gpt2.figures.base.colors import CLASS_COLORS
from gpt2.figures.base.style import LIGHT, LINE_HEIGHT, PHONE, Theme, check_array, font_size
from gpt2.figures.base.text import shorten, text_width

_LIMIT = 1e9
_PLOT = 180  # height of a plot, in CSS pixels
_HEAD, _LEFT = 44, 38  # above the plots and at the left of each
_SWATCH = 16  # room for a piece of line before a name
_PANELS = (
    ("strongest tokens removed first", "the lower, the truer", "tokens removed (%)"),
    ("strongest tokens put back first", "the higher, the truer", "tokens put back (%)"),
)


def faithfulness_figure(
    fractions: Any,
    deletion: Any,
    insertion: Any,
    names: Sequence[str],
    *,
    random: int | None = None,
    unit: str = "probability of the prediction",
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """Two plots, deletion and insertion, with a line for each method and its name at the right.

    Args:
        fractions: [F] shares of the tokens, 0..1, ascending; F is at least 2.
        deletion: [M, F] the prediction's value with that share removed, the strongest first.
        insertion: [M, F] the same with that share put back into an empty text.
        names: M methods.
        random: the row of the random order, drawn in grey; None where there is none.
        unit: of the values.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, fractions don't ascend, or a value is not a number.
    """
    shares, curves = _check(fractions, deletion, insertion, names, random)
    size = font_size(width) - 1
    ends = [_fit(name, size, 0.2 * width if width >= PHONE else 0.4 * width) for name in names]
    edge = text_width(ends, size) + _SWATCH + 8
    beside = width >= PHONE
    across = (width / 2 if beside else width) - _LEFT - edge
    down = 2.4 * size + _PLOT + 3.6 * size
    figure, axes = new_canvas(width, _HEAD + (down if beside else 2 * down))
    title = "Is it true? Remove what it calls important"
    write_title(axes, title, theme=theme, width=width)
    write(axes, 2, 31, f"line: {unit}", theme=theme, size=size, color=theme.muted)
    most = max(float(curves.max()), 1e-9)
    ticks = MaxNLocator(4).tick_values(min(0.0, float(curves.min())), most)
    for index, words in enumerate(_PANELS):
        x = _LEFT + (index * width / 2 if beside else 0)
        y = _HEAD + 2.4 * size + (0 if beside else index * down)
        plot = _Plot(axes, x, y, across, ticks, theme, size)
        plot.frame(shares, words)
        plot.lines(shares, curves[index], ends, random)
    return figure


def faithfulness_alt(
    fractions: Any,
    deletion: Any,
    insertion: Any,
    names: Sequence[str],
    *,
    random: int | None = None,
    unit: str = "probability of the prediction",
) -> str:
    """What `faithfulness_figure` shows, from the same data."""
    shares, curves = _check(fractions, deletion, insertion, names, random)
    width = np.diff(shares)
    areas = ((curves[..., 1:] + curves[..., :-1]) / 2 * width).sum(-1)  # [2,M]
    said = f"Mean {unit} as tokens are removed, and as they are put back, strongest first:"
    for name, one, other in zip(names, *(areas / width.sum()), strict=True):
        said += f" {name} {one:.3g} and {other:.3g};"
    return said[:-1] + ". Removed: the lower, the truer. Put back: the higher, the truer."


def _check(
    fractions: Any, deletion: Any, insertion: Any, names: Sequence[str], random: int | None
) -> tuple[np.ndarray, np.ndarray]:
    shares = check_array("fractions", fractions, (None,), low=0, high=1)
    if len(shares) < 2 or (np.diff(shares) <= 0).any():
        raise ValueError(f"fractions are {shares.tolist()}; pass two or more that ascend")
    if random is not None and not 0 <= random < len(names):
        raise ValueError(f"random is {random}; it must be a row from 0 to {len(names) - 1}")
    shape = (len(names), len(shares))
    curves = [
        check_array(name, values, shape, low=-_LIMIT, high=_LIMIT)
        for name, values in (("deletion", deletion), ("insertion", insertion))
    ]
    return shares, np.stack(curves)


def _fit(name: str, size: float, room: float) -> str:
    columns, shown = len(name), name
    while text_width([shown], size) > room:
        columns -= 1
        shown = shorten(name, columns)
    return shown


@dataclass(frozen=True)
class _Plot:
    """One plot at a place of a canvas, in CSS pixels."""

    axes: Axes
    left: float
    top: float
    across: float
    ticks: np.ndarray
    theme: Theme
    size: float

    def frame(self, shares: np.ndarray, words: tuple[str, str, str]) -> None:
        """Titles, grid and numbers. Words: what was done, how to read it, the lower axis."""
        style = {"theme": self.theme, "size": self.size}
        muted = style | {"color": self.theme.muted}
        left, bottom = self.left, self.top + _PLOT
        write(self.axes, left, self.top - 1.2 * self.size, words[0], weight="bold", **style)
        for tick in self.ticks:
            y = float(self._y(tick))
            boxes(self.axes, [(left, y, self.across, 1)], facecolors=self.theme.grid)
            write(self.axes, left - 5, y, f"{tick:g}", ha="right", **muted)
        for share in (0, 0.25, 0.5, 0.75, 1):
            if shares[0] <= share <= shares[-1]:
                x = float(self._x(share, shares))
                write(self.axes, x, bottom + self.size, f"{100 * share:g}", ha="center", **muted)
        write(self.axes, left, bottom + 2.4 * self.size, f"{words[2]}; {words[1]}", **muted)

    def lines(
        self, shares: np.ndarray, curves: np.ndarray, names: Sequence[str], random: int | None
    ) -> None:
        """A line for each method, the random order in grey; names at the right, in that order."""
        colored = 0
        heights = spread(self._y(curves.mean(1)) - self.top, LINE_HEIGHT * self.size, high=_PLOT)
        for index, curve in enumerate(curves):
            color, dashes = CLASS_COLORS[colored % 4], "-" if colored < 4 else "--"
            colored += index != random
            style: dict[str, Any] = {"color": color, "linestyle": dashes, "linewidth": 2}
            if index == random:
                style = {"color": self.theme.bar, "linewidth": 2}
            self.axes.plot(self._x(shares, shares), self._y(curve), **style)
            y, x = self.top + heights[index], self.left + self.across + 6
            self.axes.plot([x, x + _SWATCH - 4], [y, y], **style)
            write(self.axes, x + _SWATCH, y, names[index], theme=self.theme, size=self.size)

    def _x(self, share: Any, shares: np.ndarray) -> Any:
        return self.left + self.across * (share - shares[0]) / (shares[-1] - shares[0])

    def _y(self, value: Any) -> Any:
        low, high = self.ticks[0], self.ticks[-1]
        return self.top + _PLOT * (1 - (value - low) / (high - low))
