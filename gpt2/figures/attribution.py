"""Which tokens of the text a prediction rests on, by several methods side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas, blocks_of, line_height, wrapped
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.picture import check_field, check_words
from gpt2.figures.base.style import (
    LIGHT,
    PHONE,
    WIDEST_LABEL,
    Theme,
    check_width,
    font_size,
    tallest,
)
from gpt2.figures.base.text import counted, fitted, named, quoted, shorten, text_width, visible

MAX_BARS = 24  # tokens drawn; of more, the strongest

_LIMIT = 1e9  # a score is any number
_HEAD = 44  # CSS pixels for the title and what the sides mean
_WIDEST, _APART = 300, 10  # a method's column at most, and what parts it from the next


@dataclass(frozen=True, eq=False)
class AttributionBars:
    """A row for each token, a column of signed bars for each method, each on its own scale.

    Args:
        pieces: T tokens of the text; of more than MAX_BARS the strongest are drawn, in text order.
        values: [M, T] scores, positive where a token made the target more likely; NaN where not
            known yet, which is drawn as no bar.
        names: M methods.
        target: the token or class that was predicted.
        words: the tokens for the CSV file; none are the pieces.

    Raises:
        ValueError: lengths differ, or a score is not a number.
    """

    pieces: Sequence[str]
    values: np.ndarray
    names: Sequence[str]
    target: str
    words: Sequence[str] = ()

    def __post_init__(self) -> None:
        shape = len(self.names), len(self.pieces)
        check_field(self, "values", shape, low=-_LIMIT, high=_LIMIT, missing=True)
        check_words(self)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Methods that do not fit beside the others start a new block."""
        grid, rows, labels, heads = self._plan(width)
        canvas = Canvas(width, _HEAD + ceil(len(heads) / grid.columns) * grid.down, theme)
        scores, tall = np.nan_to_num(self.values), _row(width)
        canvas.write_title(f"What {named(self.target)} rests on")
        canvas.write(2, 31, self._key(len(rows), width), muted=True)
        for method, head in enumerate(heads):
            x, top, across, _ = grid.box(*divmod(method, grid.columns))
            first = top - (grid.top - _HEAD) + 0.8 * canvas.size
            y = canvas.write_lines(x, first, head[:-1], weight="bold")
            canvas.write(x, y, head[-1], muted=True)
            _draw_bars(canvas, scores[method, rows], (x, top, across, tall))
            for index, piece in enumerate(labels if method % grid.columns == 0 else []):
                canvas.write(grid.left - 8, top + (index + 0.5) * tall, piece, ha="right")
        return canvas.figure

    def cells(self, width: int) -> Cells | None:
        """A cell for each token that is drawn and each method, where all are side by side."""
        grid, rows, _, _ = self._plan(width)
        if grid.rows > 1:
            return None
        names = [shorten(visible(self.pieces[row]), 24) for row in rows]
        values = [
            ["" if np.isnan(score) else f"{score:+.2g}" for score in self.values[:, row]]
            for row in rows
        ]
        return Cells.of(
            replace(grid, rows=len(rows), down=_row(width)),
            names,
            self.names,
            values,
            "“{row}” by {column}: {value}",
        )

    def alt(self) -> str:
        """The strongest by each method."""
        said = f"What {quoted(self.target)} rests on, over {counted(len(self.pieces), 'token')}."
        for name, row in zip(self.names, np.nan_to_num(self.values), strict=True):
            order = np.argsort(-np.abs(row), kind="stable")[:3]
            listed = (f"{quoted(self.pieces[i])} (token {i}) {row[i]:+.2g}" for i in order)
            said += f" Strongest by {name}: {', '.join(listed)}."
        return said

    def columns(self) -> dict[str, Sequence]:
        """A row for each token, a column for each method."""
        return {"token": self.words, **dict(zip(self.names, self.values.tolist(), strict=True))}

    def strongest(self, count: int = MAX_BARS) -> list[int]:
        """So many tokens that are strongest by any method, in text order.

        Each method counts by its own greatest score.
        """
        scores = np.abs(np.nan_to_num(self.values))
        shares = (scores / np.maximum(scores.max(1, keepdims=True), 1e-12)).max(0)
        return sorted(np.argsort(-shares, kind="stable")[:count].tolist())

    def _plan(self, width: int) -> tuple[Grid, list[int], list[str], list[list[str]]]:
        """Where the methods lie, which tokens are drawn, their labels, the lines above methods."""
        check_width(width)
        size = font_size(width) - 1
        for count in range(min(MAX_BARS, len(self.pieces)), 0, -1):
            rows = self.strongest(count)
            labels = self._labels(rows, size, width)
            side = text_width(labels, size) + 12
            heads, columns, across = self._columns(width - side, size)
            tall, blocks = max(map(len, heads)) * line_height(size) + 6, ceil(len(heads) / columns)
            block = tall + _row(width) * count + 12
            if _HEAD + blocks * block <= tallest(width):
                break
        grid = Grid(side, _HEAD + tall, blocks, columns, across, block, _APART)
        return grid, rows, labels, heads

    def _labels(self, rows: Sequence[int], size: float, width: int) -> list[str]:
        """Tokens as they are drawn, with their places where some are left out."""
        numbers = [f"{row} " if len(rows) < len(self.pieces) else "" for row in rows]
        room = 0.3 * width if width < PHONE else WIDEST_LABEL + 30
        shown = fitted([self.pieces[row] for row in rows], size, room - text_width(numbers, size))
        return [number + piece for number, piece in zip(numbers, shown, strict=True)]

    def _key(self, shown: int, width: int) -> str:
        """How many tokens are drawn, if not all, and what the sides mean."""
        few = f"{shown} strongest of {len(self.pieces)} tokens"
        if width < PHONE:
            few = f"{few}; right: likelier"
            return few if shown < len(self.pieces) else "right: makes it likelier; left: less"
        said = "bar to the right: makes it more likely; to the left: less"
        return f"{few}; {said}" if shown < len(self.pieces) else said

    def _columns(self, room: float, size: float) -> tuple[list[list[str]], int, float]:
        """Lines above each method, methods side by side, and the width of each."""
        words = [word for name in self.names for word in name.split(" ")]
        least = max(text_width(words, size, bold=True), text_width(["max 1.2e-05"], size))
        _, columns = blocks_of(len(self.names), int(room // (least + _APART)))
        across = min(room / columns, _WIDEST)
        heads = [wrapped(name, size, across - _APART, bold=True) for name in self.names]
        most = max(map(len, heads))
        for head, row in zip(heads, np.nan_to_num(self.values), strict=True):
            head += [*[""] * (most - len(head)), f"max {np.abs(row).max():.2g}"]
        return heads, columns, across


def _row(width: int) -> int:
    """Height of a token's row."""
    return round(1.5 * (font_size(width) - 1))


def _draw_bars(
    canvas: Canvas, scores: np.ndarray, place: tuple[float, float, float, float]
) -> None:
    """Bars of one method. Place: left, top and width of the column, height of a row."""
    left, top, across, row = place
    low, high = min(float(scores.min()), 0.0), max(float(scores.max()), 0.0)
    scale = across / max(high - low, 1e-12)
    zero, theme = left - scale * low, canvas.theme
    canvas.boxes([(zero - 0.5, top, 1, row * len(scores))], facecolors=theme.muted)
    bars = [(zero, top + i * row + 3, scale * score, row - 6) for i, score in enumerate(scores)]
    colors = [theme.diverging[-1] if score > 0 else theme.diverging[0] for score in scores]
    canvas.boxes(bars, facecolors=colors)
