"""gpt2.figures.ablation and before_after: what switching parts off changes."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from test_figures import said

from gpt2 import figures
from gpt2.figures import DARK, LIGHT, Theme

HEADS = np.array([(0.1, -0.5, 0), (0.02, 0.3, -0.01)])
MLPS = np.array([-3.9, 0.7])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_zero_is_neutral_and_the_signs_have_their_hues(theme: Theme) -> None:
    figure = figures.AblationGrid([[-1, 0, 1]], [0.0], "a").figure(theme)
    low, zero, high, mlp = figure.axes[0].collections[0].get_facecolors()[:, :3]
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert np.ptp(zero) < 0.05
    assert zero.tolist() == mlp.tolist()
    assert zero == pytest.approx(to_rgb(theme.diverging[2]), abs=0.02)


def test_the_scale_is_the_same_on_both_sides_of_zero() -> None:
    figure = figures.AblationGrid(8 * HEADS, [-40.0, 0.7], "a").figure()
    places = [(text.get_text(), text.get_position()) for text in figure.texts]
    line = next(at[1] for words, at in places if words == "-4")
    x = {words: at[0] for words, at in places if at[1] == line}  # the numbers of the colour bar
    assert x["0"] - x["-4"] == pytest.approx(x["4"] - x["0"])
    assert x["1"] - x["0"] == pytest.approx((x["4"] - x["0"]) / 2)  # the root of a quarter


def test_the_strongest_are_named_and_outlined() -> None:
    figure = figures.AblationGrid(HEADS, MLPS, "·tax").figure()
    words = said(figure)
    listed = ["layer 0, MLP: -3.90", "layer 1, MLP: +0.70", "layer 0, head 1: -0.50"]
    assert f"strongest: {' · '.join(listed)}" in words
    narrow = said(figures.AblationGrid(HEADS, MLPS, "·tax").figure(width=340))
    assert narrow[narrow.index("strongest:") + 1 :][:3] == listed
    assert {"-3.90", "+0.70", "-0.50"} <= set(words)  # in the cells
    outlines = [c for c in figure.axes[0].collections if len(c.get_edgecolors())]
    assert [to_hex(c.get_edgecolors()[0]) for c in outlines] == [LIGHT.text] * 3


def test_a_strong_mlp_does_not_make_the_heads_pale() -> None:
    figure = figures.AblationGrid(HEADS, [-50.0, 0.01], "a").figure()
    colors = figure.axes[0].collections[0].get_facecolors()
    assert colors[1].tolist() == colors[3].tolist()  # the strongest head and the MLP past the scale
    assert {"-50.00", "+0.01"} <= set(said(figure))


def test_layers_not_known_yet_stay_empty() -> None:
    heads, mlps = HEADS.copy(), MLPS.copy()
    heads[0] = mlps[0] = np.nan
    figure = figures.AblationGrid(heads, mlps, "a").figure()
    alphas = figure.axes[0].collections[0].get_facecolors()[:, 3]
    assert alphas.tolist() == [0] * 4 + [1] * 4
    assert [words for words in said(figure) if "strongest: layer 1, MLP: +0.70 · " in words]
    assert "Known so far: 1 of them. Strongest: layer 1, MLP, +0.70" in (
        figures.AblationGrid(heads, mlps, "a").alt()
    )


def test_alt_names_the_strongest_with_their_unit() -> None:
    assert figures.AblationGrid(HEADS, MLPS, "·tax").alt() == (
        "Change of the log-probability of “·tax” when each of 2 layers of 3 heads or an MLP is "
        "off. Strongest: layer 0, MLP, -3.90 nats; layer 1, MLP, +0.70 nats; layer 0, head 1, "
        "-0.50 nats."
    )


def test_bars_before_and_after_share_a_scale() -> None:
    figure = figures.BeforeAfter(("a", "b"), (0.5, 0.1), (0.25, 0.4), ("on", "off")).figure()
    bars = {
        color: [
            float(np.ptp(c.get_paths()[0].vertices[:, 0]))
            for c in figure.axes[0].collections[2:]
            if to_hex(c.get_facecolors()[0]) == color
        ]
        for color in (LIGHT.bar, LIGHT.accent)
    }
    scale = bars[LIGHT.bar][0] / 0.5
    assert bars[LIGHT.bar] == pytest.approx([0.5 * scale, 0.1 * scale])
    assert bars[LIGHT.accent] == pytest.approx([0.25 * scale, 0.4 * scale])
    assert {"on", "off", "50.0 → 25.0 %", "10.0 → 40.0 %"} <= set(said(figure))


def test_before_after_alt_says_both_bests_and_the_greatest_change() -> None:
    picture = figures.BeforeAfter(("a", "b"), (0.5, 0.1), (0.25, 0.4), ("on", "off"))
    assert picture.columns() == {"token": ("a", "b"), "on": [0.5, 0.1], "off": [0.25, 0.4]}
    assert picture.alt() == (
        "Probability of the next token. Most likely on: “a” 50.0 %, “b” 10.0 %. Most likely off: "
        "“b” 40.0 %, “a” 25.0 %. Greatest change: “b”, 10.0 → 40.0 %."
    )


def test_the_table_has_a_row_for_each_part() -> None:
    columns = figures.AblationGrid([[1, 2]], [3], "a").columns()
    assert list(columns.values()) == [[0, 0, 0], ["head 0", "head 1", "MLP"], [1, 2, 3]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: figures.AblationGrid(HEADS, MLPS[:1], "a"), r"mlps has shape \[1\]"),
        (lambda: figures.AblationGrid([[np.inf]], [0], "a"), r"heads\[0, 0\] is inf"),
        (lambda: figures.BeforeAfter("ab", (1, 0), (1,)), r"after has shape \[1\]"),
        (lambda: figures.BeforeAfter("ab", (1.5, 0), (1, 0)), r"before\[0\] is 1.5"),
    ],
)
def test_wrong_data_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
