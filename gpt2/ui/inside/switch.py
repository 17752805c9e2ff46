"""Switch heads off: what a token owes to each part, and the text written without some."""

from collections.abc import Iterator
from functools import partial

import gradio as gr
import numpy as np

from gpt2.engine import Engine, Scales
from gpt2.figures import AblationGrid, BeforeAfter, ablation_at
from gpt2.records import AblationMap
from gpt2.ui.generate.completion import Shown
from gpt2.ui.page import (
    MODEL_EVENTS,
    PRIVATE,
    Page,
    Viewport,
    errors_in_words,
    note,
    on_a_clock,
    paced,
)
from gpt2.ui.picture import Drawing, clicked, compare
from gpt2.ui.section import Section

WORDS = (
    "Each cell is a head: its colour tells how much likelier or less likely the selected token "
    "becomes when that head is switched off. Click one to switch it off and see what the model "
    "would say instead; then let it write the whole text again like that. Nobody else's page "
    "changes."
)
HEAD, MLP, LAYER = "a head", "an MLP", "a whole layer"
SHOWN_TOKENS = 8  # most likely before, and as many after

Part = tuple[str, int, int]  # kind, layer, head; the head is 0 where there is none
Parts = tuple[tuple[Part, float], ...]  # what differs from 1, in the order it was set


def build_switch(page: Page, shown: gr.State, *, model: str) -> None:
    """The section."""
    engine, config = page.engine, page.engine.catalog.config(model)
    parts = gr.State((), time_to_live=3600)
    with Section(page, shown, "Switch heads off", WORDS, name="switch") as section:
        grid = section.picture("switch-map")
        words = gr.HTML(elem_id="switch-words")
        with gr.Row():
            kind = gr.Dropdown([HEAD, MLP, LAYER], value=HEAD, label="Scale", min_width=120)
            layer = gr.Slider(0, config.n_layer - 1, 0, step=1, label="Of layer", min_width=120)
            head = gr.Slider(0, config.n_head - 1, 0, step=1, label="Head", min_width=120)
            scale = gr.Slider(0, 2, 0, step=0.1, label="Strength (0 is off)", min_width=120)
        with gr.Row():
            set_one = gr.Button("Set", size="sm", min_width=120)
            reset = gr.Button("All as trained", size="sm", min_width=120)
        bars = section.picture("switch-bars")
        again = gr.Button("Write it again like this", size="sm")
        texts = gr.HTML(elem_id="switch-texts")

    def toggle(event: gr.EventData, shown, parts):
        """Switch the clicked head or MLP off, or on again."""
        place = clicked(event)
        if shown is None or place is None:
            return gr.skip()
        x, y, width = place
        config = engine.catalog.config(shown.model)
        found = ablation_at(x, y, layers=config.n_layer, heads=config.n_head, width=width)
        if found is None:
            return gr.skip()
        part = (MLP, found[0], 0) if found[1] is None else (HEAD, *found)
        return _with(parts, part, 1.0 if dict(parts).get(part) == 0 else 0.0)

    def put(parts, kind, layer, head, scale):
        part = (kind, int(layer), int(head) if kind == HEAD else 0)
        return _with(parts, part, float(scale))

    def write_again(shown: Shown | None, parts: Parts) -> Iterator[str]:
        if shown is None:
            return
        with errors_in_words():
            yield note("Writing …")
            scales = _scales(engine, shown.model, parts)
            traces = engine.generate(shown.request, scales=scales)
            for trace in on_a_clock(traces, lambda trace: 0.1):
                yield compare(shown.completion, trace.completion, ("As trained", "Like this"))

    section.wire(partial(map_drawings, engine), [], [grid, layer, head])
    section.wire(partial(bars_drawing, engine), [parts], [words, bars])
    quick = {"show_progress": "hidden", "concurrency_limit": None, **PRIVATE}
    grid.pick(toggle, [shown, parts], parts, **quick)
    set_one.click(put, [parts, kind, layer, head, scale], parts, **quick)
    reset.click(lambda: (), None, parts, **quick)
    again.click(write_again, [shown, parts], texts, **MODEL_EVENTS, **PRIVATE)
    shown.change(lambda: "", None, texts, **quick)


def map_drawings(
    engine: Engine, shown: Shown, screen: Viewport
) -> Iterator[tuple[Drawing, dict, dict]]:
    """What the selected token owes to each part, as it fills; and the ends of the two sliders."""
    for found in paced(
        engine.inspector.ablation_maps(shown.ids, shown.selected, model=shown.model)
    ):
        yield _map_drawing(engine, shown, found, screen)


def _map_drawing(
    engine: Engine, shown: Shown, found: AblationMap, screen: Viewport
) -> tuple[Drawing, dict, dict]:
    config = engine.catalog.config(shown.model)
    piece = engine.catalog.drawn([found.token], model=shown.model)[0]
    picture = AblationGrid(found.heads, found.mlps, piece)
    return (
        Drawing(picture, screen, f"heads-off-token-{shown.selected}", widest=760, clickable=True),
        gr.update(maximum=config.n_layer - 1),
        gr.update(maximum=config.n_head - 1),
    )


def bars_drawing(
    engine: Engine, shown: Shown, parts: Parts, screen: Viewport
) -> tuple[str, Drawing | str]:
    """What is scaled, in words, and what that does to the prediction of the selected token."""
    if not parts:
        return note("All heads work as trained."), ""
    scales = _scales(engine, shown.model, parts)
    found = engine.inspector.ablate(shown.ids, shown.selected, scales, model=shown.model)
    best = {*_best(found.before), *_best(found.after), found.token} - {-1}
    ids = sorted(best, key=lambda token: -found.before[token])
    picture = BeforeAfter(
        engine.catalog.drawn(ids, model=shown.model),
        found.before[ids],
        found.after[ids],
        names=("as trained", "like this"),
        words=engine.catalog.words(ids, model=shown.model),
    )
    drawing = Drawing(picture, screen, f"switched-token-{shown.selected}", widest=760)
    return note(_said(parts)), drawing


def _with(parts: Parts, part: Part, scale: float) -> Parts:
    """The parts with one of them set; at 1 it is as trained and not listed."""
    changed = dict(parts) | {part: scale}
    return tuple((key, value) for key, value in changed.items() if value != 1)


def _scales(engine: Engine, model: str, parts: Parts) -> Scales:
    by_kind = {
        kind: {part[1:]: scale for part, scale in parts if part[0] == kind}
        for kind in (HEAD, MLP, LAYER)
    }
    return Scales.of(
        engine.catalog.config(model),
        heads=by_kind[HEAD],
        mlps={layer: scale for (layer, _), scale in by_kind[MLP].items()},
        layers={layer: scale for (layer, _), scale in by_kind[LAYER].items()},
    )


def _said(parts: Parts) -> str:
    """What was switched or scaled, in words."""
    names = {HEAD: "head {1} of layer {0}", MLP: "the MLP of layer {0}", LAYER: "layer {0}"}
    said = [
        f"{names[kind].format(*place)} {'off' if scale == 0 else f'times {scale:g}'}"
        for (kind, *place), scale in parts
    ]
    return f"Now: {', '.join(said)}."


def _best(probs: np.ndarray) -> list[int]:
    return np.argsort(-probs, kind="stable")[:SHOWN_TOKENS].tolist()
