"""The one style of the figures: themes, sizes, ticks that cannot overlap, pixels.

A figure is laid out in CSS pixels: at 72 dots per inch one point is one pixel, so a font size or a
line width is a number of pixels too. It is rendered at twice that density.
"""

import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gpt2.figures.base.text import fitted, fonts, settings

DENSITY = 2  # rendered pixels per CSS pixel
MIN_WIDTH, MAX_WIDTH = 300, 2400
LINE_HEIGHT = 1.25  # of the font size: closer lines of text would touch
WIDEST_LABEL = 100  # CSS pixels of a token at the left
PHONE = 560  # below this width labels must be shorter and fewer
TALLEST = 520  # CSS pixels that a wider picture is high at most, so that a window holds a view


@dataclass(frozen=True)
class Theme:
    """The colours of a figure, as hex strings. Figures are transparent and lie on the page.

    Args:
        name: "light" or "dark".
        text: titles and labels.
        muted: axes, notes and what was cut.
        grid: faint lines.
        background: the page behind the figure, used where a picture cannot be transparent.
        accent: the one thing selected.
        bar: quantities that are not selected.
        tint: stops of the sequential map that lies behind the page's text, pale to deep.
        diverging: stops for signed values: negative, zero, positive.
    """

    name: str
    text: str
    muted: str
    grid: str
    background: str
    accent: str
    bar: str
    tint: tuple[str, ...]
    diverging: tuple[str, ...]


LIGHT = Theme(
    name="light",
    text="#27272a",
    muted="#6b6b75",
    grid="#e4e4e7",
    background="#ffffff",
    accent="#4f46e5",
    bar="#8e8e99",
    tint=("#fdfde3", "#d3eebb", "#8fd3b9", "#4db9c4"),
    diverging=("#08519c", "#6baed6", "#f4f4f5", "#f4a582", "#b2182b"),
)
DARK = Theme(
    name="dark",
    text="#f4f4f5",
    muted="#a6a6b0",
    grid="#3a3a41",
    background="#18181b",
    accent="#8f98fb",
    bar="#81818c",
    tint=("#2b2b30", "#2a3f5c", "#1f5873", "#117386"),
    diverging=("#9ecae1", "#3d7fb5", "#2a2a2e", "#b5563c", "#fdbe9d"),
)


# A page's picture is drawn once for both themes: its colours are the names of what the page's style
# sheet says. A name is a red no map holds, a green for what it is (a colour, or a text on it), and
# a blue for its place; the stops of a map lie evenly on the blues, so that what is between them is.
RAMP_STEPS = 8  # from one stop of a map to the next
_NAMES = ("text", "muted", "grid", "background", "accent", "bar")
_RAMPS = {"tint": (64, 4), "diverging": (128, 5)}  # their first blue, and how many stops
_RED, _COLOR, _ON = 254, 1, 3


def _named(blue: int) -> str:
    return f"#{_RED:02x}{_COLOR:02x}{blue:02x}"


PAGE = Theme(
    name="page",
    **{name: _named(place) for place, name in enumerate(_NAMES)},
    **{
        name: tuple(_named(first + RAMP_STEPS * stop) for stop in range(stops))
        for name, (first, stops) in _RAMPS.items()
    },
)


def page_name(rgb: Sequence[float]) -> str | None:
    """What the page's style sheet calls a colour of the theme PAGE; None for any other colour.

    Args:
        rgb: each from 0 to 1.
    """
    red, green, blue = (round(255 * value) for value in rgb)
    if red != _RED or green not in (_COLOR, _ON):
        return None
    on = "on-" if green == _ON else ""
    for name, (first, stops) in _RAMPS.items():
        if first <= blue <= first + RAMP_STEPS * (stops - 1):
            return f"{on}{name}-{blue - first}"
    return f"{on}{_NAMES[blue]}"


def page_ink(rgb: Sequence[float]) -> str | None:
    """The name of the text that is legible on a colour of PAGE; None for any other colour."""
    return None if page_name(rgb) is None else f"#{_RED:02x}{_ON:02x}{round(255 * rgb[2]):02x}"


def page_steps(image: np.ndarray) -> np.ndarray | None:
    """Places on PAGE's map of signed values, [rows, columns]; None for an image of other colours.

    Args:
        image: RGBA bytes, which matplotlib rounds down.
    """
    first, stops = _RAMPS["diverging"]
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    if not ((red >= _RED - 1) & (green <= _COLOR)).all():
        return None
    return (blue - first).clip(0, RAMP_STEPS * (stops - 1))


def render(figure: Figure) -> np.ndarray:
    """A figure's pixels at twice its CSS size: uint8 [2 height, 2 width, 4], RGBA."""
    canvas = FigureCanvasAgg(figure)
    with settings():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def to_png(figure: Figure, *, background: str = "none") -> bytes:
    """A figure as a PNG file at twice its CSS size.

    Args:
        figure: any of the figures.
        background: "none" for a transparent one, or a colour such as a theme's background.
    """
    figure.set_facecolor(background)
    buffer = io.BytesIO()
    try:
        Image.fromarray(render(figure)).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    finally:
        figure.set_facecolor("none")
    return buffer.getvalue()


def text_style(theme: Theme, size: float, **more: Any) -> dict[str, Any]:
    """Keyword arguments of every text of a figure: tokens such as `$_$` stay as they are."""
    style = {"color": theme.text, "fontsize": size, "fontfamily": fonts()[0], "parse_math": False}
    return style | more


def row_labels(pieces: Sequence[str], size: float, width: int) -> list[str]:
    """Labels for the left of a figure; on a phone they leave the picture two thirds of it."""
    return fitted(pieces, size, 0.3 * width if width < PHONE else WIDEST_LABEL)


def font_size(width: int) -> int:
    """The size of labels, in CSS pixels."""
    return 12 if width < PHONE else 13


def tick_step(count: int, pixels: float, size: float) -> int:
    """Label every n-th of `count` places over `pixels`, so that lines of text do not touch."""
    step = max(1, math.ceil(count * LINE_HEIGHT * size / max(pixels, 1)))
    return step if step < 9 else 5 * math.ceil(step / 5)


def tallest(width: int) -> float:
    """CSS pixels that a picture of this width is high at most: a phone scrolls."""
    return TALLEST if width >= PHONE else math.inf


def check_width(width: int, *, least: int = MIN_WIDTH) -> None:
    """Refuse a width no figure can be laid out for.

    Args:
        width: in CSS pixels.
        least: of this picture.

    Raises:
        ValueError: it is out of range.
    """
    if not least <= width <= MAX_WIDTH:
        raise ValueError(
            f"width {width} is not between {least} and {MAX_WIDTH} CSS pixels; pass the "
            "width of the picture's place on the page"
        )
