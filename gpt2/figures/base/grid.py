"""Cells in rows and columns: where they lie, and their numbers."""

import math
from dataclasses import dataclass

from gpt2.figures.base.canvas import TURNED, Canvas
from gpt2.figures.base.style import tick_step
from gpt2.figures.base.text import text_width


@dataclass(frozen=True)
class Grid:
    """Cells of one size in rows and columns, in CSS pixels.

    Args:
        left, top: of the first cell.
        rows, columns: how many there are.
        across, down: from one cell to the next, the gap included.
        gap: between cells.
    """

    left: float
    top: float
    rows: int
    columns: int
    across: float
    down: float
    gap: float = 0

    @property
    def right(self) -> float:
        """Where the last column ends."""
        return self.left + self.columns * self.across - self.gap

    @property
    def bottom(self) -> float:
        """Where the last row ends."""
        return self.top + self.rows * self.down - self.gap

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, top, width and height of a cell."""
        left, top = self.left + column * self.across, self.top + row * self.down
        return left, top, self.across - self.gap, self.down - self.gap

    def middle(self, row: int, column: int) -> tuple[float, float]:
        """The middle of a cell."""
        left, top, across, down = self.box(row, column)
        return left + across / 2, top + down / 2


def number_grid(canvas: Canvas, grid: Grid, *, end: float = math.inf) -> None:
    """Numbers of the heads above, up to `end`, and of the layers at the left, thinned where they
    would touch."""
    size = canvas.size - 1
    style = {"size": size, "muted": True}
    wide = text_width(["88"], size) * 1.4
    step = max(1, math.ceil(wide / grid.across))
    canvas.write(2, grid.top - 9, "head", **style)
    for head in range(0, grid.columns, step):
        x, _ = grid.middle(0, head)
        if x - wide / 2 > text_width(["head "], size) and x + wide / 2 < end:
            canvas.write(x, grid.top - 9, str(head), ha="center", **style)
    for layer in range(0, grid.rows, tick_step(grid.rows, grid.down * grid.rows, size)):
        _, y = grid.middle(layer, 0)
        canvas.write(grid.left - 6, y, str(layer), ha="right", **style)
    if grid.bottom - grid.top > text_width(["layer"], size):
        middle = (grid.top + grid.bottom) / 2
        canvas.write(2 + size / 2, middle, "layer", **style, **TURNED)
