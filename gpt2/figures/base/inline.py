"""A figure as an <svg> element of the page, whose colours are variables of the page's style sheet.

The figure is drawn once, with the theme PAGE, whose colours are names; light and dark are the
browser's affair. What is written is what a Canvas holds, whose coordinates are CSS pixels already.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from itertools import groupby

import numpy as np
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.text import Text
from PIL import Image

from gpt2.figures.base.canvas import Boxes, Pixels, ink
from gpt2.figures.base.style import (
    DARK,
    LIGHT,
    LINE_HEIGHT,
    PAGE,
    RAMP_STEPS,
    Theme,
    page_name,
    page_steps,
)
from gpt2.figures.base.text import CSS_DPI

_LARGER = 1.1  # the page's font is a fifth narrower than the one in which texts are measured
_BASELINE = 0.34  # of a font's size, from the middle of its letters down to the line they stand on
_DESCENT = 0.22  # and from there to the end of its longest ones
_HATCH = 6  # CSS pixels from one line of a hatched box to the next
_NONE = (0.0, 0.0, 0.0, 0.0)
_ANCHORS = {"center": "middle", "right": "end"}

_RULES = """\
.fig{display:block;max-width:100%;height:auto;font-family:inherit;font-variant-numeric:tabular-nums}
.fig text{white-space:pre}
.fig image{image-rendering:pixelated}
.fig-dark,.dark .fig-light{display:none}
.dark .fig-dark{display:inline}
"""


def to_inline_svg(figure: Figure, *, alt: str = "") -> str:
    """A figure drawn with the theme PAGE as an <svg> element; the same figure, the same text.

    Its style is `theme_css()`. It holds no ids, so that any number of them can be on one page.

    Args:
        figure: any of the figures.
        alt: what it shows, for those who cannot see it; empty where the page says it elsewhere.

    Raises:
        ValueError: it was drawn with another theme, whose colours would not follow the page's.
    """
    if figure.get_label() != PAGE.name:
        raise ValueError(
            f"the figure was drawn with the theme {figure.get_label()!r}; draw it with PAGE"
        )
    width, height = (round(inches * CSS_DPI) for inches in figure.get_size_inches())
    said = f' role="img" aria-label="{escape(alt)}"' if alt else ""
    return (
        f'<svg class="fig" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' fill="var(--fig-text)"{said}>{"".join(_elements(figure))}</svg>'
    )


@lru_cache(maxsize=1)
def theme_css() -> str:
    """The style sheet of inline pictures: their variables in light and in dark, and their rules."""
    light, dark = (";".join(f"{k}:{v}" for k, v in variables(t).items()) for t in (LIGHT, DARK))
    return f":root,.gradio-container{{{light}}}\n.dark,.dark .gradio-container{{{dark}}}\n{_RULES}"


def variables(theme: Theme) -> dict[str, str]:
    """The variables of a style sheet that say a theme's colours, and what is legible on them."""
    plain = {
        name: getattr(theme, name)
        for name in ("text", "muted", "grid", "background", "accent", "bar")
    }
    ramps = {
        f"{name}-{step}": to_hex(color)
        for name in ("tint", "diverging")
        for step, color in enumerate(_ramp(getattr(theme, name)))
    }
    bright = {name: color for name, color in (plain | ramps).items() if not name.startswith("tint")}
    named = plain | ramps | {f"on-{name}": ink(color) for name, color in bright.items()}
    return {f"--fig-{name}": color for name, color in named.items()}


def _ramp(stops: tuple[str, ...]) -> np.ndarray:
    """The colours of a theme's map, from its first stop to its last: [N, 3]."""
    rgb = np.array([to_rgba(stop)[:3] for stop in stops])
    places = np.linspace(0, len(stops) - 1, RAMP_STEPS * (len(stops) - 1) + 1)
    return np.stack([np.interp(places, range(len(stops)), channel) for channel in rgb.T], axis=1)


def _elements(figure: Figure) -> Iterator[str]:
    """What the figure draws, in matplotlib's order."""
    for axes in figure.axes:
        for artist in sorted(axes.get_children(), key=lambda artist: artist.zorder):
            if isinstance(artist, Pixels):
                yield from _image(artist)
            elif isinstance(artist, Boxes):
                yield from _boxes(artist)
            elif isinstance(artist, Line2D) and artist in axes.lines:
                yield from _line(artist)
    texts = (entry for text in figure.texts if text.get_text() for entry in _text(text))
    for style, run in groupby(texts, key=lambda entry: entry[0]):
        written = "".join(f"<text{place}>{words}</text>" for _, place, words in run)
        yield f"<g{style}>{written}</g>"


def _text(text: Text) -> list[tuple[str, str, str]]:
    """The lines of a text, each as its style, its place and its words, for attributes and text."""
    size, (x, y) = _LARGER * text.get_fontsize(), text.get_position()
    anchor, va = text.get_horizontalalignment(), text.get_verticalalignment()
    turned, lines = text.get_rotation() == 90, text.get_text().split("\n")
    if turned and va != "center":
        anchor = {"top": "right", "bottom": "left"}[va]
    style = _color("fill", to_rgba(text.get_color()))
    style += f' font-size="{_number(size)}"'
    style += ' font-weight="700"' if text.get_fontweight() == "bold" else ""
    style += f' text-anchor="{_ANCHORS[anchor]}"' if anchor in _ANCHORS else ""
    down = -_DESCENT * size if va == "bottom" and not turned else _BASELINE * size
    down -= LINE_HEIGHT * size * (len(lines) - 1) / 2
    found = []
    for index, words in enumerate(lines):
        at = down + index * LINE_HEIGHT * size
        if turned:
            place = f' transform="translate({_number(x + at)} {_number(y)})rotate(-90)"'
        else:
            place = f' x="{_number(x)}" y="{_number(y + at)}"'
        found.append((style, place, _escaped(words)))
    return found


def _boxes(boxes: Boxes) -> Iterator[str]:
    """Rectangles, those that look alike in one path."""
    fills, edges = _rows(boxes.get_facecolor()), _rows(boxes.get_edgecolor())
    paths: dict[str, list[str]] = defaultdict(list)
    for index, (left, top, across, down) in enumerate(boxes.places.round(1).tolist()):
        look = _box_look(fills[index % len(fills)], edges[index % len(edges)], boxes.line)
        paths[look].append(f"M{left:g} {top:g}h{across:g}v{down:g}h{-across:g}z")
    for look, drawn in paths.items():
        yield f'<path{look} d="{"".join(drawn)}"/>'
    if boxes.get_hatch():
        drawn = [line for place in boxes.places.tolist() for line in _hatched(*place)]
        yield f'<path{_color("stroke", edges[0])} d="{"".join(drawn)}"/>'


def _rows(colors: np.ndarray) -> list[tuple[float, ...]]:
    return [tuple(color) for color in colors.tolist()] or [_NONE]


@lru_cache(maxsize=1024)
def _box_look(fill: tuple[float, ...], edge: tuple[float, ...], line: float) -> str:
    """How a rectangle is painted, as attributes."""
    look = _color("fill", fill)
    if line and edge[3]:
        look += _color("stroke", edge) + (f' stroke-width="{line:g}"' if line != 1 else "")
    return look


def _hatched(left: float, top: float, across: float, down: float) -> Iterator[str]:
    """Slanting lines that fill a rectangle."""
    for start in np.arange(_HATCH, across + down, _HATCH).tolist():
        x, y = min(start, across), min(start, down)
        drawn = (left + start - y, top + y, left + x, top + start - x)
        yield "M{} {}L{} {}".format(*map(_number, drawn))


def _line(line: Line2D) -> Iterator[str]:
    """A line and the marks on it."""
    points = np.column_stack(line.get_data()).astype(float)
    color = line.get_color()
    if line.get_linestyle() not in ("None", "none", ""):
        look = _color("stroke", to_rgba(color, line.get_alpha()))
        look += f' stroke-width="{line.get_linewidth():g}"' if line.get_linewidth() != 1 else ""
        look += ' stroke-dasharray="4 3"' if line.is_dashed() else ""
        drawn = "L".join(f"{_number(x)} {_number(y)}" for x, y in points.tolist())
        yield f'<path fill="none" stroke-linejoin="round"{look} d="M{drawn}"/>'
    marker, side = line.get_marker(), line.get_markersize()
    points = points[line.get_markevery()] if line.get_markevery() else points
    if isinstance(marker, Path):  # the letters of tiles
        x, y = (
            " ".join(map(_number, axis)) for axis in np.add(points, (0, 0.36 * side)).T.tolist()
        )
        look = f'{_color("fill", to_rgba(color))} font-size="{_number(side)}" font-weight="700"'
        words = _escaped(line.get_label() * len(points))
        yield f'<text{look} text-anchor="middle" x="{x}" y="{y}">{words}</text>'
    elif marker == "o":
        drawn = "".join(f"M{_number(x)} {_number(y)}h0" for x, y in points.tolist())
        look = f'{_color("stroke", to_rgba(color))} stroke-width="{side:g}"'
        yield f'<path stroke-linecap="round"{look} d="{drawn}"/>'
    elif marker == "^":
        ((x, y),) = points.tolist()
        corner = f"M{_number(x)} {_number(y - side / 2)}l{side / 2:g} {side:g}h{-side:g}z"
        yield f'<path{_color("fill", to_rgba(color))} d="{corner}"/>'


def _image(pixels: Pixels) -> Iterator[str]:
    """An image; where its colours are the theme's, one for light and one for dark."""
    left, top, across, down = pixels.place
    place = f' x="{left:g}" y="{top:g}" width="{across:g}" height="{down:g}"'
    place += ' preserveAspectRatio="none"'
    image = pixels.cells
    step = page_steps(image)
    if step is None:
        yield f'<image{place} href="{_png(image)}"/>'
        return
    for theme in (LIGHT, DARK):
        painted = image.copy()
        painted[..., :3] = (255 * _ramp(theme.diverging)).round().astype(np.uint8)[step]
        yield f'<image class="fig-{theme.name}"{place} href="{_png(painted)}"/>'


def _png(image: np.ndarray) -> str:
    """RGBA bytes as the address of a PNG, with a palette where its colours are few enough."""
    pixels = np.ascontiguousarray(image).view(np.uint32)[..., 0]
    colors, places = np.unique(pixels, return_inverse=True)
    buffer = io.BytesIO()
    if len(colors) > 256:
        Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    else:
        palette = colors.view(np.uint8).reshape(-1, 4)
        drawn = Image.fromarray(places.reshape(pixels.shape).astype(np.uint8), "P")
        drawn.putpalette(palette[:, :3].tobytes())
        blank = palette[:, 3].tobytes() if (palette[:, 3] < 255).any() else None
        drawn.save(buffer, "PNG", compress_level=6, **({"transparency": blank} if blank else {}))
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@lru_cache(maxsize=1024)
def _color(name: str, rgba: tuple[float, ...]) -> str:
    """A colour as an attribute: a variable of the page's style sheet, or what it is."""
    if not rgba[3]:
        return f' {name}="none"'
    said = page_name(rgba[:3])
    shown = to_hex(rgba) if said is None else f"var(--fig-{said})"
    faint = f' {name}-opacity="{rgba[3]:g}"' if rgba[3] < 1 else ""
    return f' {name}="{shown}"{faint}' if shown != "var(--fig-text)" or name != "fill" else ""


def _number(value: float) -> str:
    """At most one digit after the point: a tenth of a pixel cannot be seen."""
    return f"{round(value, 1) + 0:g}"


def _escaped(words: str) -> str:
    """A text as XML may hold it: a control character or half a pair of surrogates may not be."""
    return escape("".join(c if c >= " " and not "\ud800" <= c <= "\udfff" else "�" for c in words))
