"""A matrix as colours, on the scale that says what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import TURNED, Canvas
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.style import (
    DENSITY,
    PAGE,
    PHONE,
    Theme,
    check_width,
    font_size,
    row_labels,
    tallest,
    tick_step,
)
from gpt2.figures.base.text import text_width

_CELL = 38  # CSS pixels a cell's side at most
_LARGEST = 400  # and that of the map
_FEW = 40  # steps of colour in small maps on the page, whose images are smaller so
_ROOMY = 280  # from which side on its blank half has room for words
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


def past_colors(shares: np.ndarray, *, steps: int = 255) -> np.ndarray:
    """Maps [..., n, n] of shares as RGBA bytes, transparent where a token cannot look.

    Args:
        shares: 0..1.
        steps: from the darkest colour to the brightest.
    """
    colored = colormaps[_SHARES](np.rint(shares**_GAMMA * steps) / steps, bytes=True)
    colored[..., ~np.tri(shares.shape[-1], dtype=bool), 3] = 0
    return colored


def paste_tiles(canvas: Canvas, maps: np.ndarray, grid: Grid) -> None:
    """Maps of shares, [rows * columns, n, n], on the cells of a grid, as one image.

    Cells and gaps must be whole CSS pixels. On the page an image has a pixel for each of a map's
    own, if they are not too fine to be seen, and the browser spreads them.
    """
    n, side, page = maps.shape[-1], grid.box(0, 0)[2], canvas.theme is PAGE
    scale = min(n / side, 1) if page else DENSITY
    inner, across, down = (round(scale * length) for length in (side, grid.across, grid.down))
    pick = np.arange(inner) * n // inner
    colored = past_colors(maps, steps=_FEW if page else 255)
    tiles = colored.view(np.uint32)[..., 0]  # a pixel moves as one number
    tiles = tiles.reshape(grid.rows, grid.columns, n, n)[:, :, pick[:, None], pick]
    out = np.zeros((grid.rows, down, grid.columns, across), np.uint32)
    out[:, :inner, :, :inner] = tiles.transpose(0, 2, 1, 3)
    pixels = out.view(np.uint8).reshape(grid.rows * down, grid.columns * across, 4)
    place = grid.left, grid.top, grid.columns * grid.across, grid.rows * grid.down
    canvas.paste(pixels, place)


@dataclass(frozen=True)
class Layout:
    """Where a map lies.

    Args:
        width: of the figure, in CSS pixels.
        size: of its texts.
        labels: of its tokens.
        grid: of its cells.
        turned: whether the labels below it read upward.
        foot: CSS pixels that they take.
        corner: whether the colour bar lies in the blank upper right half.
    """

    width: int
    size: float
    labels: Sequence[str]
    grid: Grid
    turned: bool
    foot: float
    corner: bool

    @property
    def height(self) -> float:
        """Of the figure."""
        return self.grid.bottom + self.foot + 1.8 * self.size

    @classmethod
    def of(cls, pieces: Sequence[str], width: int) -> "Layout":
        """That of a square map of tokens, whose upper right half is blank.

        Args:
            pieces: the tokens.
            width: of the figure, in CSS pixels.
        """
        check_width(width)
        size, count = font_size(width) - 1, len(pieces)
        labels = row_labels(pieces, size, width)
        words = text_width(labels, size)
        left = round(words + 1.4 * size + 14)
        room = min(_CELL * count, width - left - 4)
        corner = count >= 10 and room >= _ROOMY
        top = TITLE + 4 if corner else round(TITLE + bar_height(size) + 8)
        for turned in (False, True):
            foot = (words if turned else size) + 8
            free = min(tallest(width), _LARGEST + top + foot) - top - foot - 1.8 * size - 1
            side = int(min(room, free) if width >= PHONE else room)
            if words + size <= side / count:
                break
        grid = Grid(left, top, count, count, side / count, side / count)
        return cls(width, size, labels, grid, turned, foot, corner)


def heatmap(
    matrix: np.ndarray,
    layout: Layout,
    *,
    title: str,
    names: tuple[str, str],
    scale: Scale,
    note: str = "",
    theme: Theme,
) -> Figure:
    """A matrix as colours, with tokens on both axes and a colour bar above.

    Args:
        matrix: [T, T]; NaN stays blank.
        layout: where it lies.
        title: of the figure.
        names: of the columns' and of the rows' axis.
        scale: of its values.
        note: for the blank upper right corner, two lines or none.
        theme: as everywhere.
    """
    size, grid, foot = layout.size, layout.grid, layout.foot
    left, top, side = grid.left, grid.top, round(grid.right - grid.left)
    height = max(layout.height, text_width([names[1]], size) + TITLE + 6)
    canvas = Canvas(layout.width, height, theme)
    canvas.write_title(title)
    if layout.corner:
        length = min(240, round(0.6 * side))
        color_bar(canvas, left + side - length - 8, scale, top=top + 2, length=length)
    else:
        color_bar(canvas, left, scale)
    paint(canvas, matrix, (left, top, side, side), scale)
    label_rows(canvas, layout.labels, (left, top, side))
    label_columns(canvas, layout.labels, (left, grid.bottom, side), turned=layout.turned)
    canvas.write(left, grid.bottom + foot + 0.8 * size, names[0], muted=True)
    half = text_width([names[1]], size) / 2 + 3
    middle = min(max(top + side / 2, TITLE + half), height - half)
    canvas.write(2 + size / 2, middle, names[1], muted=True, **TURNED)
    above = bar_height(size) + 4 if layout.corner else 0
    for line, words in enumerate(note.split("\n") if note else []):
        y = top + above + (0.9 + 1.3 * line) * size
        canvas.write(left + side - 3, y, words, ha="right", muted=True)
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


def color_bar(
    canvas: Canvas, left: float, scale: Scale, *, top: float = TITLE, length: int = 320
) -> None:
    """A bar with a scale's colours, by default below the title, numbers and the unit under it."""
    size, length = canvas.size, int(min(canvas.width - left - 12, length))
    shades = Scale(scale.colors, Normalize(0, 1), (), "")
    paint(canvas, np.linspace(0, 1, 256)[None], (left, top, length, _BAR), shades)
    for tick in scale.ticks:
        x = left + length * float(scale.norm(tick))
        canvas.write(x, top + _BAR + 0.8 * size, f"{tick:.2g}", ha="center", muted=True)
    canvas.write(left, top + _BAR + 2.1 * size, scale.unit, muted=True)


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
