"""The Classify tab: a news text, its topic, and when the model made up its mind.

Imports: gradio, engine, figures.
"""

from dataclasses import dataclass
from html import escape

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import class_alt, class_color, class_figure, percent, topic_alt, topic_figure
from gpt2.trace import Verdict
from gpt2.ui.attention_view import build_attention
from gpt2.ui.common import (
    MODEL_EVENTS,
    PRIVATE,
    VIEWPORT_JS,
    Viewport,
    errors_in_words,
    note,
    picture,
)
from gpt2.ui.strip import class_strip

EXAMPLES = (
    "Oil prices climb as refineries shut down ahead of the storm, lifting shares of producers.",
    "The striker scored twice in the last ten minutes to send her team to the final.",
    "Peace talks resume in Geneva after a week of fighting along the border.",
    "A small telescope on a mountain in Chile has found a planet the size of Earth.",
    "The phone maker said its new chip will double the battery life of next year's handsets.",
)


@dataclass(frozen=True)
class Read:
    """What the page keeps of a classified text."""

    model: str
    ids: tuple[int, ...]


def build_classify(engine: Engine, viewport: gr.JSON) -> None:
    """Build the tab's components and wire them."""
    names = engine.library.classifiers
    shown = gr.State(None, time_to_live=3600)
    text = gr.Textbox(
        label="News text",
        lines=3,
        max_lines=12,
        placeholder="Paste a headline or the beginning of an article.",
        elem_id="news",
    )
    gr.Examples([[example] for example in EXAMPLES], [text], label="Examples")
    with gr.Row():
        start = gr.Button("Classify", variant="primary")
        model = gr.Dropdown(names, value=names[0], label="Classifier", visible=len(names) > 1)
    verdict = gr.HTML(note("Nothing classified yet."), elem_id="verdict")
    bars = gr.HTML(elem_id="classes")
    strip = gr.HTML(elem_id="reading")
    attention = build_attention(engine, shown, viewport, name="classify", model=names[0])
    with gr.Accordion("When did it decide?", open=False):
        gr.HTML(note("The four probabilities after each token, as if the text ended there."))
        over = gr.HTML(elem_id="over-text")
    labels = ", ".join(engine.shape(names[0]).labels)
    gr.HTML(note(f"Topics: {labels}. Texts up to {engine.limits.prompt_chars:,} characters."))

    def show(text, model, viewport):  # noqa: ANN001, ANN202
        # Not named classify: gradio would take that name from the API's endpoint.
        with errors_in_words():
            screen = Viewport.read(viewport)
            found = engine.classify(text, classifier=model)
            pieces = engine.pieces(found.ids, model=found.model)
            narrow = min(screen.width, 760)
            look = {"theme": screen.theme, "width": narrow}
            return (
                _headline(found),
                picture(
                    class_figure(found.labels, found.probs, **look),
                    class_alt(found.labels, found.probs),
                    width=narrow,
                    name="topics",
                ),
                class_strip(pieces, found.per_token, found.labels),
                picture(
                    topic_figure(
                        found.per_token,
                        pieces,
                        found.labels,
                        theme=screen.theme,
                        width=screen.width,
                    ),
                    topic_alt(found.per_token, pieces, found.labels),
                    width=screen.width,
                    name="topic-over-text",
                ),
                Read(found.model, found.ids),
            )

    classified = gr.on(
        [start.click, text.submit],
        show,
        [text, model, viewport],
        [verdict, bars, strip, over, shown],
        js=VIEWPORT_JS,
        show_progress="minimal",
        **MODEL_EVENTS,
        **PRIVATE,
    )
    attention.follow(classified)


def _headline(verdict: Verdict) -> str:
    color = class_color(verdict.labels.index(verdict.label))
    words = f"{escape(verdict.label)} {percent(float(verdict.probs.max()))}"
    dropped = ""
    if verdict.truncated:
        dropped = note(f"The last {verdict.truncated:,} tokens did not fit and were not read.")
    return f'<p class="headline" style="border-left-color:{color}">{words}</p>{dropped}'
