"""All heads of all layers in one picture: a tile each, on the colour scale of the single map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid, number_grid
from gpt2.figures.base.heatmap import paste_tiles
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, MIN_WIDTH, Theme, check_width, tallest
from gpt2.figures.base.text import counted, fonts, text_width, whole_percent
from gpt2.records import HEAD_LABELS, HeadScores

MAX_CELLS = 64  # of one tile's side
LEAST_WIDTH = 180  # as a picker

_TOP = 62  # CSS pixels above the tiles: title, key, numbers of the heads
_SIDE = 38  # beside them: numbers of the layers
_LARGEST = 60  # a tile's side at most, its gap included
_LETTERED = 16  # narrower tiles bear no letters
_HIGHEST = 1500  # CSS pixels on a phone at most, while tiles keep 9
_NARROW_TOP, _NARROW_SIDE = 22, 32  # of a picker


@dataclass(frozen=True, eq=False)
class HeadTiles:
    """Every head as a tile: layers downward, heads across; rows of a tile look at its columns.

    Args:
        maps: [L, H, n, n] attention maps pooled to n x n cells, 0..1; n is at most MAX_CELLS.
        found: what each head was measured to do. A letter marks it and is explained above, unless
            tiles are too small.

    Raises:
        ValueError: shapes differ, or a value is NaN or out of 0..1.
    """

    maps: np.ndarray
    found: HeadScores

    def __post_init__(self) -> None:
        cells = int(np.shape(self.maps)[-1]) if np.ndim(self.maps) else 0
        if cells > MAX_CELLS:
            raise ValueError(
                f"tiles of {cells} cells are too fine to draw, the limit is {MAX_CELLS}; pool the "
                "maps"
            )
        shape = check_field(self, "maps", (None, None, cells, cells), low=0, high=1).shape[:2]
        if self.found.scores.shape[1:] != shape:
            raise ValueError(f"scores are of {self.found.scores.shape[1:]} heads, maps of {shape}")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Square tiles as large as the width allows, in whole pixels; a narrow one is a picker,
        without words above it."""
        grid, words = _grid(*self.maps.shape[:2], width), width >= MIN_WIDTH
        canvas = Canvas(width, grid.bottom + 4, theme, least=LEAST_WIDTH)
        named = self._named() if grid.across >= _LETTERED else {}
        paste_tiles(canvas, self.maps.reshape(-1, *self.maps.shape[2:]), grid)
        if words:
            canvas.write_title("Every head of every layer: where each token looks")
            key, size = _key(list(named), canvas.size, width), canvas.size
            fitting = min(size, size * (width - 4) / text_width([key], size))
            canvas.write(2, 31, key, muted=True, size=fitting)
        number_grid(canvas, grid)
        for word, heads in named.items():
            _stamp(canvas, _letter(word), [grid.box(*at) for at in heads])
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each head, and what it was measured to do most."""
        layers, heads = self.maps.shape[:2]
        best = self.found.scores.argmax(0)
        values = [
            [
                f"{HEAD_LABELS[best[at]]} {whole_percent(float(self.found.scores[best[at]][at]))}"
                for at in ((layer, head) for head in range(heads))
            ]
            for layer in range(layers)
        ]
        rows = [f"layer {layer}" for layer in range(layers)]
        columns = [f"head {head}" for head in range(heads)]
        return Cells.of(
            _grid(layers, heads, width), rows, columns, values, "{row}, {column}: {value}"
        )

    def alt(self) -> str:
        """How many there are, and the first of each kind."""
        layers, heads = self.maps.shape[:2]
        said = f"Attention of {counted(layers, 'layer')} of {counted(heads, 'head')}, a tile each."
        for word, found in self._named().items():
            named = ", ".join(f"layer {layer} head {head}" for layer, head in found[:3])
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            said += f" {word.capitalize()}: {named}{more}."
        return said

    def columns(self) -> dict[str, Sequence]:
        """What every head was measured to do."""
        layers, heads = np.indices(self.maps.shape[:2]).reshape(2, -1).tolist()
        scores = self.found.scores.reshape(len(HEAD_LABELS), -1).tolist()
        return {"layer": layers, "head": heads, **dict(zip(HEAD_LABELS, scores, strict=True))}

    def _named(self) -> dict[str, list[tuple[int, int]]]:
        """The heads that do each thing, by what they do in the order of the alphabet."""
        labels = {at: self.found.label(*at) for at in np.ndindex(self.maps.shape[:2])}
        words = sorted({*labels.values()} - {""})
        return {word: [at for at, label in labels.items() if label == word] for word in words}


def _grid(layers: int, heads: int, width: int) -> Grid:
    check_width(width, least=LEAST_WIDTH)
    narrow = width < MIN_WIDTH
    left, top = (_NARROW_SIDE, _NARROW_TOP) if narrow else (_SIDE, _TOP)
    room = (width - left - 3) / heads
    high = (min(tallest(width), _HIGHEST) - top - 4) / layers
    side = int(max(min(room, _LARGEST, max(high, 9)), 4))
    gap = 4 if side >= 40 else 2 if side >= 10 else 1
    return Grid(left, top, layers, heads, side, side, gap=gap)


def _letter(word: str) -> str:
    return word[0].upper()  # no two of HEAD_LABELS begin alike


def _key(words: Sequence[str], size: float, width: int) -> str:
    said = " · ".join(f"{_letter(word)} {word}" for word in words)
    if not said:
        return "row of a tile: token that looks; bright: looked at"
    return f"marked: {said}" if text_width([f"marked: {said}"], size) < width - 4 else said


def _stamp(canvas: Canvas, letter: str, places: Sequence[tuple]) -> None:
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
    canvas.axes.plot(x, y, marker=centred, label=letter, color=canvas.theme.text, **style)
