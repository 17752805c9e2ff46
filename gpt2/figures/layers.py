"""All attention heads of a layer as thumbnails, on the colour scale of the single map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.attention import check_tokens
from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.heatmap import paste_tiles
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_width, tallest
from gpt2.figures.base.text import counted, percent

_TITLE = 30  # CSS pixels above the thumbnails
_HEAD_TITLE = 20  # above each row of them
_BETWEEN = 14  # beside each of them
_EDGE = 3  # around them, for the outline


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """All heads of a layer as thumbnails, in one image, so that drawing is fast.

    Args:
        weights: [H, T, T]; T is at most MAX_TOKENS.
        layer: counted from 0.
        selected: the head to outline, or None.
        first: the first token's place in its text, for the CSV file.

    Raises:
        ValueError: too many tokens, an unknown head, or a value is NaN or out of 0..1.
    """

    weights: np.ndarray
    layer: int
    selected: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        tokens = int(np.shape(self.weights)[-1]) if np.ndim(self.weights) else 0
        check_tokens(tokens)
        heads = len(check_field(self, "weights", (None, tokens, tokens), low=0, high=1))
        if self.selected is not None and not 0 <= self.selected < heads:
            raise ValueError(f"head {self.selected} is not between 0 and {heads - 1}")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Thumbnails in the order of heads, the selected one outlined."""
        heads = len(self.weights)
        grid = _grid(heads, width)
        canvas = Canvas(width, grid.bottom + _EDGE, theme)
        paste_tiles(canvas, self.weights, grid)
        title = f"Layer {self.layer}: where each of its heads looks"
        canvas.write(_EDGE, _TITLE - 8, title, size=canvas.size + 1, va="bottom")
        for head in range(heads):
            x, y, side, _ = grid.box(*divmod(head, grid.columns))
            strong = {"weight": "bold", "color": theme.accent} if head == self.selected else {}
            canvas.write(x, y - 4, f"head {head}", va="bottom", **strong)
            if head == self.selected:
                canvas.outline((x - 2, y - 2, side + 4, side + 4), theme.accent)
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each head."""
        heads = len(self.weights)
        grid = _grid(heads, width)
        names = [f"head {head}" if head < heads else "" for head in range(grid.rows * grid.columns)]
        starts = range(0, len(names), grid.columns)
        values = [names[start : start + grid.columns] for start in starts]
        rows = [f"{row[0]} on" for row in values]
        columns = [str(column + 1) for column in range(grid.columns)]
        return Cells.of(grid, rows, columns, values, f"layer {self.layer}, {{value}}")

    def alt(self) -> str:
        """The sharpest and the broadest head."""
        heads, tokens = self.weights.shape[:2]
        said = f"Attention of layer {self.layer} over {counted(tokens, 'token')}: "
        said += f"{counted(heads, 'head')}."
        if tokens == 1:
            return said
        focus = self.weights[:, 1:].max(2).mean(1)  # [H]
        sharp, broad = int(focus.argmax()), int(focus.argmin())
        said += f" Sharpest: head {sharp}, giving {percent(focus[sharp])} to one token on average"
        return said + (f"; broadest: head {broad}, {percent(focus[broad])}." if heads > 1 else ".")

    def columns(self) -> dict[str, Sequence]:
        """Every pair of tokens of every head."""
        heads = range(len(self.weights))
        rows, columns = np.tril_indices(self.weights.shape[-1])
        return {
            "layer": [self.layer] * (len(rows) * len(heads)),
            "head": [head for head in heads for _ in rows],
            "query": [int(row) + self.first for _ in heads for row in rows],
            "key": [int(column) + self.first for _ in heads for column in columns],
            "value": self.weights[:, rows, columns].ravel().tolist(),
        }


def head_at(x: float, y: float, *, heads: int, width: int) -> int | None:
    """The head under a place of a layer figure, None outside the thumbnails and their names.

    Args:
        x, y: fractions of the picture's width and height, from its top left corner.
        heads, width: those the figure was drawn with.
    """
    grid = _grid(heads, width)
    row, column = grid.at(x * width, y * (grid.bottom + _EDGE)) or (grid.rows, 0)
    head = row * grid.columns + column
    return head if head < heads else None


def _grid(heads: int, width: int) -> Grid:
    """As large as the width and the height allow."""
    check_width(width)
    few = [min(heads, max(2, width // 110))] if width < PHONE else range(1, heads + 1)
    grids = [_fitting(heads, columns, width) for columns in few]
    low = [grid for grid in grids if grid.bottom + _EDGE <= tallest(width)] or grids[-1:]
    return max(low, key=lambda grid: (grid.across, grid.columns))


def _fitting(heads: int, columns: int, width: int) -> Grid:
    """Thumbnails in so many columns."""
    across = min(260 + _BETWEEN, (width - 2 * _EDGE + _BETWEEN) // columns)
    down, top = across + _HEAD_TITLE, _TITLE + _HEAD_TITLE
    return Grid(_EDGE, top, -(-heads // columns), columns, across, down, _BETWEEN, _HEAD_TITLE)
