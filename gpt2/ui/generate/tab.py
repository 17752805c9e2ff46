"""The Generate tab: left the text, right the inspector."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from gpt2.engine import Engine
from gpt2.ui.example import Example
from gpt2.ui.generate.chips import chips_html, preset_named
from gpt2.ui.generate.settings import Settings
from gpt2.ui.generate.words import count_js, count_words
from gpt2.ui.generate.writing import Wanted, Writing
from gpt2.ui.inside.attention import build_attention
from gpt2.ui.inside.logit_lens import build_lens
from gpt2.ui.inside.next_token import build_next_token
from gpt2.ui.inside.score import build_score
from gpt2.ui.inside.switch import build_switch
from gpt2.ui.inside.why import build_why
from gpt2.ui.link import made_with, read_link, verdict
from gpt2.ui.page import TEXT_EVENTS, Page, note, template
from gpt2.ui.presets import OPENING, PRESETS
from gpt2.ui.record import read_choices, read_request
from gpt2.ui.text_events import QUICK, record_js, wire_text
from gpt2.ui.view import inspector_tabs

VIEWS = {
    "next": "Next token",
    "attention": "Attention",
    "layers": "Layers",
    "switch": "Switch off",
    "why": "Why",
    "score": "Score",
}


def build_generate(page: Page) -> Example:
    """Build the tab's components and wire them; what it opens with."""
    engine = page.engine
    names = engine.catalog.models
    with gr.Row(elem_classes="stage"):
        with gr.Column(elem_classes="left"):
            with gr.Column(elem_classes="form"):
                prompt = gr.Textbox(
                    OPENING.prompt,
                    label="Prompt",
                    lines=2,
                    max_lines=8,
                    placeholder="Type the beginning of a text, or nothing: the model begins.",
                    elem_id="prompt",
                )
                gr.HTML(
                    html_template=template(chips_html(PRESETS)),
                    js_on_load="gpt2.presets.bind(element)",
                    apply_default_css=False,
                    elem_id="presets",
                )
                with gr.Row(elem_classes="buttons"):
                    start = gr.Button("Generate", variant="primary", min_width=0)
                    stop = gr.Button("Stop", min_width=0)
                    count = gr.HTML(
                        note(count_words(engine, OPENING.prompt, names[0])),
                        elem_id="count",
                        apply_default_css=False,
                        min_width=120,
                    )
                    length = gr.JSON(visible=False)
                settings = Settings(engine, OPENING)
            writing = Writing(page)
        with gr.Column(elem_id="generate-inspector", elem_classes="inspector"):
            inspector_tabs("generate", VIEWS)
            views = {"next": build_next_token(page)}
            build_attention(page, "generate")
            build_lens(page)
            build_switch(page, writing)
            build_why(page, "generate")
            build_score(page)

    async def write(visitor: gr.Request, prompt, *rest) -> AsyncIterator[dict[gr.HTML, str]]:
        *values, raw = rest
        asked = writing.write(lambda: Wanted(settings.request(prompt, values)), raw, visitor)
        async for lines in asked:
            yield lines

    async def wanted(raw, visitor: gr.Request) -> AsyncIterator[dict[gr.HTML, str]]:
        """A text that the page asks for by itself: with another token, or from a link."""
        async for lines in writing.write(lambda: _wanted(writing, raw), raw, visitor):
            yield lines

    wire_text(
        page.record,
        "generate",
        writing.strip,
        asks=[start.click, prompt.submit],
        sent=write,
        inputs=[prompt, *settings.controls],
        wanted=wanted,
        fields={"prompt": prompt, **settings.fields, "randomize": settings.randomize},
        events=TEXT_EVENTS,
    )
    writing.strip.seeded(
        None, None, [settings.seed], js="() => gpt2.stages.generate.form(['seed'])", **QUICK
    )
    stop.click(writing.stop, [page.record], js=record_js("generate"), **QUICK)
    # Not by that event itself: it would send the prompt along, however long it is.
    changed = gr.on([prompt.change, settings.model.change], None, js="() => []", **QUICK)
    changed.then(
        lambda *values: note(count_words(engine, *values)),
        [prompt, settings.model, length],
        count,
        js=count_js(engine.limits.prompt_chars),
        trigger_mode="always_last",
        **QUICK,
    )
    return Example(engine, writing, views)


def _wanted(writing: Writing, raw: Any) -> Wanted:
    raw = raw if isinstance(raw, dict) else {}
    wanted = raw.get("wanted")
    if not isinstance(wanted, dict):
        raise ValueError("nothing was asked for; load the page again")
    catalog = writing.engine.catalog
    if "link" in wanted:
        return linked(writing.engine, wanted["link"])
    if "preset" in wanted:
        model = wanted.get("model") or catalog.models[0]
        return writing.preset(preset_named(PRESETS, "generate", wanted["preset"]), model)
    request = read_request(wanted)
    chosen = read_choices(wanted.get("chosen"))
    typed, place = wanted.get("typed"), wanted.get("place")
    if isinstance(typed, str) and typed and isinstance(place, int):
        tokens = catalog.encode(typed, model=request.model or catalog.models[0])
        chosen += tuple((place + n, token) for n, token in enumerate(tokens))
    return Wanted(request, chosen)


def linked(engine: Engine, fragment: Any) -> Wanted:
    """What a link asks for; it is written as far as its author's text went."""
    link = read_link(fragment, engine)
    if link.tab != "generate":
        raise ValueError("this link is of the tab Classify; load the page again")
    return Wanted(
        link.request,
        link.chosen,
        selected=link.look.get("token"),
        most=len(link.proof) or None,
        verdict=lambda ids, first: verdict(
            link, ids, made_with(engine, link.request.model), first=first
        ),
        look=dict(link.look),
    )
