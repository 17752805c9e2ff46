"""A whole long text as one pooled map, with the window that is shown large outlined."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.attention import check_high
from gpt2.figures.base.canvas import TURNED, Canvas
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.heatmap import TITLE, bar_height, color_bar, paint, share_scale
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, Theme, check_width, font_size
from gpt2.figures.base.text import counted, text_width

_LARGEST = 380  # the map's side at most, in CSS pixels
_LEFT = 62  # the numbers at the left
_RUNS = 32  # of tokens that can be pointed at, on each side


@dataclass(frozen=True, eq=False)
class OverviewMap:
    """A map of many tokens, pooled to few cells; its axes count tokens.

    Args:
        pooled: [n, n], each cell for about T / n tokens on each axis; rows look at columns.
        edges: n + 1 token indices, from 0 to T; cell i holds tokens edges[i] to edges[i + 1] - 1.
        title: of the figure.
        window: first token and the one after the last of what is shown large, or None.
        unit: of the cells.
        high: the value that gets the brightest colour, the greatest there may be.

    Raises:
        ValueError: a value is NaN or out of 0..high, or the window is not within the text.
    """

    pooled: np.ndarray
    edges: Sequence[int]
    title: str
    window: tuple[int, int] | None = None
    unit: str = "share of attention, 0 to 1"
    high: float = 1.0

    def __post_init__(self) -> None:
        check_high(self.high)
        cells = len(self.pooled)
        if len(self.edges) != cells + 1:
            raise ValueError(f"{len(self.edges)} edges for {cells} cells; pass one more than cells")
        if self.window is not None and not 0 <= self.window[0] < self.window[1] <= self.tokens:
            start, stop = self.window
            raise ValueError(f"window {start} to {stop} is not within {self.tokens} tokens")
        check_field(self, "pooled", (cells, cells), low=0, high=self.high)

    @property
    def tokens(self) -> int:
        """T, how many the text has."""
        return self.edges[-1]

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The map, with the window outlined."""
        side, top, height = _place(width)
        canvas = Canvas(width, height, theme)
        canvas.write_title(self.title)
        scale = share_scale(self.unit, high=self.high)
        color_bar(canvas, _LEFT, scale)
        shown = np.where(np.tri(len(self.pooled), dtype=bool), self.pooled, np.nan)
        paint(canvas, shown, (_LEFT, top, side, side), scale)
        self._number_axes(canvas, side, top)
        if self.window is not None:
            start, stop = (side * edge / self.tokens for edge in self.window)
            length = max(stop - start, 4)
            canvas.outline((_LEFT + start, top + start, length, length), theme.accent)
            first, after = self.window
            lines = ["outlined, shown large:", f"tokens {first:,} to {after - 1:,}"]
            more = {"ha": "right", "color": theme.accent}
            canvas.write_lines(_LEFT + side - 2, top + canvas.size, lines, **more)
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each pair of runs of tokens, at most _RUNS runs: the mean of what is there."""
        count = len(self.pooled)
        step = ceil(count / _RUNS)
        starts = list(range(0, count, step))
        sums = (
            np.add.reduceat(np.add.reduceat(np.tril(part), starts, axis=0), starts, axis=1)
            for part in (self.pooled, np.ones_like(self.pooled))
        )
        total, cells = sums
        edges = [self.edges[start] for start in starts] + [self.tokens]
        names = [f"tokens {a:,} to {b - 1:,}" for a, b in pairwise(edges)]
        values = [
            [
                f"{total[row, column] / cells[row, column]:.2g}" if column <= row else ""
                for column in range(len(names))
            ]
            for row in range(len(names))
        ]
        side, top, _ = _place(width)
        pitch = side * step / count
        grid = Grid(_LEFT, top, len(names), len(names), pitch, pitch)
        return Cells.of(grid, names, names, values, "{row} look at {column}: {value} on average")

    def alt(self) -> str:
        """How long the text is, and what is outlined."""
        said = f"{self.title}: overview of {counted(self.tokens, 'token')} in {len(self.pooled)} "
        said += "steps."
        if self.window is not None:
            said += f" Outlined: tokens {self.window[0]:,} to {self.window[1] - 1:,}."
        return said

    def columns(self) -> dict[str, Sequence]:
        """Every pair of runs of tokens, by the first token of each."""
        rows, columns = np.tril_indices(len(self.pooled))
        return {
            "query from": [self.edges[row] for row in rows],
            "key from": [self.edges[column] for column in columns],
            "value": self.pooled[rows, columns].tolist(),
        }

    def _number_axes(self, canvas: Canvas, side: int, top: int) -> None:
        """Round token numbers on both axes, at most six, and what the axes are."""
        size, tokens = canvas.size, self.tokens
        power = 10 ** int(log10(max(tokens / 6, 1)))
        step = next(n * power for n in (1, 2, 5, 10) if ceil(tokens / (n * power)) <= 6)
        for token in range(0, tokens, step):
            at = side * (token + 0.5) / tokens
            x = max(_LEFT + at, _LEFT + text_width([str(token)], size) / 2)
            canvas.write(x, top + side + 0.9 * size, str(token), ha="center", muted=True)
            y = max(top + at, top + size / 2)
            canvas.write(_LEFT - 6, y, str(token), ha="right", muted=True)
        canvas.write(_LEFT, top + side + 2.4 * size, "token looked at (key)", muted=True)
        middle = top + side / 2
        canvas.write(2 + size / 2, middle, "token that looks (query)", muted=True, **TURNED)


def _place(width: int) -> tuple[int, int, int]:
    """The map's side, its top, and the figure's height."""
    check_width(width)
    size = font_size(width) - 1
    side = min(width - _LEFT - 12, _LARGEST)
    top = round(TITLE + bar_height(size) + 8)
    return side, top, round(top + side + 3.4 * size)
