"""How a classifier's mind moves along a text: each class's probability after each token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import TURNED, Canvas, spread
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.colors import class_color
from gpt2.figures.base.heatmap import label_columns
from gpt2.figures.base.picture import check_field, check_words
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, LINE_HEIGHT, WIDEST_LABEL, Theme, font_size
from gpt2.figures.base.text import (
    counted,
    fitted,
    label,
    percent,
    quoted,
    text_width,
    whole_percent,
)

_PLOT = 230  # height of the plot itself, in CSS pixels, if all names are drawn
_TOP = 28  # above it
_SWATCH = 16  # room for the mark before a class's name


@dataclass(frozen=True, eq=False)
class TopicLines(NoCells):
    """One line for each class, named at its right end; the winner's is the strong one.

    Args:
        per_token: [T, C] probabilities, as if the text ended after each token.
        pieces: T tokens.
        labels: C class names.
        words: the tokens for the CSV file; none are the pieces.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """

    per_token: np.ndarray
    pieces: Sequence[str]
    labels: Sequence[str]
    words: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.pieces or not self.labels:
            raise ValueError("there is nothing to draw; pass at least one token and one label")
        shape = len(self.pieces), len(self.labels)
        check_field(self, "per_token", shape, low=0, high=1)
        check_words(self)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """Tokens across, probability upward."""
        values, count = self.per_token, len(self.per_token)
        size = font_size(width)
        names = fitted(self.pieces, size - 1, WIDEST_LABEL)
        ends = [
            f"{label(name)} {whole_percent(p)}"
            for name, p in zip(self.labels, values[-1], strict=True)
        ]
        side = text_width(names, size - 1)
        canvas = Canvas(width, _PLOT + side + 4 * size + 26, theme)
        left = canvas.size + text_width(["100"], canvas.size) + 12
        across = width - left - text_width(ends, size, bold=True) - _SWATCH - 8
        turned = side + canvas.size > across / count
        foot = (side if turned else canvas.size) + 2 * canvas.size + 14
        edges = (0, count - 1) if count > 1 else (-0.5, 0.5)
        down = canvas.height - _TOP - foot
        plot = Plot(canvas, left, _TOP, across, down, edges, (0, 1))
        plot.rows((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100"))
        canvas.boxes([(left, plot.bottom, across, 1)], facecolors=theme.muted)
        self._draw_lines(plot, names)
        self._name_lines(plot, ends)
        step = across / (count - 1) if count > 1 else 0
        place = left - step / 2, plot.bottom + 2, across + step
        label_columns(canvas, names, place, turned=turned)
        y = canvas.height - 3 - canvas.size / 2
        canvas.write(left, y, "text read so far, token by token", muted=True)
        y = plot.top + down / 2
        canvas.write(3 + canvas.size / 2, y, "probability (%)", muted=True, **TURNED)
        return canvas.figure

    def alt(self) -> str:
        """The winner, and since when it leads."""
        start = self.decided_at
        said = f"Probability of each topic along {counted(len(self.pieces), 'token')}."
        said += f" It ends with {self.labels[self._winner]} at "
        said += percent(self.per_token[-1, self._winner])
        if start == 0:
            return said + ", which leads from the first token on."
        return (
            said + f", which leads for good from token {start}, {quoted(self.pieces[start])}, on."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each token, a column for each class."""
        columns = zip(self.labels, self.per_token.T.tolist(), strict=True)
        return {"token": self.words, **dict(columns)}

    @property
    def decided_at(self) -> int:
        """The token, counted from 0, from which the final winner leads without a break."""
        others = np.flatnonzero(self.per_token.argmax(1) != self._winner)
        return int(others[-1]) + 1 if len(others) else 0

    @property
    def _winner(self) -> int:
        return int(self.per_token[-1].argmax())

    def _draw_lines(self, plot: Plot, names: Sequence[str]) -> None:
        """The lines of the classes, and since which token the winner leads."""
        start = self.decided_at
        words = "from the first token on" if start == 0 else f"from “{names[start]}” on"
        plot.canvas.write_title(f"{label(self.labels[self._winner])} leads {words}")
        if start:
            style = {"color": plot.canvas.theme.muted, "linewidth": 1, "linestyle": (0, (3, 3))}
            plot.line([start, start], [0, 1], **style)
        for index, line in enumerate(self.per_token.T):
            strong = index == self._winner
            plot.line(
                np.arange(len(line)),
                line,
                color=class_color(index),
                linewidth=2.6 if strong else 1.4,
                marker="o" if len(line) == 1 else None,
                zorder=3 if strong else 2,
            )

    def _name_lines(self, plot: Plot, ends: Sequence[str]) -> None:
        """Each class at the right end of its line, moved apart where lines end together."""
        canvas, size = plot.canvas, plot.canvas.size + 1
        heights = spread(self.per_token[-1], LINE_HEIGHT * size / plot.down)
        for index, height in enumerate(heights):
            x, y = plot.left + plot.across + 5, plot.at_y(height)
            strong = {"weight": "bold"} if index == self._winner else {}
            canvas.write(x, y, "●", size=size, color=class_color(index))
            canvas.write(x + _SWATCH, y, ends[index], size=size, **strong)
