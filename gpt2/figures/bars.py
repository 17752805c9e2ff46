"""Bars of probabilities: the ten most likely next tokens, and the classes of a text.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.colors import class_color
from gpt2.figures.base.style import (
    LIGHT,
    Theme,
    check_array,
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


def probability_figure(
    pieces: Sequence[str],
    probs: Any,
    sampled_probs: Any,
    chosen: int | None,
    *,
    ranks: Sequence[int] | None = None,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """The most likely next tokens: a solid bar each, and an outline after temperature and filters.

    Args:
        pieces: N tokens, most likely first; the one in the text is last if it is not among them.
        probs: [N] under the raw softmax.
        sampled_probs: [N] after penalty, temperature and filters; 0 = cut.
        chosen: the row of the token in the text, None if it is not there.
        ranks: [N] of the raw softmax, from 1; by default 1, 2, 3 ...
        theme: LIGHT or DARK.
        width: of the figure, in CSS pixels.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """
    rows = _rows(pieces, probs, sampled_probs, chosen, ranks)
    size = font_size(width)
    names = row_labels(pieces, size, width)
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
        axes.text(end, place, row.words, va="center_baseline", **text_style(theme, size, **style))
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


def probability_alt(
    pieces: Sequence[str],
    probs: Any,
    sampled_probs: Any,
    chosen: int | None,
    *,
    ranks: Sequence[int] | None = None,
) -> str:
    """What `probability_figure` shows, from the same data."""
    rows = _rows(pieces, probs, sampled_probs, chosen, ranks)
    best = ", ".join(f"{quoted(row.piece)} {percent(row.prob)}" for row in rows[:3])
    said = f"Most likely next tokens: {best}."
    for row in rows:
        if row.here:
            said += f" In the text: {quoted(row.piece)}, rank {row.rank:,}, {percent(row.prob)}"
            said += f", {percent(row.after)} after the settings." if row.moved else "."
    cut = sum(row.cut for row in rows)
    return said + (f" The settings cut {cut} of the {len(rows)} shown." if cut else "")


def class_figure(
    labels: Sequence[str], probs: Any, *, theme: Theme = LIGHT, width: int = 1040
) -> Figure:
    """One bar for each class, in the given order and always the same colours.

    Args:
        labels: C class names.
        probs: [C], summing to 1.
        theme: LIGHT or DARK.
        width: of the figure, in CSS pixels.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """
    values = _check_probs("probs", probs, len(labels))
    size = font_size(width) + 1
    best = int(values.argmax())
    figure = new_figure(width, size * 2.2 * len(values) + 44)
    axes = figure.subplots()
    names = row_labels(labels, size, width)
    room = width - text_width(names, size, bold=True) - 30
    longest = 1 / (1 - (text_width(["100.0 %"], size, bold=True) + 2 * _GAP) / room)
    for row, value in enumerate(values):
        strong = row == best
        axes.barh(row, value, height=0.7 if strong else 0.5, color=class_color(row))
        style = text_style(theme, size, weight="bold" if strong else "normal")
        end = value + longest * _GAP / room
        axes.text(end, row, percent(value), va="center_baseline", **style)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_yticks(range(len(values)), names, **text_style(theme, size))
    axes.get_yticklabels()[best].set_fontweight("bold")
    _percent_axis(axes, 1, room=room / longest, theme=theme, size=size - 2)
    return figure


def class_alt(labels: Sequence[str], probs: Any) -> str:
    """What `class_figure` shows, from the same data."""
    values = _check_probs("probs", probs, len(labels))
    order = np.argsort(-values, kind="stable")
    said = ", ".join(f"{labels[i]} {percent(values[i])}" for i in order)
    return f"Topic probabilities, most likely first: {said}."


def _rows(
    pieces: Sequence[str],
    probs: Any,
    sampled_probs: Any,
    chosen: int | None,
    ranks: Sequence[int] | None,
) -> list[_Row]:
    raw = _check_probs("probs", probs, len(pieces)).tolist()
    after = _check_probs("sampled_probs", sampled_probs, len(pieces)).tolist()
    ranks = range(1, len(raw) + 1) if ranks is None else ranks
    if len(ranks) != len(raw):
        raise ValueError(f"{len(ranks)} ranks for {len(raw)} tokens; pass one rank for each")
    if chosen is not None and not 0 <= chosen < len(raw):
        raise ValueError(f"chosen row {chosen} is not between 0 and {len(raw) - 1}, nor None")
    here = [row == chosen for row in range(len(raw))]
    return [_Row(*row) for row in zip(pieces, raw, after, ranks, here, strict=True)]


def _check_probs(name: str, values: Any, count: int) -> np.ndarray:
    if not count:
        raise ValueError(f"{name}: there is nothing to draw; pass at least one row")
    probs = check_array(name, values, (count,), low=0, high=1)
    if probs.sum() > 1.01:
        raise ValueError(f"{name} sum to {probs.sum():.4g}; probabilities sum to 1 at most")
    return probs


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
