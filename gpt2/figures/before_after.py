"""The next token before and after a change: two bars for each token.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.canvas import boxes, draw_key, new_canvas, write
from gpt2.figures.base.style import LIGHT, Theme, check_array, font_size, row_labels
from gpt2.figures.base.text import percent, quoted, text_width

_TOP, _GAP = 26, 6  # CSS pixels: the key above, and between a bar and its words


def before_after_figure(
    pieces: Sequence[str],
    before: Any,
    after: Any,
    *,
    names: tuple[str, str] = ("before", "after"),
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """Two bars for each token, on one scale, and both numbers.

    Args:
        pieces: N tokens, those of both lists of the most likely, in the order to draw.
        before, after: [N] their probabilities.
        names: of the two, for the key.
        theme, width: as everywhere.

    Raises:
        ValueError: lengths differ, or a value is NaN or no probability.
    """
    values = _check(pieces, before, after)
    size = font_size(width)
    labels = row_labels(pieces, size, width)
    words = [_words(*pair) for pair in values.T]
    side = text_width(labels, size) + 10
    row = round(2.1 * size)
    room = width - side - 4
    ends = [
        values[:, i].max() / max(1 - (text_width([w], size) + 2 * _GAP) / room, 0.08)
        for i, w in enumerate(words)
    ]
    scale = room / max(*ends, 1e-9)
    figure, axes = new_canvas(width, _TOP + row * len(pieces) + 4)
    colors = theme.bar, theme.accent
    key = list(zip(colors, names, strict=True))
    draw_key(axes, (side, 12), key, theme=theme, size=size - 1)
    height = row / 2 - 3
    for index, (name, said) in enumerate(zip(labels, words, strict=True)):
        top = _TOP + index * row
        write(axes, side - 8, top + row / 2, name, theme=theme, size=size, ha="right")
        for half, color in enumerate(colors):
            bar = (side, top + 3 + half * height, scale * values[half, index], height - 0.5)
            boxes(axes, [bar], facecolors=color)
        end = side + scale * values[:, index].max() + _GAP
        write(axes, end, top + row / 2, said, theme=theme, size=size)
    boxes(axes, [(side - 1, _TOP, 1, row * len(pieces))], facecolors=theme.muted)
    return figure


def before_after_alt(
    pieces: Sequence[str],
    before: Any,
    after: Any,
    *,
    names: tuple[str, str] = ("before", "after"),
) -> str:
    """What `before_after_figure` shows, from the same data."""
    values = _check(pieces, before, after)
    said = "Probability of the next token."
    for name, row in zip(names, values, strict=True):
        best = np.argsort(-row, kind="stable")[:3]
        listed = ", ".join(f"{quoted(pieces[i])} {percent(row[i])}" for i in best)
        said += f" Most likely {name}: {listed}."
    most = int(np.abs(values[1] - values[0]).argmax())
    said += f" Greatest change: {quoted(pieces[most])}, {_words(*values[:, most])}."
    return said


def _check(pieces: Sequence[str], before: Any, after: Any) -> np.ndarray:
    shape = (len(pieces),)
    return np.stack(
        [
            check_array("before", before, shape, low=0, high=1),
            check_array("after", after, shape, low=0, high=1),
        ]
    )


def _words(before: float, after: float) -> str:
    """Both numbers, the unit once where both have it: 18.3 → 31.0 %."""
    return f"{percent(before).removesuffix(' %')} → {percent(after)}"
