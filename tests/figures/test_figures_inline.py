"""gpt2.figures.base.inline: a figure in the page itself, in the colours of its style sheet."""

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import test_figures
import test_figures_inside
from matplotlib.image import imread
from test_figures import attention, contrast, pieces, said
from test_figures_inside import METHODS, fall, head_tiles, lens, tiles

from gpt2 import figures
from gpt2.figures import DARK, LIGHT, PAGE, Picture, theme_css, to_inline_svg
from gpt2.figures.base.colors import CLASS_COLORS

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ("</text><script>alert(1)</script>", "${1}", "\"'`&amp;", "<!--", "]]>", "\x00\x1b\ud800")
PICTURES: dict[str, Callable[[list[str], int], Picture]] = test_figures_inside.PICTURES | {
    name: lambda names, width, make=make: make() for name, make in test_figures.PICTURES.items()
}


def drawn(name: str, *, width: int = 700, names: list[str] | None = None, alt: str = "") -> str:
    picture = PICTURES[name](names or pieces(64), width)
    return to_inline_svg(picture.figure(PAGE, width), alt=alt)


def parsed(text: str) -> ElementTree.Element:
    """The element; as in HTML, it needs no namespace of its own."""
    return ElementTree.fromstring(text.replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1))


def sheet() -> tuple[dict[str, str], dict[str, str]]:
    """The variables of the style sheet, in light and in dark."""
    light, dark = re.findall(r"\{(--fig-[^}]*)\}", theme_css())
    return tuple(dict(pair.split(":") for pair in text.split(";")) for text in (light, dark))


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_one_element_of_the_pictures_size_and_always_the_same(name: str) -> None:
    text = drawn(name)
    assert text == drawn(name)
    root = parsed(text)
    figure = PICTURES[name](pieces(64), 700).figure(LIGHT, 700)
    across, down = (round(72 * inches) for inches in figure.get_size_inches())
    assert root.get("viewBox") == f"0 0 {across} {down}"
    assert (root.get("width"), root.get("height")) == (str(across), str(down))
    assert not re.search(r"<\?xml|<!DOCTYPE|<metadata|<style|clip-path|\bid=", text)


@pytest.mark.parametrize("name", PICTURES)
def test_its_colours_are_variables_that_the_style_sheet_has(name: str) -> None:
    text = drawn(name)
    used = set(re.findall(r"var\((--fig-[\w-]+)\)", text))
    assert "--fig-text" in used
    for variables in sheet():
        assert used <= set(variables)
    said_in_hex = set(re.findall(r'"(#[0-9a-f]{6})"', text))
    themes = {
        color
        for theme in (LIGHT, DARK, PAGE)
        for value in vars(theme).values()
        for color in ([value] if isinstance(value, str) else value)
        if color != "#ffffff"  # also what can be read on the dark end of a map
    }
    assert not said_in_hex & themes
    assert not [color for color in said_in_hex if color.startswith("#fe0")]


def test_the_style_sheet_says_the_colours_of_both_themes() -> None:
    for theme, variables in zip((LIGHT, DARK), sheet(), strict=True):
        for name in ("text", "muted", "grid", "background", "accent", "bar"):
            assert variables[f"--fig-{name}"] == getattr(theme, name)
        stops = [variables[f"--fig-diverging-{8 * stop}"] for stop in range(5)]
        assert stops == list(theme.diverging)
        assert [variables[f"--fig-tint-{8 * stop}"] for stop in range(4)] == list(theme.tint)


@pytest.mark.parametrize("theme", [0, 1])
def test_what_stands_on_a_colour_can_be_read(theme: int) -> None:
    variables = sheet()[theme]
    pairs = [(name, color) for name, color in variables.items() if name.startswith("--fig-on-")]
    assert len(pairs) > 30
    for name, color in pairs:
        assert contrast(color, variables[name.replace("on-", "")]) >= 4


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_class_colours_can_be_seen_on_both_pages(theme: figures.Theme) -> None:
    assert min(contrast(color, theme.background) for color in CLASS_COLORS) >= 3
    assert '"#2d68eb"' in drawn("class")


@pytest.mark.parametrize("name", PICTURES)
def test_no_token_is_markup(name: str) -> None:
    names = [*itertools.islice(itertools.cycle(HOSTILE), 64)]
    text = drawn(name, names=names, alt=names[0] + names[2])
    root = parsed(text)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "g", "text", "path", "image"}
    assert root.get("aria-label") == names[0] + names[2]
    assert root.get("role") == "img"
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]


@pytest.mark.parametrize("name", PICTURES)
def test_its_words_are_those_of_the_figure(name: str) -> None:
    figure = PICTURES[name](["a", "·b", "$x$", "\\frac"] * 16, 700).figure(PAGE, 700)
    written = [text.text for text in parsed(to_inline_svg(figure)).iter(f"{SVG}text")]
    wanted = {line for words in said(figure) for line in words.split("\n")}
    assert wanted
    assert wanted <= set(written)


def test_a_picture_without_alt_is_left_to_the_caller() -> None:
    assert not {"role", "aria-label"} & set(parsed(drawn("class")).keys())


def test_a_figure_in_the_colours_of_one_theme_is_refused() -> None:
    with pytest.raises(ValueError, match="theme 'dark'; draw it with PAGE"):
        to_inline_svg(PICTURES["class"](pieces(64), 700).figure(DARK, 700))


def test_a_map_is_an_image_of_one_pixel_a_cell() -> None:
    weights = np.tri(9) / np.arange(1, 10)[:, None]
    picture = figures.HeadMap(weights, pieces(9), layer=0, head=0)
    image = list(parsed(to_inline_svg(picture.figure(PAGE, 700))).iter(f"{SVG}image"))[-1]
    painted = imread(io.BytesIO(base64.b64decode(image.get("href").split(",")[1])))
    assert painted.shape[:2] == (9, 9)
    assert (painted[..., 3] > 0).tolist() == np.tri(9, dtype=bool).tolist()


def test_signed_images_are_there_for_light_and_for_dark() -> None:
    picture = figures.AblationGrid([[1, -1]], [0], "a")
    root = parsed(to_inline_svg(picture.figure(PAGE, 700)))
    for theme in (LIGHT, DARK):
        (bar,) = [i for i in root.iter(f"{SVG}image") if i.get("class") == f"fig-{theme.name}"]
        painted = imread(io.BytesIO(base64.b64decode(bar.get("href").split(",")[1])))
        ends = [
            "#{:02x}{:02x}{:02x}".format(*np.rint(255 * painted[0, place, :3]).astype(int))
            for place in (0, -1)
        ]
        assert ends == [theme.diverging[0], theme.diverging[-1]]


@pytest.mark.parametrize(
    ("make", "kilobytes"),
    [
        (lambda: figures.WaterfallBars(**fall([f" w{i}" for i in range(11)], 6)), 20),
        (lambda: figures.HeadMap(attention(60)[0], pieces(60), layer=0, head=0), 25),
        (lambda: head_tiles(tiles(24, 12, 12)), 60),
    ],
)
def test_it_is_small(make: Callable[[], Picture], kilobytes: float) -> None:
    assert len(to_inline_svg(make().figure(PAGE, 700)).encode()) < 1000 * kilobytes


def test_threads_draw_the_same_at_once() -> None:
    names = [*PICTURES] * 2
    alone = {name: drawn(name) for name in PICTURES}
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, names)) == [alone[name] for name in names]


def test_a_file_stands_alone_as_ever() -> None:
    data = figures.to_svg(PICTURES["lens"](pieces(64), 700).figure(LIGHT, 700))
    assert data.startswith(b"<?xml")
    assert b"var(" not in data


LONG = [*itertools.islice(itertools.cycle(test_figures_inside.LONG), 400)]
NUMBERS = np.random.default_rng(0)
EXTREMES: dict[str, Callable[[int], Picture]] = {
    "map": lambda width: figures.HeadMap(attention(64)[0], LONG[:64], layer=0, head=0),
    "small map": lambda width: figures.HeadMap(attention(9)[0], LONG[:9], layer=0, head=0),
    "12 x 12 tiles": lambda width: head_tiles(tiles(4, 12, 12)),
    "48 x 25 tiles": lambda width: head_tiles(tiles(4, 48, 25)),
    "waterfall": lambda width: figures.WaterfallBars(**fall(LONG[:11], 6)),
    "attribution": lambda width: figures.AttributionBars(
        LONG[:70], NUMBERS.normal(size=(3, 70)), METHODS[:3], "a"
    ),
    "five methods": lambda width: figures.AttributionBars(
        LONG, NUMBERS.normal(size=(5, 400)), METHODS, "a"
    ),
    "lens": lambda width: lens(
        [LONG[: figures.lens_columns(width)]] * 49, np.linspace(0, 1, 49), LONG
    ),
    "ablation": lambda width: figures.AblationGrid(np.ones((48, 25)), np.ones(48), "a"),
    "before and after": lambda width: figures.BeforeAfter(
        LONG[:20], np.full(20, 0.05), np.full(20, 0.05)
    ),
    "overview": lambda width: figures.OverviewMap(np.tri(128), range(0, 1025, 8), "All"),
    "topic": lambda width: figures.TopicLines(
        test_figures.topics(64), LONG[:64], test_figures.LABELS
    ),
}


@pytest.mark.parametrize("width", [560, 700, 1000])
@pytest.mark.parametrize("name", EXTREMES)
def test_a_window_holds_a_picture(name: str, width: int) -> None:
    figure = EXTREMES[name](width).figure(LIGHT, width)
    assert figure.get_size_inches()[1] * 72 <= 520
    test_figures.all_inside(test_figures.drawn(figure))
    test_figures.none_overlap(figure)


def test_what_is_left_out_is_said() -> None:
    words = said(EXTREMES["attribution"](700).figure(LIGHT, 700))
    assert [text for text in words if " strongest of 70 tokens; bar to the right" in text]
    picture = figures.WaterfallBars(**fall([f"label{index}" for index in range(20)]))
    words = said(picture.figure(LIGHT, 700))
    (note,) = [text for text in words if text.startswith("Above: the ")]
    shown = int(note.split()[2])
    assert note == f"Above: the {shown} likeliest of 20, the drawn one among them."
    assert {"label0", f"label{shown - 2}", "label19"} <= set(words)
