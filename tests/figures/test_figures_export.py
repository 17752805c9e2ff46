"""Exported files: SVG and CSV."""

import base64
import csv
import io
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from test_figures import HARD, pieces
from test_figures_inside import PICTURES, head_tiles, tiles

from gpt2 import figures
from gpt2.figures import LIGHT

NAMES = ("{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}")


def svg(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(data)


@pytest.mark.parametrize("name", PICTURES)
def test_an_svg_has_its_texts_as_text_and_the_width_of_the_figure(name: str) -> None:
    figure = PICTURES[name](["a", "·b", "$x$", "\\frac"] * 16, 760).figure(LIGHT, 760)
    root = svg(figures.to_svg(figure))
    assert root.get("viewBox").split()[2] == "760"
    words = {text.text.strip() for text in root.iter(f"{NAMES[0]}text") if text.text}
    wanted = {t.get_text() for axes in figure.axes for t in figure.texts if t.get_text()}
    assert wanted
    assert wanted <= words


def test_the_same_figure_gives_the_same_svg_without_a_date() -> None:
    def draw() -> bytes:
        return figures.to_svg(head_tiles(tiles(3, 2, 2)).figure())

    assert draw() == draw()
    assert b"<dc:date>" not in draw()


def test_a_picture_in_an_svg_lies_where_the_png_has_it() -> None:
    root = svg(figures.to_svg(head_tiles(np.zeros((2, 3, 4, 4))).figure(width=760)))
    (image,) = root.iter(f"{NAMES[0]}image")
    box = [float(image.get(key)) for key in ("x", "y", "width", "height")]
    assert box == [38, -62, 180, 120]  # three tiles of 60 pixels, two below each other
    assert image.get("transform") == "scale(1 -1) translate(0 -120)"  # so it hangs at y = 62,
    data = image.get(f"{NAMES[1]}href").split(",")[1]
    painted = imread(io.BytesIO(base64.b64decode(data)))  # upside down: a tile's last row is first
    widths = (painted[:120, :120, 3] > 0).sum(1)
    assert (widths[10], widths[-1]) == (112, 28)


def test_threads_write_svg_at_once_and_leave_the_settings_alone() -> None:
    before = matplotlib.rcParams["svg.fonttype"]

    def draw(seed: int) -> bytes:
        probs = np.random.default_rng(seed % 3).dirichlet(np.ones(4))
        return figures.to_svg(figures.ClassBars(HARD[:4], probs).figure(width=300))

    alone = [draw(seed) for seed in range(3)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(draw, range(24)))
    assert all(data == alone[seed % 3] for seed, data in enumerate(at_once))
    assert matplotlib.rcParams["svg.fonttype"] == before == "path"


def test_neither_importing_nor_drawing_leaves_a_setting_of_matplotlib_changed() -> None:
    figures.to_png(figures.ClassBars(("a", "b"), (0.5, 0.5)).figure())
    backend = {"backend": None, "backend_fallback": None}  # Gradio's, where a page was started
    left = {**matplotlib.rcParams, **backend}
    assert left == {**matplotlib.rcParamsDefault, **backend}


def test_csv_gives_back_every_token_and_number() -> None:
    tokens = [*pieces(18), 'a "b", c', "line\nbreak"]
    data = {"token": tokens, "prob": np.linspace(0, 1, 20), "rank": range(20)}
    rows = list(csv.reader(io.StringIO(figures.to_csv(data), newline="")))
    assert rows[0] == ["token", "prob", "rank"]
    assert [row[0] for row in rows[1:]] == tokens
    assert [float(row[1]) for row in rows[1:]] == data["prob"].tolist()
    assert [row[2] for row in rows[1:]] == [str(rank) for rank in range(20)]


@pytest.mark.parametrize("token", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_token_is_never_a_formula_but_numbers_stay_numbers(token: str) -> None:
    text = figures.to_csv({"token": [token], "logprob": [-1.5], "none": [None]})
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [f"'{token}", "-1.5", ""]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="'a': 1, 'b': 2"):
        figures.to_csv({"a": [1], "b": [1, 2]})


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_its_numbers_as_columns_of_one_length(name: str) -> None:
    assert len(figures.to_csv(PICTURES[name](pieces(64), 760).columns())) > 40
