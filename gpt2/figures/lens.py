"""The logit lens: the token that each layer would have said, at each position.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas, ink
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.heatmap import TITLE, bar_height, color_bar, share_scale
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_width, font_size
from gpt2.figures.base.text import counted, fitted, percent, quoted, shorten, visible

MAX_ROWS = 17  # of layers; more are thinned

_SIDE = 62  # the layers' names at the left
_CELL = 54  # CSS pixels a cell is wide at least
_ROW = 24  # and high


@dataclass(frozen=True, eq=False)
class LensGrid:
    """A cell for each layer and position: the most likely next token, had the model ended there.

    Args:
        pieces: [R][P] that token after the embedding, after each block, and so in the output.
        probs: [R, P, k] the probabilities of the k best there, most likely first.
        inputs: P tokens of the text, each the last one read at its position; P is at most
            lens_columns(width).
        positions: [P] their places in the text, for the CSV file.
        guesses: R * P * k words, the k best of each cell, for the CSV file.
        words: the inputs for the CSV file.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """

    pieces: Sequence[Sequence[str]]
    probs: np.ndarray
    inputs: Sequence[str]
    positions: Sequence[int]
    guesses: Sequence[str]
    words: Sequence[str]

    def __post_init__(self) -> None:
        count = len(self.inputs)
        rows, _, best = check_field(self, "probs", (None, count, None), low=0, high=1).shape
        if len(self.pieces) != rows or any(len(row) != count for row in self.pieces):
            raise ValueError(f"pieces must be {rows} rows of {count} tokens, as probs are")
        wanted = {"positions": count, "words": count, "guesses": rows * count * best}
        for name, number in wanted.items():
            if len(getattr(self, name)) != number:
                raise ValueError(f"{len(getattr(self, name))} {name} are not {number}, as of probs")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Layers downward, the output last; positions across.

        Raises:
            ValueError: too many positions for the width.
        """
        if len(self.inputs) > lens_columns(width):
            raise ValueError(
                f"{len(self.inputs)} positions are too many to draw at width {width}, the limit is "
                f"{lens_columns(width)}; pass fewer"
            )
        size, values = font_size(width) - 1, self.probs[..., 0]
        rows, grid = lens_rows(len(values)), self._grid(width)
        canvas = Canvas(width, grid.bottom + 4, theme)
        title = "What each layer would say next"
        canvas.write_title(f"{title}, reading down to the output" if width >= PHONE else title)
        scale = share_scale("probability of the token in the cell, 0 to 1")
        color_bar(canvas, _SIDE, scale)
        self._draw_edges(canvas, grid, rows)
        places = [grid.box(*at) for at in np.ndindex(grid.rows, grid.columns)]
        shades = scale.colors(scale.norm(values[rows])).reshape(-1, 4)
        canvas.boxes(places, facecolors=shades)
        words = [word for row in rows for word in fitted(self.pieces[row], size, grid.across - 5)]
        for (left, up, wide, high), word, shade in zip(places, words, shades, strict=True):
            style = {"color": ink(shade[:3]), "ha": "center"}
            canvas.write(left + wide / 2, up + high / 2, word, **style)
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each layer that is drawn and each position."""
        rows, names = lens_rows(len(self.pieces)), layer_names(len(self.pieces))
        values = [
            [
                f"{quoted(piece)} {percent(prob)}"
                for piece, prob in zip(self.pieces[row], self.probs[row, :, 0], strict=True)
            ]
            for row in rows
        ]
        shown = [shorten(visible(piece), 24) for piece in self.inputs]
        said = "{row}, after “{column}”: {value}"
        return Cells.of(
            self._grid(width), [layer_title(names[row]) for row in rows], shown, values, said
        )

    def alt(self) -> str:
        """What the output says at the last position, and since which layer."""
        names = layer_names(len(self.pieces))
        answer = self.pieces[-1][-1]
        said = f"The most likely next token after each of {counted(len(names) - 1, 'layer')}, at "
        said += f"{counted(len(self.inputs), 'position')}. At the last, after "
        said += f"{quoted(self.inputs[-1])}, the output says {quoted(answer)}, "
        said += percent(self.probs[-1, -1, 0])
        others = [i for i, row in enumerate(self.pieces) if row[-1] != answer]
        first = others[-1] + 1 if others else 0
        if first == len(names) - 1:
            return said + "; no layer before it does."
        return said + f", the first choice from {layer_title(names[first])} on."

    def columns(self) -> dict[str, Sequence]:
        """Every layer's guesses at every position."""
        layers, positions, best = np.indices(self.probs.shape).reshape(3, -1).tolist()
        return {
            "layer": layers,
            "position": [int(self.positions[place]) for place in positions],
            "after token": [self.words[place] for place in positions],
            "guess": [guess + 1 for guess in best],
            "token": self.guesses,
            "probability": self.probs.ravel().tolist(),
        }

    def _grid(self, width: int) -> Grid:
        """Where the cells lie."""
        size, rows = font_size(width) - 1, len(lens_rows(len(self.pieces)))
        across = min((width - _SIDE - 2) / len(self.inputs), 120)
        top = TITLE + bar_height(size) + 2.6 * size
        return Grid(_SIDE, top, rows, len(self.inputs), across, _ROW, gap=2)

    def _draw_edges(self, canvas: Canvas, grid: Grid, rows: Sequence[int]) -> None:
        """The tokens read above the columns, the layers at the left."""
        above, names = grid.top - 0.9 * canvas.size, layer_names(len(self.pieces))
        canvas.write(2, above, "read", muted=True)
        for column, word in enumerate(fitted(self.inputs, canvas.size, grid.across - 5)):
            canvas.write(grid.middle(0, column)[0], above, word, ha="center")
        for place, row in enumerate(rows):
            last = {"weight": "bold"} if row == len(names) - 1 else {"muted": True}
            y = grid.middle(place, 0)[1]
            canvas.write(_SIDE - 6, y, layer_title(names[row]), ha="right", **last)


def lens_columns(width: int) -> int:
    """How many positions a lens figure holds at a width: 5 at 340, 16 at 1040.

    Raises:
        ValueError: the width is out of range.
    """
    check_width(width)
    return min(16, (width - _SIDE) // _CELL)


def layer_names(rows: int) -> list[str]:
    """Names of the residual stream's stations: start, 0, 1 ... output (after the last layer)."""
    return ["start", *map(str, range(rows - 2)), "output"][-rows:]


def layer_title(name: str) -> str:
    """A station's name where it stands alone: layer 3, start, output."""
    return f"layer {name}" if name.isdigit() else name


def lens_rows(rows: int) -> list[int]:
    """Which of so many rows are drawn: all, or every n-th and the last."""
    step = ceil(rows / MAX_ROWS)
    return list(range(rows - 1, -1, -step))[::-1]
