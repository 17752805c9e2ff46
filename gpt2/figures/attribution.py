"""Which tokens of the text a prediction rests on, by several methods side by side.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import (
    boxes,
    line_height,
    new_canvas,
    wrapped,
    write,
    write_lines,
    write_title,
)
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_array, font_size
from gpt2.figures.base.text import counted, fitted, label, quoted, text_width

MAX_BARS = 24  # tokens drawn; of more, the strongest

_LIMIT = 1e9  # a score is any number
_HEAD = 44  # CSS pixels for the title and what the sides mean
_WIDEST, _APART = 300, 10  # a method's column at most, and what parts it from the next


def attribution_figure(
    pieces: Sequence[str],
    values: Any,
    names: Sequence[str],
    *,
    target: str,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """A row for each token, a column of signed bars for each method, each on its own scale.

    Args:
        pieces: T tokens of the text; of more than MAX_BARS the strongest are drawn, in text order.
        values: [M, T] scores, positive where a token made the target more likely; NaN where not
            known yet, which is drawn as no bar.
        names: M methods.
        target: the token or class that was predicted.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a score is not a number.
    """
    scores = _check(pieces, values, names)
    rows = strongest_tokens(scores)
    size = font_size(width) - 1
    numbers = [f"{row} " if len(rows) < len(pieces) else "" for row in rows]
    room = 0.3 * width if width < PHONE else width
    labels = fitted([pieces[row] for row in rows], size, room - text_width(numbers, size))
    labels = [number + shown for number, shown in zip(numbers, labels, strict=True)]
    side = text_width(labels, size) + 12
    heads, columns, across = _columns(scores, names, width - side, size)
    row, tall = round(1.5 * size), max(map(len, heads)) * line_height(size) + 6
    block = tall + row * len(rows) + 12
    figure, axes = new_canvas(width, _HEAD + ceil(len(names) / columns) * block)
    write_title(axes, f"What {label(target)} rests on", theme=theme, width=width)
    said = "bar to the right: makes it more likely; to the left: less"
    if width < PHONE:
        said = "right: makes it more likely; left: less"
    write(axes, 2, 31, said, theme=theme, size=size, color=theme.muted)
    for method, head in enumerate(heads):
        down, over = divmod(method, columns)
        x, top = side + over * across, _HEAD + down * block + tall
        y = top - tall + 0.8 * size
        y = write_lines(axes, x, y, head[:-1], theme=theme, size=size, weight="bold")
        write(axes, x, y, head[-1], theme=theme, size=size, color=theme.muted)
        _draw_bars(axes, scores[method, rows], (x, top, across - _APART, row), theme=theme)
        for index, shown in enumerate(labels if over == 0 else []):
            y = top + (index + 0.5) * row
            write(axes, side - 8, y, shown, theme=theme, size=size, ha="right")
    return figure


def attribution_alt(
    pieces: Sequence[str], values: Any, names: Sequence[str], *, target: str
) -> str:
    """What `attribution_figure` shows, from the same data."""
    scores = _check(pieces, values, names)
    said = f"What {quoted(target)} rests on, over {counted(len(pieces), 'token')}."
    for name, row in zip(names, scores, strict=True):
        order = np.argsort(-np.abs(row), kind="stable")[:3]
        listed = ", ".join(f"{quoted(pieces[i])} (token {i}) {row[i]:+.2g}" for i in order)
        said += f" Strongest by {name}: {listed}."
    return said


def strongest_tokens(values: Any) -> list[int]:
    """The tokens that are drawn, in text order: all, or those strongest by any method.

    Args:
        values: [M, T]; each method counts by its own greatest score.
    """
    scores = np.abs(np.asarray(values, dtype=float))
    shares = (scores / np.maximum(scores.max(1, keepdims=True), 1e-12)).max(0)
    return sorted(np.argsort(-shares, kind="stable")[:MAX_BARS].tolist())


def _check(pieces: Sequence[str], values: Any, names: Sequence[str]) -> np.ndarray:
    shape = (len(names), len(pieces))
    scores = check_array("values", values, shape, low=-_LIMIT, high=_LIMIT, missing=True)
    return np.nan_to_num(scores)


def _columns(
    scores: np.ndarray, names: Sequence[str], room: float, size: float
) -> tuple[list[list[str]], int, float]:
    """Lines above each method, methods side by side, and the width of each."""
    words = [word for name in names for word in name.split(" ")]
    least = max(text_width(words, size, bold=True), text_width(["max 1.2e-05"], size))
    blocks = ceil(len(names) / max(1, int(room // (least + _APART))))
    columns = ceil(len(names) / blocks)
    across = min(room / columns, _WIDEST)
    heads = [wrapped(name, size, across - _APART, bold=True) for name in names]
    for head, row in zip(heads, scores, strict=True):
        head.append(f"max {np.abs(row).max():.2g}")
    most = max(map(len, heads))
    return [[*head[:-1], *[""] * (most - len(head)), head[-1]] for head in heads], columns, across


def _draw_bars(
    axes: Axes, scores: np.ndarray, place: tuple[float, float, float, float], *, theme: Theme
) -> None:
    """Bars of one method. Place: left, top and width of the column, height of a row."""
    left, top, across, row = place
    low, high = min(float(scores.min()), 0.0), max(float(scores.max()), 0.0)
    scale = across / max(high - low, 1e-12)
    zero = left - scale * low
    boxes(axes, [(zero - 0.5, top, 1, row * len(scores))], facecolors=theme.muted)
    bars = [(zero, top + i * row + 3, scale * score, row - 6) for i, score in enumerate(scores)]
    colors = [theme.diverging[-1] if score > 0 else theme.diverging[0] for score in scores]
    boxes(axes, bars, facecolors=colors)
