"""A plot on a canvas: an area in which values have places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt2.figures.base.canvas import Canvas


@dataclass(frozen=True, eq=False)
class Plot:
    """An area with a scale on each side.

    Args:
        canvas: what it is drawn on.
        left, top, across, down: in CSS pixels.
        x: the values at its left and its right edge.
        y: the values at its bottom and its top edge.
    """

    canvas: Canvas
    left: float
    top: float
    across: float
    down: float
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.down

    def at_x(self, value: Any) -> Any:
        """How far from the left a value lies, in CSS pixels of the canvas."""
        return self.left + self.across * (value - self.x[0]) / (self.x[1] - self.x[0])

    def at_y(self, value: Any) -> Any:
        """How far from the top a value lies, in CSS pixels of the canvas."""
        return self.top + self.down * (1 - (value - self.y[0]) / (self.y[1] - self.y[0]))

    def rows(self, ticks: Sequence[float] | np.ndarray, words: Sequence[str]) -> None:
        """A faint line across at each value, named at its left."""
        for tick, said in zip(ticks, words, strict=True):
            y = float(self.at_y(tick))
            self.canvas.boxes([(self.left, y, self.across, 1)], facecolors=self.canvas.theme.grid)
            self.canvas.write(self.left - 5, y, said, ha="right", muted=True)

    def columns(
        self, ticks: Sequence[float] | np.ndarray, words: Sequence[str], *, lines: bool = False
    ) -> None:
        """The names of values below their places, with or without a faint line up from each."""
        for tick, said in zip(ticks, words, strict=True):
            x, y = float(self.at_x(tick)), self.bottom + self.canvas.size
            if lines:
                self.canvas.boxes([(x, self.top, 1, self.down)], facecolors=self.canvas.theme.grid)
            self.canvas.write(x, y, said, ha="center", muted=True)

    def line(self, x: Any, y: Any, **style: Any) -> None:
        """A line through values."""
        self.canvas.axes.plot(self.at_x(np.asarray(x)), self.at_y(np.asarray(y)), **style)
