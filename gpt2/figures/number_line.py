"""The draw itself: 0 to 1 shared out among the tokens left, and where the random number fell.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from gpt2.figures.base.canvas import (
    boxes,
    ink,
    line_height,
    wrapped,
    write,
    write_lines,
    write_near,
)
from gpt2.figures.base.style import Theme
from gpt2.figures.base.text import text_width

_EDGE = 12  # beside the line, in CSS pixels
_BAND = 26  # height of the slices
_NO_NUMBER = "No random number: at temperature 0 the most likely token is taken."
_NUMBER = (
    "One random number from 0 to 1 picks the token. Each token that is left owns a slice as wide "
    "as its probability, in the order of token ids."
)
_OTHERS = " Faint: tokens not listed above."


@dataclass(frozen=True)
class NumberLine:
    """Slices of 0 to 1 in the order of token ids, the drawn one named, and the random number.

    Args:
        labels: N tokens as they are drawn.
        probs, starts: [N] width and start of each token's slice; a width of 0 has none.
        chosen: the drawn token.
        u: the random number in 0..1, None where there was none.
    """

    labels: Sequence[str]
    probs: np.ndarray
    starts: np.ndarray
    chosen: int
    u: float | None

    def height(self, width: int, size: float) -> float:
        """CSS pixels that it takes."""
        words = len(self._words(width, size)) * line_height(size) + size
        return words if self.u is None else words + 24 + _BAND + 30

    def draw(self, axes: Axes, *, top: float, width: int, theme: Theme, size: float) -> None:
        """Draw it below `top` on a canvas."""
        lines = self._words(width, size)
        y = write_lines(axes, 2, top + size, lines, theme=theme, size=size, color=theme.muted)
        if self.u is None:
            return
        band, line = y + 20 - size / 2, width - 2 * _EDGE
        self._draw_slices(axes, band, line, theme=theme, size=size - 1)
        low = float(self.starts[self.chosen])
        high = min(1.0, low + float(self.probs[self.chosen]))
        strong = {"theme": theme, "size": size, "weight": "bold"}
        words = f"{self.labels[self.chosen]} owns {low:.3f} to {high:.3f}"
        middle = _EDGE + line * (low + high) / 2
        write_near(axes, middle, band - 10, words, room=(2, width - 2), **strong)
        mark, below = _EDGE + line * self.u, band + _BAND + 20
        axes.plot([mark], [band + _BAND + 5], marker="^", markersize=8, color=theme.text)
        words, room = f"random number {self.u:.3f}", (28, width - 28)
        write_near(axes, mark, below, words, room=room, **strong)
        for place, words in ((_EDGE, "0"), (width - _EDGE, "1")):
            write(axes, place, below, words, theme=theme, size=size, ha="center")

    def _draw_slices(
        self, axes: Axes, band: float, line: float, *, theme: Theme, size: float
    ) -> None:
        boxes(axes, [(_EDGE, band, line, _BAND)], facecolors=theme.grid)
        for index in np.flatnonzero(self.probs > 0):
            color = theme.accent if index == self.chosen else theme.bar
            left, across = _EDGE + line * self.starts[index], line * self.probs[index]
            boxes(axes, [(left, band, max(across - 1, 0.5), _BAND)], facecolors=color)
            words = self.labels[index]
            if index != self.chosen and text_width([words], size) + 6 < across:
                place = left + across / 2, band + _BAND / 2
                write(axes, *place, words, theme=theme, size=size, ha="center", color=ink(color))

    def _words(self, width: int, size: float) -> list[str]:
        if self.u is None:
            return wrapped(_NO_NUMBER, size, width - 4)
        others = _OTHERS if self.probs.sum() < 0.999 else ""
        return wrapped(_NUMBER + others, size, width - 4)
