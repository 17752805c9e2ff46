"""How a classifier's mind moves along a text: each class's probability after each token.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import spread
from gpt2.figures.base.colors import class_color
from gpt2.figures.base.picture import check_field, check_words
from gpt2.figures.base.style import (
    LIGHT,
    LINE_HEIGHT,
    Theme,
    font_size,
    new_figure,
    plain_axes,
    set_title,
    text_style,
    token_ticks,
)
from gpt2.figures.base.text import counted, label, percent, quoted, text_width, whole_percent

_PLOT = 230  # height of the plot itself, in CSS pixels
_SWATCH = 16  # room for the mark before a class's name


@dataclass(frozen=True, eq=False)
class TopicLines:
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
        values, winner = self.per_token, self._winner
        size = font_size(width)
        names = [label(piece) for piece in self.pieces]
        ends = [
            f"{label(name)} {whole_percent(p)}"
            for name, p in zip(self.labels, values[-1], strict=True)
        ]
        edge = text_width(ends, size, bold=True) + _SWATCH
        figure = new_figure(width, _PLOT + text_width(names, size - 1) + 4 * size + 26)
        axes = figure.subplots()
        for index in range(len(self.labels)):
            strong = index == winner
            axes.plot(
                values[:, index],
                color=class_color(index),
                linewidth=2.6 if strong else 1.4,
                marker="o" if len(values) == 1 else None,
                zorder=3 if strong else 2,
                clip_on=False,
            )
        _name_lines(axes, values[-1], ends, theme=theme, size=size)
        self._mark_decision(axes, names, theme=theme, width=width)
        plain_axes(axes, theme, size - 1, frame=("bottom",))
        axes.set_xlim(-0.5 if len(values) == 1 else 0, max(len(values) - 1, 0.5))
        axes.set_ylim(0, 1)
        style = text_style(theme, size - 1, color=theme.muted)
        axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100"), **style)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=theme.grid, linewidth=1)
        axes.set_axisbelow(True)
        room = width - edge - 5 * size - 10
        token_ticks(axes, "x", names, pixels=room, size=size - 1, theme=theme)
        axes.set_xlabel("text read so far, token by token", loc="left", **style)
        axes.set_ylabel("probability (%)", **style)
        return figure

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

    def _mark_decision(self, axes: Axes, names: Sequence[str], *, theme: Theme, width: int) -> None:
        """Say since which token the winner leads, and draw a line there."""
        start = self.decided_at
        words = "from the first token on" if start == 0 else f"from “{names[start]}” on"
        title = f"{label(self.labels[self._winner])} leads {words}"
        set_title(axes.get_figure(), title, theme=theme, width=width)
        if start:
            axes.axvline(start, color=theme.muted, linewidth=1, linestyle=(0, (3, 3)))


def _name_lines(
    axes: Axes, last: np.ndarray, ends: Sequence[str], *, theme: Theme, size: float
) -> None:
    """Write each class at the right end of its line, moved apart where lines end together."""
    heights = spread(last, LINE_HEIGHT * size / (_PLOT * 0.9))
    for index, height in enumerate(heights):
        strong = {"weight": "bold"} if index == int(last.argmax()) else {}
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        dot = text_style(theme, size, color=class_color(index), va="center")
        name = text_style(theme, size, va="center", **strong)
        axes.annotate("●", (1, height), xytext=(5, 0), annotation_clip=False, **at, **dot)
        axes.annotate(
            ends[index], (1, height), xytext=(5 + _SWATCH, 0), annotation_clip=False, **at, **name
        )
