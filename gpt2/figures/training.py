"""How a fine-tuning went: its loss and accuracy as it read, and which classes it confuses.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.style import (
    LIGHT,
    LINE_HEIGHT,
    PHONE,
    Theme,
    check_array,
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


def training_figure(
    texts: Any,
    loss: Any,
    accuracy: Any,
    held_out_texts: Any,
    held_out: Any,
    *,
    theme: Theme = LIGHT,
    width: int = 760,
) -> Figure:
    """Loss above, accuracy below, over the texts read; held-out accuracy as marked points.

    Args:
        texts: [N] texts read by then, rising.
        loss: [N] training loss in nats.
        accuracy: [N] on training rows, 0..1.
        held_out_texts: [K] texts read when held-out rows were measured.
        held_out: [K] accuracy on them, 0..1.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, nothing to draw, or a value is NaN or out of range.
    """
    read, losses, shares, marks, scores = _check_curves(
        texts, loss, accuracy, held_out_texts, held_out
    )
    size = font_size(width)
    figure = new_figure(width, 2 * _PANEL + 5 * size)
    above, below = figure.subplots(2, 1)
    above.plot(read, losses, color=theme.bar, linewidth=1, alpha=0.5)
    above.plot(read, _smooth(losses), color=theme.accent, linewidth=2)
    top = 1.05 * max(float(losses.max()), 0.1)
    above.set_ylim(0, top)
    below.plot(read, 100 * _smooth(shares), color=theme.accent, linewidth=2, label="training rows")
    style = {"color": theme.text, "marker": "o", "markersize": 6, "linewidth": 1.4}
    below.plot(marks, 100 * scores, linestyle=(0, (3, 3)), label="held-out rows", **style)
    below.set_ylim(0, 100)
    end = 1.02 * max(read[-1], marks[-1], 1)
    ticks = {above: _ticks(top), below: np.arange(0, 101, 25)}
    for axes, name in ((above, "loss (nats)"), (below, "accuracy (%)")):
        axes.set_ylabel(name, **text_style(theme, size - 1, color=theme.muted))
        _scale(axes, end, ticks[axes], named=axes is below, theme=theme, width=width)
    for text in below.legend(frameon=False, loc="lower right").get_texts():
        text.set(**text_style(theme, size - 1))
    below.set_xlabel("texts read", loc="left", **text_style(theme, size - 1, color=theme.muted))
    title = f"Fine-tuning: {percent(scores.max())} of held-out rows named right at best"
    set_title(figure, title, theme=theme, width=width)
    return figure


def training_alt(texts: Any, loss: Any, accuracy: Any, held_out_texts: Any, held_out: Any) -> str:
    """What `training_figure` shows, from the same data."""
    read, losses, shares, marks, scores = _check_curves(
        texts, loss, accuracy, held_out_texts, held_out
    )
    losses, shares = _smooth(losses), _smooth(shares)
    best = int(scores.argmax())
    return (
        f"Training over {counted(int(read[-1]), 'text')}: the loss goes from {losses[0]:.2f} to "
        f"{losses[-1]:.2f} nats, accuracy on training rows from {percent(shares[0])} to "
        f"{percent(shares[-1])}. Accuracy on held-out rows is best after "
        f"{counted(int(marks[best]), 'text')}: {percent(scores[best])}."
    )


def confusion_figure(
    counts: Any, labels: Sequence[str], *, theme: Theme = LIGHT, width: int = 560
) -> Figure:
    """What each class was taken for: a row for each true class, tinted by its share of the row.

    Args:
        counts: [C, C] rows of the true class (down) named as each class (across).
        labels: C class names.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a count is NaN or below 0.
    """
    cells = _check_counts(counts, labels)
    shares = _shares(cells)
    size = font_size(width)
    room = width - text_width([label(name) for name in labels], size) - 4 * size
    names = fitted(labels, size, room / len(labels) - size)
    across = min(room, _CELL * len(labels) * 1.5)
    down = 3.4 * size * len(labels)
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
    _name_axes(axes, names, [label(name) for name in labels], across, down, theme, size)
    title = f"{percent(np.trace(cells) / max(cells.sum(), 1))} of {int(cells.sum()):,} rows right"
    set_title(figure, title, theme=theme, width=width)
    return figure


def confusion_alt(counts: Any, labels: Sequence[str]) -> str:
    """What `confusion_figure` shows, from the same data."""
    cells = _check_counts(counts, labels)
    right = np.trace(cells) / max(cells.sum(), 1)
    said = f"Confusion matrix of {counted(int(cells.sum()), 'row')}: {percent(right)} named right."
    wrong = cells - np.diag(np.diag(cells))
    if not wrong.any():
        return said
    true, named = np.unravel_index(wrong.argmax(), wrong.shape)
    return said + (
        f" Most often wrong: {labels[true]} taken for {labels[named]}, "
        f"{counted(int(wrong[true, named]), 'row')}."
    )


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


def _shares(cells: np.ndarray) -> np.ndarray:
    """Each row's counts as shares of the row; a class without rows has none."""
    return cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)


def _check_counts(counts: Any, labels: Sequence[str]) -> np.ndarray:
    return check_array("counts", counts, (len(labels), len(labels)), low=0, high=np.inf)


def _check_curves(
    texts: Any, loss: Any, accuracy: Any, held_out_texts: Any, held_out: Any
) -> tuple[np.ndarray, ...]:
    read = check_array("texts", texts, (None,), low=0, high=np.inf)
    marks = check_array("held_out_texts", held_out_texts, (None,), low=0, high=np.inf)
    return (
        read,
        check_array("loss", loss, (len(read),), low=0, high=np.finfo(float).max),
        check_array("accuracy", accuracy, (len(read),), low=0, high=1),
        marks,
        check_array("held_out", held_out, (len(marks),), low=0, high=1),
    )
