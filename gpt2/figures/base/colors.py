"""Colours that carry numbers: a tint behind each token of a text, a hue for each class."""

from math import log
from typing import Any, Literal

import numpy as np

from gpt2.figures.base.picture import check_array
from gpt2.figures.base.style import LIGHT, Theme

TokenQuantity = Literal["probability", "rank", "entropy"]

LEVELS = 16  # tints that a page has a name for

# 3:1 or more against a white and a dark page, and far apart (a CIELAB distance of 20 or more) for
# normal sight and for each form of colour blindness in the model of Machado et al. 2009.
CLASS_COLORS = ("#2d68eb", "#b58300", "#12a058", "#c9578b")

# What the pale end, the deep end and the legend's stops stand for.
_SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "probability": (("100 %", 1.0), ("10 %", 0.1), ("1 %", 0.01), ("0.1 % or less", 0.001)),
    "rank": (("1", 1.0), ("10", 10.0), ("100", 100.0), ("1,000 or more", 1000.0)),
    "entropy": (("0", 0.0), ("2", 2.0), ("4", 4.0), ("6", 6.0), ("8 nats or more", 8.0)),
}
_RANGES = {"probability": (0.0, 1.0), "rank": (1.0, np.inf), "entropy": (0.0, np.inf)}


def class_color(index: int) -> str:
    """The colour of the class at this place of the label list; a fifth class starts over."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def token_colors(values: Any, by: TokenQuantity, *, theme: Theme = LIGHT) -> list[str]:
    """Hex colours to lie behind tokens: the deeper, the more the token surprised the model.

    The theme's text colour is readable on each of them (4.5:1 or more).

    Args:
        values: [T] probabilities in 0..1, ranks from 1, or entropies in nats.
        by: which of the three; probability and rank are on log scales.
        theme: its sequential map is used.

    Raises:
        ValueError: an unknown quantity, or a value that is NaN or out of range.
    """
    stops = _stops(by)
    if np.size(values) == 0:
        return []
    low, high = _RANGES[by]
    array = check_array(by, values, (None,), low=low, high=high)
    pale, deep = stops[0][1], stops[-1][1]
    if by != "entropy":
        array, pale, deep = np.log(array.clip(1e-9)), np.log(pale), np.log(deep)
    places = ((array - pale) / (deep - pale)).clip(0, 1)
    tints = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in theme.tint])
    at = np.linspace(0, 1, len(tints))
    channels = np.stack([np.interp(places, at, tints[:, i]) for i in range(3)], axis=1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in channels.round().astype(int)]


def token_level(value: float, by: TokenQuantity) -> int:
    """The place of one value among LEVELS tints, 0 for the palest; as of token_colors."""
    stops = _stops(by)
    pale, deep = stops[0][1], stops[-1][1]
    if by != "entropy":
        value, pale, deep = log(max(value, 1e-9)), log(pale), log(deep)
    return round((LEVELS - 1) * min(max((value - pale) / (deep - pale), 0), 1))


def level_colors(*, theme: Theme = LIGHT) -> list[str]:
    """Hex colours of the LEVELS tints, pale to deep."""
    return token_colors(np.linspace(0, 8, LEVELS), "entropy", theme=theme)


def level_legend(by: TokenQuantity) -> list[tuple[str, int]]:
    """(label, level) of the stops of `token_level`, pale to deep.

    Raises:
        ValueError: an unknown quantity.
    """
    return [(label, token_level(value, by)) for label, value in _stops(by)]


def _stops(by: str) -> tuple[tuple[str, float], ...]:
    if by not in _SCALES:
        raise ValueError(f"by is {by!r}; it must be one of {', '.join(_SCALES)}")
    return _SCALES[by]
