"""How the model's distribution became the drawn token: a column for each step, then the draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas, blocks_of, line_height, wrapped
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import (
    LIGHT,
    PHONE,
    WIDEST_LABEL,
    Theme,
    check_width,
    font_size,
    tallest,
)
from gpt2.figures.base.text import counted, fitted, percent, quoted, shorten, text_width, visible
from gpt2.figures.number_line import NumberLine
from gpt2.records import Waterfall

_GAP = 5  # CSS pixels between a bar and its number
_BAR = 16  # CSS pixels the longest bar has at least
_ROW = 1.6  # height of a row, in font sizes
_NOTE = 1.4  # and of the line that says which rows there are


@dataclass(frozen=True, eq=False)
class WaterfallBars:
    """One column of bars for each step from the model's softmax to the draw, then the draw itself.

    Args:
        pieces: N tokens, most likely first; a drawn one that is not among them is last.
        stages: S names of the steps that are on, the model's own softmax first.
        probs: [S, N] after each step; 0 = cut.
        left: [S] how many tokens of the vocabulary are left after it.
        cut: [S] the probability that the step took away, of what it was given; 0 where none.
        chosen: row of the drawn token.
        u: the random number in 0..1 that drew it, None where the most likely one is taken.
        starts: [N] where each token's slice of 0 to 1 starts, tokens in the order of their ids;
            those that were cut may have any start.
        table: makes the columns of the CSV file, such as `vocabulary_columns`, when they are asked
            for; None for the tokens shown.

    Raises:
        ValueError: lengths differ, a value is NaN or no probability, or u is not in 0..1.
    """

    pieces: Sequence[str]
    stages: Sequence[str]
    probs: np.ndarray
    left: Sequence[int]
    cut: np.ndarray
    chosen: int
    u: float | None
    starts: np.ndarray
    table: Callable[[], dict[str, Sequence]] | None = None

    def __post_init__(self) -> None:
        steps, tokens = len(self.stages), len(self.pieces)
        check_field(self, "probs", (steps, tokens), low=0, high=1)
        check_field(self, "cut", (steps,), low=0, high=1)
        check_field(self, "starts", (tokens,), low=0, high=1)
        if len(self.left) != steps:
            raise ValueError(f"{len(self.left)} counts left for {steps} steps; pass one for each")
        if not 0 <= self.chosen < tokens:
            raise ValueError(f"chosen row {self.chosen} is not between 0 and {tokens - 1}")
        if self.u is not None and not 0 <= self.u < 1:
            raise ValueError(f"u is {self.u}; a random number is at least 0 and below 1")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """As many columns side by side as fit, then a line from 0 to 1."""
        plan = self._plan(width)
        grid, rows, labels, note = plan.grid, plan.rows, plan.line.labels, plan.note
        canvas, tall = Canvas(width, plan.bottom + plan.line_height, theme), plan.row
        for stage, (names, numbers) in enumerate(plan.heads):
            x, top, *_ = grid.box(*divmod(stage, grid.columns))
            for place, row in enumerate(rows if stage % grid.columns == 0 else ()):
                strong = {"weight": "bold"} if row == self.chosen else {}
                y = top + (place + 0.5) * tall
                canvas.write(grid.left - 8, y, labels[row], ha="right", **strong)
            y = top - (len(names) + len(numbers) - 0.4) * line_height(canvas.size) - 2
            y = canvas.write_lines(x, y, names, weight="bold")
            canvas.write_lines(x, y, numbers, muted=True)
            self._draw_column(canvas, stage, rows, (x, top), plan.longest)
        if note:
            said = f"Above: the {len(rows)} likeliest of {len(labels)}, the drawn one among them."
            canvas.write(2, plan.bottom - 0.4 * note, said, muted=True)
        plan.line.draw(canvas, top=plan.bottom)
        return canvas.figure

    def cells(self, width: int) -> Cells | None:
        """A cell for each token and step, where all steps are side by side."""
        plan = self._plan(width)
        if plan.grid.rows > 1:
            return None
        grid = replace(plan.grid, rows=len(plan.rows), down=plan.row)
        names = [shorten(visible(self.pieces[row]), 24) for row in plan.rows]
        values = [[self._words(stage, row) for stage in range(grid.columns)] for row in plan.rows]
        return Cells.of(grid, names, self.stages, values, "“{row}” after {column}: {value}")

    def alt(self) -> str:
        """The story of the drawn token."""
        piece, shares = quoted(self.pieces[self.chosen]), self.probs[:, self.chosen]
        said = f"From the model to the draw. {piece} starts at {percent(shares[0])}."
        for stage in range(1, len(self.stages)):
            said += f" After {self.stages[stage]}: {percent(shares[stage])}"
            said += f", {counted(self.left[stage], 'token')} left"
            said += f", {percent(self.cut[stage])} cut." if self.cut[stage] else "."
        if self.u is None:
            return said + " The most likely token is taken, without a random number."
        low = float(self.starts[self.chosen])
        end = min(1.0, low + float(shares[-1]))
        return said + f" The random number {self.u:.4f} falls in its slice, {low:.4f} to {end:.4f}."

    def columns(self) -> dict[str, Sequence]:
        """A row for each token, a column for each step."""
        if self.table is not None:
            return self.table()
        return {"token": self.pieces, **dict(zip(self.stages, self.probs.tolist(), strict=True))}

    def _plan(self, width: int) -> "_Plan":
        """Where all lies, with as many tokens as fit."""
        check_width(width)
        size = font_size(width) - 1
        labels = fitted(self.pieces, size, 0.27 * width if width < PHONE else WIDEST_LABEL)
        line = NumberLine(labels, self.probs[-1], self.starts, self.chosen, self.u)
        below = line.height(width, size)
        for count in range(len(labels), 0, -1):
            rows = self._likeliest(count)
            grid, heads, longest = self._layout([labels[row] for row in rows], size, width)
            note = _NOTE * size if count < len(labels) else 0
            bottom = grid.rows * grid.down + note
            if bottom + below <= tallest(width):
                break
        return _Plan(rows, grid, heads, longest, round(_ROW * size), note, bottom, line, below)

    def _layout(
        self, labels: Sequence[str], size: float, width: int
    ) -> tuple[Grid, list[tuple[list[str], list[str]]], float]:
        """Cells of the steps, as many side by side as fit, the same number in each block; the lines
        above each step's bars, its name and its numbers; and the length of the longest bar."""
        side = text_width(labels, size, bold=True) + 10
        high = [percent(p) for p in self.probs.flat if p > self.probs.max() / 2]
        number = text_width([*high, "8.8 %"], size, bold=True) + _GAP + 8
        blocks, columns = blocks_of(len(self.stages), int((width - side) // (_BAR + number)))
        across = min((width - side) / columns, 240)
        heads = []
        for name, left, cut in zip(self.stages, self.left, self.cut, strict=True):
            numbers = [counted(left, "token"), *([f"{percent(cut)} cut"] if cut else [])]
            lines = [line for said in numbers for line in wrapped(said, size, across - 8)]
            heads.append((wrapped(name, size, across - 8, bold=True), lines))
        top = max(len(names) + len(numbers) for names, numbers in heads) * line_height(size) + 4
        block = top + len(labels) * round(_ROW * size) + 16
        return Grid(side, top, blocks, columns, across, block), heads, across - number

    def _likeliest(self, count: int) -> list[int]:
        """So many rows, the drawn one among them."""
        return sorted(
            [self.chosen, *(i for i in range(len(self.pieces)) if i != self.chosen)][:count]
        )

    def _words(self, stage: int, row: int) -> str:
        """What a step left of a token; nothing of one that was cut before."""
        prob = self.probs[stage, row]
        was = stage and self.probs[stage - 1, row] > 0
        return percent(prob) if prob else "cut" if was else ""

    def _draw_column(
        self,
        canvas: Canvas,
        stage: int,
        rows: Sequence[int],
        corner: tuple[float, float],
        longest: float,
    ) -> None:
        """The bars of one step; a token is hollow and says so in the step that cut it."""
        (x, top), theme, tall = corner, canvas.theme, round(_ROW * canvas.size)
        scale = longest / max(float(self.probs.max()), 1e-9)
        canvas.boxes([(x - 1, top, 1, tall * len(rows))], facecolors=theme.muted)
        left, cut, colors = [], [], []
        for place, row in enumerate(rows):
            drawn, y, prob = row == self.chosen, top + place * tall, self.probs[stage, row]
            words = self._words(stage, row)
            if not words:
                continue
            length = scale * (prob or self.probs[stage - 1, row])
            (left if prob else cut).append((x, y + 3, max(length, 1), tall - 6))
            colors += [theme.accent if drawn else theme.bar] if prob else []
            more = {"weight": "bold"} if drawn else {"muted": prob == 0}
            canvas.write(x + length + _GAP, y + tall / 2, words, **more)
        if left:
            canvas.boxes(left, facecolors=colors)
        if cut:
            canvas.boxes(cut, facecolors="none", edgecolors=theme.muted, linewidths=1)


@dataclass(frozen=True)
class _Plan:
    """Where all of it lies, in CSS pixels.

    Args:
        rows: the tokens that are drawn.
        grid: of the steps.
        heads: the lines above each, its name and its numbers.
        longest: bar.
        row: height of a token's row.
        note: height of the line that says which rows there are, if not all.
        bottom: of the steps.
        line: the draw, below them.
        line_height: of that.
    """

    rows: Sequence[int]
    grid: Grid
    heads: Sequence[tuple[list[str], list[str]]]
    longest: float
    row: int
    note: float
    bottom: float
    line: NumberLine
    line_height: float


def vocabulary_columns(
    drawn: Waterfall, words: Callable[[Sequence[int]], Sequence[str]]
) -> dict[str, Sequence]:
    """Every token of the vocabulary with its probability after each step, as columns.

    Args:
        drawn: the steps.
        words: gives the texts of token ids.
    """
    every = range(drawn.probs.shape[1])
    numbers = dict(zip(drawn.names, drawn.probs.tolist(), strict=True))
    return {"id": every, "token": words(every), **numbers}
