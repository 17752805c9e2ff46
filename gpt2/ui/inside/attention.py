"""Attention over a text: one head large, and beside it all heads of the model to pick one from.

Shared by both tabs.
"""

from collections.abc import Iterator
from functools import partial

from gpt2.engine import Engine
from gpt2.ui.controls import choice, row, stepper
from gpt2.ui.inside.attention_maps import KINDS, AttentionMaps
from gpt2.ui.page import Page, note
from gpt2.ui.record import Asked
from gpt2.ui.view import Drawn, View, beside, slot

WORDS = (
    "Attention is how the model moves words along: each row is a token, bright where it takes from "
    "an earlier one. Look for a diagonal (the token before), a bright first column (nowhere in "
    "particular) and stray bright spots (a word it refers to)."
)
PICKER_WORDS = (
    "A tile is a head; click one. P looks at the token before, F at the first, D at the same token "
    "earlier on, I at what followed it."
)
LAYER, HEAD = 5, 2  # of the shipped model: looks at the token before, a picture that is soon read


def build_attention(page: Page, tab: str) -> View:
    """The view.

    Args:
        tab: "generate" or "classify".
    """
    engine = page.engine
    names = engine.catalog.models if tab == "generate" else engine.catalog.classifiers
    config = engine.catalog.config(names[0])
    room = engine.limits.attention_tokens
    controls = row(
        choice(tab, "kind", "Show", {name: kind.title for name, kind in KINDS.items()}),
        stepper("layer", "Layer", 0, config.n_layer - 1, min(LAYER, config.n_layer - 1)),
        stepper("head", "Head (−1: mean)", -1, config.n_head - 1, min(HEAD, config.n_head - 1)),
    )
    start = row(stepper("start", "First token shown", 0, 0, 0, window=room))
    key = note(PICKER_WORDS)
    column = f"{slot('heads', tab=tab)}{key}{slot('does', tab=tab)}{slot('overview', tab=tab)}"
    return View(
        page,
        tab,
        "attention",
        WORDS,
        body=f"{controls}{beside(slot('map', tab=tab) + start, column)}",
        uses=("layer", "head", "kind", "start"),
        draw=partial(attention_drawings, engine),
        apart={"heads": ()},
    )


def attention_drawings(engine: Engine, asked: Asked) -> Iterator[Drawn]:
    """The map; then what its head does, and the heads beside it."""
    maps = attention_maps(engine, asked)
    first: Drawn = {"map": maps.single(), "overview": maps.overview()}
    yield first
    heads = {} if "heads" in asked.kept else {"heads": maps.whole_model()}
    yield {**first, **heads, "does": maps.what_it_does()}


def attention_maps(engine: Engine, asked: Asked) -> AttentionMaps:
    """What is looked at, moved into the range of the model and the text."""
    config = engine.catalog.config(asked.model)
    ids = engine.inspector.tokens_read(asked.ids, model=asked.model)
    return AttentionMaps(
        engine=engine,
        model=asked.model,
        ids=ids,
        kind=asked.choice("kind", tuple(KINDS)),
        layer=asked.number("layer", 0, config.n_layer - 1),
        head=asked.number("head", -1, config.n_head - 1),
        first=asked.number("start", 0, max(0, len(ids) - engine.limits.attention_tokens)),
        width=asked.width,
    )
