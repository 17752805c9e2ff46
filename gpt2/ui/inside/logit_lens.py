"""The logit lens: what each layer would have said next, had the model stopped there.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from functools import partial

from gpt2.engine import Engine
from gpt2.figures import LensGrid, RankPath, lens_columns
from gpt2.ui.page import Page
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked
from gpt2.ui.view import View, beside, left_width, slot

WORDS = (
    "The model works in layers, from top to bottom. A cell names the word it would say next if it "
    "stopped at that layer; the marked column leads to the selected token. Look for the layer from "
    "which on the guess stays the same."
)
RANK = 300  # CSS pixels beside the lens


def build_lens(page: Page) -> View:
    """The view."""
    return View(
        page,
        "generate",
        "layers",
        WORDS,
        body=beside(slot("lens"), slot("rank")),
        uses=("token",),
        draw=partial(lens_drawings, page.engine),
    )


def lens_drawings(engine: Engine, asked: Asked) -> dict[str, Drawing]:
    """The lens around the selected token, and that token's rank through the layers.

    Raises:
        ValueError: the first token is selected, which nothing leads to.
    """
    before = asked.selected - 1  # the token after which the selected one was predicted
    if before < 0:
        raise ValueError("the first token was predicted from nothing; pick a later one")
    width = left_width(asked.width, RANK)
    last = len(engine.inspector.tokens_read(asked.ids, model=asked.model))
    count = min(lens_columns(width), last)
    first = min(max(0, before - count // 2), last - count)
    positions = range(first, first + count)
    found = engine.inspector.logit_lens(asked.ids, positions, model=asked.model)
    read = [asked.ids[place] for place in positions]
    picture = LensGrid(
        [engine.catalog.drawn(row, model=asked.model) for row in found.top_ids[:, :, 0].tolist()],
        found.top_probs,
        engine.catalog.drawn(read, model=asked.model),
        positions=found.positions,
        guesses=engine.catalog.words(found.top_ids.ravel().tolist(), model=asked.model),
        words=engine.catalog.words(read, model=asked.model),
    )
    column = before - first
    (piece,) = engine.catalog.drawn([asked.ids[asked.selected]], model=asked.model)
    path = RankPath(found.followed_ranks[:, column], found.followed_probs[:, column], piece)
    ends = [place + 1 for place in positions]  # the tokens that the columns lead to
    path_width = RANK if width < asked.width else min(asked.width, 560)
    return {
        "lens": Drawing(picture, width, "logit-lens", picks="token", places=ends),
        "rank": Drawing(path, path_width, f"rank-of-token-{asked.selected}"),
    }
