"""What every picture is: a frozen record of what it shows, which draws itself and says itself."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from gpt2.figures.base.cells import Cells
from gpt2.figures.base.style import LIGHT, Theme


class Picture(Protocol):
    """Arrays and strings, checked when it is made."""

    def figure(self, theme: Theme = LIGHT, width: int = 1040) -> Figure:
        """It as drawn for a width in CSS pixels.

        Raises:
            ValueError: the width is out of range.
        """

    def cells(self, width: int) -> Cells | None:
        """What can be pointed at in it as drawn for a width, None where nothing can.

        Raises:
            ValueError: the width is out of range.
        """

    def alt(self) -> str:
        """What it shows, in a sentence or two."""

    def columns(self) -> dict[str, Sequence]:
        """Its numbers by name, all of one length, for a CSV file."""


def check_field(
    picture: Picture, name: str, shape: tuple[int | None, ...], **limits: Any
) -> np.ndarray:
    """Check an array of a new picture and keep it as float64; see check_array."""
    array = check_array(name, getattr(picture, name), shape, **limits)
    object.__setattr__(picture, name, array)
    return array


def check_words(picture: Any) -> None:
    """Let a new picture have one of its `words`, for the CSV file, for each of its `pieces`.

    Raises:
        ValueError: there are more or fewer of them, and not none, which means the pieces.
    """
    if len(picture.words) not in (0, len(picture.pieces)):
        raise ValueError(f"{len(picture.words)} words for {len(picture.pieces)} tokens")
    object.__setattr__(picture, "words", picture.words or picture.pieces)


def check_array(
    name: str,
    values: Any,
    shape: tuple[int | None, ...],
    *,
    low: float,
    high: float,
    missing: bool = False,
) -> np.ndarray:
    """Values as float64, refused unless finite, in range and of the shape.

    Args:
        name: what the error calls them.
        values: anything that numpy can read.
        shape: expected lengths, None where any will do; none may be 0.
        low: least value; a rounding error of 0.001 below it is lifted to it.
        high: greatest value, with the same allowance.
        missing: whether NaN may stand for a value that is not known.

    Raises:
        ValueError: names the first value or the shape that is wrong.
    """
    array = np.asarray(values, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        found > 0 and wanted in (None, found)
        for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {list(array.shape)}; it must be [{wanted}], not empty")
    bad = ~((array >= low - 1e-3) & (array <= high + 1e-3))  # true for NaN
    if missing:
        bad &= ~np.isnan(array)
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        raise ValueError(
            f"{name}{where} is {array[tuple(where)]}; every value must be a number from "
            f"{low:g} to {high:g}"
        )
    return array.clip(low, high)
