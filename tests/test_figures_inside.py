"""The figures that look inside: what holds for each of them, at every width and for every token."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_figures import HARD, all_inside, attention, drawn, none_overlap, pieces, texts

from gpt2 import figures
from gpt2.figures import DARK, LIGHT, Theme
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


METHODS = ("gradient × input", "integrated gradients", "occlusion", "rollout", "random order")
FIGURES: dict[str, Callable[[list[str], Theme, int], Figure]] = {
    "waterfall": lambda names, theme, width: figures.waterfall_figure(
        **fall(names[:11]), theme=theme, width=width
    ),
    "tiles": lambda names, theme, width: figures.tiles_figure(
        tiles(5, 12, 12),
        selected=(1, 11),
        labels=[["previous", "first", "", "induction", "duplicate", ""] * 2] * 12,
        theme=theme,
        width=width,
    ),
    "overview": lambda names, theme, width: figures.overview_figure(
        np.tri(9), tokens=1024, window=(960, 1024), title="Rollout", theme=theme, width=width
    ),
    "map": lambda names, theme, width: figures.attention_map_figure(
        attention(64)[0], names, title="Rollout: all layers", theme=theme, width=width
    ),
    "lens": lambda names, theme, width: figures.lens_figure(
        [names[: figures.lens_columns(width)]] * 9,
        np.linspace(0, 1, 9)[:, None] * np.ones(figures.lens_columns(width)),
        names[: figures.lens_columns(width)],
        theme=theme,
        width=width,
    ),
    "rank": lambda names, theme, width: figures.rank_figure(
        (50257, 213, 1, 1, 4, 30, 1, 2, 1),
        np.geomspace(1e-6, 1, 9),
        names[0],
        theme=theme,
        width=width,
    ),
    "rank of 48 layers": lambda names, theme, width: figures.rank_figure(
        np.geomspace(50257, 1, 49).astype(int),
        np.linspace(0.2, 1, 49),
        "a",
        theme=theme,
        width=width,
    ),
    "ablation": lambda names, theme, width: figures.ablation_figure(
        np.linspace(-12, 9, 144).reshape(12, 12),
        np.linspace(9, -3, 12),
        names[0],
        theme=theme,
        width=width,
    ),
    "ablation of 48 layers": lambda names, theme, width: figures.ablation_figure(
        np.linspace(-1, 0, 48 * 25).reshape(48, 25),
        np.zeros(48),
        names[1],
        theme=theme,
        width=width,
    ),
    "before and after": lambda names, theme, width: figures.before_after_figure(
        names[:18],
        np.geomspace(0.9, 1e-6, 18),
        np.geomspace(1e-6, 0.9, 18),
        theme=theme,
        width=width,
    ),
    "attribution": lambda names, theme, width: figures.attribution_figure(
        names,
        np.random.default_rng(0).normal(size=(5, 64)) ** 3,
        METHODS,
        target=names[0],
        theme=theme,
        width=width,
    ),
    "faithfulness": lambda names, theme, width: figures.faithfulness_figure(
        (0, 0.5, 1), np.eye(5, 3) * 12, np.ones((5, 3)), METHODS, random=4, theme=theme, width=width
    ),
    "score": lambda names, theme, width: figures.score_figure(
        np.geomspace(1, 50257, 900),
        np.linspace(0, 10.8, 900),
        np.full(900, -9.0),
        theme=theme,
        width=width,
    ),
    "large tiles": lambda names, theme, width: figures.tiles_figure(
        tiles(5, 48, 25), theme=theme, width=width
    ),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("names", ["hard", "long", "short"])
def test_texts_lie_inside_and_apart(name: str, width: int, names: str) -> None:
    given = {"hard": HARD, "long": LONG, "short": ("a", "·b")}[names]
    figure = drawn(FIGURES[name]([*itertools.islice(itertools.cycle(given), 64)], DARK, width))
    all_inside(figure)
    none_overlap(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_read_as_mathematics(name: str) -> None:
    figure = drawn(FIGURES[name](pieces(64), LIGHT, 340))
    assert not [text.get_text() for text in texts(figure) if text.get_parse_math()]


@pytest.mark.parametrize("name", FIGURES)
def test_a_sample_of_the_vocabulary_draws(name: str, tokenizer: Tokenizer) -> None:
    ids = np.random.default_rng(1).integers(0, tokenizer.vocab_size, 64)
    sample = [tokenizer.piece(int(token)) for token in ids]
    assert figures.render(FIGURES[name](sample, LIGHT, 340)).shape[1] == 680


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_transparent_and_twice_its_width(name: str) -> None:
    picture = figures.render(FIGURES[name](pieces(64), LIGHT, 760))
    assert picture.shape[1:] == (1520, 4)
    assert (picture[0, -1, 3], picture[-1, 0, 3]) == (0, 0)
