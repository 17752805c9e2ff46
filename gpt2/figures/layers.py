"""All attention heads of a layer as thumbnails, on the colour scale of the single map.

Imports: numpy, matplotlib.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gpt2.figures.attention import COLORS, GAMMA, check_tokens
from gpt2.figures.base.style import (
    DENSITY,
    LIGHT,
    Theme,
    check_array,
    check_width,
    font_size,
    new_figure,
    text_style,
)
from gpt2.figures.base.text import counted, percent

_TITLE = 30  # CSS pixels above the thumbnails
_HEAD_TITLE = 20  # above each row of them
_BETWEEN = 14  # beside each of them
_EDGE = 3  # around them, for the outline


def attention_layer_figure(
    weights: Any,
    *,
    layer: int,
    selected: int | None = None,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """All heads of a layer as thumbnails, in one axes and one image, so that drawing is fast.

    Args:
        weights: [H, T, T]; T is at most MAX_TOKENS.
        layer: counted from 0.
        selected: the head to outline, or None.
        theme, width: as everywhere.

    Raises:
        ValueError: too many tokens, an unknown head, or a value is NaN or out of 0..1.
    """
    shares = _check_layer(weights, selected)
    size = font_size(width) - 1
    tiles = _tiles(len(shares), width)
    figure = new_figure(width, tiles.height)
    figure.get_layout_engine().set(w_pad=0, h_pad=0, wspace=0, hspace=0)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.imshow(
        _mosaic(shares, tiles),
        extent=(0, width, tiles.height, 0),
        aspect="auto",
        interpolation="nearest",
    )
    style = text_style(theme, size, va="bottom")
    title = f"Layer {layer}: where each of its heads looks"
    axes.text(_EDGE, _TITLE - 8, title, **style | {"fontsize": size + 1})
    for head in range(len(shares)):
        x, y = tiles.corner(head)
        strong = {"weight": "bold", "color": theme.accent} if head == selected else {}
        axes.text(x, y - 4, f"head {head}", **style | strong)
        if head == selected:
            box = (x - 2, y - 2), tiles.side + 4, tiles.side + 4
            axes.add_patch(Rectangle(*box, fill=False, edgecolor=theme.accent, linewidth=2))
    return figure


def attention_layer_alt(weights: Any, *, layer: int) -> str:
    """What `attention_layer_figure` shows, from the same data."""
    shares = _check_layer(weights, None)
    heads, tokens = shares.shape[:2]
    said = f"Attention of layer {layer} over {counted(tokens, 'token')}: {counted(heads, 'head')}."
    if tokens == 1:
        return said
    focus = shares[:, 1:].max(2).mean(1)  # [H]
    sharp, broad = int(focus.argmax()), int(focus.argmin())
    said += f" Sharpest: head {sharp}, giving {percent(focus[sharp])} to one token on average"
    return said + (f"; broadest: head {broad}, {percent(focus[broad])}." if heads > 1 else ".")


def head_at(x: float, y: float, *, heads: int, width: int) -> int | None:
    """The head under a place of a layer figure, None between the thumbnails.

    Args:
        x, y: fractions of the picture's width and height, from its top left corner.
        heads, width: those the figure was drawn with.
    """
    tiles = _tiles(heads, width)
    for head in range(heads):
        left, top = tiles.corner(head)
        across, down = x * tiles.width - left, y * tiles.height - top
        if 0 <= across < tiles.side and -_HEAD_TITLE <= down < tiles.side:
            return head
    return None


@dataclass(frozen=True)
class _Tiles:
    """Where the thumbnails lie, in CSS pixels."""

    width: int
    height: int
    columns: int
    side: int

    def corner(self, head: int) -> tuple[int, int]:
        """Left and top of a head's thumbnail."""
        row, column = divmod(head, self.columns)
        left = _EDGE + column * (self.side + _BETWEEN)
        return left, _TITLE + _HEAD_TITLE + row * (self.side + _HEAD_TITLE + _BETWEEN)


def _tiles(heads: int, width: int) -> _Tiles:
    check_width(width)
    columns = min(heads, max(2, min(6, width // 110)))
    side = min(260, (width - 2 * _EDGE + _BETWEEN) // columns - _BETWEEN)
    rows = -(-heads // columns)
    height = _TITLE + rows * (side + _HEAD_TITLE + _BETWEEN) - _BETWEEN + _EDGE
    return _Tiles(width, height, columns, side)


def _mosaic(shares: np.ndarray, tiles: _Tiles) -> np.ndarray:
    """Every head's map at its place: uint8 [2 height, 2 width, 4], transparent between them."""
    heads, tokens = shares.shape[:2]
    side = tiles.side * DENSITY
    colored = colormaps[COLORS](shares**GAMMA, bytes=True)  # [H,T,T,4]
    colored[:, ~np.tri(tokens, dtype=bool), 3] = 0
    places = np.arange(side) * tokens // side
    canvas = np.zeros((tiles.height * DENSITY, tiles.width * DENSITY, 4), np.uint8)
    for head in range(heads):
        x, y = (DENSITY * corner for corner in tiles.corner(head))
        canvas[y : y + side, x : x + side] = colored[head][places[:, None], places]
    return canvas


def _check_layer(weights: Any, selected: int | None) -> np.ndarray:
    tokens = int(np.shape(weights)[-1]) if np.ndim(weights) else 0
    check_tokens(tokens)
    shares = check_array("weights", weights, (None, tokens, tokens), low=0, high=1)
    if selected is not None and not 0 <= selected < len(shares):
        raise ValueError(f"head {selected} is not between 0 and {len(shares) - 1}")
    return shares
