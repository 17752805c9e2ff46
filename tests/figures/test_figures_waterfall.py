"""gpt2.figures.waterfall and number_line: from the model's softmax to the draw."""

from functools import partial

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import all_inside, none_overlap, said
from test_figures_inside import fall

from gpt2 import figures
from gpt2.figures import LIGHT
from gpt2.records import Waterfall

SMALL = {
    "pieces": ["a", "b", "·c"],
    "stages": ["model", "temperature 0.8", "top-k 2"],
    "probs": np.array([(0.5, 0.3, 0.1), (0.6, 0.25, 0.05), (0.75, 0.25, 0)]),
    "left": [50257, 50257, 2],
    "cut": [0, 0, 0.15],
    "chosen": 1,
    "u": 0.9,
    "starts": [0, 0.75, 0],
}


def test_each_step_says_how_many_tokens_are_left_and_what_it_cut() -> None:
    words = said(figures.WaterfallBars(**SMALL).figure())
    assert {"model", "temperature 0.8", "top-k 2"} <= set(words)
    assert words.count("50,257 tokens") == 2
    assert "2 tokens" in words
    assert [text for text in words if text.endswith(" % cut")] == ["15.0 % cut"]


def test_a_cut_token_is_hollow_once_and_then_gone() -> None:
    figure = figures.WaterfallBars(**SMALL).figure()
    assert said(figure).count("cut") == 1
    hollow = [c for c in figure.axes[0].collections if not len(c.get_facecolors())]
    assert len(hollow) == 1
    later = SMALL | {"stages": ["model", "top-k 2", "min-p 0.1"], "left": [50257, 2, 2]}
    later["probs"] = np.array([(0.5, 0.3, 0.1), (0.6, 0.4, 0), (0.6, 0.4, 0)])
    assert said(figures.WaterfallBars(**later).figure()).count("cut") == 1


def test_bars_of_all_steps_share_a_scale() -> None:
    figure = figures.WaterfallBars(**SMALL).figure()
    bars = [c for c in figure.axes[0].collections if hexes(c) == {LIGHT.bar, LIGHT.accent}]
    lengths = [np.ptp(path.vertices[:, 0]) for c in bars for path in c.get_paths()]
    shares = [0.5, 0.3, 0.1, 0.6, 0.25, 0.05, 0.75, 0.25]
    assert np.divide(lengths[:8], shares) == pytest.approx([lengths[0] / 0.5] * 8)


def test_the_mark_falls_into_the_slice_of_the_drawn_token() -> None:
    for width in (340, 1040):
        axes = figures.WaterfallBars(**SMALL).figure(width=width).axes[0]
        slices = [c for c in axes.collections if hexes(c) == {LIGHT.accent}]
        x = slices[-1].get_paths()[0].vertices[:, 0]
        (mark,) = axes.lines[0].get_xdata()
        assert x.min() < mark < x.max()
        assert mark == pytest.approx(12 + (width - 24) * 0.9)
    assert {"“b” owns 0.750 to 1.000", "random number 0.900"} <= set(said(axes.get_figure()))


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("width", [300, 1040])
def test_words_at_the_ends_of_the_line_stay_apart(u: float, width: int) -> None:
    data = SMALL | {"u": u, "starts": [0, min(u, 0.75), 0]}
    figure = figures.WaterfallBars(**data).figure(width=width)
    all_inside(figure)
    none_overlap(figure)


def test_without_a_random_number_there_is_no_line() -> None:
    data = SMALL | {"chosen": 0, "u": None}
    figure = figures.WaterfallBars(**data).figure()
    assert not figure.axes[0].lines
    assert [text for text in said(figure) if "No random number" in text]
    assert "most likely token is taken" in figures.WaterfallBars(**data).alt()


@pytest.mark.parametrize(("width", "blocks"), [(300, 2), (1040, 1)])
def test_columns_that_do_not_fit_start_a_new_block(width: int, blocks: int) -> None:
    data = fall([f"label{index}" for index in range(11)])
    words = said(figures.WaterfallBars(**data).figure(width=width))
    assert words.count("label1") == blocks  # cut: it has no slice
    assert words.count("12.5 % cut") == 1


def test_alt_tells_the_story_of_the_drawn_token() -> None:
    assert figures.WaterfallBars(**SMALL).alt() == (
        "From the model to the draw. “b” starts at 30.0 %. After temperature 0.8: 25.0 %, "
        "50,257 tokens left. After top-k 2: 25.0 %, 2 tokens left, 15.0 % cut. The random number "
        "0.9000 falls in its slice, 0.7500 to 1.0000."
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"probs": [(0.5, 0.3, float("nan"))] * 3}, r"probs\[0, 2\] is nan"),
        ({"probs": [(0.5, 0.3)] * 3}, r"probs has shape \[3, 2\]"),
        ({"cut": [0, 0, 1.5]}, r"cut\[2\] is 1.5"),
        ({"starts": [0, -1, 0]}, r"starts\[1\] is -1"),
        ({"left": [3]}, "1 counts left for 3 steps"),
        ({"chosen": 3}, "chosen row 3 is not between 0 and 2"),
        ({"u": 1.0}, "u is 1.0; a random number is at least 0 and below 1"),
    ],
)
def test_wrong_data_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figures.WaterfallBars(**SMALL | bad)


def test_the_table_may_have_the_whole_vocabulary() -> None:
    probs = np.array([(0.5, 0.25, 0.25), (1, 0, 0)])
    more = {"left": (3, 1), "cut": (0, 0.5), "u": 0.5, "low": 0, "high": 1, "token": 0}
    drawn = Waterfall(("softmax", "top_k"), (True, True), probs, **more)
    table = partial(figures.vocabulary_columns, drawn, lambda ids: ["abc"[token] for token in ids])
    assert figures.WaterfallBars(**SMALL, table=table).columns() == {
        "id": range(3),
        "token": ["a", "b", "c"],
        "softmax": [0.5, 0.25, 0.25],
        "top_k": [1, 0, 0],
    }
    assert list(figures.WaterfallBars(**SMALL).columns()) == ["token", *SMALL["stages"]]


def hexes(collection: object) -> set[str]:
    return {to_hex(color) for color in collection.get_facecolors()}
