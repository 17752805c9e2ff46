"""The Generate tab: a prompt, its completion token by token, and what stood behind each token.

Imports: gradio, engine, figures.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import gradio as gr

from gpt2.engine import SEED_LIMIT, Engine, Request, Sampling, seed_or_random
from gpt2.ui.attention_view import build_attention
from gpt2.ui.common import (
    ERRORS,
    MODEL_EVENTS,
    PRIVATE,
    VIEWPORT_JS,
    Viewport,
    errors_in_words,
    note,
)
from gpt2.ui.completion import (
    Shown,
    count_words,
    keep,
    limits_words,
    settings_words,
    shown_strip,
    status_line,
    token_drawing,
    token_words,
    trace_strip,
)
from gpt2.ui.lens_view import build_lens
from gpt2.ui.score_view import build_score
from gpt2.ui.section import Page, Section
from gpt2.ui.strip import PICK_JS, legend
from gpt2.ui.switch_view import build_switch
from gpt2.ui.why_view import Question, build_why

EXAMPLES = (
    "The president said on Tuesday that",
    "The city of Vienna is",
    "Scientists have discovered a new species of",
    "It was a dark and stormy night, and the old man",
    "The match ended when",
)
COLOUR_BY = ("probability", "rank", "entropy")
PICK_HINT = "Choose a token above to see what else the model considered."


def build_generate(page: Page) -> None:
    """Build the tab's components and wire them."""
    engine, viewport = page.engine, page.viewport
    limits, names = engine.limits, engine.library.models
    shown = gr.State(None, time_to_live=3600)

    prompt = gr.Textbox(
        label="Prompt",
        lines=3,
        max_lines=12,
        placeholder="Type the beginning of a text. Leave it empty to let the model begin.",
        elem_id="prompt",
    )
    count = gr.HTML(note(count_words(engine, "", names[0])))
    gr.Examples([[text] for text in EXAMPLES], [prompt], label="Examples", elem_id="examples")
    with gr.Row():
        start = gr.Button("Generate", variant="primary")
        stop_button = gr.Button("Stop")
    with gr.Accordion("Settings", open=False) as settings:
        with gr.Row():
            new_tokens = gr.Slider(
                1, limits.new_tokens, min(60, limits.new_tokens), step=1, label="New tokens"
            )
            temperature = gr.Slider(
                0, 2, 0.8, step=0.05, label="Temperature", info="0 always takes the likeliest"
            )
            top_k = gr.Slider(0, 200, 50, step=1, label="Top-k", info="0 keeps all tokens")
        with gr.Row():
            top_p = gr.Slider(0.01, 1, 1, step=0.01, label="Top-p", info="1 keeps all tokens")
            min_p = gr.Slider(0, 0.5, 0, step=0.01, label="Min-p", info="0 keeps all tokens")
            penalty = gr.Slider(1, 2, 1, step=0.05, label="Repetition penalty", info="1 is off")
        with gr.Row():
            seed = gr.Number(
                0, label="Seed", precision=0, minimum=0, maximum=SEED_LIMIT - 1, min_width=120
            )
            randomize = gr.Checkbox(False, label="New random seed each time", min_width=120)
            stop_text = gr.Textbox(label="Stop text", max_lines=1, info="Empty is off")
            model = gr.Dropdown(names, value=names[0], label="Model")
    # No copy button: Gradio puts it inside the label, which then names the button and not the text.
    completion = gr.Textbox(label="Completion", lines=4, max_lines=16, interactive=False)
    status = gr.HTML(note("Nothing written yet."), elem_id="status")
    by = gr.Radio(COLOUR_BY, value="probability", label="Colour tokens by")
    strip = gr.HTML(js_on_load=PICK_JS, elem_id="strip", min_height=56)
    key = gr.HTML(elem_id="legend")
    with Section(page, shown, "", "", name="token") as token:
        header = gr.HTML(note(PICK_HINT), elem_id="token")
        with gr.Row():
            previous = gr.Button("Previous token", size="sm", min_width=120, scale=0)
            following = gr.Button("Next token", size="sm", min_width=120, scale=0)
        bars = token.picture("bars")
    build_attention(page, shown, name="generate", model=names[0])
    build_lens(page, shown)
    build_switch(page, shown, model=names[0])
    build_why(
        page, shown, partial(_ask, engine), title="Why this token?", name="generate", contrast=True
    )
    build_score(page)

    running: dict[str, threading.Event] = {}  # what Stop sets, by the session that is writing

    def write(
        prompt, count, temperature, top_k, top_p, min_p, penalty,
        seed, randomize, stop, model, by, viewport, visitor: gr.Request,
    ):  # noqa: ANN001, ANN202  # fmt: skip
        screen = Viewport.read(viewport)
        with errors_in_words(), _stoppable(running, visitor) as told_to_stop:
            sampling = Sampling(
                repetition_penalty=penalty,
                temperature=temperature,
                top_k=int(top_k),
                top_p=top_p,
                min_p=min_p,
                seed=seed_or_random(-1 if randomize else seed),
            )
            request = Request(prompt or "", int(count), sampling, stop or "", model)
            # At once, so that Stop has something to stop.
            yield (
                "",
                note("Reading the prompt …"),
                "",
                legend(by, theme=screen.theme),
                None,
                sampling.seed,
            )
            due = 0.0
            try:
                for trace in engine.generate(request):
                    now = time.monotonic()
                    if told_to_stop.is_set() and not trace.finish_reason:
                        trace = replace(trace, finish_reason="cancelled")
                    if now < due and not trace.finish_reason:
                        continue
                    due = now + 0.06 + 0.001 * len(trace.steps)  # long strips take longer to show
                    yield (
                        trace.completion,
                        status_line(trace),
                        trace_strip(engine, trace, by, screen),
                        gr.skip(),
                        keep(trace, request) if trace.finish_reason else gr.skip(),
                        gr.skip(),
                    )
                    if trace.finish_reason:
                        break
            except ERRORS as error:  # said here too, for a message goes away
                yield gr.skip(), note(str(error)), *[gr.skip()] * 4
                raise

    def stop_writing(visitor: gr.Request) -> None:
        if told_to_stop := running.get(visitor.session_hash):
            told_to_stop.set()

    def look(shown, screen):  # noqa: ANN001, ANN202
        """The selected token in words and as a picture."""
        step = engine.step(shown.ids, shown.selected, shown.sampling, model=shown.model)
        return token_words(engine, shown, step), token_drawing(engine, shown, step, screen)

    def walk(shown, by, viewport, step):  # noqa: ANN001, ANN202
        """Select the token `step` places on."""
        if shown is None:
            return gr.skip(), gr.skip()
        with errors_in_words():
            place = min(max(1, shown.selected + step), len(shown.ids) - 1)
            shown = replace(shown, selected=place)
            return shown, shown_strip(engine, shown, by, Viewport.read(viewport))

    def pick(shown, event: gr.EventData):  # noqa: ANN001, ANN202
        index = event._data.get("index") if isinstance(event._data, dict) else None
        if shown is None or not isinstance(index, int) or not 1 <= index < len(shown.ids):
            return gr.skip()
        return replace(shown, selected=index)

    def recolour(shown, by, viewport):  # noqa: ANN001, ANN202
        screen = Viewport.read(viewport)
        with errors_in_words():
            strip = gr.skip() if shown is None else shown_strip(engine, shown, by, screen)
            return strip, legend(by, theme=screen.theme)

    knobs = [new_tokens, temperature, top_k, top_p, min_p, penalty, seed, randomize, stop_text]
    on_page = {"js": VIEWPORT_JS, **PRIVATE}
    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    gr.on(
        [start.click, prompt.submit],
        write,
        [prompt, *knobs, model, by, viewport],
        [completion, status, strip, key, shown, seed],
        show_progress="hidden",
        **on_page,
        **MODEL_EVENTS,
    )
    token.wire(look, [], [header, bars])
    # Not through Gradio's cancels: what was under way would overwrite the last words, or end in an
    # error.
    stop_button.click(stop_writing, **quick)
    # Through the queue all the same: a state's change is only told there.
    strip.pick(pick, shown, shown, show_progress="hidden", concurrency_limit=None, **PRIVATE)
    for button, step in ((previous, -1), (following, 1)):
        button.click(
            lambda shown, by, screen, step=step: walk(shown, by, screen, step),
            [shown, by, viewport],
            [shown, strip],
            show_progress="hidden",
            **on_page,
            **MODEL_EVENTS,
        )
    by.change(recolour, [shown, by, viewport], [strip, key], **on_page, **MODEL_EVENTS)
    gr.on(
        [prompt.change, model.change],
        lambda prompt, model: note(count_words(engine, prompt, model)),
        [prompt, model],
        count,
        trigger_mode="always_last",
        **quick,
    )
    gr.on(
        [knob.change for knob in (new_tokens, temperature, top_k, seed)],
        lambda *values: gr.update(label=settings_words(*values)),
        [new_tokens, temperature, top_k, seed],
        settings,
        trigger_mode="always_last",
        **quick,
    )
    settings.label = settings_words(new_tokens.value, temperature.value, top_k.value, seed.value)
    gr.HTML(note(limits_words(engine)))


def _ask(engine: Engine, shown: Shown) -> Question:
    """Why the selected token?"""
    answer = shown.ids[shown.selected]
    name = engine.pieces([answer], model=shown.model)[0]
    return Question(shown.model, shown.ids, shown.selected, answer, name)


@contextmanager
def _stoppable(
    running: dict[str, threading.Event], visitor: gr.Request
) -> Iterator[threading.Event]:
    """An event that is found under the visitor's session while this lasts."""
    told_to_stop = running[visitor.session_hash] = threading.Event()
    try:
        yield told_to_stop
    finally:
        running.pop(visitor.session_hash, None)
