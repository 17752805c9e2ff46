"""Bars of probabilities: the ten most likely next tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.bar_plot import GAP, bar_place, bar_plot, check_probs, draw_axis
from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.style import LIGHT, Theme, font_size, row_labels
from gpt2.figures.base.text import percent, quoted, text_width

_KEY = "Bar: the model. Outline: after temperature and filters."


@dataclass(frozen=True)
class _Row:
    """One token of the probability figure."""

    piece: str
    prob: float
    after: float
    rank: int
    here: bool

    @property
    def cut(self) -> bool:
        return self.after == 0

    @property
    def moved(self) -> bool:
        """Whether the settings made a difference that the digits show."""
        return not self.cut and percent(self.after) != percent(self.prob)

    @property
    def words(self) -> str:
        """What is written after the bar: 18.3 → 31.0 % · in the text."""
        said = [percent(self.prob)]
        if self.moved:
            said = [f"{said[0].removesuffix(' %')} → {percent(self.after)}"]
        if self.cut:
            said.append("cut")
        if self.here:
            said.append("in the text")
        return " · ".join(said)


@dataclass(frozen=True, eq=False)
class TokenBars(NoCells):
    """The most likely next tokens: a solid bar each, and an outline after temperature and filters.

    Args:
        pieces: N tokens, most likely first; the one in the text is last if it is not among them.
        probs: [N] under the raw softmax.
        sampled_probs: [N] after penalty, temperature and filters; 0 = cut.
        chosen: the row of the token in the text, None if it is not there.
        ranks: [N] of the raw softmax, from 1; none are 1, 2, 3 ...
        table: makes the columns of the CSV file, such as `vocabulary_columns`, when they are asked
            for; None for the tokens shown.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """

    pieces: Sequence[str]
    probs: np.ndarray
    sampled_probs: np.ndarray
    chosen: int | None
    ranks: Sequence[int] = ()
    table: Callable[[], dict[str, Sequence]] | None = None

    def __post_init__(self) -> None:
        count = len(self.pieces)
        for name in ("probs", "sampled_probs"):
            check_probs(self, name, count)
        object.__setattr__(self, "ranks", self.ranks or range(1, count + 1))
        if len(self.ranks) != count:
            raise ValueError(f"{len(self.ranks)} ranks for {count} tokens; pass one for each")
        if self.chosen is not None and not 0 <= self.chosen < count:
            raise ValueError(f"chosen row {self.chosen} is not between 0 and {count - 1}, nor None")

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """A row for each token, with a gap before one of another rank."""
        rows, size = self._rows(), font_size(width)
        names = row_labels(self.pieces, size - 1, width)
        for index, row in enumerate(rows):
            names[index] += f"\nrank {row.rank:,}" if row.rank > 10 else ""
        gaps = [1.7 if after.rank > row.rank + 1 else 1.0 for row, after in pairwise(rows)]
        places = np.cumsum([0.0, *gaps])
        canvas = Canvas(width, size * 1.9 * (places[-1] + 1.3) + 56, theme)
        explained = any(row.moved for row in rows)
        if explained:
            canvas.write(2, 9, _KEY, muted=True)
        sides = [
            text_width([name], size - 1, bold=row.here)
            for name, row in zip(names, rows, strict=True)
        ]
        room = width - text_width(names, size, bold=True) - 30
        ends = (
            max(row.prob, row.after)
            / max(1 - (text_width([row.words], size, bold=row.here) + 2 * GAP) / room, 0.08)
            for row in rows
        )
        plot = bar_plot(
            canvas,
            max(sides),
            top=canvas.size + 9 if explained else 3,
            longest=max(ends) or 1.0,
            rows=(places[-1] + 0.8, -0.6),
        )
        highest = max(max(row.prob, row.after) for row in rows)
        draw_axis(plot, highest, room=room * highest / plot.x[1])
        for name, row, place in zip(names, rows, places, strict=True):
            weight = "bold" if row.here else "normal"
            y = plot.at_y(place)
            canvas.write(plot.left - 3.5, y, name, ha="right", weight=weight)
            style: dict[str, Any] = {"facecolors": theme.accent if row.here else theme.bar}
            if row.cut:
                style = {"facecolors": "none", "edgecolors": theme.muted, "hatch": "//////"}
            canvas.boxes([bar_place(plot, place, row.prob, 0.54)], **style)
            if row.moved:
                canvas.outline(bar_place(plot, place, row.after, 0.8), theme.text, line=1)
            x = plot.at_x(max(row.prob, row.after)) + GAP
            muted = row.cut and not row.here
            canvas.write(x, y, row.words, size=size, weight=weight, muted=muted)
        return canvas.figure

    def alt(self) -> str:
        """The best, the one in the text and how many were cut."""
        rows = self._rows()
        best = ", ".join(f"{quoted(row.piece)} {percent(row.prob)}" for row in rows[:3])
        said = f"Most likely next tokens: {best}."
        for row in rows:
            if row.here:
                said += f" In the text: {quoted(row.piece)}, rank {row.rank:,}, {percent(row.prob)}"
                said += f", {percent(row.after)} after the settings." if row.moved else "."
        cut = sum(row.cut for row in rows)
        return said + (f" The settings cut {cut} of the {len(rows)} shown." if cut else "")

    def columns(self) -> dict[str, Sequence]:
        """A row for each token."""
        if self.table is not None:
            return self.table()
        return {
            "token": self.pieces,
            "rank": self.ranks,
            "probability": self.probs.tolist(),
            "after the settings": self.sampled_probs.tolist(),
        }

    def _rows(self) -> list[_Row]:
        here = [row == self.chosen for row in range(len(self.pieces))]
        numbers = self.probs.tolist(), self.sampled_probs.tolist(), self.ranks
        return [_Row(*row) for row in zip(self.pieces, *numbers, here, strict=True)]
