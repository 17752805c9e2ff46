"""gpt2.figures.tiles: every head of every layer, and the one under a click."""

import time

import numpy as np
import pytest
from test_figures import said
from test_figures_inside import head_tiles, tiles

from gpt2 import figures
from gpt2.records import HEAD_LABELS

PREVIOUS, FIRST, _, INDUCTION = HEAD_LABELS
WORDS = [[PREVIOUS, "", FIRST], ["", PREVIOUS, INDUCTION]]


def test_the_future_is_blank_and_the_past_is_not() -> None:
    picture = figures.render(head_tiles(np.zeros((1, 1, 2, 2))).figure(width=300))
    opaque = np.argwhere((picture[124:, 76:, 3] == 255) & (picture[124:, 76:, 0] < 80))
    counts = np.bincount(opaque[:, 0])
    assert counts[-5] == 2 * counts[5] > 0  # two cells in the lower row, one in the upper


def test_letters_mark_what_heads_do_and_a_key_says_so() -> None:
    picture = head_tiles(tiles(3, 2, 3), WORDS)
    figure, cells = picture.figure(), picture.cells(1040)

    def place_of(x: float, y: float) -> tuple[int, int]:
        return int((y - cells.top) // cells.down), int((x - cells.left) // cells.across)

    assert "marked: F first token · I induction · P previous token" in said(figure)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [1, 1, 2]
    for line, places in zip(
        figure.axes[0].lines, ([(0, 2)], [(1, 2)], [(0, 0), (1, 1)]), strict=True
    ):
        at = zip(*line.get_data(), strict=True)
        assert [place_of(x, y) for x, y in at] == places


def test_tiles_too_small_for_letters_have_none() -> None:
    figure = head_tiles(tiles(3, 48, 25), [[FIRST] * 25] * 48).figure(width=340)
    assert not figure.axes[0].lines
    assert not [words for words in said(figure) if "marked" in words]


def test_no_two_kinds_of_heads_begin_with_the_same_letter() -> None:
    assert len({word[0] for word in HEAD_LABELS}) == len(HEAD_LABELS)


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
    ("maps", "words"),
    [
        (np.full((1, 1, 2, 2), 1.5), r"maps\[0, 0, 0, 0\] is 1.5"),
        (np.zeros((2, 2, 2)), r"maps has shape \[2, 2, 2\]"),
        (np.zeros((1, 1, 65, 65)), "65 cells are too fine to draw, the limit is 64"),
    ],
)
def test_wrong_maps_are_refused(maps: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        head_tiles(maps)


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
