"""The next token: how the model's distribution became the token that stands there.

And what else could stand there: a click goes on from it.
"""

from functools import partial
from html import escape

import numpy as np

from gpt2.engine import Engine, Sampling
from gpt2.figures import Picture, TokenBars, WaterfallBars, percent, vocabulary_columns
from gpt2.records import Step
from gpt2.ui.page import Page, note
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked
from gpt2.ui.view import View, slot

WORDS = (
    "From what the model expected, through the settings, to the slice in which the random number "
    "fell. Look for a favourite that lost."
)
BODY = f"""
<div class="walk">
<button type="button" class="step" data-step="token -1"><span>Previous token</span></button>
{slot("token")}
<button type="button" class="step forward" data-step="token 1"><span>Next token</span></button>
</div>
{slot("bars")}
{slot("alternatives")}
<form class="typed"><label>Or type how it goes on from here
<input type="text" name="typed" autocomplete="off" maxlength="200"></label>
<button type="submit">Go on</button></form>
"""


def build_next_token(page: Page) -> View:
    """The view."""
    return View(
        page,
        "generate",
        "next",
        WORDS,
        body=BODY,
        uses=("token",),
        draw=partial(next_token_drawings, page.engine),
    )


def next_token_drawings(engine: Engine, asked: Asked) -> dict[str, Drawing | str]:
    """The selected token in words and as a picture, and what else could stand there."""
    step = engine.inspector.step(asked.ids, asked.selected, asked.sampling, model=asked.model)
    return {
        "token": token_words(engine, asked, step),
        "bars": token_drawing(engine, asked, step),
        "alternatives": alternatives_html(engine, asked, step),
    }


def token_words(engine: Engine, asked: Asked, step: Step) -> str:
    """The selected token: its place, counted from 0 as in all pictures, and its numbers."""
    inside = ", in the prompt" if asked.selected < asked.text.prompt_length else ""
    chosen = " · chosen by you" if asked.selected in dict(asked.text.chosen) else ""
    piece = engine.catalog.pieces([step.id], model=asked.model)[0]
    return (
        f'<p class="token"><b>Token {asked.selected}{inside}</b> <code>{escape(piece)}</code> '
        f"{percent(step.prob)} · rank {step.rank:,} · entropy {step.entropy:.1f} nats{chosen}</p>"
    )


def token_drawing(engine: Engine, asked: Asked, step: Step) -> Drawing:
    """The ten best at the selected place and, if one was drawn there, each step of the draw."""
    ids = step.top_ids if step.id in step.top_ids else (*step.top_ids, step.id)
    drawn = engine.inspector.waterfall(asked.ids, asked.selected, asked.sampling, model=asked.model)
    pieces, chosen = engine.catalog.drawn(ids, model=asked.model), ids.index(step.id)
    table = partial(vocabulary_columns, drawn, partial(engine.catalog.words, model=asked.model))
    if drawn.token != step.id:  # of the prompt, or chosen by hand: nothing was drawn
        ranks = [*range(1, len(step.top_ids) + 1), step.rank][: len(ids)]
        probs, sampled = (drawn.probs[stage, list(ids)] for stage in (0, -1))
        picture: Picture = TokenBars(pieces, probs, sampled, chosen, ranks, table)
    else:
        on = [stage for stage, active in enumerate(drawn.active) if active]
        ends = np.cumsum(drawn.probs[-1], dtype=np.float64)
        picture = WaterfallBars(
            pieces,
            stages=[_stage_words(drawn.names[stage], asked.sampling) for stage in on],
            probs=drawn.probs[np.ix_(on, ids)],
            left=[drawn.left[stage] for stage in on],
            cut=[drawn.cut[stage] for stage in on],
            chosen=chosen,
            u=None if asked.sampling.temperature == 0 else drawn.u,
            starts=(ends - drawn.probs[-1])[list(ids)],
            table=table,
        )
    return Drawing(picture, min(asked.width, 760), f"token-{asked.selected}")


def _stage_words(name: str, sampling: Sampling) -> str:
    """A step of the draw and how it was set: "top-k 50"."""
    if name == "softmax":
        return "model"
    return f"{name.replace('_', '-' if name[-2] == '_' else ' ')} {getattr(sampling, name):g}"


def alternatives_html(engine: Engine, asked: Asked, step: Step) -> str:
    """A button for each of the ten best tokens at the selected place but the one that is there."""
    if asked.selected < asked.text.prompt_length:
        return note("This token is of your prompt; change it there.")
    others = [
        (token, prob)
        for token, prob in zip(step.top_ids, step.top_probs, strict=True)
        if token != step.id
    ]
    pieces = engine.catalog.pieces([token for token, _ in others], model=asked.model)
    buttons = "".join(
        f'<button type="button" data-choice="{token}"><code>{escape(piece)}</code> '
        f"{percent(prob)}</button>"
        for (token, prob), piece in zip(others, pieces, strict=True)
    )
    return (
        '<div class="choices" role="group" aria-label="Go on with" translate="no">'
        f"<span>Go on with</span> {buttons}</div>"
    )
