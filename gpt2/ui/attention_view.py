"""Attention of a text that is already on the page: one head large, all heads of a layer small.

Shared by both tabs. Drawn only while it is open. Imports: gradio, engine, figures.
"""

from dataclasses import dataclass

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import (
    attention_head_alt,
    attention_head_figure,
    attention_layer_alt,
    attention_layer_figure,
)
from gpt2.ui.common import (
    MODEL_EVENTS,
    PRIVATE,
    VIEWPORT_JS,
    Viewport,
    errors_in_words,
    note,
    picture,
)

HOW_TO_READ = (
    "Each row is a token; the colours in its row say how much it looks back at each token before "
    "it, and add up to 1. Look for a diagonal (the token before), a bright first column (nowhere "
    "in particular) and stray bright spots (a word it refers to)."
)


@dataclass(frozen=True)
class AttentionView:
    """The section's components, and how to draw it anew."""

    redraw: dict  # keyword arguments of an event that draws the view again

    def follow(self, event: gr.events.Dependency) -> None:
        """Draw again after an event that changed the text."""
        event.then(**self.redraw)


def build_attention(
    engine: Engine, shown: gr.State, viewport: gr.JSON, *, name: str, model: str
) -> AttentionView:
    """The Attention section.

    Args:
        shown: holds a record with `model` and `ids`, or None.
        viewport: the input that VIEWPORT_JS fills.
        name: "generate" or "classify", for element ids and file names.
        model: the one that is chosen when the page opens.
    """
    limit = engine.limits.attention_tokens
    opened = gr.State(False)
    # The shipped model's layer 5, head 2 looks at the token before: a picture that is soon read.
    layers, heads = engine.shape(model).n_layer, engine.shape(model).n_head
    with gr.Accordion("Attention", open=False, elem_id=f"{name}-attention") as section:
        gr.HTML(note(HOW_TO_READ))
        with gr.Row():
            layer = gr.Slider(
                0, layers - 1, min(5, layers - 1), step=1, label="Layer", min_width=120
            )
            head = gr.Slider(
                -1,
                heads - 1,
                min(2, heads - 1),
                step=1,
                label="Head (-1 is the mean)",
                min_width=120,
            )
            start = gr.Slider(0, 1, 0, step=1, label="First token shown", visible=False)
        one = gr.HTML(note("Nothing to look at yet."), elem_id=f"{name}-head")
        every = gr.HTML(elem_id=f"{name}-heads")

    def draw(shown, is_open, layer, head, start, viewport):  # noqa: ANN001, ANN202
        if shown is None or not is_open:
            return [gr.skip()] * 5
        with errors_in_words():
            screen = Viewport.read(viewport)
            config, chosen = engine.shape(shown.model), (layer, head, start)
            layer = min(int(layer), config.n_layer - 1)
            head = min(int(head), config.n_head - 1)
            ids = shown.ids[: config.n_ctx]  # a text that filled the context has one token more
            last_start = max(0, len(ids) - limit)
            start = min(int(start), last_start)
            window = slice(start, start + limit)
            maps = engine.attention(ids, layer, model=shown.model)[:, window, window]
            pieces = engine.pieces(ids[window], model=shown.model)
            drawn = maps.mean(axis=0) if head < 0 else maps[head]
            look = {"theme": screen.theme, "width": screen.width}
            wide = {"theme": screen.theme, "width": min(screen.width, 760)}
            single = picture(
                attention_head_figure(drawn, pieces, layer=layer, head=head, **wide),
                attention_head_alt(drawn, pieces, layer=layer, head=head),
                width=wide["width"],
                name=f"attention-layer-{layer}-head-{head}",
            )
            if last_start:
                shown_part = f"tokens {start + 1} to {start + len(pieces)} of {len(ids)}"
                single += note(f"Shown: {shown_part}; a map holds {limit} a side.")
            selected = head if head >= 0 else None
            grid = picture(
                attention_layer_figure(maps, layer=layer, selected=selected, **look),
                attention_layer_alt(maps, layer=layer),
                width=screen.width,
                name=f"attention-layer-{layer}",
            )
            return [
                single,
                grid,
                _limit(chosen[0], layer, config.n_layer - 1),
                _limit(chosen[1], head, config.n_head - 1),
                _limit(chosen[2], start, max(1, last_start), visible=last_start > 0),
            ]

    redraw = {
        "fn": draw,
        "inputs": [shown, opened, layer, head, start, viewport],
        "outputs": [one, every, layer, head, start],
        "js": VIEWPORT_JS,
        "show_progress": "minimal",
        **MODEL_EVENTS,
        **PRIVATE,
    }
    section.expand(lambda: True, outputs=opened, queue=False, **PRIVATE).then(**redraw)
    section.collapse(lambda: False, outputs=opened, queue=False, **PRIVATE)
    gr.on([layer.input, head.input, start.input], **redraw, trigger_mode="always_last")
    return AttentionView(redraw)


def _limit(chosen: float, used: int, maximum: int, *, visible: bool = True) -> dict:
    """A slider's new end; its value only where it had to be pulled in, for the visitor may have
    moved it on since."""
    value = {} if int(chosen) == used else {"value": used}
    return gr.update(maximum=maximum, visible=visible, **value)
