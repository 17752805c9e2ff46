"""gpt2.figures.tiles: every head of every layer, and the one under a click."""

import time

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import said
from test_figures_inside import head_tiles, tiles

from gpt2 import figures
from gpt2.figures import LIGHT
from gpt2.records import HEAD_LABELS

PREVIOUS, FIRST, _, INDUCTION = HEAD_LABELS
WORDS = [[PREVIOUS, "", FIRST], ["", PREVIOUS, INDUCTION]]


@pytest.mark.parametrize("width", [300, 340, 1040])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (8, 9), (12, 12), (48, 25)])
def test_each_tile_lies_where_a_click_finds_it(layers: int, heads: int, width: int) -> None:
    for at in {(0, 0), (layers - 1, 0), (layers // 2, heads - 1)}:
        maps = np.zeros((layers, heads, 4, 4))
        maps[at] = np.tri(4)
        picture = figures.render(head_tiles(maps).figure(width=width))
        yellow = np.argwhere((picture[..., 0] > 240) & (picture[..., 2] < 60))
        assert len(yellow) > 100
        for y, x in (yellow[0], yellow[len(yellow) // 2], yellow[-1]):
            place = (x + 0.5) / picture.shape[1], (y + 0.5) / picture.shape[0]
            found = figures.tile_at(*place, layers=layers, heads=heads, width=width)
            assert found == at
    assert figures.tile_at(0.001, 0.001, layers=layers, heads=heads, width=width) is None


def test_the_future_is_blank_and_the_past_is_not() -> None:
    picture = figures.render(head_tiles(np.zeros((1, 1, 2, 2))).figure(width=300))
    opaque = np.argwhere((picture[124:, 76:, 3] == 255) & (picture[124:, 76:, 0] < 80))
    counts = np.bincount(opaque[:, 0])
    assert counts[-5] == 2 * counts[5] > 0  # two cells in the lower row, one in the upper


def test_letters_mark_what_heads_do_and_a_key_says_so() -> None:
    figure = head_tiles(tiles(3, 2, 3), WORDS).figure()
    assert "marked: F first token · I induction · P previous token" in said(figure)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [1, 1, 2]
    for line, places in zip(
        figure.axes[0].lines, ([(0, 2)], [(1, 2)], [(0, 0), (1, 1)]), strict=True
    ):
        height = figure.get_size_inches()[1] * 72
        at = [(x / 1040, y / height) for x, y in zip(*line.get_data(), strict=True)]
        found = [figures.tile_at(*place, layers=2, heads=3, width=1040) for place in at]
        assert found == places


def test_tiles_too_small_for_letters_have_none() -> None:
    figure = head_tiles(tiles(3, 48, 25), [[FIRST] * 25] * 48).figure(width=340)
    assert not figure.axes[0].lines
    assert not [words for words in said(figure) if "marked" in words]


def test_no_two_kinds_of_heads_begin_with_the_same_letter() -> None:
    assert len({word[0] for word in HEAD_LABELS}) == len(HEAD_LABELS)


def test_the_selected_head_is_outlined() -> None:
    figure = head_tiles(tiles(3, 2, 3), selected=(1, 2)).figure()
    (outline,) = figure.axes[0].collections
    assert to_hex(outline.get_edgecolor()[0]) == LIGHT.accent
    x, y = outline.get_paths()[0].vertices[:4].mean(0)
    height = figure.get_size_inches()[1] * 72
    assert figures.tile_at(x / 1040, y / height, layers=2, heads=3, width=1040) == (1, 2)


def test_alt_counts_the_heads_and_names_the_labelled_ones() -> None:
    picture = head_tiles(tiles(3, 2, 3), WORDS)
    assert picture.alt() == (
        "Attention of 2 layers of 3 heads, a tile each. First token: layer 0 head 2. Induction: "
        "layer 1 head 2. Previous token: layer 0 head 0, layer 1 head 1."
    )
    columns = picture.columns()
    assert list(columns) == ["layer", "head", *HEAD_LABELS]
    assert columns["layer"] == [0, 0, 0, 1, 1, 1]
    assert columns["head"] == [0, 1, 2] * 2
    assert columns[PREVIOUS] == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("maps", "more", "words"),
    [
        (np.full((1, 1, 2, 2), 1.5), {}, r"maps\[0, 0, 0, 0\] is 1.5"),
        (np.zeros((2, 2, 2)), {}, r"maps has shape \[2, 2, 2\]"),
        (np.zeros((1, 1, 65, 65)), {}, "65 cells are too fine to draw, the limit is 64"),
        (np.zeros((2, 3, 2, 2)), {"selected": (0, 3)}, "layer 0, head 3 is not one of 2 layers"),
    ],
)
def test_wrong_maps_are_refused(maps: np.ndarray, more: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        head_tiles(maps, **more)


def test_scores_of_another_model_are_refused() -> None:
    found = head_tiles(tiles(3, 2, 3)).found
    with pytest.raises(ValueError, match="scores are of"):
        figures.HeadTiles(tiles(3, 3, 3), found)


def test_a_hundred_tiles_are_fast() -> None:
    maps = tiles(32, 12, 12)
    seconds = []
    for _ in range(4):
        start = time.process_time()
        figures.to_png(head_tiles(maps).figure())
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.6  # about 0.15 on a quiet core
