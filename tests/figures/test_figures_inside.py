"""The figures that look inside: what holds for each of them, at every width and for every token."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from test_figures import HARD, all_inside, attention, drawn, none_overlap, pieces, texts

from gpt2 import figures
from gpt2.figures import DARK, LIGHT
from gpt2.records import HEAD_LABELS, RANDOM_ORDER, HeadScores
from gpt2.tokenizer import Tokenizer

WIDTHS = (300, 340, 760, 1040)
LONG = ("WWWWWWWWWWWW", "·antidisestablishmentarianism", "日本語日本語日本語", "\U0001f600" * 12)


def fall(names: list[str], stages: int = 6) -> dict:
    """Random data of a waterfall: row 1 is cut by the last step, the last row is drawn."""
    probs = np.random.default_rng(0).dirichlet(np.ones(len(names)), stages) * 0.9
    if stages > 1:
        probs[-1, 1] = 0
    starts = np.cumsum(probs[-1]) - probs[-1]
    return {
        "pieces": names,
        "stages": ["model", *(f"repetition penalty {index}" for index in range(1, stages))],
        "probs": probs,
        "left": [50257] * stages,
        "cut": [0.0] * (stages - 1) + [0.125 if stages > 1 else 0.0],
        "chosen": len(names) - 1,
        "u": float(starts[-1] + probs[-1, -1] / 2),
        "starts": starts,
    }


def tiles(cells: int, layers: int, heads: int) -> np.ndarray:
    """Random pooled attention, [L, H, n, n]."""
    return attention(cells, heads=layers * heads).reshape(layers, heads, cells, cells)


def head_tiles(
    maps: np.ndarray,
    labels: Sequence[Sequence[str]] | None = None,
) -> figures.HeadTiles:
    """Tiles whose heads were measured to do what the labels say, by default nothing."""
    scores = np.zeros((len(HEAD_LABELS), *maps.shape[:2]))
    for layer, row in enumerate(labels or ()):
        for head, word in enumerate(row):
            if word:
                scores[HEAD_LABELS.index(word), layer, head] = 1
    return figures.HeadTiles(maps, HeadScores(scores, (1,) * 4, 0.4))


def lens(
    words: Sequence[Sequence[str]], probs: np.ndarray, inputs: Sequence[str]
) -> figures.LensGrid:
    """A lens with one guess in each cell; probs [R] or [R, P]."""
    count = len(words[0])
    probs = np.broadcast_to(np.reshape(probs, (len(words), -1)), (len(words), count))
    guesses = [word for row in words for word in row]
    more = {"positions": range(count), "guesses": guesses, "words": inputs[:count]}
    return figures.LensGrid(words, probs[..., None], inputs[:count], **more)


METHODS = ("gradient × input", "integrated gradients", "occlusion", "rollout", RANDOM_ORDER)
PICTURES: dict[str, Callable[[list[str], int], figures.Picture]] = {
    "waterfall": lambda names, width: figures.WaterfallBars(**fall(names[:11])),
    "tiles": lambda names, width: head_tiles(tiles(5, 12, 12), [[*HEAD_LABELS, "", ""] * 2] * 12),
    "overview": lambda names, width: figures.OverviewMap(
        np.tri(8), range(0, 1025, 128), "Rollout", window=(960, 1024)
    ),
    "map": lambda names, width: figures.AttentionMap(
        attention(64)[0], names, "Rollout: all layers"
    ),
    "lens": lambda names, width: lens(
        [names[: figures.lens_columns(width)]] * 9, np.linspace(0, 1, 9), names
    ),
    "rank": lambda names, width: figures.RankPath(
        (50257, 213, 1, 1, 4, 30, 1, 2, 1), np.geomspace(1e-6, 1, 9), names[0]
    ),
    "rank of 48 layers": lambda names, width: figures.RankPath(
        np.geomspace(50257, 1, 49).astype(int), np.linspace(0.2, 1, 49), "a"
    ),
    "ablation": lambda names, width: figures.AblationGrid(
        np.linspace(-12, 9, 144).reshape(12, 12), np.linspace(9, -3, 12), names[0]
    ),
    "ablation of 48 layers": lambda names, width: figures.AblationGrid(
        np.linspace(-1, 0, 48 * 25).reshape(48, 25), np.zeros(48), names[1]
    ),
    "before and after": lambda names, width: figures.BeforeAfter(
        names[:18], np.geomspace(0.9, 1e-6, 18), np.geomspace(1e-6, 0.9, 18)
    ),
    "attribution": lambda names, width: figures.AttributionBars(
        names, np.random.default_rng(0).normal(size=(5, 64)) ** 3, METHODS, names[0]
    ),
    "faithfulness": lambda names, width: figures.FaithfulnessCurves(
        (0, 0.5, 1), np.eye(5, 3) * 12, np.ones((5, 3)), METHODS
    ),
    "score": lambda names, width: figures.ScoreBands(
        np.geomspace(1, 50257, 900),
        np.linspace(0, 10.8, 900),
        np.full(900, -9.0),
        range(900),
        pieces(900),
    ),
    "large tiles": lambda names, width: head_tiles(tiles(5, 48, 25)),
}


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kind", ["hard", "long", "short"])
def test_texts_lie_inside_and_apart(name: str, width: int, kind: str) -> None:
    given = {"hard": HARD, "long": LONG, "short": ("a", "·b")}[kind]
    names = [*itertools.islice(itertools.cycle(given), 64)]
    figure = drawn(PICTURES[name](names, width).figure(DARK, width))
    all_inside(figure)
    none_overlap(figure)


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_is_read_as_mathematics(name: str) -> None:
    figure = drawn(PICTURES[name](pieces(64), 340).figure(LIGHT, 340))
    assert not [text.get_text() for text in texts(figure) if text.get_parse_math()]


@pytest.mark.parametrize("name", PICTURES)
def test_a_sample_of_the_vocabulary_draws(name: str, tokenizer: Tokenizer) -> None:
    ids = np.random.default_rng(1).integers(0, tokenizer.vocab_size, 64)
    sample = [tokenizer.piece(int(token)) for token in ids]
    assert figures.render(PICTURES[name](sample, 340).figure(LIGHT, 340)).shape[1] == 680


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_transparent_and_twice_its_width(name: str) -> None:
    picture = figures.render(PICTURES[name](pieces(64), 760).figure(LIGHT, 760))
    assert picture.shape[1:] == (1520, 4)
    assert (picture[0, -1, 3], picture[-1, 0, 3]) == (0, 0)
