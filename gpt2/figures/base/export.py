"""What the page offers to download: a figure as SVG, numbers as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from gpt2.figures.base.text import settings

# Text stays text, so it can be searched and edited; ids are the same each time.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "gpt2"}

# A cell that begins so is a formula to a spreadsheet (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_svg(figure: Figure, *, background: str = "none") -> bytes:
    """A figure as an SVG file; the same figure gives the same bytes.

    Args:
        figure: any of the figures.
        background: "none" for a transparent one, or a colour such as a theme's background.
    """
    buffer = io.BytesIO()
    with settings(_SVG):
        figure.savefig(buffer, format="svg", facecolor=background, metadata={"Date": None})
    return buffer.getvalue()


def to_csv(columns: Mapping[str, Sequence]) -> str:
    """Columns as CSV with a header (RFC 4180), rows ending in CR LF.

    A text that a spreadsheet would take for a formula (=, +, -, @, tab or carriage return first)
    gets an apostrophe before it; numbers stay as they are.

    Args:
        columns: values by name, all of one length: text, numbers, or None for an empty cell.

    Raises:
        ValueError: the lengths differ.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns have different lengths: {lengths}; pass one value for each row")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    writer.writerows(
        [_defused(cell) for cell in row] for row in zip(*columns.values(), strict=True)
    )
    return buffer.getvalue()


def _defused(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
