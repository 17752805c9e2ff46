"""Which classes a classifier confuses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import TURNED, Canvas
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.heatmap import label_columns, label_rows
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, LINE_HEIGHT, Theme, font_size
from gpt2.figures.base.text import counted, fitted, label, percent, text_width, whole_percent

_CELL = 84  # width of a cell at most


@dataclass(frozen=True, eq=False)
class ConfusionTable(NoCells):
    """What each class was taken for: a row for each true class, tinted by its share of the row.

    Args:
        counts: [C, C] rows of the true class (down) named as each class (across).
        labels: C class names.

    Raises:
        ValueError: lengths differ, or a count is NaN or below 0.
    """

    counts: np.ndarray
    labels: Sequence[str]

    def __post_init__(self) -> None:
        check_field(self, "counts", (len(self.labels),) * 2, low=0, high=np.inf)

    def figure(self, theme: Theme = LIGHT, width: int = 560) -> Figure:
        """A count and a share in each cell, what was right in bold."""
        cells, count, size = self.counts, len(self.labels), font_size(width)
        shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
        names = [label(name) for name in self.labels]
        side = text_width(names, size)
        room = width - side - 4 * size
        wide, high = min(room, _CELL * count * 1.5), 3.4 * size * count
        canvas = Canvas(width, high + 6.5 * size, theme)
        left, top = side + canvas.size + 12, canvas.size + 12
        down = min(canvas.height - top - 3.2 * size, (width - left - 3) * high / wide)
        grid = Grid(left, top, count, count, down * wide / high / count, down / count)
        canvas.write_title(f"{percent(self._right)} of {int(cells.sum()):,} rows right")
        colors = LinearSegmentedColormap.from_list("share", theme.tint)
        places = [grid.box(*at) for at in np.ndindex(shares.shape)]
        canvas.boxes(places, facecolors=colors(shares).reshape(-1, 4))
        for (row, column), share in np.ndenumerate(shares):
            style = {"size": size, "ha": "center", "va": "center", "linespacing": LINE_HEIGHT}
            style |= {"weight": "bold"} if row == column else {}
            words = f"{int(cells[row, column]):,}\n{whole_percent(share)}" if share else "0"
            canvas.write(*grid.middle(row, column), words, **style)
        label_rows(canvas, names, (left, top, down), size=size)
        shown = fitted(self.labels, size, room / count - size)
        turned = text_width(shown, size) + size > grid.across
        place = left, grid.bottom, grid.right - left
        label_columns(canvas, shown, place, turned=turned, size=size)
        foot = text_width(shown, size) if turned else size
        canvas.write(left, grid.bottom + foot + 9 + canvas.size / 2, "named", muted=True)
        y = top + down / 2
        canvas.write(3 + canvas.size / 2, y, "true class", muted=True, **TURNED)
        return canvas.figure

    def alt(self) -> str:
        """How many were right, and the most frequent mistake."""
        said = f"Confusion matrix of {counted(int(self.counts.sum()), 'row')}: "
        said += f"{percent(self._right)} named right."
        wrong = self.counts - np.diag(np.diag(self.counts))
        if not wrong.any():
            return said
        true, named = np.unravel_index(wrong.argmax(), wrong.shape)
        return said + (
            f" Most often wrong: {self.labels[true]} taken for {self.labels[named]}, "
            f"{counted(int(wrong[true, named]), 'row')}."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each pair of classes."""
        return {
            "true class": [name for name in self.labels for _ in self.labels],
            "named": [*self.labels] * len(self.labels),
            "rows": self.counts.astype(int).ravel().tolist(),
        }

    @property
    def _right(self) -> float:
        return float(np.trace(self.counts) / max(self.counts.sum(), 1))
