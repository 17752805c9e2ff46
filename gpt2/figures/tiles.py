"""All heads of all layers in one picture: a tile each, on the colour scale of the single map.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from gpt2.figures.attention import COLORS, GAMMA
from gpt2.figures.base.canvas import Pixels, boxes, new_canvas, write
from gpt2.figures.base.grid import Grid, mosaic, number_grid
from gpt2.figures.base.style import LIGHT, Theme, check_array, check_width, font_size
from gpt2.figures.base.text import counted, fonts, text_width

MAX_CELLS = 64  # of one tile's side

_TOP = 62  # CSS pixels above the tiles: title, key, numbers of the heads
_SIDE = 38  # beside them: numbers of the layers
_LARGEST = 60  # a tile's side at most, its gap included
_LETTERED = 16  # narrower tiles bear no letters
_TALLEST = 1440  # all rows together at most, while tiles keep 10 pixels


def tiles_figure(
    maps: Any,
    *,
    selected: tuple[int, int] | None = None,
    labels: Sequence[Sequence[str]] | None = None,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """Every head as a tile: layers downward, heads across; rows of a tile look at its columns.

    Args:
        maps: [L, H, n, n] attention maps pooled to n x n cells, 0..1; n is at most MAX_CELLS.
        selected: layer and head to outline, or None.
        labels: [L][H] a short word for what a head was measured to do, "" for none. Each word
            is marked by a letter of its own and explained above, unless tiles are too small.
        theme, width: as everywhere.

    Raises:
        ValueError: shapes differ, an unknown head, or a value is NaN or out of 0..1.
    """
    shares = _check_maps(maps)
    layers, heads, cells = shares.shape[:3]
    grid = _grid(layers, heads, width)
    letters = _letters(labels, layers, heads)
    letters = letters if grid.across >= _LETTERED else {}
    size = font_size(width) - 1
    figure, axes = new_canvas(width, grid.bottom + 4)
    colored = colormaps[COLORS](shares**GAMMA, bytes=True)  # [L,H,n,n,4]
    colored[:, :, ~np.tri(cells, dtype=bool), 3] = 0
    axes.add_artist(Pixels(mosaic(colored, grid), grid.left, grid.top))
    style = {"theme": theme, "size": size}
    write(axes, 2, 12, "Every head of every layer: where each token looks", **style)
    write(axes, 2, 31, _key(letters, size, width), **style | {"color": theme.muted})
    number_grid(axes, grid, theme=theme, size=size - 1)
    for word, letter in letters.items():
        places = [grid.box(*at) for at in np.ndindex(layers, heads) if labels[at[0]][at[1]] == word]
        _stamp(axes, letter, places, theme=theme)
    if selected is not None:
        _check_head(selected, layers, heads)
        left, top, across, down = grid.box(*selected)
        edge = {"facecolors": "none", "edgecolors": theme.accent, "linewidths": 2}
        boxes(axes, [(left - 1.5, top - 1.5, across + 3, down + 3)], **edge)
    return figure


def tiles_alt(maps: Any, *, labels: Sequence[Sequence[str]] | None = None) -> str:
    """What `tiles_figure` shows, from the same data."""
    shares = _check_maps(maps)
    layers, heads = shares.shape[:2]
    said = f"Attention of {counted(layers, 'layer')} of {counted(heads, 'head')}, a tile each."
    for word in _letters(labels, layers, heads):
        found = [at for at in np.ndindex(layers, heads) if labels[at[0]][at[1]] == word]
        named = ", ".join(f"layer {layer} head {head}" for layer, head in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        said += f" {word.capitalize()}: {named}{more}."
    return said


def tile_at(x: float, y: float, *, layers: int, heads: int, width: int) -> tuple[int, int] | None:
    """The layer and head under a place of a tiles figure, None outside the tiles.

    Args:
        x, y: fractions of the picture's width and height, from its top left corner.
        layers, heads, width: those the figure was drawn with.
    """
    grid = _grid(layers, heads, width)
    return grid.at(x * width, y * (grid.bottom + 4))


def _grid(layers: int, heads: int, width: int) -> Grid:
    """Square tiles as large as the width allows, in whole pixels."""
    check_width(width)
    room = (width - _SIDE - 3) / heads
    side = int(max(min(room, _LARGEST, max(_TALLEST / layers, 10)), 4))
    return Grid(_SIDE, _TOP, layers, heads, side, side, gap=4 if side >= 40 else 2)


def _check_maps(maps: Any) -> np.ndarray:
    cells = int(np.shape(maps)[-1]) if np.ndim(maps) else 0
    if cells > MAX_CELLS:
        raise ValueError(
            f"tiles of {cells} cells are too fine to draw, the limit is {MAX_CELLS}; pool the maps"
        )
    return check_array("maps", maps, (None, None, cells, cells), low=0, high=1)


def _check_head(at: tuple[int, int], layers: int, heads: int) -> None:
    if not (0 <= at[0] < layers and 0 <= at[1] < heads):
        raise ValueError(
            f"layer {at[0]}, head {at[1]} is not one of {layers} layers of {heads} heads"
        )


def _letters(labels: Sequence[Sequence[str]] | None, layers: int, heads: int) -> dict[str, str]:
    """A letter for each word, its first that no other word has, in the words' order."""
    if labels is None:
        return {}
    if len(labels) != layers or any(len(row) != heads for row in labels):
        raise ValueError(f"labels must be {layers} lists of {heads} words, one for each head")
    letters: dict[str, str] = {}
    for word in sorted({word for row in labels for word in row} - {""}):
        free = [c for c in word.upper() if c.isalpha() and c not in letters.values()]
        letters[word] = free[0] if free else "*"
    return letters


def _key(letters: dict[str, str], size: float, width: int) -> str:
    words = " · ".join(f"{letter} {word}" for word, letter in letters.items())
    if not words:
        return "row of a tile: token that looks; bright: looked at"
    if text_width([f"marked: {words}"], size) < width - 4:
        words = f"marked: {words}"
    return words


def _stamp(axes: Axes, letter: str, places: Sequence[tuple], *, theme: Theme) -> None:
    """A letter in the upper right corner of tiles, where the future is blank; drawn as one."""
    prop = FontProperties(family=fonts()[0], weight="bold")
    path = TextPath((0, 0), letter, size=10, prop=prop)
    low, high = path.vertices.min(0), path.vertices.max(0)
    centred = Path(path.vertices - (low + high) / 2, path.codes)
    side = places[0][2]
    pixels = min(11.0, max(0.42 * side, 6))
    x = [left + across - pixels / 2 - 1 for left, _, across, _ in places]
    y = [top + pixels / 2 + 1 for _, top, _, _ in places]
    style = {"linestyle": "none", "markersize": pixels, "markeredgewidth": 0}
    axes.plot(x, y, marker=centred, color=theme.text, **style)
