"""The one reader of text files: whatever wrote them, lines of a text come out.

UTF-8 with or without a byte order mark, UTF-16 with one (Windows), line ends of every system,
packed with xz or not.
"""

import codecs
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_XZ = b"\xfd7zXZ\x00"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_lines(path: str | Path, *, wanted: str = "give a UTF-8 text file") -> Iterator[str]:
    """The lines of a text file, each with its \\n (the last one perhaps without).

    Args:
        path: any name; what is in the file says whether it is packed, and in which encoding.
        wanted: the way out of a missing file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {kind}; {wanted}")
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise ValueError(
                        f"{path} line {number} holds a zero byte, so it is no UTF-8 text; "
                        "save the file as UTF-8"
                    )
                yield line
    except UnicodeDecodeError as error:
        raise ValueError(f"{_where(path, error)}; save the file as UTF-8") from error
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} is a damaged .xz file: {error}") from error


def _open(path: Path, *, errors: str = "strict") -> IO[str]:
    with open(path, "rb") as file:
        start = file.read(len(_XZ))
    opener = lzma.open if start == _XZ or path.suffix == ".xz" else open
    with opener(path, "rb") as file:
        encoding = "utf-16" if file.read(2) in _UTF16 else "utf-8-sig"
    return opener(path, "rt", encoding=encoding, errors=errors)


def _where(path: Path, error: UnicodeDecodeError) -> str:
    """Where a text stops to be one: a decoder, which reads blocks, does not know the line."""
    if error.encoding != "utf-8":
        return f"{path} is not UTF-16 text ({error.reason}), though it begins as such"
    with _open(path, errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            bad = next((ord(c) - 0xDC00 for c in line if "\udc80" <= c <= "\udcff"), None)
            if bad is not None:
                return f"{path} line {number} is not UTF-8 (byte {bad:#04x})"
    return f"{path} is not UTF-8"
