"""How a fine-tuning went: its loss and accuracy as it read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import TURNED, Canvas, line_height
from gpt2.figures.base.cells import NoCells
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, PHONE, Theme, font_size
from gpt2.figures.base.text import counted, percent, text_width

_PANEL = 190  # height of one curve, in CSS pixels


@dataclass(frozen=True, eq=False)
class TrainingCurves(NoCells):
    """Loss above, accuracy below, over the texts read; held-out accuracy as marked points.

    Args:
        texts: [N] texts read by then, rising.
        loss: [N] training loss in nats.
        accuracy: [N] on training rows, 0..1.
        held_out_texts: [K] texts read when held-out rows were measured.
        held_out: [K] accuracy on them, 0..1.

    Raises:
        ValueError: lengths differ, nothing to draw, or a value is NaN or out of range.
    """

    texts: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    held_out_texts: np.ndarray
    held_out: np.ndarray

    def __post_init__(self) -> None:
        points = check_field(self, "texts", (None,), low=0, high=np.inf).shape
        check_field(self, "loss", points, low=0, high=np.finfo(float).max)
        check_field(self, "accuracy", points, low=0, high=1)
        marks = check_field(self, "held_out_texts", (None,), low=0, high=np.inf).shape
        check_field(self, "held_out", marks, low=0, high=1)

    def figure(self, theme: Theme = LIGHT, width: int = 760) -> Figure:
        """Running means, the loss itself paler behind its own."""
        canvas = Canvas(width, 2 * _PANEL + 5 * font_size(width), theme)
        size, end = canvas.size, 1.02 * max(self.texts[-1], self.held_out_texts[-1], 1)
        highest = 1.05 * max(float(self.loss.max()), 0.1)
        left, apart = size + text_width(["100"], size) + 13.5, size + 6
        down = (canvas.height - size - 12 - apart - 3.2 * size) / 2
        area = {"left": left, "across": width - left - 3, "down": down, "x": (0, end)}
        above = Plot(canvas, top=size + 12, y=(0, highest), **area)
        below = Plot(canvas, top=above.bottom + apart, y=(0, 100), **area)
        best = percent(self.held_out.max())
        canvas.write_title(f"Fine-tuning: {best} of held-out rows named right at best")
        ticks = {above: _ticks(highest), below: np.arange(0, 101, 25)}
        for plot, name in ((above, "loss (nats)"), (below, "accuracy (%)")):
            canvas.write(3 + size / 2, plot.top + down / 2, name, muted=True, **TURNED)
            plot.rows(ticks[plot], [f"{tick:g}" for tick in ticks[plot]])
            canvas.boxes([(left, plot.bottom, plot.across, 1)], facecolors=theme.muted)
        places = _ticks(end, count=4 if width < PHONE else 8)
        below.columns(places, [f"{place:,g}" for place in places])
        canvas.write(left, below.bottom + 2.4 * size, "texts read", muted=True)
        strong = {"color": theme.accent, "linewidth": 2}
        above.line(self.texts, self.loss, color=theme.bar, linewidth=1, alpha=0.5)
        above.line(self.texts, _smooth(self.loss), **strong)
        below.line(self.texts, 100 * _smooth(self.accuracy), **strong)
        marked = {"color": theme.text, "marker": "o", "markersize": 6, "linewidth": 1.4}
        marked["linestyle"] = (0, (3, 3))
        below.line(self.held_out_texts, 100 * self.held_out, **marked)
        names = "training rows", "held-out rows"
        x = width - 12 - text_width(names, size)
        for row, (name, style) in enumerate(zip(names, (strong, marked), strict=True)):
            y = below.bottom - (1.9 - row) * line_height(size)
            canvas.axes.plot([x - 28, x - 17, x - 6], [y, y, y], markevery=[1], **style)
            canvas.write(x, y, name)
        return canvas.figure

    def alt(self) -> str:
        """Where the curves begin and end, and the best on held-out rows."""
        losses, shares = _smooth(self.loss), _smooth(self.accuracy)
        best = int(self.held_out.argmax())
        return (
            f"Training over {counted(int(self.texts[-1]), 'text')}: the loss goes from "
            f"{losses[0]:.2f} to {losses[-1]:.2f} nats, accuracy on training rows from "
            f"{percent(shares[0])} to {percent(shares[-1])}. Accuracy on held-out rows is best "
            f"after {counted(int(self.held_out_texts[best]), 'text')}: "
            f"{percent(self.held_out[best])}."
        )

    def columns(self) -> dict[str, Sequence]:
        """A row for each point of the curves, then one for each measure on held-out rows."""
        before, after = [None] * len(self.texts), [None] * len(self.held_out)
        return {
            "texts": [*self.texts.tolist(), *self.held_out_texts.tolist()],
            "loss (nats)": [*self.loss.tolist(), *after],
            "accuracy": [*self.accuracy.tolist(), *after],
            "held-out accuracy": [*before, *self.held_out.tolist()],
        }


def _ticks(top: float, *, count: int = 4) -> np.ndarray:
    """Round numbers from 0 to at most `top`, about as many as asked for."""
    ticks = MaxNLocator(count, steps=(1, 2, 2.5, 5, 10)).tick_values(0, top)
    return ticks[ticks <= top]


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over a twentieth of the values, shorter at the ends."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)
