"""A whole long text as one pooled map, with the window that is shown large outlined.

Imports: numpy, matplotlib.
"""

from math import ceil, log10
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from gpt2.figures.attention import COLORS, GAMMA, TICKS
from gpt2.figures.base.canvas import boxes, new_canvas, write, write_lines, write_title
from gpt2.figures.base.heatmap import bar_height, color_bar, paint
from gpt2.figures.base.style import LIGHT, Theme, check_array, check_width, font_size
from gpt2.figures.base.text import counted, text_width

_LARGEST = 420  # the map's side at most, in CSS pixels
_LEFT, _TITLE = 62, 26  # the numbers at the left, and the title above


def overview_figure(
    pooled: Any,
    *,
    tokens: int,
    window: tuple[int, int] | None = None,
    title: str,
    unit: str = "share of attention, 0 to 1",
    high: float = 1.0,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """A map of many tokens, pooled to few cells; its axes count tokens.

    Args:
        pooled: [n, n], each cell for tokens / n tokens on each axis; rows look at columns.
        tokens: T, how many the text has, at least n.
        window: first token and the one after the last of what is shown large, or None.
        title: of the figure.
        unit: title of the colour bar.
        high: the value that gets the brightest colour, the greatest there may be.
        theme, width: as everywhere.

    Raises:
        ValueError: a value is NaN or out of 0..high, or the window is not within the text.
    """
    values = _check(pooled, tokens, window, high)
    size = font_size(width) - 1
    side, top, height = _place(width)
    figure, axes = new_canvas(width, height)
    write_title(axes, title, theme=theme, width=width)
    scale = colormaps[COLORS], PowerNorm(GAMMA, 0, high)
    ticks = [high * tick for tick in TICKS]
    color_bar(axes, _LEFT, _TITLE, unit, *scale, ticks, theme=theme, size=size, width=width)
    shown = np.where(np.tri(len(values), dtype=bool), values, np.nan)
    paint(axes, shown, (_LEFT, top, side, side), colors=scale[0], norm=scale[1])
    _number_axes(axes, tokens, side, top, theme=theme, size=size)
    if window is not None:
        start, stop = (side * edge / tokens for edge in window)
        length = max(stop - start, 4)
        place = (_LEFT + start, top + start, length, length)
        boxes(axes, [place], facecolors="none", edgecolors=theme.accent, linewidths=2)
        lines = ["outlined, shown large:", f"tokens {window[0]:,} to {window[1] - 1:,}"]
        more = {"ha": "right", "color": theme.accent}
        write_lines(axes, _LEFT + side - 2, top + size, lines, theme=theme, size=size, **more)
    return figure


def overview_alt(
    pooled: Any,
    *,
    tokens: int,
    window: tuple[int, int] | None = None,
    title: str,
    high: float = 1.0,
) -> str:
    """What `overview_figure` shows, from the same data."""
    values = _check(pooled, tokens, window, high)
    said = f"{title}: overview of {counted(tokens, 'token')} in {len(values)} steps."
    if window is not None:
        said += f" Outlined: tokens {window[0]:,} to {window[1] - 1:,}."
    return said


def overview_at(x: float, y: float, *, tokens: int, width: int) -> tuple[int, int] | None:
    """The tokens under a place of an overview, as (query, key); None outside the map.

    Args:
        x, y: fractions of the picture's width and height, from its top left corner.
        tokens, width: those the figure was drawn with.
    """
    side, top, height = _place(width)
    key, query = (x * width - _LEFT) / side, (y * height - top) / side
    if not (0 <= key < 1 and 0 <= query < 1):
        return None
    return int(query * tokens), int(key * tokens)


def _place(width: int) -> tuple[int, int, int]:
    """The map's side, its top, and the figure's height."""
    check_width(width)
    size = font_size(width) - 1
    side = min(width - _LEFT - 12, _LARGEST)
    top = round(_TITLE + bar_height(size) + 8)
    return side, top, round(top + side + 3.4 * size)


def _check(pooled: Any, tokens: int, window: tuple[int, int] | None, high: float) -> np.ndarray:
    cells = len(pooled)
    if not high > 0:
        raise ValueError(f"high is {high}; the greatest value of a map must be above 0")
    if tokens < cells:
        raise ValueError(f"{tokens} tokens cannot have been pooled to {cells} cells a side")
    if window is not None and not 0 <= window[0] < window[1] <= tokens:
        raise ValueError(f"window {window[0]} to {window[1]} is not within {tokens} tokens")
    return check_array("pooled", pooled, (cells, cells), low=0, high=high)


def _number_axes(
    axes: Axes, tokens: int, side: int, top: int, *, theme: Theme, size: float
) -> None:
    """Round token numbers on both axes, at most six, and what the axes are."""
    power = 10 ** int(log10(max(tokens / 6, 1)))
    step = next(n * power for n in (1, 2, 5, 10) if ceil(tokens / (n * power)) <= 6)
    style = {"theme": theme, "size": size, "color": theme.muted}
    for token in range(0, tokens, step):
        at = side * (token + 0.5) / tokens
        x = max(_LEFT + at, _LEFT + text_width([str(token)], size) / 2)
        write(axes, x, top + side + 0.9 * size, str(token), ha="center", **style)
        y = max(top + at, top + size / 2)
        write(axes, _LEFT - 6, y, str(token), ha="right", **style)
    write(axes, _LEFT, top + side + 2.4 * size, "token looked at (key)", **style)
    turned = {"rotation": 90, "ha": "center", "va": "center"}
    write(axes, 2 + size / 2, top + side / 2, "token that looks (query)", **style | turned)
