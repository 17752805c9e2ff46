"""A view of the inspector: what explains the text beside it.

It draws when it is looked at, and anew when the text, the selected token or one of its controls
changes; never while another view is open. Which is due the page decides (static/stage.js).
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from gpt2.ui.page import ERRORS, PRIVATE, TEXT_EVENTS, VIEW_EVENTS, Page, note, template
from gpt2.ui.picture import FILE_TYPES, Drawing
from gpt2.ui.record import Asked, Tab, key_of, moment_of, read_asked

GAP = 16  # CSS pixels between two places side by side
LEAST_LEFT = 380  # that the left one needs

Drawn = Mapping[str, Drawing | str]  # by the name of its slot; the rest is emptied
Draw = Callable[[Asked], Drawn | Iterator[Drawn]]


def slot(name: str, *, tab: str = "") -> str:
    """A place for what a view draws, as HTML.

    Args:
        tab: of a view that both tabs have.
    """
    return f'<div class="slot" data-slot="{name}" id="{f"{tab}-{name}" if tab else name}"></div>'


def beside(left: str, right: str) -> str:
    """Two places side by side where both have room, else below each other.

    Pictures say how wide they are: the left one is drawn for `left_width`.
    """
    return f'<div class="beside"><div>{left}</div><div>{right}</div></div>'


def left_width(width: int, right: int) -> int:
    """What of a view's width is left of something `right` pixels wide; all where that is little."""
    left = width - right - GAP
    return left if left >= LEAST_LEFT else width


@dataclass(frozen=True)
class Extra:
    """What a button with data-event="its name" asks for: something that streams into a slot.

    Args:
        slot: where it goes, and stays while what it depends on is the same.
        uses: of what the view uses, what it depends on.
        stream: gives the HTML of the slot, each better than the one before, of what is asked about,
            the record as it came, and whose it is.
    """

    slot: str
    uses: tuple[str, ...]
    stream: Callable[[Asked, object, gr.Request], AsyncIterator[str]]


class View:
    """One view: its words, controls and slots in one component, and the events that fill it."""

    def __init__(
        self,
        page: Page,
        tab: Tab,
        name: str,
        words: str,
        *,
        body: str,
        uses: tuple[str, ...],
        draw: Draw,
        apart: Mapping[str, tuple[str, ...]] | None = None,
        extras: Mapping[str, Extra] | None = None,
        pinned: bool = False,
    ) -> None:
        """Build it.

        Args:
            tab: it belongs to.
            name: of the view, as its tab and the address know it.
            words: what is shown and what to look for, in a sentence or two.
            body: HTML of its controls (ui/controls.py) and slots.
            uses: the parts of the look that it depends on: "token", or names of controls.
            draw: gives what goes into the slots, or an iterator of such, each better than the one
                before.
            apart: slots that depend on less than the view, and on what of it. The page keeps them;
                draw leaves out those in asked.kept.
            extras: what buttons ask for, by the name of the event.
            pinned: it stands beside the text, whichever view is open.
        """
        apart, extras = dict(apart or {}), extras or {}
        apart |= {extra.slot: extra.uses for extra in extras.values()}
        slots = {event: extra.slot for event, extra in extras.items()}
        self.page, self._draw, self._tab = page, draw, tab
        self.name, self._name = name, {"tab": tab, "view": name}
        about = {"tab": tab, "name": name, "uses": uses, "apart": apart, "extras": slots}
        about |= {"pinned": pinned}
        self.frame = gr.HTML(
            html_template=template(
                f'<div class="lead">{_words(words)}<p class="told" role="status"></p></div>{body}'
            ),
            # Gradio looks for the names of events in here.
            js_on_load=f"""const events = {json.dumps(["draw", "ahead", "save", *extras])};
            gpt2.frame(element, trigger, watch, props, {json.dumps(about)})""",
            apply_default_css=False,
            elem_id=f"{tab}-{name}",
            elem_classes="pinned" if pinned else "view",
        )
        asked = f"gpt2.view({tab!r}, {name!r})"
        event = {"inputs": [page.record], "show_progress": "hidden", **VIEW_EVENTS, **PRIVATE}
        drawn = self.frame.draw(
            self._drawn,
            outputs=[self.frame],
            js=f"() => [{asked}.asked()]",
            trigger_mode="always_last",
            **event,
        )
        _at_its_end(drawn, f"() => {{ {asked}.settle(); }}")
        self.frame.ahead(
            self._ahead, outputs=[page.ahead], js=f"() => [{asked}.asked_ahead()]", **event
        )
        saved = self.frame.save(
            self._save, outputs=[page.file], js="() => [gpt2.files.wanted()]", **event
        )
        _at_its_end(saved, "() => gpt2.files.settle()")
        for kind, extra in extras.items():
            getattr(self.frame, kind)(
                self._streaming(extra),
                inputs=[page.record],
                outputs=[self.frame],
                js=f"() => [{asked}.asked_extra({kind!r})]",
                trigger_mode="once",
                show_progress="hidden",
                **TEXT_EVENTS,
                **PRIVATE,
            )

    def answers(self, raw: object) -> Iterator[str]:
        """What the page shows of each drawing, as JSON with the key of what it is about."""
        key = {"key": key_of(raw)}
        try:
            found = self._draw(self._asked(raw))
            slots = {} if isinstance(found, Iterator) else _shown(found)
            for better in found if isinstance(found, Iterator) else ():
                slots = _shown(better)
                yield json.dumps({**key, "done": False, "slots": slots})
            yield json.dumps({**key, "done": True, "slots": slots})
        except ERRORS as error:
            yield json.dumps({**key, "refused": str(error)})

    def _drawn(self, raw: object) -> Iterator[dict[gr.HTML, str]]:
        for answer in self.answers(raw):
            yield {self.frame: answer}

    def _streaming(self, extra: Extra) -> Callable[..., AsyncIterator[dict[gr.HTML, str]]]:
        async def stream(raw: object, visitor: gr.Request) -> AsyncIterator[dict[gr.HTML, str]]:
            answer = {"key": key_of(raw), "slot": extra.slot}
            try:
                async for html in extra.stream(self._asked(raw), raw, visitor):
                    yield {self.frame: json.dumps({**answer, "html": html})}
            except ERRORS as error:
                yield {self.frame: json.dumps({**answer, "html": note(str(error))})}

        return stream

    def answer(self, raw: object) -> str:
        """The last and best of them."""
        *_, answer = self.answers(raw)
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

    def _asked(self, raw: object) -> Asked:
        return read_asked(raw, self.page.engine, tab=self._tab)

    def _drawings(self, raw: object) -> Iterator[Drawn]:
        found = self._draw(self._asked(raw))
        return found if isinstance(found, Iterator) else iter([found])


def _at_its_end(event: Any, js: str) -> None:
    """What the page does once an event is over, also if it was lost on its way."""
    event.then(None, js=js, **PRIVATE)
    event.failure(None, js=js, **PRIVATE)  # where the queue is full, this one alone


def _words(words: str) -> str:
    return f'<p class="note words">{escape(words)}</p>' if words else ""


def _shown(drawn: Drawn) -> dict[str, dict[str, Any]]:
    """What the page gets of a drawing, by slot."""
    return {
        name: {"html": value.html(), "cells": value.cells()}
        if isinstance(value, Drawing)
        else {"html": value}
        for name, value in drawn.items()
    }


def inspector_tabs(tab: str, titles: Mapping[str, str]) -> gr.HTML:
    """The row of tabs over the views.

    Args:
        titles: by the names of the views.
    """
    buttons = "".join(
        f'<button type="button" role="tab" id="{tab}-tab-{name}" data-view="{name}" '
        f'aria-controls="{tab}-{name}" aria-selected="false" tabindex="-1" title="key {key}">'
        f"{escape(title)}</button>"
        for key, (name, title) in enumerate(titles.items(), start=1)
    )
    return gr.HTML(
        html_template=template(
            f'<div class="views" role="tablist" aria-label="Views">{buttons}</div>'
        ),
        js_on_load=f"gpt2.tabs(element, {tab!r})",
        apply_default_css=False,
    )
