"""The attention map of one head, with its tokens.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from gpt2.figures.base.heatmap import heatmap
from gpt2.figures.base.style import LIGHT, Theme, check_array
from gpt2.figures.base.text import counted, percent, quoted

MAX_TOKENS = 64

# The square root of the share gets the colour: most shares are small, and they are worth seeing.
COLORS = "viridis"
GAMMA = 0.5
TICKS = (0, 0.05, 0.25, 0.5, 1)


def attention_head_figure(
    weights: Any,
    pieces: Sequence[str],
    *,
    layer: int,
    head: int,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """One head's map: each row is a token, and its colours say which tokens it looks at.

    Args:
        weights: [T, T], rows look at columns; T is at most MAX_TOKENS.
        pieces: T token pieces.
        layer, head: counted from 0; head -1 is the mean over heads.
        theme, width: as everywhere.

    Raises:
        ValueError: too many tokens, lengths differ, or a value is NaN or out of 0..1.
    """
    shares = _check_weights(weights, len(pieces))
    title = f"Layer {layer}, {_head_name(head)}: where each token looks"
    return attention_map_figure(shares, pieces, title=title, theme=theme, width=width)


def attention_map_figure(
    values: Any,
    pieces: Sequence[str],
    *,
    title: str,
    unit: str = "share of attention, 0 to 1",
    high: float = 1.0,
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """Any map from tokens to those before them: rollout, attention weighted by values, a window.

    Args:
        values: [T, T], rows look at columns; T is at most MAX_TOKENS.
        pieces: T token pieces.
        title: of the figure.
        unit: title of the colour bar.
        high: the value that gets the brightest colour, the greatest there may be.
        theme, width: as everywhere.

    Raises:
        ValueError: too many tokens, lengths differ, or a value is NaN or out of 0..high.
    """
    shares = _check_weights(values, len(pieces), high=high)
    past = np.tri(len(shares), dtype=bool)
    note = "blank: a token cannot\nlook at what comes later" if len(shares) >= 6 else ""
    return heatmap(
        np.where(past, shares, np.nan),
        pieces,
        title=title,
        names=("token looked at (key)", "token that looks (query)"),
        unit=unit,
        colors=colormaps[COLORS],
        norm=PowerNorm(GAMMA, 0, high),
        ticks=[high * tick for tick in TICKS],
        note=note,
        theme=theme,
        width=width,
    )


def attention_map_alt(values: Any, pieces: Sequence[str], *, title: str, high: float = 1.0) -> str:
    """What `attention_map_figure` shows, from the same data."""
    shares = _check_weights(values, len(pieces), high=high)
    said = f"{title}, over {counted(len(shares), 'token')}."
    for query, key, value in strongest_pairs(shares, count=1, high=high):
        said += f" Strongest: {quoted(pieces[query])} (token {query}) looking at "
        said += "itself" if query == key else f"{quoted(pieces[key])} (token {key})"
        said += f", {value:.3g}."
    return said


def attention_head_alt(weights: Any, pieces: Sequence[str], *, layer: int, head: int) -> str:
    """What `attention_head_figure` shows, from the same data."""
    shares = _check_weights(weights, len(pieces))
    said = f"Attention of layer {layer}, {_head_name(head)}, over {counted(len(shares), 'token')}."
    if len(shares) == 1:
        return said + " With one token there is nothing to look back at."
    query, key, share = strongest_pairs(shares, count=1)[0]
    said += (
        f" Strongest: {quoted(pieces[query])} (token {query}) gives {percent(share)} of its "
        f"attention to {'itself' if query == key else quoted(pieces[key]) + f' (token {key})'}."
    )
    return said + f" The first token gets {percent(shares[1:, 0].mean())} on average."


def strongest_pairs(
    weights: Any, *, count: int = 3, high: float = 1.0
) -> list[tuple[int, int, float]]:
    """The greatest shares of a map, strongest first, each as (query, key, share).

    The first row is left out: the first token can look at nothing but itself.

    Args:
        weights: [T, T].
        count: how many; fewer come back when the map has fewer.
        high: the greatest value there may be.

    Raises:
        ValueError: a value is NaN or out of 0..high, or the map is not square.
    """
    shares = _check_weights(weights, len(weights), high=high)
    queries, keys = np.tril_indices(len(shares))
    queries, keys = queries[1:], keys[1:]
    found = shares[queries, keys]
    order = np.argsort(-found, kind="stable")[:count]
    return [(int(queries[i]), int(keys[i]), float(found[i])) for i in order]


def _check_weights(weights: Any, tokens: int, *, high: float = 1.0) -> np.ndarray:
    check_tokens(tokens)
    if not high > 0:
        raise ValueError(f"high is {high}; the greatest value of a map must be above 0")
    return check_array("weights", weights, (tokens, tokens), low=0, high=high)


def check_tokens(tokens: int) -> None:
    """Refuse more tokens than can be told apart.

    Raises:
        ValueError: there are more than MAX_TOKENS.
    """
    if tokens > MAX_TOKENS:
        raise ValueError(
            f"{tokens} tokens are too many to draw, the limit is {MAX_TOKENS}; pass the last "
            f"{MAX_TOKENS} rows and columns"
        )


def _head_name(head: int) -> str:
    return "mean over heads" if head == -1 else f"head {head}"
