"""How alike vectors are: signed similarities between positions or tokens.

Imports: numpy, matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from gpt2.figures.base.heatmap import heatmap
from gpt2.figures.base.style import LIGHT, Theme, check_array
from gpt2.figures.base.text import counted, quoted

MAX_POSITIONS = 1024


def similarity_figure(
    matrix: Any,
    pieces: Sequence[str],
    *,
    title: str = "How alike the embeddings are",
    names: tuple[str, str] = ("token", "token"),
    theme: Theme = LIGHT,
    width: int = 1040,
) -> Figure:
    """A similarity matrix in two hues, one for each sign, with zero in between.

    Args:
        matrix: [N, N] cosine similarities, -1..1; N is at most MAX_POSITIONS.
        pieces: N tokens, or positions as strings.
        title: of the figure.
        names: of the columns' and of the rows' axis.
        theme, width: as everywhere.

    Raises:
        ValueError: too many rows, lengths differ, or a value is NaN or out of -1..1.
    """
    values = _check_matrix(matrix, len(pieces))
    return heatmap(
        values,
        pieces,
        title=title,
        names=names,
        unit="cosine similarity, -1 to 1",
        colors=LinearSegmentedColormap.from_list("signed", theme.diverging),
        norm=Normalize(-1, 1),
        ticks=(-1, -0.5, 0, 0.5, 1),
        note="",
        theme=theme,
        width=width,
    )


def similarity_alt(matrix: Any, pieces: Sequence[str]) -> str:
    """What `similarity_figure` shows, from the same data."""
    values = _check_matrix(matrix, len(pieces))
    said = f"Cosine similarity of {counted(len(values), 'embedding')}."
    if len(values) == 1:
        return said
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    for word, place in (("Most", int(pairs.argmax())), ("Least", int(pairs.argmin()))):
        one, other = quoted(pieces[rows[place]]), quoted(pieces[columns[place]])
        said += f" {word} alike: {one} and {other}, {pairs[place]:.2f}."
    return said


def _check_matrix(matrix: Any, count: int) -> np.ndarray:
    if count > MAX_POSITIONS:
        raise ValueError(f"{count} rows are too many to draw, the limit is {MAX_POSITIONS}")
    return check_array("matrix", matrix, (count, count), low=-1, high=1)
