"""A matrix as colours, on the scale that says what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import TURNED, Canvas
from gpt2.figures.base.style import PHONE, Theme, font_size, row_labels, tick_step
from gpt2.figures.base.text import text_width

_CELL = 38  # CSS pixels a side at most
_BAR = 10  # thickness of the colour bar
TITLE = 26  # above the colour bar

# The square root of a share gets the colour: most shares are small, and they are worth seeing.
_SHARES, _GAMMA, _TICKS = "viridis", 0.5, (0, 0.05, 0.25, 0.5, 1)


@dataclass(frozen=True)
class Scale:
    """Which value has which colour.

    Args:
        colors, norm: from values to 0..1, and from there to colours.
        ticks: the values that the colour bar names.
        unit: of the values, in words.
    """

    colors: Colormap
    norm: Normalize
    ticks: Sequence[float]
    unit: str


def share_scale(unit: str, *, high: float = 1) -> Scale:
    """The scale of shares from 0 to `high`, the brightest."""
    ticks = [high * tick for tick in _TICKS]
    return Scale(colormaps[_SHARES], PowerNorm(_GAMMA, 0, high), ticks, unit)


def signed_colors(theme: Theme) -> Colormap:
    """Two hues, one for each sign, with a neutral zero between."""
    return LinearSegmentedColormap.from_list("signed", theme.diverging)


def past_colors(shares: np.ndarray) -> np.ndarray:
    """Maps [..., n, n] of shares as RGBA bytes, transparent where a token cannot look."""
    colored = colormaps[_SHARES](shares**_GAMMA, bytes=True)
    colored[..., ~np.tri(shares.shape[-1], dtype=bool), 3] = 0
    return colored


def heatmap(
    matrix: np.ndarray,
    pieces: Sequence[str],
    *,
    title: str,
    names: tuple[str, str],
    scale: Scale,
    note: str = "",
    theme: Theme,
    width: int,
) -> Figure:
    """A matrix as colours, with tokens on both axes and a colour bar above.

    Args:
        matrix: [T, T]; NaN stays blank.
        pieces: T tokens.
        title: of the figure.
        names: of the columns' and of the rows' axis.
        scale: of its values.
        note: for the blank upper right corner, two lines or none.
        theme, width: as everywhere.
    """
    size = font_size(width) - 1
    labels = row_labels(pieces, size, width)
    side = text_width(labels, size)
    left, top = round(side + 1.4 * size + 14), round(TITLE + bar_height(size) + 8)
    across, down = _sides(len(labels), width - left - 4, width)
    turned = side + size > across / len(labels)
    foot = (side if turned else size) + 8
    height = max(top + down + foot + 1.8 * size, text_width([names[1]], size) + TITLE + 6)
    canvas = Canvas(width, height, theme)
    canvas.write_title(title)
    color_bar(canvas, left, scale)
    paint(canvas, matrix, (left, top, across, down), scale)
    label_rows(canvas, labels, (left, top, down))
    label_columns(canvas, labels, (left, top + down, across), turned=turned)
    canvas.write(left, top + down + foot + 0.8 * size, names[0], muted=True)
    half = text_width([names[1]], size) / 2 + 3
    middle = min(max(top + down / 2, TITLE + half), height - half)
    canvas.write(2 + size / 2, middle, names[1], muted=True, **TURNED)
    for line, words in enumerate(note.split("\n") if note else []):
        y = top + (0.9 + 1.3 * line) * size
        canvas.write(left + across - 3, y, words, ha="right", muted=True)
    return canvas.figure


def paint(
    canvas: Canvas, matrix: np.ndarray, place: tuple[int, int, int, int], scale: Scale
) -> None:
    """A matrix's values as colours over a rectangle of whole CSS pixels; NaN stays blank.

    Args:
        place: left, top, width and height.
    """
    painted = scale.colors(scale.norm(np.nan_to_num(matrix)), bytes=True)  # [rows,columns,4]
    painted[np.isnan(matrix), 3] = 0
    canvas.paste(painted, place)


def color_bar(canvas: Canvas, left: int, scale: Scale) -> None:
    """A bar with a scale's colours below the title, numbers under it and the unit under those."""
    size, length = canvas.size, min(canvas.width - left - 12, 320)
    shades = Scale(scale.colors, Normalize(0, 1), (), "")
    paint(canvas, np.linspace(0, 1, 256)[None], (left, TITLE, length, _BAR), shades)
    for tick in scale.ticks:
        x = left + length * float(scale.norm(tick))
        canvas.write(x, TITLE + _BAR + 0.8 * size, f"{tick:.2g}", ha="center", muted=True)
    canvas.write(left, TITLE + _BAR + 2.1 * size, scale.unit, muted=True)


def bar_height(size: float) -> float:
    """CSS pixels that a colour bar takes with its words."""
    return _BAR + 2.8 * size


def label_rows(
    canvas: Canvas,
    labels: Sequence[str],
    place: tuple[float, float, float],
    *,
    size: float | None = None,
) -> None:
    """Tokens at the left, every n-th where there are too many. Place: left, top, height."""
    left, top, down = place
    for row in range(0, len(labels), tick_step(len(labels), down, size or canvas.size)):
        y = top + (row + 0.5) * down / len(labels)
        canvas.write(left - 5, y, labels[row], ha="right", size=size)


def label_columns(
    canvas: Canvas,
    labels: Sequence[str],
    place: tuple[float, float, float],
    *,
    turned: bool,
    size: float | None = None,
) -> None:
    """Tokens below, upright or turned, every n-th where too many. Place: left, top, width."""
    left, top, across = place
    size = size or canvas.size
    step = tick_step(len(labels), across, size) if turned else 1
    more = {"rotation": 90, "va": "top"} if turned else {}
    for column in range(0, len(labels), step):
        x = left + (column + 0.5) * across / len(labels)
        y = top + (5 if turned else 5 + size / 2)
        canvas.write(x, y, labels[column], ha="center", size=size, **more)


def _sides(count: int, room: float, width: int) -> tuple[int, int]:
    """Width and height of the map: square on a phone, wider than high where there is room."""
    down = min(_CELL * count, room if width < PHONE else 560)
    return int(min(room, 1.5 * down if width >= PHONE else down)), int(down)
