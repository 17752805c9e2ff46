"""The map of a square matrix between tokens, which attention and similarity share.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Pixels, new_canvas, write, write_title
from gpt2.figures.base.style import DENSITY, PHONE, Theme, font_size, row_labels, tick_step
from gpt2.figures.base.text import text_width

_CELL = 38  # CSS pixels a side at most
_BAR = 10  # thickness of the colour bar
_TITLE = 26  # above the colour bar


def heatmap(
    matrix: np.ndarray,
    pieces: Sequence[str],
    *,
    title: str,
    names: tuple[str, str],
    unit: str,
    colors: Colormap,
    norm: Normalize,
    ticks: Sequence[float],
    note: str,
    theme: Theme,
    width: int,
) -> Figure:
    """A matrix as colours, with tokens on both axes and a colour bar above.

    Args:
        matrix: [T, T]; NaN stays blank.
        pieces: T tokens.
        title: of the figure.
        names: of the columns' and of the rows' axis.
        unit: title of the colour bar.
        colors, norm, ticks: of the colour bar.
        note: for the blank upper right corner, two lines or none.
        theme, width: as everywhere.
    """
    size = font_size(width) - 1
    labels = row_labels(pieces, size, width)
    side = text_width(labels, size)
    left, top = round(side + 1.4 * size + 14), round(_TITLE + bar_height(size) + 8)
    across, down = _grid(len(labels), width - left - 4, width)
    turned = side + size > across / len(labels)
    foot = (side if turned else size) + 8
    height = max(top + down + foot + 1.8 * size, text_width([names[1]], size) + _TITLE + 6)
    figure, axes = new_canvas(width, height)
    write_title(axes, title, theme=theme, width=width)
    color_bar(axes, left, _TITLE, unit, colors, norm, ticks, theme=theme, size=size, width=width)
    paint(axes, matrix, (left, top, across, down), colors=colors, norm=norm)
    _label_rows(axes, labels, (left, top, down), theme=theme, size=size)
    _label_columns(axes, labels, (left, top + down, across), turned, theme=theme, size=size)
    muted = {"theme": theme, "size": size, "color": theme.muted}
    write(axes, left, top + down + foot + 0.8 * size, names[0], **muted)
    half = text_width([names[1]], size) / 2 + 3
    middle = min(max(top + down / 2, _TITLE + half), height - half)
    write(axes, 2 + size / 2, middle, names[1], rotation=90, ha="center", va="center", **muted)
    for line, words in enumerate(note.split("\n") if note else []):
        y = top + (0.9 + 1.3 * line) * size
        write(axes, left + across - 3, y, words, ha="right", **muted)
    return figure


def paint(
    axes: Axes,
    matrix: np.ndarray,
    place: tuple[int, int, int, int],
    *,
    colors: Colormap,
    norm: Normalize,
) -> None:
    """A matrix's values as colours over a rectangle of whole CSS pixels; NaN stays blank.

    Args:
        place: left, top, width and height.
    """
    left, top, across, down = place
    painted = colors(norm(np.nan_to_num(matrix)), bytes=True)  # [rows,columns,4]
    painted[np.isnan(matrix), 3] = 0
    rows, columns = matrix.shape
    pick_y = np.arange(down * DENSITY) * rows // (down * DENSITY)
    pick_x = np.arange(across * DENSITY) * columns // (across * DENSITY)
    axes.add_artist(Pixels(painted[pick_y[:, None], pick_x], left, top))


def color_bar(
    axes: Axes,
    left: int,
    top: int,
    unit: str,
    colors: Colormap,
    norm: Normalize,
    ticks: Sequence[float],
    *,
    theme: Theme,
    size: float,
    width: int,
) -> None:
    """A bar with a color map's colors, numbers under it and a unit under those."""
    length = min(width - left - 12, 320)
    shades = np.linspace(0, 1, 256)[None]
    paint(axes, shades, (left, top, length, _BAR), colors=colors, norm=Normalize(0, 1))
    style: dict[str, Any] = {"theme": theme, "size": size, "color": theme.muted}
    for tick in ticks:
        x = left + length * float(norm(tick))
        write(axes, x, top + _BAR + 0.8 * size, f"{tick:.2g}", ha="center", **style)
    write(axes, left, top + _BAR + 2.1 * size, unit, **style)


def bar_height(size: float) -> float:
    """CSS pixels that a colour bar takes with its words."""
    return _BAR + 2.8 * size


def _grid(count: int, room: float, width: int) -> tuple[int, int]:
    """Width and height of the map: square on a phone, wider than high where there is room."""
    down = min(_CELL * count, room if width < PHONE else 560)
    return int(min(room, 1.5 * down if width >= PHONE else down)), int(down)


def _label_rows(
    axes: Axes,
    labels: Sequence[str],
    place: tuple[float, float, float],
    *,
    theme: Theme,
    size: float,
) -> None:
    """Tokens at the left, every n-th where there are too many. Place: left, top, height."""
    left, top, down = place
    for row in range(0, len(labels), tick_step(len(labels), down, size)):
        y = top + (row + 0.5) * down / len(labels)
        write(axes, left - 5, y, labels[row], theme=theme, size=size, ha="right")


def _label_columns(
    axes: Axes,
    labels: Sequence[str],
    place: tuple[float, float, float],
    turned: bool,
    *,
    theme: Theme,
    size: float,
) -> None:
    """Tokens below, upright or turned, every n-th where too many. Place: left, top, width."""
    left, top, across = place
    step = tick_step(len(labels), across, size) if turned else 1
    more = {"rotation": 90, "va": "top"} if turned else {}
    for column in range(0, len(labels), step):
        x, y = left + (column + 0.5) * across / len(labels), top + (5 if turned else 5 + size / 2)
        write(axes, x, y, labels[column], theme=theme, size=size, ha="center", **more)
