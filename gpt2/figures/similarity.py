"""How alike vectors are: signed similarities between positions or tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gpt2.figures.base.cells import Cells
from gpt2.figures.base.heatmap import Layout, Scale, heatmap, signed_colors
from gpt2.figures.base.picture import check_field
from gpt2.figures.base.style import LIGHT, Theme
from gpt2.figures.base.text import counted, quoted, shorten, visible

MAX_POSITIONS = 1024


@dataclass(frozen=True, eq=False)
class Similarity:
    """A similarity matrix in two hues, one for each sign, with zero in between.

    Args:
        matrix: [N, N] cosine similarities, -1..1; N is at most MAX_POSITIONS.
        pieces: N tokens, or positions as strings.
        title: of the figure.
        names: of the columns' and of the rows' axis.

    Raises:
        ValueError: too many rows, lengths differ, or a value is NaN or out of -1..1.
    """

    matrix: np.ndarray
    pieces: Sequence[str]
    title: str = "How alike the embeddings are"
    names: tuple[str, str] = ("token", "token")

    def __post_init__(self) -> None:
        count = len(self.pieces)
        if count > MAX_POSITIONS:
            raise ValueError(f"{count} rows are too many to draw, the limit is {MAX_POSITIONS}")
        check_field(self, "matrix", (count, count), low=-1, high=1)

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """The whole matrix, the diagonal included."""
        norm, ticks = Normalize(-1, 1), (-1, -0.5, 0, 0.5, 1)
        return heatmap(
            self.matrix,
            Layout.of(self.pieces, width, past=False),
            title=self.title,
            names=self.names,
            scale=Scale(signed_colors(theme), norm, ticks, "cosine similarity, -1 to 1"),
            theme=theme,
        )

    def cells(self, width: int) -> Cells:
        """A cell for each pair."""
        names = [shorten(visible(piece), 24) for piece in self.pieces]
        values = [[f"{value:.2f}" for value in row] for row in self.matrix.tolist()]
        grid = Layout.of(self.pieces, width, past=False).grid
        return Cells.of(grid, names, names, values, "“{row}” and “{column}”: {value}")

    def alt(self) -> str:
        """The most and the least alike."""
        said = f"Cosine similarity of {counted(len(self.matrix), 'embedding')}."
        if len(self.matrix) == 1:
            return said
        rows, columns = np.triu_indices(len(self.matrix), 1)
        pairs = self.matrix[rows, columns]
        for word, place in (("Most", int(pairs.argmax())), ("Least", int(pairs.argmin()))):
            one, other = (quoted(self.pieces[side[place]]) for side in (rows, columns))
            said += f" {word} alike: {one} and {other}, {pairs[place]:.2f}."
        return said

    def columns(self) -> dict[str, Sequence]:
        """Every pair."""
        rows, columns = np.indices(self.matrix.shape).reshape(2, -1)
        return {
            "row": [self.pieces[row] for row in rows],
            "column": [self.pieces[column] for column in columns],
            "similarity": self.matrix.ravel().tolist(),
        }
