"""A completion as it is written: the text, its status, and its tokens as a strip."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from gpt2.engine import Request
from gpt2.records import Trace
from gpt2.ui.generate.completion import Shown, keep, shown_strip, status_line, trace_strip
from gpt2.ui.page import (
    ERRORS,
    MODEL_EVENTS,
    PRIVATE,
    VIEWPORT_JS,
    Page,
    Viewport,
    errors_in_words,
    moment_of,
    note,
    on_a_clock,
)
from gpt2.ui.strip import PICK_JS, legend

SESSIONS = 10_000  # whose last Stop is remembered
COLOUR_BY = ("probability", "rank", "entropy")


class Writer:
    """The part of the page that a completion is written to."""

    def __init__(self, page: Page, shown: gr.State) -> None:
        """Build the components.

        Args:
            shown: gets the record of a finished text, None while one is written.
        """
        self.engine, self.page, self.shown = page.engine, page, shown
        # No copy button: Gradio puts it inside the label, which then names it and not the text.
        self.completion = gr.Textbox(label="Completion", lines=4, max_lines=16, interactive=False)
        self.status = gr.HTML(note("Nothing written yet."), elem_id="status")
        self.by = gr.Radio(COLOUR_BY, value="probability", label="Colour tokens by")
        self.strip = gr.HTML(js_on_load=PICK_JS, elem_id="strip", min_height=56)
        self.key = gr.HTML(elem_id="legend")
        self.outputs = [self.completion, self.status, self.strip, self.key, shown]
        self._stopped: dict[str, int] = {}  # the moment of the last Stop, by session
        self._wire()

    def write(
        self,
        begin: Callable[[], tuple[Request, Iterator[Trace]]],
        by: str,
        viewport: object,
        visitor: gr.Request,
        *,
        chosen: frozenset[int] = frozenset(),
    ) -> Iterator[tuple[Any, ...]]:
        """Values of `outputs` while the text grows; one that is refused leaves the old text there.

        Args:
            begin: gives what is asked for, once it is checked, and the traces of the text so far.
            by: what tints the tokens.
            viewport: from VIEWPORT_JS.
            chosen: places whose tokens the visitor chose; the last one is selected at the end.
        """
        screen = Viewport.read(viewport)
        with errors_in_words():
            try:
                request, traces = begin()
                until = self._until_stopped(traces, visitor.session_hash, moment_of(viewport))
                yield "", note("Reading the prompt …"), "", legend(by, theme=screen.theme), None
                # Long strips take longer to show.
                for trace in on_a_clock(until, lambda trace: 0.06 + 0.001 * len(trace.steps)):
                    selected = max(chosen, default=len(trace.prompt_ids))
                    selected = min(selected, len(trace.ids) - 1)  # it may have ended before
                    done = keep(trace, request, selected=selected, chosen=chosen)
                    yield (
                        trace.completion,
                        status_line(trace),
                        trace_strip(self.engine, trace, by, screen, selected=selected),
                        gr.skip(),
                        done if trace.finish_reason else gr.skip(),
                    )
            except ERRORS as error:  # said here too, for a message goes away
                yield gr.skip(), note(str(error)), *[gr.skip()] * 3
                raise

    def _until_stopped(self, traces: Iterator[Trace], session: str, began: int) -> Iterator[Trace]:
        """The traces of a text, which ends where its visitor stops it."""
        for trace in traces:
            if self._stopped.get(session, 0) > began and not trace.finish_reason:
                trace = replace(trace, finish_reason="cancelled")
            yield trace
            if trace.finish_reason:
                return

    def again(self, shown: Shown, by: str, viewport: object) -> tuple[Any, ...]:
        """Values of `outputs` for a text that was written before."""
        screen = Viewport.read(viewport)
        with errors_in_words():
            return (
                shown.completion,
                shown.status,
                shown_strip(self.engine, shown, by, screen),
                legend(by, theme=screen.theme),
                shown,
            )

    def stop(self, viewport: object, visitor: gr.Request) -> None:
        """End all texts that this visitor asked for before, those that wait to begin too.

        Not through Gradio's cancels: what was under way would overwrite the last words, or end in
        an error.
        """
        self._stopped[visitor.session_hash] = moment_of(viewport)
        if len(self._stopped) > SESSIONS:
            self._stopped.pop(next(iter(self._stopped)))

    def walk(self, shown: Shown | None, by: str, viewport: object, *, step: int) -> tuple[Any, Any]:
        """Select the token `step` places on: the record, and the strip with the mark."""
        if shown is None:
            return gr.skip(), gr.skip()
        with errors_in_words():
            place = min(max(1, shown.selected + step), len(shown.ids) - 1)
            shown = replace(shown, selected=place)
            return shown, shown_strip(self.engine, shown, by, Viewport.read(viewport))

    def _wire(self) -> None:
        def pick(shown, event: gr.EventData):
            index = event._data.get("index") if isinstance(event._data, dict) else None
            if shown is None or not isinstance(index, int) or not 1 <= index < len(shown.ids):
                return gr.skip()
            return replace(shown, selected=index)

        def recolour(shown, by, viewport):
            screen = Viewport.read(viewport)
            with errors_in_words():
                strip = gr.skip() if shown is None else shown_strip(self.engine, shown, by, screen)
                return strip, legend(by, theme=screen.theme)

        # Through the queue though it is quick: a state's change is only told there.
        quick = {"show_progress": "hidden", "concurrency_limit": None, **PRIVATE}
        self.strip.pick(pick, self.shown, self.shown, **quick)
        self.by.change(
            recolour,
            [self.shown, self.by, self.page.viewport],
            [self.strip, self.key],
            js=VIEWPORT_JS,
            **MODEL_EVENTS,
            **PRIVATE,
        )
