"""Figures and their numbers as files.

Imports: matplotlib.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure


def to_svg(figure: Figure) -> bytes:
    """A figure as SVG with its words as text; the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gpt2"}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    return buffer.getvalue()


def to_csv(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV, their names first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return buffer.getvalue()
