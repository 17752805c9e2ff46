"""What comes from outside is checked here, in one sentence that names the value and the way out."""

import math
from pathlib import Path

# github.com/git-lfs/git-lfs, docs/spec.md, "The Pointer": a text file of three lines.
_POINTER = b"version https://git-lfs.github.com/spec/"


def check_number(
    name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False
) -> float | int:
    """A number that came from outside, once it is known to be one and in range.

    Args:
        low, high: least and greatest; without a greatest any finite number from low on.

    Raises:
        ValueError: it is not, in one sentence.
    """
    kind = "a whole number" if whole else "a number"
    limits = f"{name} must be {kind} " + (
        f"from {low} to {high}" if high < math.inf else f"of at least {low}"
    )
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}; {limits}")
    inside = low <= value <= high and value != math.inf  # NaN is in no range
    if not inside or (whole and value != int(value)):
        shown = value if isinstance(value, float) or abs(value) < 1e20 else "far out of range"
        raise ValueError(f"{name} is {shown}; {limits}")
    return int(value) if whole else float(value)


def check_text(text: str) -> None:
    """Refuse text that has no UTF-8 form.

    Raises:
        ValueError: it is no string, or holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise ValueError(f"the text is a {type(text).__name__}; it must be a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start + 1} of the text is a lone surrogate "
            f"(U+{ord(text[error.start]):04X}), half of a character; remove it or paste the text "
            "again"
        ) from error


def refuse_pointer(path: Path) -> None:
    """Refuse a git-lfs pointer, by name; any other file, or none, is well.

    Raises:
        ValueError: it is one.
    """
    if not path.is_file():
        return
    with open(path, "rb") as file:
        found = file.read(len(_POINTER))
    if found == _POINTER:
        raise ValueError(
            f"{path} is a git-lfs pointer, a few words in place of the file; run `git lfs pull` "
            "in its repository, or download the file itself"
        )
