"""Score a text: how well the model would have guessed each token of any text (GLTR).

Source: Gehrmann et al. 2019, "GLTR: Statistical Detection and Visualization of Generated Text".
"""

from dataclasses import dataclass

import gradio as gr
import numpy as np

from gpt2.figures import ScoreBands
from gpt2.records import Score
from gpt2.ui.page import MODEL_EVENTS, PRIVATE, VIEWPORT_JS, Page, Viewport, errors_in_words, note
from gpt2.ui.picture import Drawing
from gpt2.ui.section import Section
from gpt2.ui.strip import Numbers, legend, token_strip

WORDS = (
    "Paste any text and see how surprised the model is by each token: the stronger the colour, the "
    "less it was expected. Text that a model wrote tends to show little colour, but so does plain "
    "human prose: this is no detector of AI text."
)


@dataclass(frozen=True, eq=False)  # each is its own: arrays are not compared
class Scored:
    """What the page keeps of a scored text."""

    score: Score


def build_score(page: Page) -> None:
    """The section, with a text of its own."""
    engine = page.engine
    names = engine.catalog.models
    scored = gr.State(None, time_to_live=3600)
    with gr.Accordion("Score a text", open=False, elem_id="score"):
        gr.HTML(note(WORDS))
        text = gr.Textbox(label="Text to score", lines=3, max_lines=12, elem_id="score-text")
        with gr.Row():
            start = gr.Button("Score")
            model = gr.Dropdown(names, value=names[0], label="Scored by", visible=len(names) > 1)
        status = gr.HTML(elem_id="score-status")
        strip = gr.HTML(elem_id="score-strip")
        with Section(page, scored, "", "", name="score") as section:
            picture = section.picture("score-picture")

    def show(text, model, viewport):
        with errors_in_words():
            found = engine.inspector.score(text or "", model=model)
            screen = Viewport.read(viewport)
            return _status(found), _strip(page, found, screen), Scored(found)

    def draw(scored, screen):
        found = scored.score
        words = engine.catalog.words(found.ids, model=found.model)
        picture = ScoreBands(found.ranks, found.entropies, found.logprobs, found.ids, words)
        return [Drawing(picture, screen, "score")]

    gr.on(
        [start.click, text.submit],
        show,
        [text, model, page.viewport],
        [status, strip, scored],
        js=VIEWPORT_JS,
        show_progress="minimal",
        **MODEL_EVENTS,
        **PRIVATE,
    )
    section.wire(draw, [], [picture])


def _status(found: Score) -> str:
    guessed = float((found.ranks <= 10).mean())
    read = f"{len(found.ids):,} tokens"
    if found.truncated:
        read = f"The first {read} of {len(found.ids) + found.truncated:,}; the rest was not read"
    shown = "past 10^307" if found.perplexity is None else f"{found.perplexity:,.1f}"
    return note(
        f"{read} · perplexity {shown} · {found.nll:.2f} nats a "
        f"token · {guessed:.0%} among the model's first ten guesses · {found.model}"
    )


def _strip(page: Page, found: Score, screen: Viewport) -> str:
    """The text, tinted by rank; its tokens can't be picked."""
    numbers = Numbers(np.exp(found.logprobs), found.ranks, found.entropies)
    start = page.engine.catalog.encode("", model=found.model)  # what stands before any text
    texts = page.engine.catalog.drawn([*start, *found.ids], model=found.model)
    strip = token_strip(texts, numbers, prompt_length=1, by="rank", theme=screen.theme)
    return strip + legend("rank", theme=screen.theme)
