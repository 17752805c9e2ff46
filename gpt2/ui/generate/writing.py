"""A text as it is written: what is asked for, checked, and sent to the page line by line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import gradio as gr

from gpt2.engine import Request, Sampling
from gpt2.figures import counted, level_legend
from gpt2.records import Trace, Update
from gpt2.ui.copying import copy_row
from gpt2.ui.generate.chips import end_of
from gpt2.ui.generate.lines import (
    TINTS,
    end_line,
    refused_line,
    said_line,
    text_line,
    token_line,
)
from gpt2.ui.generate.words import drawn_words
from gpt2.ui.page import ERRORS, Page, on_a_clock
from gpt2.ui.presets import Preset
from gpt2.ui.record import Choice, moment_of

SESSIONS = 10_000  # whose last Stop is remembered
CLOCK = 0.08  # seconds from one batch of tokens to the next
FINISHED = {
    "length": "stopped: length",
    "eos": "stopped: the model ended the text",
    "stop": "stopped: the stop text",
    "context": "stopped: the context is full",
    "deadline": "stopped: the time limit",
    "cancelled": "stopped: by you",
    "link": "stopped: where the link's text ended",
    "": "writing",
}


@dataclass(frozen=True)
class Wanted:
    """A text that the page asks for.

    Args:
        request: what is to be written.
        chosen: tokens that the visitor put in the place of drawn ones.
        selected: the place to look at, None for the last chosen or the first drawn token.
        most: tokens that are written, None for as many as the request asks for.
        verdict: says of the tokens, and the place of the first, whether a link's author had them.
        look: how it is to be looked at, None to leave that as it is.
        preset: that says where to look once it is written, in the place of selected and look.
    """

    request: Request
    chosen: tuple[Choice, ...] = ()
    selected: int | None = None
    most: int | None = None
    verdict: Callable[[Sequence[int], int], str] = field(default=lambda ids, first: "")
    look: dict[str, Any] | None = None
    preset: Preset | None = None


def strip_html() -> str:
    """The place of a text: the line about it, what tints it, its tokens, its branches."""
    radios = "".join(
        f'<label><input type="radio" name="generate-tint" value="{by}">{by}</label>' for by in TINTS
    )
    legends = "".join(
        f'<span class="legend" data-by="{by}">'
        + "".join(
            f'<span class="stop tint-{level}">{words}</span>' for words, level in level_legend(by)
        )
        + "</span>"
        for by in TINTS
    )
    return f"""<p class="status" id="status" role="status">Nothing written yet.</p>
<fieldset class="tints"><legend>Colour tokens by</legend>{radios}{legends}</fieldset>
<div class="strip-place"><div class="strip" id="strip" role="listbox" aria-label="Completion"
aria-orientation="horizontal" translate="no"></div></div>
<div id="tree"></div>"""


class Writing:
    """The part of the page that a completion is written to."""

    def __init__(self, page: Page) -> None:
        self.page, self.engine = page, page.engine
        self.strip = gr.HTML(
            html_template=strip_html() + copy_row(self.engine.catalog.models[0]),
            # Gradio looks for the names of events in here.
            js_on_load="""const events = ["wanted", "fill", "seeded"];
            gpt2.strip(element, watch, props, trigger, "generate")""",
            apply_default_css=False,
            elem_id="generate-text",
        )
        self._stopped: dict[str, int] = {}  # the moment of the last Stop, by session

    def write(
        self, wanted: Callable[[], Wanted], raw: object, visitor: gr.Request
    ) -> Iterator[dict[gr.HTML, str]]:
        """The lines of a text while it grows; one that is refused leaves the old text there.

        Args:
            wanted: gives what is asked for, once it is checked.
            raw: what the page sent of itself.
        """
        lines, moment = "", moment_of(raw)
        try:
            for line in self.lines(wanted(), moment, visitor.session_hash or ""):
                lines += line
                yield {self.strip: lines}
        except ERRORS as error:
            yield {self.strip: lines + refused_line(str(error), moment)}

    def lines(self, wanted: Wanted, moment: int = 0, session: str = "") -> Iterator[str]:
        """The lines of a text, a few at a time; see lines.py."""
        request, engine = wanted.request, self.engine
        begun = engine.writer.begin(request)
        spell = engine.catalog.speller(model=begun.model)
        texts = list(map(spell, begun.prompt_ids))
        yield text_line(engine, begun, request, texts, chosen=wanted.chosen, moment=moment)
        updates = islice(engine.writer.follow(request, begun, wanted.chosen), wanted.most)
        done: list[Update] = []
        for batch in on_a_clock(self.until_stopped(updates, session, moment), CLOCK):
            done += batch
            lines = [token_line(update.step, spell(update.step.id)) for update in batch]
            yield "".join(lines) + said_line(status(begun, done, request.sampling))
            if self._stopped.get(session, 0) > moment:
                break
        first, written = len(begun.prompt_ids), [update.step.id for update in done]
        selected = wanted.selected
        if selected is None:
            selected = max((place for place, _ in wanted.chosen), default=first)
        selected = max(1, min(selected, first + len(written) - 1))
        more = {"verdict": wanted.verdict(written, first), "look": wanted.look}
        completion = "".join(update.text for update in done)
        more["selected"] = selected
        if wanted.preset:
            steps = tuple(update.step for update in done)
            more |= end_of(wanted.preset, engine, replace(begun, steps=steps))
        stopped = self._stopped.get(session, 0) > moment
        ended = "cancelled" if stopped else "link"
        words = status(begun, done, request.sampling, ended=ended)
        yield end_line(words, completion=completion, ids=written, **more)

    def until_stopped(
        self, updates: Iterator[Update], session: str, began: int
    ) -> Iterator[Update]:
        """A text's tokens, until its visitor stops it."""
        for update in updates:
            yield update
            if self._stopped.get(session, 0) > began:
                return

    def preset(self, preset: Preset, model: str) -> Wanted:
        """What a preset asks for, of a model that is here."""
        return Wanted(preset.request(model), preset=preset)

    def stop(self, raw: object, visitor: gr.Request) -> None:
        """End all texts that this visitor asked for before, those that wait to begin too.

        Not through Gradio's cancels: what was under way would overwrite the last words, or end in
        an error.
        """
        self._stopped[visitor.session_hash or ""] = moment_of(raw)
        if len(self._stopped) > SESSIONS:
            self._stopped.pop(next(iter(self._stopped)))


def status(begun: Trace, done: Sequence[Update], sampling: Sampling, *, ended: str = "") -> str:
    """The line about a text: how much, how fast, with which settings and model, why it ended.

    Args:
        sampling: how it was drawn, whatever the form says by now.
        ended: why, if the text itself had no reason to; one of FINISHED.
    """
    seconds, reason = done[-1].seconds, done[-1].finish_reason
    words = [
        counted(len(done), "token"),
        f"{len(done) / seconds if seconds > 0 else 0:.0f} tokens/s",
        *drawn_words(
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            sampling.repetition_penalty,
        ),
        f"seed {begun.seed}",
        begun.model,
        FINISHED[reason or ended],
    ]
    if begun.truncated:
        words.append(f"the first {begun.truncated:,} tokens of the prompt were dropped")
    return " · ".join(words)
