"""gpt2.figures.attribution and faithfulness: what a choice rests on, and whether that is true."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import said

from gpt2 import figures
from gpt2.figures import LIGHT
from gpt2.figures.attribution import MAX_BARS
from gpt2.figures.base.colors import CLASS_COLORS
from gpt2.records import RANDOM_ORDER

PIECES = ["The", "·cat", "·sat"]
VALUES = np.array([(0.5, -1.0, 0.25), (2, 4, 0)])
NAMES = ("gradient × input", "occlusion")


def test_bars_start_at_zero_and_go_to_their_sign() -> None:
    axes = figures.AttributionBars(PIECES, VALUES, NAMES, "·on").figure().axes[0]
    zero, bars = (c.get_paths() for c in axes.collections[:2])
    middle = zero[0].vertices[:4, 0].mean()
    ends = [path.vertices[1, 0] - path.vertices[0, 0] for path in bars]
    assert np.divide(ends, VALUES[0]) == pytest.approx([abs(ends[1])] * 3)
    assert [path.vertices[0, 0] for path in bars] == pytest.approx([middle] * 3)
    colors = [to_hex(color) for color in axes.collections[1].get_facecolors()]
    red, blue = LIGHT.diverging[-1], LIGHT.diverging[0]
    assert colors == [red, blue, red]


def test_each_method_has_its_own_scale_and_says_its_greatest() -> None:
    words = said(figures.AttributionBars(PIECES, VALUES, NAMES, "·on").figure())
    assert {"max 1", "max 4", *NAMES, *PIECES, "What “·on” rests on"} <= set(words)


def test_a_score_not_known_yet_is_no_bar() -> None:
    values = np.array([(np.nan, -1.0, 0.25)])
    picture = figures.AttributionBars(PIECES, values, ["occlusion"], "·on")
    assert np.isnan(picture.columns()["occlusion"][0])
    bars = picture.figure().axes[0].collections[1].get_paths()
    assert [np.ptp(path.vertices[:4, 0]) > 0 for path in bars] == [False, True, True]


def test_of_a_long_text_the_strongest_stay_in_order_with_their_places() -> None:
    values = np.ones((2, 300)) * 0.1
    values[0, [7, 250]] = -9
    values[1, 31] = 0.3
    picture = figures.AttributionBars(["·a"] * 300, values, NAMES, "b")
    chosen = picture.strongest()
    assert len(chosen) == MAX_BARS
    assert chosen == sorted(chosen)
    assert {7, 31, 250} <= set(chosen)
    words = said(picture.figure())
    assert {"7 ·a", "31 ·a", "250 ·a"} <= set(words)
    assert figures.AttributionBars(PIECES, VALUES, NAMES, "b").strongest() == [0, 1, 2]


def test_methods_that_do_not_fit_start_a_new_block() -> None:
    values = np.ones((5, 3))
    for width, blocks in ((1040, 1), (340, 2)):
        figure = figures.AttributionBars(PIECES, values, "vwxyz", "a").figure(width=width)
        assert said(figure).count("·sat") == blocks


def test_attribution_alt_names_the_strongest_of_each_method() -> None:
    words = figures.AttributionBars(PIECES, VALUES, NAMES, "·on").alt()
    assert words == (
        "What “·on” rests on, over 3 tokens. Strongest by gradient × input: “·cat” (token 1) -1, "
        "“The” (token 0) +0.5, “·sat” (token 2) +0.25. Strongest by occlusion: “·cat” (token 1) "
        "+4, “The” (token 0) +2, “·sat” (token 2) +0."
    )


METHODS = ("occlusion", RANDOM_ORDER)
CURVES = ((0, 0.5, 1), [(0.8, 0.2, 0), (0.8, 0.6, 0)], [(0, 0.6, 0.8), (0, 0.2, 0.8)])


def test_lines_fall_and_rise_and_the_random_one_is_grey() -> None:
    figure = figures.FaithfulnessCurves(*CURVES, METHODS).figure()
    lines = figure.axes[0].lines
    colors = [to_hex(line.get_color()) for line in lines[:4:2]]
    assert colors == [CLASS_COLORS[0], LIGHT.bar]
    down = lines[0].get_ydata()
    assert down[0] < down[1] < down[2]  # pixels count downward
    up = lines[4].get_ydata()
    assert up[0] > up[1] > up[2]
    assert lines[0].get_ydata()[0] == pytest.approx(up[2])  # 0.8 in both plots, one scale


def test_names_stand_in_the_order_of_their_lines() -> None:
    figure = figures.FaithfulnessCurves(*CURVES, METHODS).figure()
    heights = [t.get_position()[1] for t in figure.texts if t.get_text() == "occlusion"]
    others = [t.get_position()[1] for t in figure.texts if t.get_text() == RANDOM_ORDER]
    assert heights[0] > others[0]
    assert heights[1] < others[1]


def test_faithfulness_alt_gives_the_area_of_each_curve() -> None:
    words = figures.FaithfulnessCurves(*CURVES, METHODS).alt()
    assert words == (
        "Mean probability of the prediction as tokens are removed, and as they are put back, "
        "strongest first: occlusion 0.3 and 0.5; random order 0.5 and 0.3. Removed: the lower, "
        "the truer. Put back: the higher, the truer."
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: figures.AttributionBars(PIECES, VALUES, ["a"], ""), "values has shape"),
        (lambda: figures.AttributionBars("a", [[np.inf]], ["a"], ""), r"values\[0, 0\]"),
        (lambda: figures.FaithfulnessCurves((0,), [[1]], [[1]], ["a"]), "two or more that ascend"),
        (lambda: figures.FaithfulnessCurves((1, 0), [[1, 1]], [[1, 1]], ["a"]), "that ascend"),
        (lambda: figures.FaithfulnessCurves(*CURVES, ["a"]), r"deletion has shape \[2, 3\]"),
    ],
)
def test_wrong_data_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
