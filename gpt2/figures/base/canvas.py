"""Figures placed by hand: one axes over the whole figure, in CSS pixels from the top left corner.

Matplotlib's own layout measures every text several times; widths that `text_width` knows are
cheaper, and a click can be mapped back to what lies under it.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gpt2.figures.base.style import (
    DENSITY,
    LINE_HEIGHT,
    MIN_WIDTH,
    PHONE,
    Theme,
    check_width,
    font_size,
    page_ink,
    text_style,
)
from gpt2.figures.base.text import CSS_DPI, text_width

TURNED = {"rotation": 90, "ha": "center", "va": "center"}  # a text that reads upward
_INK = ("#101014", "#ffffff")  # text on a coloured cell: whichever can be read


class Canvas:
    """A figure whose one axes covers it, with coordinates in CSS pixels, y downward.

    Args:
        width, height: in CSS pixels.
        theme: its colours.
        least: the least width of this picture.

    Raises:
        ValueError: the width is out of range.
    """

    def __init__(self, width: int, height: float, theme: Theme, *, least: int = MIN_WIDTH) -> None:
        check_width(width, least=least)
        self.theme, self.width, self.height = theme, width, round(height)
        self.size = font_size(width) - 1  # of its texts, if they have no other
        inches = width / CSS_DPI, self.height / CSS_DPI
        self.figure = Figure(figsize=inches, dpi=CSS_DPI * DENSITY, facecolor="none")
        self.figure.set_label(theme.name)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(self.height, 0)

    def write(
        self,
        x: float,
        y: float,
        words: str,
        *,
        muted: bool = False,
        size: float | None = None,
        **more: Any,
    ) -> None:
        """A text at a place; by default it starts at x, its line centred on y."""
        color = {"color": self.theme.muted} if muted else {}
        style = text_style(self.theme, size or self.size, va="center_baseline") | color | more
        # Not axes.text, which takes a tenth longer to clip what is inside anyway.
        self.figure.text(x, y, words, transform=self.axes.transData, **style)

    def write_near(
        self, x: float, y: float, words: str, *, room: tuple[float, float], **more: Any
    ) -> None:
        """A text centred on x, but moved sideways where it would leave `room` (left, right)."""
        half = text_width([words], self.size, bold=more.get("weight") == "bold") / 2
        place = min(max(x, room[0] + half), max(room[1] - half, room[0] + half))
        self.write(place, y, words, ha="center", **more)

    def write_lines(self, x: float, y: float, lines: Sequence[str], **more: Any) -> float:
        """Lines one below the other, the first centred on y. Returns the y of the next."""
        for line in lines:
            self.write(x, y, line, **more)
            y += line_height(self.size)
        return y

    def write_title(self, title: str) -> None:
        """The title at the top left corner, smaller if it would not fit."""
        size = font_size(self.width) + (self.width >= PHONE)
        size = min(size, size * (self.width - 6) / text_width([title], size))
        self.write(2, 12, title, size=size)

    def boxes(self, places: Any, **style: Any) -> None:
        """Rectangles, drawn at once.

        Args:
            places: [N, 4]: left, top, width (may be negative) and height.
            style: of a PolyCollection: facecolors, edgecolors, linewidths, hatch ...
        """
        self.axes.add_collection(Boxes(places, **style), autolim=False)

    def outline(self, place: Any, color: str, *, line: float = 2) -> None:
        """The edge of a rectangle: left, top, width and height."""
        self.boxes([place], facecolors="none", edgecolors=color, linewidths=line)

    def paste(self, cells: np.ndarray, place: tuple[float, float, float, float]) -> None:
        """An image at a place; see Pixels."""
        self.axes.add_artist(Pixels(cells, place))

    def write_key(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
        """Colours and what they stand for, (colour, words) each, in a line from (x, y) on."""
        size = self.size
        for color, words in entries:
            square = (x, y - 0.4 * size, 0.8 * size, 0.8 * size)
            self.boxes([square], facecolors=color, edgecolors=self.theme.muted, linewidths=0.5)
            self.write(x + 1.2 * size, y, words)
            x += 2.6 * size + text_width([words], size)


class Boxes(PolyCollection):
    """Rectangles.

    Args:
        places: [N, 4]: left, top, width (may be negative) and height.
        style: of a PolyCollection, but one line width for all.
    """

    def __init__(self, places: Any, **style: Any) -> None:
        self.places = np.asarray(places, dtype=float).reshape(-1, 4)
        left, top, across, down = self.places.T
        right, bottom = left + across, top + down
        corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1)
        style = {"linewidths": 0, "edgecolors": "none"} | style
        self.line = float(style["linewidths"])
        super().__init__(corners.reshape(-1, 4, 2), **style)


class Pixels(Artist):
    """An RGBA image laid on a canvas pixel for pixel: nothing is resampled, which takes time.

    Args:
        cells: uint8 [rows, columns, 4], a pixel for each cell.
        place: left, top, width and height in whole CSS pixels, over which they are spread.
    """

    def __init__(self, cells: np.ndarray, place: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.cells, self.place = np.ascontiguousarray(cells), place

    @property
    def image(self) -> np.ndarray:
        """DENSITY pixels for each CSS pixel, upside down: renderers begin at the bottom."""
        (rows, columns), (_, _, across, down) = self.cells.shape[:2], self.place
        down, across = round(down * DENSITY), round(across * DENSITY)
        pixels = self.cells.view(np.uint32)[..., 0]  # four bytes at once
        pick_y = np.arange(down)[::-1] * rows // down
        spread = pixels[pick_y][:, np.arange(across) * columns // across]
        return spread[..., None].view(np.uint8)

    def draw(self, renderer: Any) -> None:
        """Called by matplotlib."""
        left, top, _, down = self.place
        x, y = self.axes.transData.transform((left, top + down))
        renderer.draw_image(renderer.new_gc(), round(x), round(y), self.image)


def wrapped(words: str, size: float, room: float, *, bold: bool = False) -> list[str]:
    """A text broken between words into lines no wider than `room` pixels, where words allow."""
    lines = [""]
    for word in words.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width([longer], size, bold=bold) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def line_height(size: float) -> float:
    """From one line of text to the next, in pixels."""
    return round(LINE_HEIGHT * size) + 1


def blocks_of(count: int, fitting: int) -> tuple[int, int]:
    """Blocks, and columns of each, for so many columns of which `fitting` fit side by side."""
    blocks = ceil(count / max(1, fitting))
    return blocks, ceil(count / blocks)


def ink(color: Any) -> str:
    """Black or white, whichever has the greater contrast with a colour (WCAG 2.2).

    Of a colour of the theme PAGE it is the name of what the page's style sheet says.
    """
    rgb = np.array(to_rgb(color))
    named = page_ink(rgb)
    if named is not None:
        return named
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return _INK[0] if (luminance + 0.05) ** 2 > 1.05 * 0.056 else _INK[1]


def spread(heights: np.ndarray, gap: float, *, high: float = 1.0) -> np.ndarray:
    """Heights in 0..high moved apart by at least `gap`, in the same order, near where they were."""
    order = np.argsort(heights, kind="stable")
    out = heights[order].astype(float)
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + gap)
    out[-1] = min(out[-1], max(high, gap * (len(out) - 1)))
    for i in range(len(out) - 2, -1, -1):
        out[i] = min(out[i], out[i + 1] - gap)
    moved = np.empty_like(out)
    moved[order] = out
    return moved


def spaced(weights: Any, x: Any, labels: Sequence[str], size: float) -> list[int]:
    """Which of the labels, centred on x, can be written on one line without touching.

    Args:
        weights: [N] which of two that would touch is kept: the greater, else the earlier.
        x: [N] in CSS pixels.
        labels: N texts.
    """
    kept: list[int] = []
    halves = [text_width([words], size) / 2 + 3 for words in labels]
    for index in np.argsort(-np.asarray(weights, dtype=float), kind="stable").tolist():
        if all(abs(x[index] - x[other]) >= halves[index] + halves[other] for other in kept):
            kept.append(index)
    return sorted(kept)
