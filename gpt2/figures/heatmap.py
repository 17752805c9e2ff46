"""The map of a square matrix between tokens, which attention and similarity share.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from gpt2.figures.style import (
    PHONE,
    Theme,
    font_size,
    new_figure,
    plain_axes,
    row_labels,
    set_title,
    text_style,
    token_ticks,
)
from gpt2.figures.text import text_width

_CELL = 38  # CSS pixels a side at most
_BAR = 10  # thickness of the colour bar


def heatmap(
    matrix: np.ndarray,
    pieces: Sequence[str],
    *,
    title: str,
    names: tuple[str, str],
    unit: str,
    colors: Colormap,
    norm: Normalize,
    ticks: Sequence[float],
    note: str,
    theme: Theme,
    width: int,
) -> Figure:
    """A matrix as colours, with tokens on both axes and a colour bar above.

    Args:
        matrix: [T, T]; NaN stays blank.
        pieces: T tokens.
        title: of the figure.
        names: of the columns' and of the rows' axis.
        unit: title of the colour bar.
        colors, norm, ticks: of the colour bar.
        note: for the blank upper right corner, may be empty.
        theme, width: as everywhere.
    """
    painted = colors(norm(np.nan_to_num(matrix)), bytes=True)  # [T,T,4]
    painted[np.isnan(matrix), 3] = 0
    size = font_size(width) - 1
    labels = row_labels(pieces, size, width)
    side = text_width(labels, size)
    room = width - side - size - 34
    across, down = _grid(len(labels), room, width)
    head = 5.2 * size + _BAR + 20  # title, colour bar, its ticks and its title
    foot = side + size + 34
    figure = new_figure(width, down + head + foot)
    bar, axes = figure.subplots(2, 1, height_ratios=(_BAR, down))
    figure.get_layout_engine().set(hspace=0)
    axes.imshow(painted, aspect="auto", interpolation="nearest")
    axes.set_box_aspect(down / across)
    axes.set_anchor("NW")
    plain_axes(axes, theme, size)
    token_ticks(axes, "x", labels, pixels=across, size=size, theme=theme)
    token_ticks(axes, "y", labels, pixels=down, size=size, theme=theme)
    axes.set_xlabel(names[0], loc="left", **text_style(theme, size, color=theme.muted))
    axes.set_ylabel(names[1], **text_style(theme, size, color=theme.muted))
    if note:
        style = text_style(theme, size, color=theme.muted, ha="right", va="top")
        axes.text(0.99, 0.99, note, transform=axes.transAxes, **style)
    _color_bar(figure, bar, ScalarMappable(norm, colors), unit, ticks, theme=theme, size=size)
    bar.set_box_aspect(_BAR / min(room, 320))
    set_title(figure, title, theme=theme, width=width)
    return figure


def _grid(count: int, room: float, width: int) -> tuple[float, float]:
    """Width and height of the map: square on a phone, wider than high where there is room."""
    down = min(_CELL * count, room if width < PHONE else 560)
    return min(room, 1.5 * down if width >= PHONE else down), down


def _color_bar(
    figure: Figure,
    axes: Axes,
    colors: ScalarMappable,
    unit: str,
    ticks: Sequence[float],
    *,
    theme: Theme,
    size: float,
) -> None:
    bar = figure.colorbar(colors, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    style = text_style(theme, size, color=theme.muted)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], **style)
    axes.tick_params(length=0, pad=2)
    axes.set_anchor("W")
    axes.set_xlabel(unit, loc="left", labelpad=2, **style)
