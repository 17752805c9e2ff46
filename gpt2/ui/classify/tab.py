"""The Classify tab: left a news text and its topic, right when and why the model decided so."""

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gpt2.engine import Engine
from gpt2.figures import ClassBars, TopicLines, percent
from gpt2.records import Verdict
from gpt2.ui.classify.examples import class_name, examples_html
from gpt2.ui.classify.many import build_many
from gpt2.ui.classify.reading import Reading, verdict_of
from gpt2.ui.generate.chips import preset_named
from gpt2.ui.inside.attention import build_attention
from gpt2.ui.inside.why import build_why
from gpt2.ui.link import asked_link
from gpt2.ui.page import VIEW_EVENTS, Page, note, template
from gpt2.ui.picture import Drawing
from gpt2.ui.presets import PRESETS, Preset
from gpt2.ui.record import Asked
from gpt2.ui.text_events import wire_text
from gpt2.ui.view import View, inspector_tabs, slot

VIEWS = {
    "decided": "When did it decide",
    "attention": "Attention",
    "why": "Why",
    "many": "Many texts",
}
WHEN = (
    "The probability of each topic after each token, as if the text ended there. Look for the word "
    "at which the lines cross."
)


def build_classify(page: Page) -> None:
    """Build the tab's components and wire them."""
    engine = page.engine
    names = engine.catalog.classifiers
    with gr.Row(elem_classes="stage"):
        with gr.Column(elem_classes="left"):
            with gr.Column(elem_classes="form"):
                news = gr.Textbox(
                    label="News text",
                    lines=2,
                    max_lines=3,
                    placeholder="Paste a headline or the beginning of an article.",
                    elem_id="news",
                )
                gr.HTML(
                    html_template=template(examples_html()),
                    js_on_load="gpt2.presets.bind(element, 'classify')",
                    apply_default_css=False,
                )
                with gr.Row(elem_classes="buttons"):
                    start = gr.Button("Classify", variant="primary", min_width=0)
                    model = gr.Dropdown(
                        names,
                        value=names[0],
                        label="Classifier",
                        visible=len(names) > 1,
                        min_width=160,
                    )
            build_topic(page)
            reading = Reading(page)
            gr.HTML(note(limits_words(engine, names)), elem_classes="limits")
        with gr.Column(elem_id="classify-inspector", elem_classes="inspector"):
            inspector_tabs("classify", VIEWS)
            build_decided(page)
            build_attention(page, "classify")
            build_why(page, "classify")
            build_many(page)

    def read(news, model, raw) -> dict[gr.HTML, str]:
        # Not named classify: gradio would take that name from the API's endpoint.
        return reading.read(news, model, raw)

    def wanted(raw) -> dict[gr.HTML, str]:
        """A text that the page asks for by itself: an example, a preset, or from a link."""
        fragment = asked_link(raw)
        if fragment is not None:
            return reading.read_linked(fragment, raw)
        try:
            preset = wanted_preset(raw)
        except ValueError as error:
            return reading.refused(error, raw)
        return reading.read(*wanted_text(raw), raw, preset=preset)

    wire_text(
        page.record,
        "classify",
        reading.strip,
        asks=[start.click, news.submit],
        sent=read,
        inputs=[news, model],
        wanted=wanted,
        fields={"prompt": news, "model": model},
        events=VIEW_EVENTS,
    )


def build_topic(page: Page) -> View:
    """The verdict and the four bars, beside the text whichever view is open."""
    return View(
        page,
        "classify",
        "topic",
        "",
        body=slot("verdict") + slot("topics"),
        uses=(),
        draw=partial(topic_drawings, page.engine),
        pinned=True,
    )


def build_decided(page: Page) -> View:
    """The view of how the probabilities move along the text."""
    return View(
        page,
        "classify",
        "decided",
        WHEN,
        body=slot("decided-place") + slot("decided-lines"),
        uses=("token",),
        apart={"decided-lines": ()},
        draw=partial(decided_drawings, page.engine),
    )


def topic_drawings(engine: Engine, asked: Asked) -> dict[str, Drawing | str]:
    """The verdict in words, and all classes in their constant order and colours."""
    found = verdict_of(engine, asked)
    return {
        "verdict": headline_html(engine, found),
        "topics": Drawing(ClassBars(found.labels, found.probs), min(asked.width, 560), "topics"),
    }


def headline_html(engine: Engine, found: Verdict) -> str:
    """The verdict in words, and since when it stands."""
    leaders = found.per_token.argmax(axis=1)
    last = int(leaders[-1])
    others = np.flatnonzero(leaders != last)
    start = int(others[-1]) + 1 if len(others) else 0
    (piece,) = engine.catalog.pieces([found.ids[start]], model=found.model)
    since = f"leads from token {start} <code>{escape(piece)}</code> on"
    return (
        f'<p class="headline {class_name(last)}"><b>{escape(found.label)}</b> '
        f'<span translate="no">{since if start else "leads from the first token on"}</span></p>'
    )


def decided_drawings(engine: Engine, asked: Asked) -> dict[str, Drawing | str]:
    """What the probabilities are at the selected token in words, and the four lines."""
    found = verdict_of(engine, asked)
    (piece,) = engine.catalog.pieces([asked.ids[asked.selected]], model=found.model)
    place = place_html(asked.selected, piece, found.labels, found.per_token[asked.selected])
    if "decided-lines" in asked.kept:
        return {"decided-place": place}
    picture = TopicLines(
        found.per_token,
        engine.catalog.drawn(found.ids, model=found.model),
        found.labels,
        engine.catalog.words(found.ids, model=found.model),
    )
    return {
        "decided-place": place,
        "decided-lines": Drawing(picture, asked.width, "topic-over-text"),
    }


def place_html(index: int, piece: str, labels: Sequence[str], probs: Any) -> str:
    """The probabilities after one token, in words."""
    shares = " ".join(
        f'<span class="key {class_name(row)}">{escape(label)} {percent(float(prob))}</span>'
        for row, (label, prob) in enumerate(zip(labels, probs, strict=True))
    )
    return (
        f'<p class="token" translate="no"><b>After token {index}</b> <code>{escape(piece)}</code> '
        f"{shares}</p>"
    )


def limits_words(engine: Engine, names: Sequence[str]) -> str:
    """The topics, and how long a text may be."""
    labels = ", ".join(engine.catalog.config(names[0]).labels)
    return f"Topics: {labels}. Limit: {engine.limits.prompt_chars:,} characters."


def wanted_text(raw: Any) -> tuple[Any, Any]:
    """The text and the classifier that the page asks for; both are checked where they are read."""
    wanted, preset = _wanted(raw), wanted_preset(raw)
    return preset.prompt if preset else wanted.get("prompt"), wanted.get("model")


def wanted_preset(raw: Any) -> Preset | None:
    """The preset that the page asks for, None for any other text.

    Raises:
        ValueError: there is none of that name.
    """
    name = _wanted(raw).get("preset")
    return None if name is None else preset_named(PRESETS, "classify", name)


def _wanted(raw: Any) -> dict[str, Any]:
    wanted = raw.get("wanted") if isinstance(raw, dict) else None
    return wanted if isinstance(wanted, dict) else {}
