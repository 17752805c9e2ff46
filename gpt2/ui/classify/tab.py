"""The Classify tab: a news text, its topic, and when the model made up its mind."""

from dataclasses import dataclass
from html import escape

import gradio as gr

from gpt2.figures import ClassBars, TopicLines, class_color, percent
from gpt2.records import Verdict
from gpt2.ui.inside.attention import build_attention
from gpt2.ui.inside.why import Question, build_why
from gpt2.ui.page import (
    MODEL_EVENTS,
    PRIVATE,
    Page,
    errors_in_words,
    note,
)
from gpt2.ui.picture import Drawing
from gpt2.ui.section import Section
from gpt2.ui.strip import class_strip

EXAMPLES = (
    "Oil prices climb as refineries shut down ahead of the storm, lifting shares of producers.",
    "The striker scored twice in the last ten minutes to send her team to the final.",
    "Peace talks resume in Geneva after a week of fighting along the border.",
    "A small telescope on a mountain in Chile has found a planet the size of Earth.",
    "The phone maker said its new chip will double the battery life of next year's handsets.",
)
WHEN = "The four probabilities after each token, as if the text ended there."


@dataclass(frozen=True, eq=False)  # each is its own: arrays are not compared
class ReadText:
    """What the page keeps of a classified text."""

    verdict: Verdict

    @property
    def model(self) -> str:
        """Name of the classifier."""
        return self.verdict.model

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens it saw."""
        return self.verdict.ids


def build_classify(page: Page) -> None:
    """Build the tab's components and wire them."""
    engine = page.engine
    names = engine.catalog.classifiers
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
    with Section(page, shown, "", "", name="topic") as topic:
        bars = topic.picture("classes")
    strip = gr.HTML(elem_id="reading")
    build_attention(page, shown, name="classify", model=names[0])
    with Section(page, shown, "When did it decide?", WHEN, name="decided") as decided:
        over = decided.picture("over-text")
    build_why(page, shown, _ask, title="Why this topic?", name="classify", contrast=False)
    labels = ", ".join(engine.catalog.config(names[0]).labels)
    gr.HTML(note(f"Topics: {labels}. Texts up to {engine.limits.prompt_chars:,} characters."))

    def show(text, model):
        # Not named classify: gradio would take that name from the API's endpoint.
        with errors_in_words():
            found = engine.inspector.classify(text, classifier=model)
            texts = engine.catalog.drawn(found.ids, model=found.model)
            return (
                _headline(found),
                class_strip(texts, found.per_token, found.labels),
                ReadText(found),
            )

    def draw_topics(shown, screen):
        found = shown.verdict
        return [Drawing(ClassBars(found.labels, found.probs), screen, "topics", widest=760)]

    def draw_decision(shown, screen):
        found = shown.verdict
        pieces = engine.catalog.drawn(found.ids, model=found.model)
        words = engine.catalog.words(found.ids, model=found.model)
        picture = TopicLines(found.per_token, pieces, found.labels, words)
        return [Drawing(picture, screen, "topic-over-text")]

    gr.on(
        [start.click, text.submit],
        show,
        [text, model],
        [verdict, strip, shown],
        show_progress="minimal",
        **MODEL_EVENTS,
        **PRIVATE,
    )
    topic.wire(draw_topics, [], [bars])
    decided.wire(draw_decision, [], [over])


def _ask(shown: ReadText) -> Question:
    """Why the topic that leads?"""
    found = shown.verdict
    answer = int(found.probs.argmax())
    return Question(found.model, found.ids, len(found.ids), answer, found.labels[answer])


def _headline(verdict: Verdict) -> str:
    color = class_color(verdict.labels.index(verdict.label))
    words = f"{escape(verdict.label)} {percent(float(verdict.probs.max()))}"
    dropped = ""
    if verdict.truncated:
        read, rest = len(verdict.ids), verdict.truncated
        dropped = note(
            f"The first {read:,} of {read + rest:,} tokens were read, as many as this classifier "
            "was trained on."
        )
    return f'<p class="headline" style="border-left-color:{color}">{words}</p>{dropped}'
