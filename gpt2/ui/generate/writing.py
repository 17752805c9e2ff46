"""A text as it is written: what is asked for, checked, and sent to the page line by line."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from gpt2.engine import Request, Stream
from gpt2.figures import level_legend
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
from gpt2.ui.generate.status import status
from gpt2.ui.page import CLOCK, ERRORS, Page, template
from gpt2.ui.presets import Preset
from gpt2.ui.record import Choice, moment_of
from gpt2.ui.server.shares import READ
from gpt2.ui.server.visitors import TURN, count_tokens

QUICK_CLOCK = 0.01  # seconds between looks at what nobody reads
SESSIONS = 10_000  # whose last Stop is remembered


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
            html_template=template(strip_html() + copy_row(self.engine.catalog.models[0])),
            # Gradio looks for the names of events in here.
            js_on_load="""const events = ["wanted", "fill", "seeded"];
            gpt2.strip(element, watch, props, trigger, "generate")""",
            apply_default_css=False,
            elem_id="generate-text",
        )
        self._stopped: dict[str, int] = {}  # the moment of the last Stop, by session
        self._running: dict[Stream, tuple[str, int]] = {}  # whose it is, and when it was asked for

    async def write(
        self, wanted: Callable[[], Wanted], raw: object, visitor: gr.Request
    ) -> AsyncIterator[dict[gr.HTML, str]]:
        """The lines of a text while it grows; one that is refused leaves the old text there.

        Args:
            wanted: gives what is asked for, once it is checked.
            raw: what the page sent of itself.
        """
        lines, moment = "", moment_of(raw)
        try:
            asked = await asyncio.to_thread(wanted)
            async for line in self.lines(asked, moment, visitor.session_hash or ""):
                lines += line
                yield {self.strip: lines}
        except ERRORS as error:
            yield {self.strip: lines + refused_line(str(error), moment)}

    async def lines(self, wanted: Wanted, moment: int = 0, session: str = "") -> AsyncIterator[str]:
        """The lines of a text, a few at a time; see lines.py."""
        request, engine, writer = wanted.request, self.engine, self.engine.writer
        begun = await asyncio.to_thread(writer.begin, request)  # which may load a model
        spell = engine.catalog.speller(model=begun.model)
        texts = list(map(spell, begun.prompt_ids))
        yield text_line(engine, begun, request, texts, chosen=wanted.chosen, moment=moment)
        async for words in self.waiting(session, moment):
            yield said_line(words)
        count_tokens(READ * len(begun.prompt_ids))
        forced = await self._chosen(wanted, begun, moment, session)
        done: list[Update] = []
        most = wanted.most or request.max_new_tokens
        text = writer.start(request, begun, forced=forced)
        async for batch in self.batches(text, session, moment):
            batch = batch[: most - len(done)]
            done += batch
            lines = [token_line(update.step, spell(update.step.id)) for update in batch]
            yield "".join(lines) + said_line(status(begun, done, request.sampling))
            if len(done) == most:
                break
        ended = "cancelled" if self._stopped.get(session, 0) > moment else "link"
        yield await asyncio.to_thread(self._end, wanted, begun, done, ended)

    async def waiting(self, session: str, began: int) -> AsyncIterator[str]:
        """What is said of a text whose turn has yet to come.

        Args:
            session, began: as of batches.

        Raises:
            ValueError: its visitor does not want it any more.
        """
        turn, said = TURN.get(), 0
        while turn is not None and turn.place:
            if turn.place != said:
                said = turn.place
                yield f"All places are taken; this text is number {said} in the queue …"
            await asyncio.sleep(CLOCK)
            self._check_wanted(session, began)

    def _check_wanted(self, session: str, began: int) -> None:
        if self._stopped.get(session, 0) > began:
            raise ValueError("stopped before its first token was written")

    async def _chosen(
        self, wanted: Wanted, begun: Trace, moment: int, session: str
    ) -> tuple[int, ...]:
        """The tokens that a text begins with in which some were chosen by hand.

        All others are drawn as ever: up to the last choice it is written anew, or remembered.

        Raises:
            ValueError: a place or a token is none, or the visitor does not want it any more.
        """
        request, writer, first = wanted.request, self.engine.writer, len(begun.prompt_ids)
        forced: tuple[int, ...] = ()
        for place, token in wanted.chosen:
            written = list(forced)
            if len(written) < place - first:
                written = []
                text = writer.start(request, begun, forced=forced)
                async for batch in self.batches(text, session, moment, seconds=QUICK_CLOCK):
                    written += [update.step.id for update in batch]
                    if len(written) >= place - first:
                        break
                self._check_wanted(session, moment)
            ids = (*begun.prompt_ids, *written[: place - first], token)
            forced = writer.forced(request, begun, ids, place, token)
        return forced

    def _end(self, wanted: Wanted, begun: Trace, done: Sequence[Update], ended: str) -> str:
        """The last line of a text; see status."""
        first, written = len(begun.prompt_ids), [update.step.id for update in done]
        selected = wanted.selected
        if selected is None:
            selected = max((place for place, _ in wanted.chosen), default=first)
        selected = max(1, min(selected, first + len(written) - 1))
        more: dict[str, Any] = {"verdict": wanted.verdict(written, first), "look": wanted.look}
        completion = "".join(update.text for update in done)
        more["selected"] = selected
        if wanted.preset:
            steps = tuple(update.step for update in done)
            more |= end_of(wanted.preset, self.engine, replace(begun, steps=steps))
        words = status(begun, done, wanted.request.sampling, ended=ended)
        return end_line(words, completion=completion, ids=written, **more)

    async def batches(
        self, text: Stream, session: str, began: int, *, seconds: float = CLOCK
    ) -> AsyncIterator[list[Update]]:
        """A text's tokens on a clock, until its visitor stops it or is gone.

        Args:
            session: the visitor's.
            began: when the page asked for it.
            seconds: from one batch to the next.
        """
        self._running[text] = session, began
        try:
            with text:
                async for batch in text.batches(seconds):
                    count_tokens(len(batch))
                    yield batch
                    if self._stopped.get(session, 0) > began:
                        return
        finally:
            del self._running[text]

    def preset(self, preset: Preset, model: str) -> Wanted:
        """What a preset asks for, of a model that is here."""
        return Wanted(preset.request(model), preset=preset)

    def stop(self, raw: object, visitor: gr.Request) -> None:
        """End all texts that this visitor asked for before, those that wait to begin too.

        Not through Gradio's cancels: what was under way would overwrite the last words, or end in
        an error.
        """
        session, moment = visitor.session_hash or "", moment_of(raw)
        self._stopped[session] = moment
        if len(self._stopped) > SESSIONS:
            self._stopped.pop(next(iter(self._stopped)))
        for text, (whose, began) in list(self._running.items()):
            if whose == session and began < moment and text.begun:  # else after its first token
                text.close()
