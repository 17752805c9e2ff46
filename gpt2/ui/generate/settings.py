"""The settings of a completion: their controls, and the request they make."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gpt2.engine import SEED_LIMIT, Engine, Request, Sampling, seed_or_random
from gpt2.ui.generate.words import limits_words, settings_words
from gpt2.ui.page import PRIVATE, note
from gpt2.ui.presets import Preset


class Settings:
    """A closed section whose title always tells what is set."""

    def __init__(self, engine: Engine, begins: Preset) -> None:
        """Build the controls, set as they are for the text that the page opens with."""
        most, names = engine.limits.new_tokens, engine.catalog.models
        with gr.Accordion("Settings", open=False, elem_id="settings") as section:
            with gr.Row():
                count = gr.Slider(
                    1, most, min(begins.max_new_tokens, most), step=1, label="New tokens"
                )
                temperature = gr.Slider(
                    0,
                    2,
                    begins.temperature,
                    step=0.05,
                    label="Temperature",
                    info="0 always takes the likeliest",
                )
                top_k = gr.Slider(
                    0, 200, begins.top_k, step=1, label="Top-k", info="0 keeps all tokens"
                )
            with gr.Row():
                top_p = gr.Slider(
                    0.01, 1, begins.top_p, step=0.01, label="Top-p", info="1 keeps all tokens"
                )
                min_p = gr.Slider(
                    0, 0.5, begins.min_p, step=0.01, label="Min-p", info="0 keeps all tokens"
                )
                penalty = gr.Slider(
                    1,
                    2,
                    begins.repetition_penalty,
                    step=0.05,
                    label="Repetition penalty",
                    info="1 is off",
                )
            with gr.Row():
                self.seed = gr.Number(
                    begins.seed,
                    label="Seed",
                    precision=0,
                    minimum=0,
                    maximum=SEED_LIMIT - 1,
                    min_width=120,
                )
                self.randomize = gr.Checkbox(
                    False, label="New random seed each time", min_width=120
                )
                stop = gr.Textbox(
                    label="Stop text",
                    lines=2,
                    max_lines=4,
                    info="Empty is off; may hold line breaks",
                )
                self.model = gr.Dropdown(names, value=names[0], label="Model")
            gr.HTML(note(limits_words(engine)), elem_id="limits", apply_default_css=False)
        self.controls = [count, temperature, top_k, top_p, min_p, penalty, self.seed]
        self.controls += [self.randomize, stop, self.model]
        self.fields = {  # by the names of a request, as a link and an example set them
            "max_new_tokens": count,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": penalty,
            "seed": self.seed,
            "stop": stop,
            "model": self.model,
        }
        told = [count, temperature, top_k, top_p, min_p, penalty, self.seed, stop]
        section.label = _title(*(control.value for control in told))
        quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
        # Not by those events themselves: where many change at once, they see some as they were.
        changed = gr.on([control.change for control in told], None, js="() => []", **quick)
        changed.then(
            lambda *values: gr.update(label=_title(*values)),
            told,
            section,
            trigger_mode="always_last",
            **quick,
        )

    @staticmethod
    def request(prompt: str | None, values: Sequence[Any]) -> Request:
        """What the values of the controls ask for; a random seed is drawn here.

        Raises:
            ValueError: a value is missing or out of its range.
        """
        count, temperature, top_k, top_p, min_p, penalty, seed, randomize, stop, model = values
        sampling = Sampling(
            repetition_penalty=penalty,
            temperature=temperature,
            top_k=int(top_k),
            top_p=top_p,
            min_p=min_p,
            seed=seed_or_random(-1 if randomize else seed),
        )
        return Request(prompt or "", int(count), sampling, stop or "", model)


def _title(*values: Any) -> str:
    *drawn, seed, stop = values
    return settings_words(*drawn, seed=seed, stop=stop or "")
