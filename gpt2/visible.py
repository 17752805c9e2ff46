"""Tokens that can be seen: a form for every string of bytes in which nothing is invisible."""

import re
import unicodedata
from functools import lru_cache

_VISIBLE = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}
_MARKS = frozenset("".join(_VISIBLE.values()) + "◌⟨⟩")
_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"))
_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9A-F]{2})|U(?=\+[0-9A-F]{4})")


@lru_cache(maxsize=65536)
def visible(raw: bytes) -> str:
    """Bytes as a string in which nothing is invisible: ·, ⏎, ⇥, U+202E, \\xE2.

    No two byte strings look alike: what is itself one of these marks is escaped.
    """
    text = raw.decode("utf-8", errors="surrogateescape")
    marked = {match.start() for match in _LOOKS_ESCAPED.finditer(text)}
    return "".join(
        _escaped(character) if i in marked else _visible_character(character)
        for i, character in enumerate(text)
    )


def drawn(text: str) -> str:
    """A text as strips and pictures show it: itself, but for what could not be seen."""
    return "".join(
        character if character in _MARKS or character in " \n" else _visible_character(character)
        for character in text
    )


def _visible_character(character: str) -> str:
    if character in _VISIBLE:
        return _VISIBLE[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 by itself
        return f"\\x{code - 0xDC00:02X}"
    category = unicodedata.category(character)
    if character in _MARKS or category in _INVISIBLE_CATEGORIES:
        return _escaped(character)
    return f"◌{character}" if category in ("Mn", "Me") else character


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x80 else f"U+{code:04X}"
