"""The picture: tokens a second, as a share of what the memory allows."""

from collections.abc import Sequence
from pathlib import Path

from contest.contender import OURS
from contest.race import Line, value
from gpt2.figures.base.canvas import Canvas, line_height, wrapped
from gpt2.figures.base.plot import Plot
from gpt2.figures.base.style import LIGHT, to_png
from gpt2.figures.base.text import text_width

WIDTH = 760
LABELS = 11  # CSS pixels of small print
BAR, GROUP = 19, 34  # CSS pixels from one bar to the next, and of a group's title
TITLE, AXIS = 32, 44


def draw(lines: Sequence[Line], title: str, below: str, path: Path) -> None:
    """Write a PNG: a group for each line, all of which have a limit, a bar for each contender."""
    bars = sum(len(line.seconds) for line in lines)
    below_lines = wrapped(below, LABELS, WIDTH - 6)
    top = TITLE + line_height(LABELS) * len(below_lines)
    canvas = Canvas(WIDTH, top + GROUP * len(lines) + BAR * bars + AXIS, LIGHT)
    canvas.write_title(title)
    for number, words in enumerate(below_lines):
        canvas.write(2, TITLE + line_height(LABELS) * number, words, muted=True, size=LABELS)
    names = [name for line in lines for name in line.seconds]
    left = text_width(names, canvas.size, bold=True) + 14
    longest = max([1.0, *(share(line, name) for line in lines for name in line.seconds)])
    across = WIDTH - left - 60
    plot = Plot(canvas, left, top, across, canvas.height - top - AXIS, (0, longest), (0, 1))
    ticks = [tick / 100 for tick in range(0, round(100 * longest) + 1, 25 if longest < 2 else 50)]
    plot.columns(ticks, [f"{100 * tick:.0f} %" for tick in ticks], lines=True)
    limit = float(plot.at_x(1.0))
    canvas.boxes([(limit - 1, plot.top, 2, plot.down)], facecolors=LIGHT.muted)
    canvas.write(
        left, canvas.height - 10, "of the limit: the weights read once a token", muted=True
    )
    y = float(top)
    for line in lines:
        y = _group(plot, line, y)
    path.write_bytes(to_png(canvas.figure, background=LIGHT.background))


def share(line: Line, name: str) -> float:
    """A contender's speed as a share of the limit."""
    assert line.limit
    return line.task.tokens / line.medians[name] / line.limit


def _group(plot: Plot, line: Line, y: float) -> float:
    """A title and its bars; returns where the next group begins."""
    canvas = plot.canvas
    words = f"{line.model}, {line.numbers}: limit {line.limit:,.0f} tokens/s"
    canvas.write(2, y + 20, words, weight="bold", backgroundcolor=LIGHT.background)
    y += GROUP
    for name in line.seconds:
        own = name == OURS
        across = float(plot.at_x(share(line, name))) - plot.left
        color = LIGHT.accent if own else LIGHT.bar
        middle = y + BAR / 2
        canvas.boxes([(plot.left, y + 2, across, BAR - 5)], facecolors=color)
        weight = "bold" if own else "normal"
        canvas.write(plot.left - 6, middle, name, ha="right", weight=weight)
        said = value(line, name)
        canvas.write(plot.left + across + 6, middle, said, weight=weight)
        y += BAR
    return y
