"""The next token before and after a change: two bars for each token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.cells import Cells
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.picture import check_field, check_words
from gpt2.figures.base.style import LIGHT, Theme, check_width, font_size, row_labels, tallest
from gpt2.figures.base.text import percent, quoted, shorten, text_width, visible

_TOP, _GAP = 26, 6  # CSS pixels: the key above, and between a bar and its words


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """Two bars for each token, on one scale, and both numbers.

    Args:
        pieces: N tokens, those of both lists of the most likely, in the order to draw.
        before, after: [N] their probabilities.
        names: of the two, for the key.
        words: the tokens for the CSV file; none are the pieces.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """

    pieces: Sequence[str]
    before: np.ndarray
    after: np.ndarray
    names: tuple[str, str] = ("before", "after")
    words: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            check_field(self, name, (len(self.pieces),), low=0, high=1)
        check_words(self)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """A row for each token."""
        size, grid = font_size(width), self._grid(width)
        pairs = np.column_stack([self.before, self.after])
        labels = row_labels(self.pieces, size, width)
        words = [_words(*pair) for pair in pairs]
        side, row, room = grid.left, grid.down, grid.across
        ends = [
            pair.max() / max(1 - (text_width([said], size) + 2 * _GAP) / room, 0.08)
            for pair, said in zip(pairs, words, strict=True)
        ]
        scale = room / max(*ends, 1e-9)
        canvas = Canvas(width, _TOP + row * len(labels) + 4, theme)
        colors = theme.bar, theme.accent
        canvas.write_key(side, 12, list(zip(colors, self.names, strict=True)))
        height = row / 2 - 3
        for index, (pair, said) in enumerate(zip(pairs, words, strict=True)):
            top = _TOP + index * row
            canvas.write(side - 8, top + row / 2, labels[index], size=size, ha="right")
            for half, color in enumerate(colors):
                bar = (side, top + 3 + half * height, scale * pair[half], height - 0.5)
                canvas.boxes([bar], facecolors=color)
            canvas.write(side + scale * pair.max() + _GAP, top + row / 2, said, size=size)
        canvas.boxes([(side - 1, _TOP, 1, row * len(labels))], facecolors=theme.muted)
        return canvas.figure

    def cells(self, width: int) -> Cells:
        """A cell for each token."""
        names = [shorten(visible(piece), 24) for piece in self.pieces]
        values = [[_words(*pair)] for pair in zip(self.before, self.after, strict=True)]
        said = "“{row}”, {column}: {value}"
        return Cells.of(self._grid(width), names, [" → ".join(self.names)], values, said)

    def alt(self) -> str:
        """The three best of both, and what changed most."""
        said = "Probability of the next token."
        for name, probs in zip(self.names, (self.before, self.after), strict=True):
            best = np.argsort(-probs, kind="stable")[:3]
            listed = ", ".join(f"{quoted(self.pieces[i])} {percent(probs[i])}" for i in best)
            said += f" Most likely {name}: {listed}."
        most = int(np.abs(self.after - self.before).argmax())
        change = _words(self.before[most], self.after[most])
        return said + f" Greatest change: {quoted(self.pieces[most])}, {change}."

    def columns(self) -> dict[str, Sequence]:
        """A row for each token."""
        both = zip(self.names, (self.before.tolist(), self.after.tolist()), strict=True)
        return {"token": self.words, **dict(both)}

    def _grid(self, width: int) -> Grid:
        """Where the tokens' bars lie."""
        check_width(width)
        size, count = font_size(width), len(self.pieces)
        side = text_width(row_labels(self.pieces, size, width), size) + 10
        row = int(min(round(2.1 * size), (tallest(width) - _TOP - 4) // count))
        return Grid(side, _TOP, count, 1, width - side - 4, row)


def _words(before: float, after: float) -> str:
    """Both numbers, the unit once where both have it: 18.3 → 31.0 %."""
    return f"{percent(before).removesuffix(' %')} → {percent(after)}"
