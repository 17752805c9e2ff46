"""gpt2.figures.overview: a long text as one map, its window, and the token under a click."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import cells, said

from gpt2 import figures
from gpt2.figures import LIGHT


@pytest.mark.parametrize("width", [300, 1040])
def test_the_window_is_outlined_where_its_tokens_are(width: int) -> None:
    edges = range(0, 1001, 20)
    picture = figures.OverviewMap(np.tri(50), edges, "All", (400, 464))
    figure, cells = picture.figure(width=width), picture.cells(width)
    (outline,) = figure.axes[0].collections
    assert to_hex(outline.get_edgecolor()[0]) == LIGHT.accent
    corners = outline.get_paths()[0].vertices[[0, 2]]
    runs = (corners - (cells.left, cells.top)) / (cells.across, cells.down)
    a_run = 2 * 20  # tokens: two cells of the map
    assert (runs * a_run).ravel() == pytest.approx([400, 400, 464, 464], abs=0.5)


def test_the_future_is_blank_and_axes_count_tokens() -> None:
    figure = figures.OverviewMap(np.zeros((3, 3)), (0, 300, 600, 900), "All").figure()
    assert (cells(figure, 3)[..., 3] == 255).tolist() == np.tri(3, dtype=bool).tolist()
    assert said(figure).count("200") == 2
    assert not [words for words in said(figure) if "outlined" in words]


def test_alt_says_how_long_the_text_is_and_what_is_outlined() -> None:
    picture = figures.OverviewMap(np.tri(8), range(0, 1025, 128), "Rollout", (64, 128))
    assert picture.columns()["query from"][:3] == [0, 128, 128]
    assert (
        picture.alt() == "Rollout: overview of 1,024 tokens in 8 steps. Outlined: tokens 64 to 127."
    )


@pytest.mark.parametrize(
    ("pooled", "more", "words"),
    [
        (np.tri(4) * 2, {}, r"pooled\[0, 0\] is 2"),
        (np.tri(4), {"edges": range(4)}, "4 edges for 4 cells"),
        (np.tri(4), {"window": (4, 9)}, "window 4 to 9 is not within 8 tokens"),
        (np.tri(4), {"high": 0}, "high is 0"),
    ],
)
def test_wrong_data_is_refused(pooled: np.ndarray, more: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figures.OverviewMap(pooled, **{"edges": range(0, 9, 2), "title": "All"} | more)
