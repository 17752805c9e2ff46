"""What pictures of probabilities as bars share: checks, places, the axis in percent."""

from math import ceil

import numpy as np
from matplotlib.ticker import MaxNLocator

from gpt2.figures.base.canvas import Canvas
from gpt2.figures.base.picture import Picture, check_field
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.text import text_width

GAP = 6  # CSS pixels between a bar and its words


def check_probs(picture: Picture, name: str, count: int) -> None:
    """Check a new picture's `count` probabilities and keep them; see check_field.

    Raises:
        ValueError: there are none or another number, one is none, or they sum to more than 1.
    """
    if not count:
        raise ValueError(f"{name}: there is nothing to draw; pass at least one row")
    probs = check_field(picture, name, (count,), low=0, high=1)
    if probs.sum() > 1.01:
        raise ValueError(f"{name} sum to {probs.sum():.4g}; probabilities sum to 1 at most")


def bar_plot(
    canvas: Canvas, side: float, *, top: float, longest: float, rows: tuple[float, float]
) -> Plot:
    """Where bars of up to `longest` and the words after them lie, beside names `side` wide."""
    left, down = side + 6.5, canvas.height - 3.2 * canvas.size
    return Plot(canvas, left, top, canvas.width - left - 3, down - top, (0, longest), rows)


def bar_place(plot: Plot, place: float, value: float, share: float) -> tuple[float, ...]:
    """A bar that takes this share of its row: left, top, width and height."""
    top, bottom = plot.at_y(place - share / 2), plot.at_y(place + share / 2)
    return plot.left, top, plot.at_x(value) - plot.left, bottom - top


def draw_axis(plot: Plot, highest: float, *, room: float) -> None:
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
