"""How a fine-tuning went: its loss and accuracy as it read, and which classes it confuses.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import (
    LIGHT,
    LINE_HEIGHT,
    PHONE,
    Theme,
    font_size,
    new_figure,
    plain_axes,
    set_title,
    text_style,
    token_ticks,
)
from gpt2.figures.base.text import counted, fitted, label, percent, text_width, whole_percent

_PANEL = 190  # height of one curve, in CSS pixels
_CELL = 84  # width of a confusion cell at most


@dataclass(frozen=True, eq=False)
class TrainingCurves:
    """Loss above, accuracy below, over the texts read; held-out accuracy as marked points.

    Args:
        texts: [N] texts read by then, rising.
        loss: [N] training loss in nats.
        accuracy: [N] on training rows, 0..1.
        held_out_texts: [K] texts read when held-out rows were measured.
        held_out: [K] accuracy on them, 0..1.

    Raises:
        ValueError: lengths differ, nothing to draw, or a value is NaN or out of range.
    """

    texts: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    held_out_texts: np.ndarray
    held_out: np.ndarray

    def __post_init__(self) -> None:
        points = check_field(self, "texts", (None,), low=0, high=np.inf).shape
        check_field(self, "loss", points, low=0, high=np.finfo(float).max)
        check_field(self, "accuracy", points, low=0, high=1)
        marks = check_field(self, "held_out_texts", (None,), low=0, high=np.inf).shape
        check_field(self, "held_out", marks, low=0, high=1)

    def figure(self, theme: Theme = LIGHT, width: int = 760) -> Figure:
        """Running means, the loss itself paler behind its own."""
        read, losses, marks = self.texts, self.loss, self.held_out_texts
        size = font_size(width)
        figure = new_figure(width, 2 * _PANEL + 5 * size)
        above, below = figure.subplots(2, 1)
        above.plot(read, losses, color=theme.bar, linewidth=1, alpha=0.5)
        above.plot(read, _smooth(losses), color=theme.accent, linewidth=2)
        top = 1.05 * max(float(losses.max()), 0.1)
        above.set_ylim(0, top)
        shares = 100 * _smooth(self.accuracy)
        below.plot(read, shares, color=theme.accent, linewidth=2, label="training rows")
        style = {"color": theme.text, "marker": "o", "markersize": 6, "linewidth": 1.4}
        held_out = 100 * self.held_out
        below.plot(marks, held_out, linestyle=(0, (3, 3)), label="held-out rows", **style)
        below.set_ylim(0, 100)
        end = 1.02 * max(read[-1], marks[-1], 1)
        ticks = {above: _ticks(top), below: np.arange(0, 101, 25)}
        for axes, name in ((above, "loss (nats)"), (below, "accuracy (%)")):
            axes.set_ylabel(name, **text_style(theme, size - 1, color=theme.muted))
            _scale(axes, end, ticks[axes], named=axes is below, theme=theme, width=width)
        for text in below.legend(frameon=False, loc="lower right").get_texts():
            text.set(**text_style(theme, size - 1))
        below.set_xlabel("texts read", loc="left", **text_style(theme, size - 1, color=theme.muted))
        title = f"Fine-tuning: {percent(self.held_out.max())} of held-out rows named right at best"
        set_title(figure, title, theme=theme, width=width)
        return figure

    def alt(self) -> str:
        """Where the curves begin and end, and the best on held-out rows."""
        losses, shares = _smooth(self.loss), _smooth(self.accuracy)
        best = int(self.held_out.argmax())
        return (
            f"Training over {counted(int(self.texts[-1]), 'text')}: the loss goes from "
            f"{losses[0]:.2f} to {losses[-1]:.2f} nats, accuracy on training rows from "
            f"{percent(shares[0])} to {percent(shares[-1])}. Accuracy on held-out rows is best "
            f"after {counted(int(self.held_out_texts[best]), 'text')}: "
            f"{percent(self.held_out[best])}."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each point of the curves, then one for each measure on held-out rows."""
        before, after = [None] * len(self.texts), [None] * len(self.held_out)
        return {
            "texts": [*self.texts.tolist(), *self.held_out_texts.tolist()],
            "loss (nats)": [*self.loss.tolist(), *after],
            "accuracy": [*self.accuracy.tolist(), *after],
            "held-out accuracy": [*before, *self.held_out.tolist()],
        }


@dataclass(frozen=True, eq=False)
class ConfusionTable:
    """What each class was taken for: a row for each true class, tinted by its share of the row.

    Args:
        counts: [C, C] rows of the true class (down) named as each class (across).
        labels: C class names.

    Raises:
        ValueError: lengths differ, or a count is NaN or below 0.
    """

    counts: np.ndarray
    labels: Sequence[str]

    def __post_init__(self) -> None:
        check_field(self, "counts", (len(self.labels),) * 2, low=0, high=np.inf)

    def figure(self, theme: Theme = LIGHT, width: int = 560) -> Figure:
        """A count and a share in each cell, what was right in bold."""
        cells = self.counts
        shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
        size = font_size(width)
        room = width - text_width([label(name) for name in self.labels], size) - 4 * size
        names = fitted(self.labels, size, room / len(self.labels) - size)
        across = min(room, _CELL * len(self.labels) * 1.5)
        down = 3.4 * size * len(self.labels)
        figure = new_figure(width, down + 6.5 * size)
        axes = figure.subplots()
        colors = LinearSegmentedColormap.from_list("share", theme.tint)
        axes.imshow(shares, aspect="auto", cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        axes.set_box_aspect(down / across)
        axes.set_anchor("NW")
        for (row, column), share in np.ndenumerate(shares):
            style = text_style(theme, size, ha="center", va="center", linespacing=LINE_HEIGHT)
            style |= {"weight": "bold"} if row == column else {}
            words = f"{int(cells[row, column]):,}\n{whole_percent(share)}" if share else "0"
            axes.text(column, row, words, **style)
        plain_axes(axes, theme, size)
        _name_axes(axes, names, [label(name) for name in self.labels], across, down, theme, size)
        title = f"{percent(self._right)} of {int(cells.sum()):,} rows right"
        set_title(figure, title, theme=theme, width=width)
        return figure

    def alt(self) -> str:
        """How many were right, and the most frequent mistake."""
        said = f"Confusion matrix of {counted(int(self.counts.sum()), 'row')}: "
        said += f"{percent(self._right)} named right."
        wrong = self.counts - np.diag(np.diag(self.counts))
        if not wrong.any():
            return said
        true, named = np.unravel_index(wrong.argmax(), wrong.shape)
        return said + (
            f" Most often wrong: {self.labels[true]} taken for {self.labels[named]}, "
            f"{counted(int(wrong[true, named]), 'row')}."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each pair of classes."""
        return {
            "true class": [name for name in self.labels for _ in self.labels],
            "named": [*self.labels] * len(self.labels),
            "rows": self.counts.astype(int).ravel().tolist(),
        }

    @property
    def _right(self) -> float:
        return float(np.trace(self.counts) / max(self.counts.sum(), 1))


def _name_axes(
    axes: Axes,
    across_names: Sequence[str],
    down_names: Sequence[str],
    across: float,
    down: float,
    theme: Theme,
    size: float,
) -> None:
    token_ticks(axes, "x", across_names, pixels=across, size=size, theme=theme)
    token_ticks(axes, "y", down_names, pixels=down, size=size, theme=theme)
    axes.tick_params(length=0)
    style = text_style(theme, size - 1, color=theme.muted)
    axes.set_xlabel("named", loc="left", **style)
    axes.set_ylabel("true class", **style)


def _scale(
    axes: Axes, end: float, heights: np.ndarray, *, named: bool, theme: Theme, width: int
) -> None:
    """Ticks of one curve; only where `named` the texts are written."""
    size = font_size(width) - 1
    plain_axes(axes, theme, size, frame=("bottom",))
    style = text_style(theme, size, color=theme.muted)
    places = _ticks(end, count=4 if width < PHONE else 8)
    axes.set_xlim(0, end)
    axes.set_xticks(places, [f"{place:,g}" if named else "" for place in places], **style)
    axes.set_yticks(heights, [f"{height:g}" for height in heights], **style)
    axes.grid(axis="y", color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)


def _ticks(top: float, *, count: int = 4) -> np.ndarray:
    """Round numbers from 0 to at most `top`, so many or a few less."""
    ticks = MaxNLocator(count, steps=(1, 2, 2.5, 5, 10)).tick_values(0, top)
    return ticks[ticks <= top]


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over a twentieth of the values, shorter at the ends."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)
