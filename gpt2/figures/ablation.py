"""What a prediction loses when one head, or one MLP, is switched off.

Imports: numpy, matplotlib.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import (
    boxes,
    ink,
    line_height,
    new_canvas,
    write,
    write_lines,
    write_title,
)
from gpt2.figures.base.grid import Grid, number_grid
from gpt2.figures.base.heatmap import bar_height, color_bar
from gpt2.figures.base.style import LIGHT, Theme, check_array, check_width, font_size
from gpt2.figures.base.text import counted, label, quoted, text_width

STRONGEST = 3  # how many are named

_SIDE, _TITLE = 38, 26  # the layers' numbers at the left, and the title above
_APART = 10  # CSS pixels between the heads and the MLPs


def ablation_figure(
    heads: Any,
    mlps: Any,
    piece: str,
    *,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """A cell for each head and a last column for the MLPs; the strongest are named below.

    The colours are scaled to the heads. An MLP can weigh a hundred times more; it then has the last
    colour of the scale, and its number tells.

    Args:
        heads: [L, H] change of the token's log-probability when a head is off, in nats; negative
            where the head helped. Layers that are not known yet are NaN and stay empty.
        mlps: [L] the same for the MLPs.
        piece: the token.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a value is not a number.
    """
    values = _check(heads, mlps)
    layers, count = len(values), values.shape[1] - 1
    size = font_size(width) - 1
    grid, column, height = _grids(layers, count, width)
    figure, axes = new_canvas(width, height)
    title = f"Which parts {label(piece)} depends on"
    write_title(axes, title, theme=theme, width=width)
    colors = LinearSegmentedColormap.from_list("signed", theme.diverging)
    norm, ticks = signed_scale(values[:, :-1])
    unit = "change of log-probability when off, in nats"
    color_bar(axes, _SIDE, _TITLE, unit, colors, norm, ticks, theme=theme, size=size, width=width)
    muted = {"theme": theme, "size": size, "color": theme.muted}
    y = _TITLE + bar_height(size) + 0.7 * size
    write(axes, _SIDE, y, "blue: less likely without it, so it helped", **muted)
    number_grid(axes, grid, theme=theme, size=size - 1)
    write(axes, column.left, grid.top - 9, "MLP", **muted | {"size": size - 1})
    shades = colors(norm(values))  # [L,H+1,4], of what is not known transparent
    places = [_box(grid, column, at) for at in np.ndindex(values.shape)]
    boxes(axes, places, facecolors=shades.reshape(-1, 4))
    strongest = _strongest(values)
    for at in strongest:
        boxes(
            axes, [_box(grid, column, at)], facecolors="none", edgecolors=theme.text, linewidths=1.5
        )
    numbered = {*strongest, *((layer, count) for layer in range(layers))}
    for at in sorted(numbered):
        _write_value(axes, _box(grid, column, at), values[at], shades[at], theme=theme, size=size)
    lines = [f"{_name(at, count)}: {values[at]:+.2f}" for at in strongest]
    y = grid.bottom + 1.2 * size
    write_lines(axes, 2, y, ["strongest:", *lines], theme=theme, size=size)
    return figure


def ablation_alt(heads: Any, mlps: Any, piece: str) -> str:
    """What `ablation_figure` shows, from the same data."""
    values = _check(heads, mlps)
    count = values.shape[1] - 1
    said = f"Change of the log-probability of {quoted(piece)} when each of "
    said += f"{counted(len(values), 'layer')} of {counted(count, 'head')} or an MLP is off. "
    named = [f"{_name(at, count)}, {values[at]:+.2f} nats" for at in _strongest(values)]
    known = int((~np.isnan(values[:, 0])).sum())
    said += f"Known so far: {known} of them. " if known < len(values) else ""
    return said + f"Strongest: {'; '.join(named)}."


def ablation_at(
    x: float, y: float, *, layers: int, heads: int, width: int
) -> tuple[int, int | None] | None:
    """The layer and head under a place of an ablation figure; the head is None for the MLP.

    Args:
        x, y: fractions of the picture's width and height, from its top left corner.
        layers, heads, width: those the figure was drawn with.
    """
    grid, column, height = _grids(layers, heads, width)
    place = x * width, y * round(height)
    mlp = column.at(*place)
    return (mlp[0], None) if mlp else grid.at(*place)


def signed_scale(values: np.ndarray) -> tuple[Normalize, list[float]]:
    """A scale centred on zero on which the square root gets the colour, and its ticks."""
    most = max(float(np.nanmax(np.abs(values))), 1e-9)

    def root(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.sqrt(np.abs(x))

    def square(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.square(x)

    return FuncNorm((root, square), -most, most), [most * n for n in (-1, -0.25, 0, 0.25, 1)]


def _check(heads: Any, mlps: Any) -> np.ndarray:
    limit = 1e6
    bounds = {"low": -limit, "high": limit, "missing": True}
    values = check_array("heads", heads, (None, None), **bounds)
    column = check_array("mlps", mlps, (len(values),), **bounds)
    return np.column_stack([values, column])


def _grids(layers: int, heads: int, width: int) -> tuple[Grid, Grid, float]:
    """Where the heads and the MLPs lie, and the figure's height."""
    check_width(width)
    size = font_size(width) - 1
    wide = max(34.0, text_width(["-10.00"], size - 1) + 4)
    across = min((width - _SIDE - _APART - wide - 2) / heads, 48)
    down = min(max(across, 14), 26)
    top = _TITLE + bar_height(size) + 1.5 * size + 24
    gap = 2 if across > 20 else 1
    grid = Grid(_SIDE, top, layers, heads, across, down, gap)
    column = Grid(grid.right + _APART, top, layers, 1, max(across, wide), down, gap)
    return grid, column, grid.bottom + (STRONGEST + 1) * line_height(size) + 0.9 * size


def _box(grid: Grid, column: Grid, at: tuple[int, int]) -> tuple[float, float, float, float]:
    return grid.box(*at) if at[1] < grid.columns else column.box(at[0], 0)


def _strongest(values: np.ndarray) -> list[tuple[int, int]]:
    order = np.argsort(-np.nan_to_num(np.abs(values)), axis=None, kind="stable")[:STRONGEST]
    return [
        (int(row), int(column))
        for row, column in np.transpose(np.unravel_index(order, values.shape))
    ]


def _name(at: tuple[int, int], heads: int) -> str:
    return f"layer {at[0]}, " + (f"head {at[1]}" if at[1] < heads else "MLP")


def _write_value(
    axes: Axes,
    place: tuple[float, float, float, float],
    value: float,
    shade: np.ndarray,
    *,
    theme: Theme,
    size: float,
) -> None:
    """A cell's number, where it is known and fits."""
    left, top, across, down = place
    words = f"{value:+.2f}"
    fits = text_width([words], size - 1) + 2 < across and size < down + 1
    if fits and not np.isnan(value):
        style = {"theme": theme, "size": size - 1, "ha": "center", "color": ink(shade[:3])}
        write(axes, left + across / 2, top + down / 2, words, **style)
