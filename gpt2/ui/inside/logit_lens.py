"""The logit lens: what each layer would have said next, had the model stopped there.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from functools import partial

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import LensGrid, RankPath, lens_columns
from gpt2.ui.generate.completion import Shown
from gpt2.ui.page import Page, Viewport
from gpt2.ui.picture import Drawing
from gpt2.ui.section import Section

WORDS = (
    "Each column is a token, each row a layer: a cell names the next word that the model would "
    "guess if it stopped there. Look for the layer from which on the guess stays the same. Below, "
    "the rank of the selected token through the layers."
)


def build_lens(page: Page, shown: gr.State) -> None:
    """The section."""
    engine = page.engine
    with Section(page, shown, "Logit lens", WORDS, name="lens") as section:
        grid = section.picture("lens-grid")
        ranks = section.picture("lens-ranks")

    section.wire(partial(lens_drawings, engine), [], [grid, ranks])


def lens_drawings(engine: Engine, shown: Shown, screen: Viewport) -> tuple[Drawing, Drawing]:
    """The lens around the selected token, and that token's rank through the layers."""
    before = shown.selected - 1  # the token after which the selected one was predicted
    last = len(engine.inspector.tokens_read(shown.ids, model=shown.model))
    count = min(lens_columns(screen.width), last)
    first = min(max(0, before - count // 2), last - count)
    positions = range(first, first + count)
    found = engine.inspector.logit_lens(shown.ids, positions, model=shown.model)
    read = [shown.ids[place] for place in positions]
    picture = LensGrid(
        [engine.catalog.drawn(row, model=shown.model) for row in found.top_ids[:, :, 0].tolist()],
        found.top_probs,
        engine.catalog.drawn(read, model=shown.model),
        positions=found.positions,
        guesses=engine.catalog.words(found.top_ids.ravel().tolist(), model=shown.model),
        words=engine.catalog.words(read, model=shown.model),
    )
    column = before - first
    piece = engine.catalog.drawn([shown.ids[shown.selected]], model=shown.model)[0]
    path = RankPath(found.followed_ranks[:, column], found.followed_probs[:, column], piece)
    return (
        Drawing(picture, screen, "logit-lens"),
        Drawing(path, screen, f"rank-of-token-{shown.selected}", widest=760),
    )
