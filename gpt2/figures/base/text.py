"""Text in figures: tokens that can always be drawn, their widths, rounded numbers."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from matplotlib import font_manager, rc_context
from matplotlib.ft2font import LoadFlags

CSS_DPI = 72
LABEL_COLUMNS = 12

_SETTINGS = Lock()  # matplotlib's settings belong to the whole process

# DejaVu Sans comes with matplotlib; the others widen its reach to Asian scripts where installed.
_BASE_FONT = "DejaVu Sans"
_WIDER_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)


@contextmanager
def settings(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw with some of matplotlib's settings, one thread at a time, and put them back.

    Hinting snaps letters to pixels, which at twice the density nobody sees; it took half the time
    of a figure with many words, and cannot be set for one figure.
    """
    with _SETTINGS, rc_context({"text.hinting": "none", **(more or {})}):
        yield


def percent(share: float) -> str:
    """A share of 1 in percent with the digits that matter: 18.3 %, 0.42 %, < 0.01 %."""
    if share >= 1 or share <= 0:
        return "100 %" if share >= 1 else "0 %"
    value = 100 * share
    if value > 99.9:
        return "> 99.9 %"
    if value < 0.01:
        return "< 0.01 %"
    return f"{value:.1f} %" if value >= 0.995 else f"{value:.2f} %"


def whole_percent(share: float) -> str:
    """A share of 1 in whole percent: 91 %, < 1 %."""
    if share >= 1 or share <= 0:
        return percent(share)
    value = 100 * share
    if value < 1:
        return "< 1 %"
    return f"{value:.0f} %" if value <= 99 else "> 99 %"


def shorten(piece: str, columns: int = LABEL_COLUMNS) -> str:
    """A piece cut to a number of columns, the ellipsis included; a wide character takes two."""
    if sum(map(_columns, piece)) <= columns:
        return piece
    kept, room = "", columns - 1
    for character in piece:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def label(text: str, columns: int = LABEL_COLUMNS) -> str:
    """A token's text as the figures write it: short, visible, and every character drawable."""
    known = fonts()[1]
    shown = "".join(
        c if ord(c) in known else f"U+{ord(c):04X}" for c in shorten(visible(text), columns)
    )
    return shorten(shown, columns)


def visible(text: str) -> str:
    """A token's text in which a new line, and one of spaces alone, can be seen."""
    return "␣" * len(text) if text and not text.strip(" ") else text.replace("\n", "⏎")


def named(text: str) -> str:
    """A token's text as titles write it, between quotes, for it may begin with a space."""
    return f"“{label(text, 30)}”"


def fitted(texts: Sequence[str], size: float, room: float) -> list[str]:
    """Labels of tokens, shortened further where they are wider than `room` pixels.

    Of two that differ in a space alone, as " the" and "the", the space is drawn.
    """
    bare = Counter(text.strip(" ") for text in set(texts))
    marked = [text.replace(" ", "␣") if bare[text.strip(" ")] > 1 else text for text in texts]
    labels = [label(text) for text in marked]
    for index, shown in enumerate(labels):
        columns = LABEL_COLUMNS
        while columns > 3 and text_width([labels[index]], size) > room:
            columns -= 1
            labels[index] = shorten(shown, columns)
    return labels


def quoted(text: str) -> str:
    """A token's text as alt text writes it."""
    return f"“{shorten(text.replace(chr(10), '⏎'), 30)}”"


def counted(count: int, thing: str) -> str:
    """A number of things: 1 token, 2 tokens."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


@lru_cache(maxsize=1)
def fonts() -> tuple[list[str], frozenset[int]]:
    """The font families to draw with, and the code points they have, both normal and bold."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = [_BASE_FONT] + [name for name in _WIDER_FONTS if name in installed]
    return families, _code_points(families, "normal") & _code_points(families, "bold")


def text_width(labels: Sequence[str], size: float, *, bold: bool = False) -> float:
    """Width of the widest of some labels, in CSS pixels."""
    weight = "bold" if bold else "normal"
    lines = {line for text in labels for line in text.split("\n")}
    return max((_text_width(line, size, weight) for line in lines), default=0.0)


def _code_points(families: Sequence[str], weight: str) -> frozenset[int]:
    paths = _font_paths(tuple(families), weight)
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


@lru_cache(maxsize=2)
def _font_paths(families: tuple[str, ...], weight: str) -> list[str]:
    props = [font_manager.FontProperties(family=name, weight=weight) for name in families]
    return [font_manager.findfont(prop) for prop in props]


@lru_cache(maxsize=16384)
def _text_width(text: str, size: float, weight: str) -> float:
    """As a renderer would measure it, which takes ten times longer and matplotlib's settings."""
    font = font_manager.get_font(_font_paths(tuple(fonts()[0]), weight))
    font.clear()
    font.set_size(size, CSS_DPI)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
