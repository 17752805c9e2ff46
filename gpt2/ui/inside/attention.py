"""Attention over a text: one head large, and below it all heads, of its layer or of the model.

Shared by both tabs.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import head_at, overview_at, tile_at
from gpt2.ui.inside.attention_maps import KINDS, ONE_HEAD, AttentionMaps
from gpt2.ui.page import PRIVATE, Page, Viewport
from gpt2.ui.picture import clicked
from gpt2.ui.section import Section

WORDS = (
    "Each row is a token; the colours in its row say how much it looks back at each token before "
    "it, and add up to 1. Look for a diagonal (the token before), a bright first column (nowhere "
    "in particular) and stray bright spots (a word it refers to)."
)
LAYER, MODEL = "heads of this layer", "heads of all layers"


def build_attention(page: Page, shown: gr.State, *, name: str, model: str) -> None:
    """The Attention section.

    Args:
        shown: holds a record with `model` and `ids`, or None.
        name: "generate" or "classify", for element ids.
        model: the one that is chosen when the page opens.
    """
    engine = page.engine
    # The shipped model's layer 5, head 2 looks at the token before: a picture that is soon read.
    layers, heads = engine.catalog.config(model).n_layer, engine.catalog.config(model).n_head
    with Section(page, shown, "Attention", WORDS, name=f"{name}-attention") as section:
        kind = gr.Radio(list(KINDS), value=ONE_HEAD, label="Show")
        with gr.Row():
            layer = _slider(0, layers - 1, min(5, layers - 1), "Layer")
            head = _slider(-1, heads - 1, min(2, heads - 1), "Head (-1 is the mean)")
            start = _slider(0, 1, 0, "First token shown", visible=False)
        whole = section.picture(f"{name}-overview")
        one = section.picture(f"{name}-head")
        does = gr.HTML(elem_id=f"{name}-does")
        below = gr.Radio([LAYER, MODEL], value=LAYER, label="Below it")
        every = section.picture(f"{name}-heads")

    def pick(event: gr.EventData, shown, layer, below):
        """Enlarge the head that was clicked in the lower picture."""
        place = clicked(event)
        if shown is None or place is None:
            return gr.skip(), gr.skip()
        x, y, width = place
        config = engine.catalog.config(shown.model)
        if below == MODEL:
            found = tile_at(x, y, layers=config.n_layer, heads=config.n_head, width=width)
        else:
            found = head_at(x, y, heads=config.n_head, width=width)
            found = None if found is None else (int(layer), found)
        return found or (gr.skip(), gr.skip())

    def move(event: gr.EventData, shown):
        """Show the tokens around the place that was clicked in the overview."""
        place = clicked(event)
        if shown is None or place is None:
            return gr.skip()
        x, y, width = place
        tokens = len(engine.inspector.tokens_read(shown.ids, model=shown.model))
        found = overview_at(x, y, tokens=tokens, width=width)
        room = engine.limits.attention_tokens
        return gr.skip() if found is None else min(max(0, found[0] - room // 2), tokens - room)

    redraw = section.wire(
        partial(attention_drawings, engine),
        [kind, layer, head, start, below],
        [whole, one, does, every, layer, head, start],
    )
    whole.pick(move, [shown], [start], show_progress="hidden", **PRIVATE).success(**redraw)
    every.pick(
        pick, [shown, layer, below], [layer, head], show_progress="hidden", **PRIVATE
    ).success(**redraw)


def attention_drawings(
    engine: Engine,
    shown: Any,
    kind: str,
    layer: float,
    head: float,
    start: float,
    below: str,
    screen: Viewport,
) -> Iterator[tuple]:
    """The map and where the sliders end; then what its head does, and the heads beside it."""
    config = engine.catalog.config(shown.model)
    view = AttentionMaps(
        engine=engine,
        model=shown.model,
        ids=engine.inspector.tokens_read(shown.ids, model=shown.model),
        layer=min(int(layer), config.n_layer - 1),
        head=min(int(head), config.n_head - 1),
        start=int(start),
        screen=screen,
    )
    later = gr.skip()
    yield (
        view.overview(kind),
        view.single(kind),
        later,
        later,
        _limit(layer, view.layer, config.n_layer - 1),
        _limit(head, view.head, config.n_head - 1),
        _limit(start, view.first, max(1, view.last_start), visible=view.last_start > 0),
    )
    rest = view.whole_model() if below == MODEL else view.whole_layer(kind)
    yield later, later, view.what_it_does(kind), rest, later, later, later


def _slider(low: int, high: int, value: int, label: str, *, visible: bool = True) -> gr.Slider:
    return gr.Slider(low, high, value, step=1, label=label, min_width=120, visible=visible)


def _limit(chosen: float, used: int, maximum: int, *, visible: bool = True) -> dict:
    """A slider's new end; its value only where it had to be pulled in, for the visitor may have
    moved it on since."""
    value = {} if int(chosen) == used else {"value": used}
    return gr.update(maximum=maximum, visible=visible, **value)
