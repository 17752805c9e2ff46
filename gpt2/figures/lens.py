"""The logit lens: the token that each layer would have said, at each position.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens". Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from gpt2.figures.attention import COLORS, GAMMA, TICKS
from gpt2.figures.base.canvas import boxes, ink, new_canvas, write, write_title
from gpt2.figures.base.grid import Grid
from gpt2.figures.base.heatmap import bar_height, color_bar
from gpt2.figures.base.style import LIGHT, PHONE, Theme, check_array, check_width, font_size
from gpt2.figures.base.text import counted, fitted, percent, quoted

MAX_ROWS = 17  # of layers; more are thinned

_SIDE, _TITLE = 62, 26  # the layers' names at the left, and the title above
_CELL = 54  # CSS pixels a cell is wide at least
_ROW = 24  # and high


def lens_columns(width: int) -> int:
    """How many positions a lens figure holds at a width: 5 at 340, 16 at 1040.

    Raises:
        ValueError: the width is out of range.
    """
    check_width(width)
    return min(16, (width - _SIDE) // _CELL)


def lens_figure(
    pieces: Sequence[Sequence[str]],
    probs: Any,
    inputs: Sequence[str],
    *,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """A cell for each layer and position: the most likely next token, had the model ended there.

    Args:
        pieces: [R][P] that token after the embedding, after each block, and so in the output.
        probs: [R, P] its probability there.
        inputs: P tokens of the text, each the last one read at its position; P is at most
            lens_columns(width).
        theme, width: as everywhere.

    Raises:
        ValueError: too many positions, lengths differ, or a value is NaN or no probability.
    """
    values = _check(pieces, probs, inputs)
    if len(inputs) > lens_columns(width):
        raise ValueError(
            f"{len(inputs)} positions are too many to draw at width {width}, the limit is "
            f"{lens_columns(width)}; pass fewer"
        )
    size = font_size(width) - 1
    rows = lens_rows(len(values))
    across = min((width - _SIDE - 2) / len(inputs), 120)
    top = _TITLE + bar_height(size) + 2.6 * size
    grid = Grid(_SIDE, top, len(rows), len(inputs), across, _ROW, gap=2)
    figure, axes = new_canvas(width, grid.bottom + 4)
    title = "What each layer would say next, reading down to the output"
    title = title if width >= PHONE else "What each layer would say next"
    write_title(axes, title, theme=theme, width=width)
    colors, norm = colormaps[COLORS], PowerNorm(GAMMA, 0, 1)
    unit = "probability of the token in the cell, 0 to 1"
    more = {"theme": theme, "size": size, "width": width}
    color_bar(axes, _SIDE, _TITLE, unit, colors, norm, TICKS, **more)
    _draw_edges(axes, grid, inputs, layer_names(len(values)), rows, theme=theme, size=size)
    places = [grid.box(row, column) for row in range(len(rows)) for column in range(len(inputs))]
    shades = colors(norm(values[rows])).reshape(-1, 4)
    boxes(axes, places, facecolors=shades)
    words = [word for row in rows for word in fitted(pieces[row], size, across - 5)]
    for (left, up, wide, high), word, shade in zip(places, words, shades, strict=True):
        style = {"theme": theme, "size": size, "color": ink(shade[:3]), "ha": "center"}
        write(axes, left + wide / 2, up + high / 2, word, **style)
    return figure


def lens_alt(pieces: Sequence[Sequence[str]], probs: Any, inputs: Sequence[str]) -> str:
    """What `lens_figure` shows, from the same data."""
    values = _check(pieces, probs, inputs)
    names = layer_names(len(values))
    said = f"The most likely next token after each of {counted(len(values) - 1, 'layer')}, at "
    said += f"{counted(len(inputs), 'position')}. At the last, after {quoted(inputs[-1])}, the "
    said += f"output says {quoted(pieces[-1][-1])}, {percent(values[-1, -1])}"
    others = [i for i, row in enumerate(pieces) if row[-1] != pieces[-1][-1]]
    first = others[-1] + 1 if others else 0
    if first == len(values) - 1:
        return said + "; no layer before it does."
    return said + f", the first choice from {layer_title(names[first])} on."


def layer_names(rows: int) -> list[str]:
    """Names of the residual stream's stations: start, 0, 1 ... output (after the last layer)."""
    return ["start", *map(str, range(rows - 2)), "output"][-rows:]


def layer_title(name: str) -> str:
    """A station's name where it stands alone: layer 3, start, output."""
    return f"layer {name}" if name.isdigit() else name


def lens_rows(rows: int) -> list[int]:
    """Which of so many rows are drawn: all, or every n-th and the last."""
    step = ceil(rows / MAX_ROWS)
    return list(range(rows - 1, -1, -step))[::-1]


def _check(pieces: Sequence[Sequence[str]], probs: Any, inputs: Sequence[str]) -> np.ndarray:
    values = check_array("probs", probs, (None, len(inputs)), low=0, high=1)
    if len(pieces) != len(values) or any(len(row) != len(inputs) for row in pieces):
        raise ValueError(f"pieces must be {len(values)} rows of {len(inputs)} tokens, as probs are")
    return values


def _draw_edges(
    axes: Axes,
    grid: Grid,
    inputs: Sequence[str],
    names: Sequence[str],
    rows: Sequence[int],
    *,
    theme: Theme,
    size: float,
) -> None:
    """The tokens read above the columns, the layers at the left."""
    style = {"theme": theme, "size": size}
    muted = style | {"color": theme.muted}
    write(axes, 2, grid.top - 0.9 * size, "read", **muted)
    for column, word in enumerate(fitted(inputs, size, grid.across - 5)):
        x, _ = grid.middle(0, column)
        write(axes, x, grid.top - 0.9 * size, word, ha="center", **style)
    for place, row in enumerate(rows):
        _, y = grid.middle(place, 0)
        name = layer_title(names[row])
        last = {"weight": "bold"} if row == len(names) - 1 else {"color": theme.muted}
        write(axes, _SIDE - 6, y, name, ha="right", **style | last)
