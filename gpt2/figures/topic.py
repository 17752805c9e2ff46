"""How a classifier's mind moves along a text: each class's probability after each token.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import spread
from gpt2.figures.base.colors import class_color
from gpt2.figures.base.style import (
    LIGHT,
    LINE_HEIGHT,
    Theme,
    check_array,
    font_size,
    new_figure,
    plain_axes,
    set_title,
    text_style,
    token_ticks,
)
from gpt2.figures.base.text import counted, label, percent, quoted, text_width, whole_percent

_PLOT = 230  # height of the plot itself, in CSS pixels
_SWATCH = 16  # room for the mark before a class's name


def topic_figure(
    per_token: Any,
    pieces: Sequence[str],
    labels: Sequence[str],
    *,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """One line for each class, named at its right end; the winner's is the strong one.

    Args:
        per_token: [T, C] probabilities, as if the text ended after each token.
        pieces: T token pieces.
        labels: C class names.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """
    values = _check(per_token, pieces, labels)
    size = font_size(width)
    winner = int(values[-1].argmax())
    names = [label(piece) for piece in pieces]
    ends = [f"{label(name)} {whole_percent(p)}" for name, p in zip(labels, values[-1], strict=True)]
    edge = text_width(ends, size, bold=True) + _SWATCH
    figure = new_figure(width, _PLOT + text_width(names, size - 1) + 4 * size + 26)
    axes = figure.subplots()
    for index in range(len(labels)):
        strong = index == winner
        axes.plot(
            values[:, index],
            color=class_color(index),
            linewidth=2.6 if strong else 1.4,
            marker="o" if len(values) == 1 else None,
            zorder=3 if strong else 2,
            clip_on=False,
        )
    _name_lines(axes, values[-1], ends, theme=theme, size=size)
    _mark_decision(axes, values, names, labels, theme=theme, width=width)
    plain_axes(axes, theme, size - 1, frame=("bottom",))
    axes.set_xlim(-0.5 if len(values) == 1 else 0, max(len(values) - 1, 0.5))
    axes.set_ylim(0, 1)
    style = text_style(theme, size - 1, color=theme.muted)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100"), **style)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    room = width - edge - 5 * size - 10
    token_ticks(axes, "x", names, pixels=room, size=size - 1, theme=theme)
    axes.set_xlabel("text read so far, token by token", loc="left", **style)
    axes.set_ylabel("probability (%)", **style)
    return figure


def topic_alt(per_token: Any, pieces: Sequence[str], labels: Sequence[str]) -> str:
    """What `topic_figure` shows, from the same data."""
    values = _check(per_token, pieces, labels)
    winner, start = int(values[-1].argmax()), decided_at(values)
    said = f"Probability of each topic along {counted(len(values), 'token')}."
    said += f" It ends with {labels[winner]} at {percent(values[-1, winner])}"
    if start == 0:
        return said + ", which leads from the first token on."
    return said + f", which leads for good from token {start}, {quoted(pieces[start])}, on."


def decided_at(per_token: Any) -> int:
    """The token, counted from 0, from which the final winner leads without a break.

    Args:
        per_token: [T, C] probabilities.

    Raises:
        ValueError: a value is NaN or no probability.
    """
    leaders = check_array("per_token", per_token, (None, None), low=0, high=1).argmax(1)
    others = np.flatnonzero(leaders != leaders[-1])
    return int(others[-1]) + 1 if len(others) else 0


def _check(per_token: Any, pieces: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    if not pieces or not labels:
        raise ValueError("there is nothing to draw; pass at least one token and one label")
    return check_array("per_token", per_token, (len(pieces), len(labels)), low=0, high=1)


def _name_lines(
    axes: Axes, last: np.ndarray, ends: Sequence[str], *, theme: Theme, size: float
) -> None:
    """Write each class at the right end of its line, moved apart where lines end together."""
    heights = spread(last, LINE_HEIGHT * size / (_PLOT * 0.9))
    for index, height in enumerate(heights):
        strong = {"weight": "bold"} if index == int(last.argmax()) else {}
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        dot = text_style(theme, size, color=class_color(index), va="center")
        name = text_style(theme, size, va="center", **strong)
        axes.annotate("●", (1, height), xytext=(5, 0), annotation_clip=False, **at, **dot)
        axes.annotate(
            ends[index], (1, height), xytext=(5 + _SWATCH, 0), annotation_clip=False, **at, **name
        )


def _mark_decision(
    axes: Axes,
    values: np.ndarray,
    names: Sequence[str],
    labels: Sequence[str],
    *,
    theme: Theme,
    width: int,
) -> None:
    """Say since which token the winner leads, and draw a line there."""
    start, winner = decided_at(values), int(values[-1].argmax())
    words = "from the first token on" if start == 0 else f"from “{names[start]}” on"
    title = f"{label(labels[winner])} leads {words}"
    set_title(axes.get_figure(), title, theme=theme, width=width)
    if start:
        axes.axvline(start, color=theme.muted, linewidth=1, linestyle=(0, (3, 3)))
