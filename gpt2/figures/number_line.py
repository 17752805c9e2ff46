"""The draw itself: 0 to 1 shared out among the tokens left, and where the random number fell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt2.figures.base.canvas import Canvas, ink, line_height, wrapped
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

    def draw(self, canvas: Canvas, *, top: float) -> None:
        """Draw it below `top` on a canvas."""
        width, size = canvas.width, canvas.size
        y = canvas.write_lines(2, top + size, self._words(width, size), muted=True)
        if self.u is None:
            return
        band, line = y + 20 - size / 2, width - 2 * _EDGE
        self._draw_slices(canvas, band, line)
        low = float(self.starts[self.chosen])
        high = min(1.0, low + float(self.probs[self.chosen]))
        words = f"“{self.labels[self.chosen]}” owns {low:.3f} to {high:.3f}"
        middle = _EDGE + line * (low + high) / 2
        canvas.write_near(middle, band - 10, words, room=(2, width - 2), weight="bold")
        mark, below = _EDGE + line * self.u, band + _BAND + 20
        style = {"marker": "^", "markersize": 8, "color": canvas.theme.text}
        canvas.axes.plot([mark], [band + _BAND + 5], **style)
        words, room = f"random number {self.u:.3f}", (28, width - 28)
        canvas.write_near(mark, below, words, room=room, weight="bold")
        for place, words in ((_EDGE, "0"), (width - _EDGE, "1")):
            canvas.write(place, below, words, ha="center")

    def _draw_slices(self, canvas: Canvas, band: float, line: float) -> None:
        theme, size = canvas.theme, canvas.size - 1
        canvas.boxes([(_EDGE, band, line, _BAND)], facecolors=theme.grid)
        for index in np.flatnonzero(self.probs > 0):
            color = theme.accent if index == self.chosen else theme.bar
            left, across = _EDGE + line * self.starts[index], line * self.probs[index]
            canvas.boxes([(left, band, max(across - 1, 0.5), _BAND)], facecolors=color)
            words = self.labels[index]
            if index != self.chosen and text_width([words], size) + 6 < across:
                style = {"size": size, "ha": "center", "color": ink(color)}
                canvas.write(left + across / 2, band + _BAND / 2, words, **style)

    def _words(self, width: int, size: float) -> list[str]:
        if self.u is None:
            return wrapped(_NO_NUMBER, size, width - 4)
        others = _OTHERS if self.probs.sum() < 0.999 else ""
        return wrapped(_NUMBER + others, size, width - 4)
