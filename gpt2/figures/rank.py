"""How the final token rises through the layers: its rank, and its probability.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from math import ceil, log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import boxes, new_canvas, spaced, write, write_near, write_title
from gpt2.figures.base.style import LIGHT, Theme, check_array, font_size
from gpt2.figures.base.text import label, percent, quoted, text_width
from gpt2.figures.lens import layer_names, layer_title

_SIDE, _RIGHT = 62, 14  # beside the plots, in CSS pixels
_RANKS, _PROBS = 170, 56  # their heights
_TOP = 52


def rank_figure(
    ranks: Sequence[int],
    probs: Any,
    piece: str,
    *,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """One token's rank through the layers, 1 at the top, and its probability under it.

    Args:
        ranks: [R] from 1, after the embedding, after each block, and so in the output.
        probs: [R] its probabilities there.
        piece: the token.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, a rank is below 1, or a probability is NaN or out of 0..1.
    """
    places, values = _check(ranks, probs)
    size = font_size(width) - 1
    step = (width - _SIDE - _RIGHT) / len(places)
    x = _SIDE + step * (np.arange(len(places)) + 0.5)
    low = _TOP + _RANKS + 14 + 2.4 * size + _PROBS  # where the bars stand
    figure, axes = new_canvas(width, low + 3.6 * size)
    title = f"How {label(piece)} rises through the layers"
    write_title(axes, title, theme=theme, width=width)
    _draw_ranks(axes, places, x, step, theme=theme, size=size)
    scale = _PROBS / max(float(values.max()), 1e-9)
    bars = [
        (at - 0.3 * step, low - scale * p, 0.6 * step, scale * p)
        for at, p in zip(x, values, strict=True)
    ]
    boxes(axes, bars, facecolors=theme.bar)
    boxes(axes, [(_SIDE, low, width - _SIDE - _RIGHT, 1)], facecolors=theme.muted)
    style = {"theme": theme, "size": size}
    write(axes, 2, low - _PROBS - 1.6 * size, "probability", **style | {"color": theme.muted})
    words = [percent(p) for p in values]
    for index in spaced(_ends(places), x, words, size):
        if text_width([words[index]], size) < step or index == len(x) - 1:
            y = low - scale * values[index] - 0.7 * size
            write_near(axes, x[index], y, words[index], room=(_SIDE, width), **style)
    names = layer_names(len(places))
    for index in spaced(np.arange(len(names)) == len(names) - 1, x, names, size):
        write_near(axes, x[index], low + size, names[index], room=(0, width), **style)
    write(axes, _SIDE, low + 2.5 * size, "after layer", **style | {"color": theme.muted})
    return figure


def rank_alt(ranks: Sequence[int], probs: Any, piece: str) -> str:
    """What `rank_figure` shows, from the same data."""
    places, values = _check(ranks, probs)
    said = f"Rank of {quoted(piece)} through the layers: {places[0]:,} at the start, "
    said += f"{places[-1]:,} in the output, with {percent(values[-1])}."
    others = np.flatnonzero(places > 1)
    first = int(others[-1]) + 1 if len(others) else 0
    if first < len(places) - 1:
        said += f" First for good from {layer_title(layer_names(len(places))[first])} on."
    return said


def _check(ranks: Sequence[int], probs: Any) -> tuple[np.ndarray, np.ndarray]:
    places = check_array("ranks", ranks, (None,), low=1, high=1e9).round().astype(int)
    return places, check_array("probs", probs, (len(places),), low=0, high=1)


def _draw_ranks(
    axes: Axes, places: np.ndarray, x: np.ndarray, step: float, *, theme: Theme, size: float
) -> None:
    """The line of ranks on a log scale, 1 at the top, with numbers where they fit."""
    right = x[-1] + step / 2
    decades = max(1, ceil(log10(places.max())))
    style = {"theme": theme, "size": size}
    write(axes, 2, 32, "rank among all tokens, 1 = most likely", **style | {"color": theme.muted})
    for power in range(decades + 1):
        y = _TOP + _RANKS * power / decades
        boxes(axes, [(_SIDE, y, right - _SIDE, 1)], facecolors=theme.grid)
        write(axes, _SIDE - 6, y, f"{10**power:,}", ha="right", **style | {"color": theme.muted})
    y = _TOP + _RANKS * np.log10(places) / decades
    line = {"color": theme.accent, "linewidth": 2, "marker": "o", "markersize": 5}
    axes.plot(x, y, clip_on=False, **line)
    words = [f"{rank:,}" for rank in places]
    for index in spaced(_ends(places), x, words, size):
        if text_width(words, size) < step or _ends(places)[index]:
            room = (_SIDE, right + _RIGHT)
            write_near(axes, x[index], y[index] + size, words[index], room=room, **style)


def _ends(places: np.ndarray) -> np.ndarray:
    """What is labelled first: the output, then the start and the best rank's first place."""
    ends = np.zeros(len(places))
    ends[[0, int(places.argmin())]] = 1
    ends[-1] = 2
    return ends
