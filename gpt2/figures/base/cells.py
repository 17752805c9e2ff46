"""The cells of a picture that a visitor can point at: where they lie and what they say."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gpt2.figures.base.grid import Grid


@dataclass(frozen=True)
class Cells:
    """Cells in rows and columns, in CSS pixels of a picture drawn for a width.

    Args:
        left, top: of the first cell.
        across, down: from one cell to the next, the gap included.
        gap: between cells.
        rows, columns: their names.
        values: what each cell says, a list for each row; "" where there is no cell.
        said: what a cell is in words, with {row}, {column} and {value} where those stand.
    """

    left: float
    top: float
    across: float
    down: float
    gap: float
    rows: list[str]
    columns: list[str]
    values: list[list[str]]
    said: str

    @classmethod
    def of(
        cls,
        grid: Grid,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Sequence[Sequence[str]],
        said: str,
    ) -> "Cells":
        """Those of a grid.

        Raises:
            ValueError: there are more or fewer names or values than cells.
        """
        found = len(rows), len(columns), len(values), {len(row) for row in values}
        if found != (grid.rows, grid.columns, grid.rows, {grid.columns}):
            raise ValueError(
                f"{len(rows)} rows and {len(columns)} columns of {len(values)} values are not "
                f"{grid.rows} by {grid.columns} cells"
            )
        places = (round(n, 3) for n in (grid.left, grid.top, grid.across, grid.down))
        lines = [list(row) for row in values]
        return cls(*places, grid.gap, list(rows), list(columns), lines, said)

    def as_json(self) -> dict[str, Any]:
        """The fields, for the page's script."""
        return asdict(self)


class NoCells:
    """What a picture is that has no cells to point at."""

    def cells(self, width: int) -> None:
        """None."""
