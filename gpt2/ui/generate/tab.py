"""The Generate tab: a prompt, its completion token by token, and what stood behind each token."""

from collections.abc import Iterator
from functools import partial

import gradio as gr

from gpt2.engine import Engine, Request
from gpt2.records import Trace
from gpt2.ui.generate.branches import Branch, Branches, Tree, alternatives_html
from gpt2.ui.generate.completion import (
    Shown,
    count_js,
    count_words,
    limits_words,
    token_drawing,
    token_words,
)
from gpt2.ui.generate.settings import Settings
from gpt2.ui.generate.writing import Writer
from gpt2.ui.inside.attention import build_attention
from gpt2.ui.inside.logit_lens import build_lens
from gpt2.ui.inside.score import build_score
from gpt2.ui.inside.switch import build_switch
from gpt2.ui.inside.why import Question, build_why
from gpt2.ui.page import MODEL_EVENTS, PRIVATE, VIEWPORT_JS, Page, note
from gpt2.ui.section import Section

EXAMPLES = (
    "The president said on Tuesday that",
    "The city of Vienna is",
    "Scientists have discovered a new species of",
    "It was a dark and stormy night, and the old man",
    "The match ended when",
)
PICK_HINT = "Choose a token above to see what else the model considered."


def build_generate(page: Page) -> None:
    """Build the tab's components and wire them."""
    engine = page.engine
    names = engine.catalog.models
    shown = gr.State(None, time_to_live=3600)

    prompt = gr.Textbox(
        label="Prompt",
        lines=3,
        max_lines=12,
        placeholder="Type the beginning of a text. Leave it empty to let the model begin.",
        elem_id="prompt",
    )
    count = gr.HTML(note(count_words(engine, "", names[0])), elem_id="count")
    length = gr.JSON(visible=False)
    gr.Examples([[text] for text in EXAMPLES], [prompt], label="Examples", elem_id="examples")
    with gr.Row():
        start = gr.Button("Generate", variant="primary")
        stop = gr.Button("Stop")
    settings = Settings(engine)
    writer = Writer(page, shown)
    with Section(page, shown, "", "", name="token") as token:
        header = gr.HTML(note(PICK_HINT), elem_id="token")
        with gr.Row():
            previous = gr.Button("Previous token", size="sm", min_width=120, scale=0)
            following = gr.Button("Next token", size="sm", min_width=120, scale=0)
        bars = token.picture("bars")
    branches = Branches(page, shown)
    build_attention(page, shown, name="generate", model=names[0])
    build_lens(page, shown)
    build_switch(page, shown, model=names[0])
    build_why(
        page, shown, partial(_ask, engine), title="Why this token?", name="generate", contrast=True
    )
    build_score(page)
    gr.HTML(note(limits_words(engine)))

    def write(visitor: gr.Request, prompt, *rest):
        *values, by, viewport = rest

        def begin() -> tuple[Request, Iterator[Trace]]:
            request = settings.request(prompt, values)
            return request, engine.generate(request)

        for shown_values in writer.write(begin, by, viewport, visitor):
            done, tree, seed = shown_values[-1], gr.skip(), gr.skip()
            if done is None:  # it begins
                tree = None
            elif isinstance(done, Shown):
                tree, seed = Tree((Branch(done, -1, 0),), 0), done.sampling.seed
            yield *shown_values, tree, seed

    def look(shown, screen):
        """The selected token in words and as a picture, and what else could stand there."""
        step = engine.inspector.step(shown.ids, shown.selected, shown.sampling, model=shown.model)
        return (
            token_words(engine, shown, step),
            token_drawing(engine, shown, step, screen),
            alternatives_html(engine, shown, step),
        )

    on_page = {"js": VIEWPORT_JS, "show_progress": "hidden", **MODEL_EVENTS, **PRIVATE}
    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    gr.on(
        [start.click, prompt.submit],
        write,
        [prompt, *settings.controls, writer.by, page.viewport],
        [*writer.outputs, branches.tree, settings.seed],
        **on_page,
    )
    stop.click(writer.stop, page.viewport, js=VIEWPORT_JS, **quick)
    token.wire(look, [], [header, bars, branches.choices])
    branches.wire(writer)
    for button, step in ((previous, -1), (following, 1)):
        button.click(
            partial(writer.walk, step=step),
            [shown, writer.by, page.viewport],
            [shown, writer.strip],
            **on_page,
        )
    # Not by that event itself: it would send the prompt along, however long it is.
    changed = gr.on([prompt.change, settings.model.change], None, js="() => []", **quick)
    changed.then(
        lambda *values: note(count_words(engine, *values)),
        [prompt, settings.model, length],
        count,
        js=count_js(engine.limits.prompt_chars),
        trigger_mode="always_last",
        **quick,
    )


def _ask(engine: Engine, shown: Shown) -> Question:
    """Why the selected token?"""
    answer = shown.ids[shown.selected]
    name = engine.catalog.pieces([answer], model=shown.model)[0]
    return Question(shown.model, shown.ids, shown.selected, answer, name)
