"""Bars of probabilities: the ten most likely next tokens, and the classes of a text.

Imports: numpy, matplotlib.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.colors import class_color
from gpt2.figures.base.picture import Picture, check_field
from gpt2.figures.base.style import (
    LIGHT,
    Theme,
    font_size,
    new_figure,
    plain_axes,
    row_labels,
    text_style,
)
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
        names = row_labels(self.pieces, size, width)
        for index, row in enumerate(rows):
            names[index] += f"\nrank {row.rank:,}" if row.rank > 10 else ""
        gaps = [1.7 if after.rank > row.rank + 1 else 1.0 for row, after in pairwise(rows)]
        places = np.cumsum([0.0, *gaps])
        figure = new_figure(width, size * 1.9 * (places[-1] + 1.3) + 56)
        axes = figure.subplots()
        room = width - text_width(names, size, bold=True) - 30
        longest = _axis_end(rows, room, size)
        for row, place in zip(rows, places, strict=True):
            _draw_row(axes, row, place, theme=theme)
            style = {"weight": "bold" if row.here else "normal"}
            style |= {"color": theme.muted} if row.cut and not row.here else {}
            end = max(row.prob, row.after) + longest * _GAP / room
            axes.text(
                end, place, row.words, va="center_baseline", **text_style(theme, size, **style)
            )
        axes.set_xlim(0, longest)
        axes.set_ylim(places[-1] + 0.8, -0.6)
        axes.set_yticks(places, names, **text_style(theme, size))
        for row, tick in zip(rows, axes.get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if row.here else "normal")
        if any(row.moved for row in rows):
            style = text_style(theme, size - 1, color=theme.muted)
            figure.suptitle(_KEY, x=2 / width, ha="left", **style)
        highest = max(max(row.prob, row.after) for row in rows)
        _percent_axis(axes, highest, room=room * highest / longest, theme=theme, size=size - 1)
        return figure

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
        size = font_size(width) + 1
        best = int(self.probs.argmax())
        figure = new_figure(width, size * 2.2 * len(self.probs) + 44)
        axes = figure.subplots()
        names = row_labels(self.labels, size, width)
        room = width - text_width(names, size, bold=True) - 30
        longest = 1 / (1 - (text_width(["100.0 %"], size, bold=True) + 2 * _GAP) / room)
        for row, value in enumerate(self.probs):
            strong = row == best
            axes.barh(row, value, height=0.7 if strong else 0.5, color=class_color(row))
            style = text_style(theme, size, weight="bold" if strong else "normal")
            end = value + longest * _GAP / room
            axes.text(end, row, percent(value), va="center_baseline", **style)
        axes.set_xlim(0, longest)
        axes.set_ylim(len(self.probs) - 0.4, -0.6)
        axes.set_yticks(range(len(self.probs)), names, **text_style(theme, size))
        axes.get_yticklabels()[best].set_fontweight("bold")
        _percent_axis(axes, 1, room=room / longest, theme=theme, size=size - 2)
        return figure

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


def _draw_row(axes: Axes, row: _Row, place: float, *, theme: Theme) -> None:
    style: dict[str, Any] = {"color": theme.accent if row.here else theme.bar}
    if row.cut:
        style = {"facecolor": "none", "edgecolor": theme.muted, "hatch": "//////", "linewidth": 0}
    axes.barh(place, row.prob, height=0.54, **style)
    if row.moved:
        outline = {"facecolor": "none", "edgecolor": theme.text, "linewidth": 1}
        axes.barh(place, row.after, height=0.8, **outline)


def _axis_end(rows: Sequence[_Row], room: float, size: float) -> float:
    """Where the axis must end so that every bar and the words after it fit in `room` pixels."""
    ends = []
    for row in rows:
        words = text_width([row.words], size, bold=row.here) + 2 * _GAP
        ends.append(max(row.prob, row.after) / max(1 - words / room, 0.08))
    return max(ends) or 1.0


def _percent_axis(axes: Axes, highest: float, *, room: float, theme: Theme, size: float) -> None:
    """Title and thin out the axis, of which the values up to `highest` take `room` pixels."""
    plain_axes(axes, theme, size, frame=("left",))
    bins = int(np.clip(room / (3.2 * size), 1, 5))
    places = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(0, 100 * (highest or 1))
    ticks = [place for place in places if 0 <= place <= 100 * highest * 1.05]
    style = text_style(theme, size, color=theme.muted)
    words = [f"{tick:.4g}" for tick in ticks]
    every = ceil((text_width(words, size) + 8) * (len(ticks) - 1) / max(room, 1)) or 1
    axes.set_xticks([tick / 100 for tick in ticks[::every]], words[::every], **style)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlabel("probability (%)", loc="left", **style)
