"""Colours that carry numbers: a tint behind each token of a text, a hue for each class."""

from math import log
from typing import Literal

import numpy as np

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


def class_color(index: int) -> str:
    """The colour of the class at this place of the label list; a fifth class starts over."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def token_level(value: float, by: TokenQuantity) -> int:
    """The place of one value among LEVELS tints, 0 for the palest.

    The deeper, the more the token surprised the model. Probability and rank are on log scales.

    Args:
        value: a probability, a rank from 1, or an entropy in nats.
        by: which of the three.

    Raises:
        ValueError: an unknown quantity.
    """
    stops = _stops(by)
    pale, deep = stops[0][1], stops[-1][1]
    if by != "entropy":
        value, pale, deep = log(max(value, 1e-9)), log(pale), log(deep)
    return round((LEVELS - 1) * min(max((value - pale) / (deep - pale), 0), 1))


def level_colors(*, theme: Theme = LIGHT) -> list[str]:
    """Hex colours of the LEVELS tints, pale to deep.

    The theme's text colour is readable on each of them (4.5:1 or more).
    """
    tints = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in theme.tint])
    places, at = np.linspace(0, 1, LEVELS), np.linspace(0, 1, len(tints))
    channels = np.stack([np.interp(places, at, tints[:, i]) for i in range(3)], axis=1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in channels.round().astype(int)]


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
