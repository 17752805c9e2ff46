"""How the model's distribution became the drawn token: a column for each step, then the draw.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import boxes, line_height, new_canvas, wrapped, write, write_lines
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_array, font_size
from gpt2.figures.base.text import counted, fitted, percent, quoted, text_width
from gpt2.figures.number_line import NumberLine

_GAP = 5  # CSS pixels between a bar and its number
_BAR = 24  # CSS pixels the longest bar has at least


@dataclass(frozen=True)
class _Fall:
    """Checked data: pieces [N], stages [S], probs [S, N], left [S], cut [S], starts [N]."""

    pieces: Sequence[str]
    stages: Sequence[str]
    probs: np.ndarray
    left: Sequence[int]
    cut: np.ndarray
    chosen: int
    u: float | None
    starts: np.ndarray

    @property
    def end(self) -> float:
        """Where the drawn token's slice of 0 to 1 ends."""
        return min(1.0, float(self.starts[self.chosen] + self.probs[-1, self.chosen]))


@dataclass(frozen=True)
class _Table:
    """Where the columns lie, in CSS pixels; those that don't fit side by side start a new block."""

    side: float
    across: float
    columns: int
    row: float
    longest: float
    names: list[list[str]]
    numbers: list[list[str]]
    size: float

    @property
    def head(self) -> float:
        lines = max(len(a) + len(b) for a, b in zip(self.names, self.numbers, strict=True))
        return lines * line_height(self.size) + 4

    def block(self, rows: int) -> float:
        return self.head + rows * self.row + 16

    def corner(self, stage: int, rows: int) -> tuple[float, float]:
        """Left and top of a step's bars."""
        block, column = divmod(stage, self.columns)
        return self.side + column * self.across, self.head + block * self.block(rows)


def waterfall_figure(
    pieces: Sequence[str],
    stages: Sequence[str],
    probs: Any,
    left: Sequence[int],
    cut: Any,
    *,
    chosen: int,
    u: float | None,
    starts: Any,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
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
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, a value is NaN or no probability, or u is not in 0..1.
    """
    fall = _check(pieces, stages, probs, left, cut, chosen, u, starts)
    size = font_size(width) - 1
    labels = fitted(pieces, size, 0.27 * width if width < PHONE else width)
    table = _table(fall, labels, size, width)
    rows = len(labels)
    bottom = table.block(rows) * ceil(len(fall.stages) / table.columns)
    line = NumberLine(labels, fall.probs[-1], fall.starts, chosen, u)
    figure, axes = new_canvas(width, bottom + line.height(width, size))
    for stage in range(len(fall.stages)):
        x, top = table.corner(stage, rows)
        if stage % table.columns == 0:
            _draw_labels(axes, labels, chosen, table, top, theme=theme)
        names, numbers = table.names[stage], table.numbers[stage]
        y = top - (len(names) + len(numbers) - 0.4) * line_height(size) - 2
        y = write_lines(axes, x, y, names, theme=theme, size=size, weight="bold")
        write_lines(axes, x, y, numbers, theme=theme, size=size, color=theme.muted)
        _draw_column(axes, fall, stage, table, (x, top), theme=theme)
    line.draw(axes, top=bottom, width=width, theme=theme, size=size)
    return figure


def waterfall_alt(
    pieces: Sequence[str],
    stages: Sequence[str],
    probs: Any,
    left: Sequence[int],
    cut: Any,
    *,
    chosen: int,
    u: float | None,
    starts: Any,
) -> str:
    """What `waterfall_figure` shows, from the same data."""
    fall = _check(pieces, stages, probs, left, cut, chosen, u, starts)
    piece, shares = quoted(fall.pieces[chosen]), fall.probs[:, chosen]
    said = f"From the model to the draw. {piece} starts at {percent(shares[0])}."
    for stage in range(1, len(fall.stages)):
        said += f" After {fall.stages[stage]}: {percent(shares[stage])}"
        said += f", {counted(fall.left[stage], 'token')} left"
        said += f", {percent(fall.cut[stage])} cut." if fall.cut[stage] else "."
    if u is None:
        return said + " The most likely token is taken, without a random number."
    low = float(fall.starts[chosen])
    return said + f" The random number {u:.4f} falls in its slice, {low:.4f} to {fall.end:.4f}."


def _check(
    pieces: Sequence[str],
    stages: Sequence[str],
    probs: Any,
    left: Sequence[int],
    cut: Any,
    chosen: int,
    u: float | None,
    starts: Any,
) -> _Fall:
    values = check_array("probs", probs, (len(stages), len(pieces)), low=0, high=1)
    cuts = check_array("cut", cut, (len(stages),), low=0, high=1)
    places = check_array("starts", starts, (len(pieces),), low=0, high=1)
    if len(left) != len(stages):
        raise ValueError(f"{len(left)} counts left for {len(stages)} steps; pass one for each")
    if not 0 <= chosen < len(pieces):
        raise ValueError(f"chosen row {chosen} is not between 0 and {len(pieces) - 1}")
    if u is not None and not 0 <= u < 1:
        raise ValueError(f"u is {u}; a random number is at least 0 and below 1")
    return _Fall(pieces, stages, values, left, cuts, chosen, u, places)


def _table(fall: _Fall, labels: Sequence[str], size: float, width: int) -> _Table:
    """As many columns side by side as fit, the same number in each block."""
    side = text_width(labels, size, bold=True) + 10
    high = [percent(p) for p in fall.probs.flat if p > fall.probs.max() / 2]
    number = text_width([*high, "8.8 %"], size, bold=True) + _GAP + 8
    count = len(fall.stages)
    blocks = ceil(count / max(1, int((width - side) // (_BAR + number))))
    columns = ceil(count / blocks)
    across = min((width - side) / columns, 240)
    room = across - 8
    names = [wrapped(name, size, room, bold=True) for name in fall.stages]
    numbers = [wrapped(counted(left, "token"), size, room) for left in fall.left]
    for lines, cut in zip(numbers, fall.cut, strict=True):
        lines += wrapped(f"{percent(cut)} cut", size, room) if cut else []
    row = round(1.6 * size)
    return _Table(side, across, columns, row, across - number, names, numbers, size)


def _draw_labels(
    axes: Axes, labels: Sequence[str], chosen: int, table: _Table, top: float, *, theme: Theme
) -> None:
    for row, words in enumerate(labels):
        strong = {"weight": "bold"} if row == chosen else {}
        y = top + (row + 0.5) * table.row
        write(axes, table.side - 8, y, words, theme=theme, size=table.size, ha="right", **strong)


def _draw_column(
    axes: Axes,
    fall: _Fall,
    stage: int,
    table: _Table,
    corner: tuple[float, float],
    *,
    theme: Theme,
) -> None:
    """The bars of one step; a token is hollow and says so in the step that cut it."""
    x, top = corner
    scale = table.longest / max(float(fall.probs.max()), 1e-9)
    boxes(axes, [(x - 1, top, 1, table.row * len(fall.pieces))], facecolors=theme.muted)
    for row, prob in enumerate(fall.probs[stage]):
        drawn, y = row == fall.chosen, top + row * table.row
        before = fall.probs[stage - 1, row] if stage else prob
        if prob == before == 0:
            continue
        length, words = scale * max(prob, before if prob == 0 else 0), percent(prob)
        style: dict[str, Any] = {"facecolors": theme.accent if drawn else theme.bar}
        if prob == 0:
            words = "cut"
            style = {"facecolors": "none", "edgecolors": theme.muted, "linewidths": 1}
        boxes(axes, [(x, y + 3, max(length, 1), table.row - 6)], **style)
        more = {"weight": "bold"} if drawn else {"color": theme.muted} if prob == 0 else {}
        middle = y + table.row / 2
        write(axes, x + length + _GAP, middle, words, theme=theme, size=table.size, **more)
