"""Score a text: how well the model would have guessed each token of any text (GLTR).

Source: Gehrmann et al. 2019, "GLTR: Statistical Detection and Visualization of Generated Text".
"""

from functools import partial
from html import escape

import numpy as np

from gpt2.engine import Engine
from gpt2.figures import ScoreBands, counted, percent, token_level
from gpt2.records import Score
from gpt2.ui.controls import paste
from gpt2.ui.page import Page, note
from gpt2.ui.picture import Drawing
from gpt2.ui.record import Asked
from gpt2.ui.view import View, slot

WORDS = (
    "How well the model would have guessed each token: rank 1 was its first choice. Look for the "
    "tokens far down. Plain human prose has few of them, like a model's: this can't tell who wrote "
    "a text."
)
STOPS = (("1", 1), ("10", 10), ("100", 100), ("1,000 or more", 1000))  # ranks of the key


def build_score(page: Page) -> View:
    """The view."""
    form = paste(
        "scored",
        "Text to score",
        "Score",
        limit=page.engine.limits.prompt_chars,
        placeholder="Empty scores the text on the page.",
    )
    return View(
        page,
        "generate",
        "score",
        WORDS,
        body=form + slot("score-words") + slot("score-text") + slot("score-picture"),
        uses=("scored",),
        draw=partial(score_drawings, page.engine),
    )


def score_drawings(engine: Engine, asked: Asked) -> dict[str, Drawing | str]:
    """The numbers of a text, its ranks as a picture, and of a pasted one the text itself."""
    pasted = asked.look.get("scored")
    if isinstance(pasted, str) and pasted:
        found = engine.inspector.score(pasted, model=asked.model)
        name, strip = "The pasted text", strip_html(engine, found)
    elif len(asked.ids) > 1:
        found = engine.inspector.score_tokens(asked.ids, model=asked.model)
        name, strip = "The text on the page", ""
    else:
        raise ValueError("the text on the page has one token, which nothing predicted; paste one")
    words = engine.catalog.words(found.ids, model=found.model)
    picture = ScoreBands(found.ranks, found.entropies, found.logprobs, found.ids, words)
    return {
        "score-words": note(f"{name}: {score_words(found)}"),
        "score-text": strip,
        "score-picture": Drawing(picture, asked.width, "score"),
    }


def score_words(found: Score) -> str:
    """A line of numbers."""
    read = counted(len(found.ids), "token")
    if found.truncated:
        read = f"its first {read} of {len(found.ids) + found.truncated:,}, the rest was not read"
    shown = "past 10^307" if found.perplexity is None else f"{found.perplexity:,.1f}"
    guessed = percent(float((found.ranks <= 10).mean()))
    return (
        f"{read} · perplexity {shown} · {found.nll:.2f} nats a token · {guessed} among the "
        f"model's first ten guesses · {found.model}"
    )


def strip_html(engine: Engine, found: Score) -> str:
    """A scored text, tinted by rank, and what the tints mean."""
    texts = engine.catalog.drawn(found.ids, model=found.model)
    shares = [percent(float(share)) for share in np.exp(found.logprobs)]
    tokens = "".join(
        f'<span class="tint-{token_level(float(rank), "rank")}" '
        f'title="token {index} · {share} · rank {int(rank):,}">{_marked(text)}</span>'
        for index, (text, rank, share) in enumerate(zip(texts, found.ranks, shares, strict=True), 1)
    )
    stops = " ".join(
        f'<span class="tint-{token_level(rank, "rank")}">{said}</span>' for said, rank in STOPS
    )
    return (
        f'<div class="strip scored" role="region" aria-label="Scored text" tabindex="0" '
        f'translate="no">{tokens}</div><p class="legend">Colour: rank {stops}</p>'
    )


def _marked(text: str) -> str:
    """A token's own text, escaped, with its line ends marked."""
    return escape(text).replace("\n", '<span class="mark"></span>\n')
