"""gpt2.figures.lens and rank: what each layer would say, and how one token rises."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import contrast, said
from test_figures_inside import lens

from gpt2 import figures
from gpt2.figures.lens import MAX_ROWS, layer_names, lens_rows

PIECES = [["The", "·cat"], ["·first", "·a"], ["·cat", "·sat"], ["·dog", "·sat"]]
PROBS = np.array([(1, 1), (0.1, 0.2), (0.3, 0.4), (0.5, 0.125)])
INPUTS = ["The", "·cat"]
LENS = lens(PIECES, PROBS, INPUTS)


def test_rows_are_layers_and_the_last_is_the_output() -> None:
    figure = lens(PIECES, PROBS, INPUTS).figure()
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    names = ["read", "start", "layer 0", "layer 1", "output"]
    assert sorted(names, key=heights.__getitem__) == names
    assert heights["·dog"] == heights["output"]
    assert heights["·first"] == heights["layer 0"]


def test_every_cell_can_be_read_and_the_likelier_is_brighter() -> None:
    probs = np.linspace(0, 1, 9)[:, None]
    words = [[f"w{index}"] for index in range(9)]
    figure = lens(words, probs, ["a"]).figure()
    shades = [to_hex(shade) for shade in figure.axes[0].collections[0].get_facecolors()]
    inks = {text.get_text(): text.get_color() for text in figure.texts}
    assert min(contrast(shade, inks[f"w{i}"]) for i, shade in enumerate(shades)) >= 4
    brightness = [contrast(shade, "#000000") for shade in shades]
    assert brightness == sorted(brightness)
    assert brightness[-1] > 10


@pytest.mark.parametrize(("width", "columns"), [(300, 4), (340, 5), (760, 12), (1040, 16)])
def test_as_many_positions_as_fit(width: int, columns: int) -> None:
    assert figures.lens_columns(width) == columns
    words = [["a"] * (columns + 1)]
    with pytest.raises(ValueError, match=f"{columns + 1} positions are too many"):
        lens(words, [[0.5] * (columns + 1)], words[0]).figure(width=width)


def test_many_layers_are_thinned_and_the_output_stays() -> None:
    for rows in (1, 2, 9, 13, 25, 37, 49):
        shown = lens_rows(rows)
        assert shown[-1] == rows - 1
        assert len(shown) <= MAX_ROWS
        assert len(layer_names(rows)) == rows
        assert layer_names(rows)[-1] == "output"
    assert lens_rows(9) == list(range(9))


def test_alt_says_since_when_the_output_was_the_first_choice() -> None:
    words = lens(PIECES, PROBS, INPUTS).alt()
    assert words == (
        "The most likely next token after each of 3 layers, at 2 positions. At the last, after "
        "“·cat”, the output says “·sat”, 12.5 %, the first choice from layer 1 on."
    )
    assert "no layer before it does" in lens([["a"], ["b"]], [[1], [1]], ["c"]).alt()


def test_rank_one_is_at_the_top_and_the_scale_is_logarithmic() -> None:
    figure = figures.RankPath((10000, 100, 1), (0.01, 0.02, 0.5), "·sat").figure()
    y = figure.axes[0].lines[0].get_ydata()
    assert y[0] > y[1] > y[2]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2])
    assert {"How “·sat” rises through the layers", "50.0 %", "start", "output"} <= set(said(figure))
    x, at = figure.axes[0].lines[0].get_xdata()[-1], y[2]
    labels = [t for t in figure.texts if t.get_text() == "1" and t.get_position()[0] == x]
    assert [text.get_position()[1] > at for text in labels] == [True]


@pytest.mark.parametrize(("width", "rows"), [(300, 9), (340, 49), (1040, 49)])
def test_the_output_always_has_its_probability_written(width: int, rows: int) -> None:
    probs = np.linspace(0.1, 0.157, rows)
    figure = figures.RankPath([1] * rows, probs, "a").figure(width=width)
    assert {"15.7 %", "output"} <= set(said(figure))


def test_rank_alt_says_where_it_begins_and_when_it_is_first() -> None:
    words = figures.RankPath((14436, 213, 1, 2, 1, 1), (0, 0, 0.2, 0.1, 0.3, 0.157), "'s").alt()
    assert words == (
        "Rank of “'s” through the layers: 14,436 at the start, 1 in the output, with 15.7 %. "
        "First for good from layer 3 on."
    )


def test_the_table_has_every_guess_of_every_cell() -> None:
    probs = np.array([[[0.5, 0.25]], [[0.75, 0.125]]])
    more = {"positions": [9], "guesses": list("abcd"), "words": ["x"]}
    picture = figures.LensGrid([["a"], ["c"]], probs, ["x"], **more)
    assert picture.columns() == {
        "layer": [0, 0, 1, 1],
        "position": [9] * 4,
        "after token": ["x"] * 4,
        "guess": [1, 2, 1, 2],
        "token": list("abcd"),
        "probability": [0.5, 0.25, 0.75, 0.125],
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(LENS, pieces=PIECES[:2]), "pieces must be 4 rows of 2"),
        (lambda: replace(LENS, probs=PROBS[:, :1, None]), r"probs has shape \[4, 1, 1\]"),
        (lambda: replace(LENS, probs=PROBS[..., None] * 2), r"probs\[0, 0, 0\] is 2"),
        (lambda: replace(LENS, guesses=["a"]), "1 guesses are not 8"),
        (lambda: figures.RankPath((0, 1), (0.5, 0.5), "a"), r"ranks\[0\] is 0"),
        (lambda: figures.RankPath((1, 1), (0.5,), "a"), r"probs has shape \[1\]"),
    ],
)
def test_wrong_data_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
