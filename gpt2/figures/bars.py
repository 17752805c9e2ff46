"""Bars of probabilities: the ten most likely next tokens, and the classes of a text.

Imports: numpy, matplotlib.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.colors import class_color
from gpt2.figures.base.picture import Picture, check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, Theme, font_size, row_labels
from gpt2.figures.base.text import percent, quoted, text_width

_KEY = "Bar: the model. Outline: after temperature and filters."
_GAP = 6  # CSS pixels between a bar and its words


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
class TokenBars:
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
            _check_probs(self, name, count)
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
            / max(1 - (text_width([row.words], size, bold=row.here) + 2 * _GAP) / room, 0.08)
            for row in rows
        )
        plot = _plot(
            canvas,
            max(sides),
            top=canvas.size + 9 if explained else 3,
            longest=max(ends) or 1.0,
            rows=(places[-1] + 0.8, -0.6),
        )
        highest = max(max(row.prob, row.after) for row in rows)
        _draw_axis(plot, highest, room=room * highest / plot.x[1])
        for name, row, place in zip(names, rows, places, strict=True):
            weight = "bold" if row.here else "normal"
            y = plot.at_y(place)
            canvas.write(plot.left - 3.5, y, name, ha="right", weight=weight)
            style: dict[str, Any] = {"facecolors": theme.accent if row.here else theme.bar}
            if row.cut:
                style = {"facecolors": "none", "edgecolors": theme.muted, "hatch": "//////"}
            canvas.boxes([_bar(plot, place, row.prob, 0.54)], **style)
            if row.moved:
                canvas.outline(_bar(plot, place, row.after, 0.8), theme.text, line=1)
            x = plot.at_x(max(row.prob, row.after)) + _GAP
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


@dataclass(frozen=True, eq=False)
class ClassBars:
    """One bar for each class, in the given order and always the same colours.

    Args:
        labels: C class names.
        probs: [C], summing to 1.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """

    labels: Sequence[str]
    probs: np.ndarray

    def __post_init__(self) -> None:
        _check_probs(self, "probs", len(self.labels))

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The most likely one is bold."""
        size, best, count = font_size(width) + 1, int(self.probs.argmax()), len(self.probs)
        names = row_labels(self.labels, size - 2, width)
        canvas = Canvas(width, size * 2.2 * count + 44, theme)
        sides = [text_width([name], size - 2, bold=row == best) for row, name in enumerate(names)]
        room = width - text_width(names, size, bold=True) - 30
        longest = 1 / (1 - (text_width(["100.0 %"], size, bold=True) + 2 * _GAP) / room)
        plot = _plot(canvas, max(sides), top=3, longest=longest, rows=(count - 0.4, -0.6))
        _draw_axis(plot, 1, room=room / longest)
        for row, (name, value) in enumerate(zip(names, self.probs, strict=True)):
            weight = "bold" if row == best else "normal"
            canvas.write(plot.left - 3.5, plot.at_y(row), name, ha="right", weight=weight)
            bar = _bar(plot, row, value, 0.7 if row == best else 0.5)
            canvas.boxes([bar], facecolors=class_color(row))
            x, y = plot.at_x(value) + _GAP, plot.at_y(row)
            canvas.write(x, y, percent(value), size=size, weight=weight)
        return canvas.figure

    def alt(self) -> str:
        """All classes, the most likely first."""
        order = np.argsort(-self.probs, kind="stable")
        said = ", ".join(f"{self.labels[i]} {percent(self.probs[i])}" for i in order)
        return f"Topic probabilities, most likely first: {said}."

    def columns(self) -> dict[str, Sequence]:
        """A row for each class."""
        return {"topic": self.labels, "probability": self.probs.tolist()}


def _check_probs(picture: Picture, name: str, count: int) -> None:
    if not count:
        raise ValueError(f"{name}: there is nothing to draw; pass at least one row")
    probs = check_field(picture, name, (count,), low=0, high=1)
    if probs.sum() > 1.01:
        raise ValueError(f"{name} sum to {probs.sum():.4g}; probabilities sum to 1 at most")


def _plot(
    canvas: Canvas, side: float, *, top: float, longest: float, rows: tuple[float, float]
) -> Plot:
    """Where bars of up to `longest` and the words after them lie, beside names `side` wide."""
    left, down = side + 6.5, canvas.height - 3.2 * canvas.size
    return Plot(canvas, left, top, canvas.width - left - 3, down - top, (0, longest), rows)


def _bar(plot: Plot, place: float, value: float, share: float) -> tuple[float, ...]:
    """A bar that takes this share of its row: left, top, width and height."""
    top, bottom = plot.at_y(place - share / 2), plot.at_y(place + share / 2)
    return plot.left, top, plot.at_x(value) - plot.left, bottom - top


def _draw_axis(plot: Plot, highest: float, *, room: float) -> None:
    """Title and thin out the axis, of which the values up to `highest` take `room` pixels."""
    canvas, size = plot.canvas, plot.canvas.size
    bins = int(np.clip(room / (3.2 * size), 1, 5))
    places = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(0, 100 * (highest or 1))
    ticks = [place for place in places if 0 <= place <= 100 * highest * 1.05]
    words = [f"{tick:.4g}" for tick in ticks]
    every = ceil((text_width(words, size) + 8) * (len(ticks) - 1) / max(room, 1)) or 1
    plot.columns([tick / 100 for tick in ticks[::every]], words[::every], lines=True)
    canvas.boxes([(plot.left, plot.top, 1, plot.down)], facecolors=canvas.theme.muted)
    canvas.write(plot.left, plot.bottom + 2.4 * size, "probability (%)", muted=True)
