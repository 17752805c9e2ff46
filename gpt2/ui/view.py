"""A view of the inspector: what explains the text beside it.

It draws when it is looked at, and anew when the text, the selected token or one of its controls
changes; never while another view is open. Which is due the page decides (static/stage.js).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

import gradio as gr

from gpt2.ui.page import ERRORS, PRIVATE, VIEW_EVENTS, Page, note
from gpt2.ui.picture import FILE_TYPES, Drawing
from gpt2.ui.record import Asked, key_of, moment_of, read_asked

Drawn = Mapping[str, Drawing | str]  # by the name of its slot; the rest is emptied
Draw = Callable[[Asked], Drawn | Iterator[Drawn]]


def slot(name: str) -> str:
    """A place for what a view draws, as HTML."""
    return f'<div class="slot" data-slot="{name}" id="{name}"></div>'


class View:
    """One view: its words, controls and slots in one component, and the events that fill it."""

    def __init__(
        self,
        page: Page,
        tab: str,
        name: str,
        words: str,
        *,
        body: str,
        uses: tuple[str, ...],
        draw: Draw,
    ) -> None:
        """Build it.

        Args:
            tab: "generate" or "classify".
            name: of the view, as its tab and the address know it.
            words: what is shown and what to look for, in a sentence or two.
            body: HTML of its controls (ui/controls.py) and slots.
            uses: the parts of the look that it depends on: "token", or names of controls.
            draw: gives what goes into the slots, or an iterator of such, each better than the one
                before.
        """
        self.page, self._draw = page, draw
        self.name, self._name = name, {"tab": tab, "view": name}
        self.frame = gr.HTML(
            html_template=f'{note(words)}<p class="told" role="status"></p>{body}',
            # Gradio looks for the names of events in here.
            js_on_load=f"""const events = ["draw", "ahead", "save"];
            gpt2.frame(element, trigger, watch, props, "{tab}", "{name}", {json.dumps(uses)})""",
            apply_default_css=False,
            elem_id=f"{tab}-{name}",
            elem_classes="view",
        )
        asked = f"gpt2.view({tab!r}, {name!r})"
        event = {"inputs": [page.record], "show_progress": "hidden", **VIEW_EVENTS, **PRIVATE}
        self.frame.draw(
            self._drawn,
            outputs=[self.frame],
            js=f"() => [{asked}.asked()]",
            trigger_mode="always_last",
            **event,
        ).then(None, js=f"() => {{ {asked}.settle(); }}", **PRIVATE)
        self.frame.ahead(
            self._ahead, outputs=[page.ahead], js=f"() => [{asked}.asked_ahead()]", **event
        )
        self.frame.save(
            self._save, outputs=[page.file], js="() => [gpt2.files.wanted()]", **event
        ).then(None, js="() => gpt2.files.settle()", **PRIVATE)

    def _answers(self, raw: object) -> Iterator[str]:
        """What the page shows of each drawing, as JSON with the key of what it is about."""
        key, last = key_of(raw), None
        try:
            for drawn in self._drawings(raw):
                if last is not None:
                    yield json.dumps({"key": key, "done": False, "slots": last})
                last = {name: _shown(value) for name, value in drawn.items()}
            yield json.dumps({"key": key, "done": True, "slots": last})
        except ERRORS as error:
            yield json.dumps({"key": key, "refused": str(error)})

    def _drawn(self, raw: object) -> Iterator[dict[gr.HTML, str]]:
        for answer in self._answers(raw):
            yield {self.frame: answer}

    def answer(self, raw: object) -> str:
        """The last and best of them."""
        *_, answer = self._answers(raw)
        return answer

    def _ahead(self, raw: object) -> dict[gr.HTML, str]:
        return {self.page.ahead: json.dumps({**json.loads(self.answer(raw)), **self._name})}

    def _save(self, raw: object) -> dict[gr.HTML, str]:
        """A drawing as a file, or why not."""
        raw = raw if isinstance(raw, dict) else {}
        made: dict[str, Any] = {"refused": "this picture can't be saved; load the page again"}
        try:
            *_, drawn = self._drawings(raw)
            drawing, kind = drawn.get(str(raw.get("slot"))), raw.get("file")
            if isinstance(drawing, Drawing) and kind in FILE_TYPES:
                made = drawing.file(kind)
        except ERRORS as error:
            made = {"refused": str(error)}
        return {self.page.file: json.dumps({**made, "moment": moment_of(raw)})}

    def _drawings(self, raw: object) -> Iterator[Drawn]:
        found = self._draw(read_asked(raw, self.page.engine))
        return found if isinstance(found, Iterator) else iter([found])


def _shown(value: Drawing | str) -> dict[str, Any]:
    if isinstance(value, Drawing):
        return {"html": value.html(), "cells": value.cells()}
    return {"html": value}


def inspector_tabs(tab: str, titles: Mapping[str, str]) -> gr.HTML:
    """The row of tabs over the views.

    Args:
        titles: by the names of the views.
    """
    buttons = "".join(
        f'<button type="button" role="tab" id="{tab}-tab-{name}" data-view="{name}" '
        f'aria-controls="{tab}-{name}" aria-selected="false" tabindex="-1">{escape(title)}</button>'
        for name, title in titles.items()
    )
    return gr.HTML(
        html_template=f'<div class="views" role="tablist" aria-label="Views">{buttons}</div>',
        js_on_load=f"gpt2.tabs(element, {tab!r})",
        apply_default_css=False,
    )
