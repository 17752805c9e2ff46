"""gpt2.figures.score: bands of ranks, and two histograms."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import said

from gpt2.figures import LIGHT, ScoreBands

RANKS = [1, 1, 10, 11, 100, 101, 1000, 1001, 50257, 2]
ENTROPIES = np.linspace(0, 10, 10)
LOGPROBS = np.full(10, -2.0)


def bands(
    ranks: Sequence[int], entropies: Sequence[float], logprobs: Sequence[float]
) -> ScoreBands:
    return ScoreBands(ranks, entropies, logprobs, range(len(ranks)), ["a"] * len(ranks))


DATA = bands(RANKS, ENTROPIES, LOGPROBS)


def test_bands_hold_the_ranks_they_say() -> None:
    figure = DATA.figure()
    words = said(figure)
    assert {"1 to 10: 4 (40.0 %)", "11 to 100: 2 (20.0 %)", "more: 2 (20.0 %)"} <= set(words)
    assert "First choice: 2 of 10 tokens; perplexity 7.4" in words
    parts = figure.axes[0].collections[:4]
    assert [to_hex(part.get_facecolors()[0]) for part in parts] == list(LIGHT.tint)
    widths = [np.ptp(part.get_paths()[0].vertices[:, 0]) for part in parts]
    assert np.divide(widths, sum(widths)) == pytest.approx([0.4, 0.2, 0.2, 0.2])


def test_an_empty_band_is_named_and_takes_no_room() -> None:
    words = said(bands([1, 2], [0, 1], [-1, -1]).figure())
    assert "more: 0 (0 %)" in words
    assert "1 to 10: 2 (100 %)" in words


def test_histograms_count_every_token_once() -> None:
    axes = DATA.figure().axes[0]
    histograms = [c for c in axes.collections if to_hex(c.get_facecolors()[0]) == LIGHT.bar]
    ranks, entropies = ([np.ptp(p.vertices[:, 1]) for p in c.get_paths()] for c in histograms)
    one = min(height for height in entropies if height > 0)
    assert sum(entropies) / one == pytest.approx(10)
    one = min(height for height in ranks if height > 0)
    assert np.divide(ranks, one)[:4] == pytest.approx([2, 1, 0, 2])  # 1, 2-3, 4-7, 8-15
    assert sum(ranks) / one == pytest.approx(10)


def test_score_alt_says_the_counts() -> None:
    assert DATA.alt() == (
        "First choice: 2 of 10 tokens; perplexity 7.4. Ranks: 1 to 10: 4, 11 to 100: 2, 101 to "
        "1,000: 2, more: 2. Median rank 56, mean entropy 5.00 nats."
    )


def test_a_hopeless_text_has_a_perplexity_that_can_be_written() -> None:
    assert "perplexity above 900,000" in bands([50257], [1], [-900]).alt()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (([0], [1], [-1]), r"ranks\[0\] is 0"),
        (([1], [-1], [-1]), r"entropies\[0\] is -1"),
        (([1], [1], [1]), r"logprobs\[0\] is 1"),
        (([1, 1], [1], [-1]), r"entropies has shape \[1\]"),
        (([], [], []), "ranks has shape"),
    ],
)
def test_wrong_data_is_refused(data: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bands(*data)
