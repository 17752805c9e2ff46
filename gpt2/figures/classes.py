"""Bars of the classes of a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.bar_plot import GAP, bar_place, bar_plot, check_probs, draw_axis
from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.colors import class_color
from gpt2.figures.base.style import LIGHT, Theme, font_size, row_labels
from gpt2.figures.base.text import percent, text_width


@dataclass(frozen=True, eq=False)
class ClassBars(NoCells):
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
        check_probs(self, "probs", len(self.labels))

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The most likely one is bold."""
        size, best, count = font_size(width) + 1, int(self.probs.argmax()), len(self.probs)
        names = row_labels(self.labels, size - 2, width)
        canvas = Canvas(width, size * 2.2 * count + 44, theme)
        sides = [text_width([name], size - 2, bold=row == best) for row, name in enumerate(names)]
        room = width - text_width(names, size, bold=True) - 30
        longest = 1 / (1 - (text_width(["100.0 %"], size, bold=True) + 2 * GAP) / room)
        plot = bar_plot(canvas, max(sides), top=3, longest=longest, rows=(count - 0.4, -0.6))
        draw_axis(plot, 1, room=room / longest)
        for row, (name, value) in enumerate(zip(names, self.probs, strict=True)):
            weight = "bold" if row == best else "normal"
            canvas.write(plot.left - 3.5, plot.at_y(row), name, ha="right", weight=weight)
            bar = bar_place(plot, row, value, 0.7 if row == best else 0.5)
            canvas.boxes([bar], facecolors=class_color(row))
            x, y = plot.at_x(value) + GAP, plot.at_y(row)
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
