"""Switch parts off: what a token owes to each, and the text written without some."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import gradio as gr
import numpy as np

from gpt2.checks import check_number
from gpt2.engine import Engine, Scales
from gpt2.figures import AblationGrid, BeforeAfter
from gpt2.records import AblationMap
from gpt2.ui.controls import row, stepper
from gpt2.ui.generate.writing import Writing
from gpt2.ui.page import Page, note, paced
from gpt2.ui.picture import Drawing, compare
from gpt2.ui.record import RELOAD, Asked, moment_of
from gpt2.ui.view import Drawn, Extra, View, beside, left_width, slot

WORDS = (
    "Each cell is a part of the model: a head, or at the right an MLP, which works on each token "
    "alone. Blue: the selected token is less likely without it. Click a deep blue one to switch it "
    "off: what would the model say instead? Nobody else's page changes."
)
BARS = 300  # CSS pixels beside the map
SHOWN_TOKENS = 7  # most likely before, and as many after
HEAD, MLP, LAYER = "head", "mlp", "layer"
NAMES = {HEAD: "head {1} of layer {0}", MLP: "the MLP of layer {0}", LAYER: "layer {0}"}
LARGEST = 2.0  # a part's strength at most

Part = tuple[str, int, int]  # kind, layer, head; the head is 0 where there is none
Parts = dict[Part, float]  # how strongly each works that is not as trained, in the order it was set


def build_switch(page: Page, writing: Writing) -> View:
    """The view.

    Args:
        writing: whose Stop ends what is written here too.
    """
    engine = page.engine
    config = engine.catalog.config(engine.catalog.models[0])
    controls = row(
        stepper("strength", "A click sets the strength (0: off) to", 0, LARGEST, 0, step=0.1),
        stepper("layer", "Layer", 0, config.n_layer - 1, min(5, config.n_layer - 1)),
        '<button type="button" data-part="layer">Switch the layer</button>',
    )
    buttons = row(
        '<button type="button" data-part="none">All as trained</button>',
        '<button type="button" data-event="again">Write it again like this</button>',
    )
    right = buttons + slot("parts") + slot("instead")
    return View(
        page,
        "generate",
        "switch",
        WORDS,
        body=f"{controls}{beside(slot('off'), right)}{slot('again')}",
        uses=("token", "parts"),
        draw=partial(switch_drawings, engine),
        apart={"off": ("token",)},
        extras={"again": Extra("again", ("parts",), partial(write_again, engine, writing))},
    )


def switch_drawings(engine: Engine, asked: Asked) -> Iterator[Drawn]:
    """What is switched and what that does; beside it what the token owes to each part.

    Raises:
        ValueError: a part that the page names is none.
    """
    parts = read_parts(engine, asked)
    drawn: Drawn = {"parts": parts_words(parts), "instead": instead_drawing(engine, asked, parts)}
    if "off" in asked.kept:
        yield drawn
        return
    found = engine.inspector.ablation_maps(asked.ids, asked.selected, model=asked.model)
    for better in paced(found):
        yield {**drawn, "off": _map_drawing(engine, asked, better)}


def _map_drawing(engine: Engine, asked: Asked, found: AblationMap) -> Drawing:
    (piece,) = engine.catalog.drawn([found.token], model=asked.model)
    picture = AblationGrid(found.heads, found.mlps, piece)
    name = f"heads-off-token-{asked.selected}"
    return Drawing(picture, left_width(asked.width, BARS), name, picks="part")


def instead_drawing(engine: Engine, asked: Asked, parts: Parts) -> Drawing | str:
    """The prediction of the selected token as trained, and with the parts as they are set."""
    if not parts:
        return note(
            "Click a cell of the map: here stands then what the model would say without that part."
        )
    scales = scales_of(engine, asked.model, parts)
    found = engine.inspector.ablate(asked.ids, asked.selected, scales, model=asked.model)
    best = {*_best(found.before), *_best(found.after), found.token} - {-1}
    ids = sorted(best, key=lambda token: -found.before[token])
    picture = BeforeAfter(
        engine.catalog.drawn(ids, model=asked.model),
        found.before[ids],
        found.after[ids],
        names=("as trained", "like this"),
        words=engine.catalog.words(ids, model=asked.model),
    )
    beside = left_width(asked.width, BARS) < asked.width
    width = BARS if beside else min(asked.width, 560)
    return Drawing(picture, width, f"switched-token-{asked.selected}")


async def write_again(
    engine: Engine, writing: Writing, asked: Asked, raw: object, visitor: gr.Request
) -> AsyncIterator[str]:
    """The text, and the same request written with the parts as they are set, as it grows.

    What was chosen by hand stays, and so does what was drawn before it.

    Raises:
        ValueError: all parts work as trained.
    """
    parts, text = read_parts(engine, asked), asked.text
    if not parts:
        raise ValueError("all parts work as trained; switch one off first")
    names, session = ("As trained", "Like this"), visitor.session_hash or ""
    async for words in writing.waiting(session, moment_of(raw)):
        yield note(words)
    yield note("Writing …")
    drawn = asked.ids[text.prompt_length :]
    last = max((place + 1 for place, _ in text.chosen), default=text.prompt_length)
    begun = await asyncio.to_thread(engine.writer.begin, text.request)
    again = engine.writer.start(
        text.request,
        begun,
        scales=scales_of(engine, asked.model, parts),
        forced=asked.ids[text.prompt_length : last],
    )
    before, after = engine.catalog.decode(drawn, model=asked.model), ""
    if text.request.stop:
        before = before.split(text.request.stop)[0]
    async for batch in writing.batches(again, session, moment_of(raw)):
        after += "".join(update.text for update in batch)
        yield compare(before[: len(after)], after, names)
    yield compare(before, after, names)


def read_parts(engine: Engine, asked: Asked) -> Parts:
    """The parts that the page has scaled.

    Raises:
        ValueError: it is no list of them, or the model has no such part.
    """
    raw, config = asked.look.get("parts"), engine.catalog.config(asked.model)
    if not isinstance(raw, list | None):
        raise ValueError(f"the parts to switch are no list; {RELOAD}")
    parts: Parts = {}
    for entry in raw or ():
        if not isinstance(entry, list) or len(entry) != 4 or str(entry[0]) not in NAMES:
            raise ValueError(
                "a part to switch must be a kind (head, mlp or layer), a layer, a head and a "
                f"strength; {RELOAD}"
            )
        kind, layer, head, scale = entry
        heads = config.n_head - 1 if kind == HEAD else 0
        check_number("the layer of a part to switch", layer, 0, config.n_layer - 1, whole=True)
        check_number("the head of a part to switch", head, 0, heads, whole=True)
        check_number("the strength of a part", scale, 0, LARGEST)
        parts[kind, int(layer), int(head)] = float(scale)
    return {part: scale for part, scale in parts.items() if scale != 1}


def scales_of(engine: Engine, model: str, parts: Parts) -> Scales:
    """The parts as the engine takes them."""
    return Scales.of(
        engine.catalog.config(model),
        heads={part[1:]: scale for part, scale in parts.items() if part[0] == HEAD},
        mlps={part[1]: scale for part, scale in parts.items() if part[0] == MLP},
        layers={part[1]: scale for part, scale in parts.items() if part[0] == LAYER},
    )


def parts_words(parts: Parts) -> str:
    """What is switched or scaled, in words."""
    if not parts:
        return note("Now: every part works as trained.")
    said = [
        f"{NAMES[kind].format(*place)} {'off' if scale == 0 else f'times {scale:g}'}"
        for (kind, *place), scale in parts.items()
    ]
    return note(f"Now: {', '.join(said)}.")


def _best(probs: np.ndarray) -> list[int]:
    return np.argsort(-probs, kind="stable")[:SHOWN_TOKENS].tolist()
