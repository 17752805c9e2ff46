"""A part of a tab that explains the text above it.

It draws when it is opened, and anew when the text, the selected token or one of its controls
changes; never while it is closed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from gpt2.figures import LIGHT
from gpt2.ui.page import PRIVATE, VIEW_EVENTS, VIEWPORT_JS, Page, Viewport, errors_in_words, note
from gpt2.ui.picture import DOWNLOAD_JS, FILE_TYPES, PICTURE_JS, Drawing

Drawn = Sequence[Any]
Draw = Callable[..., Drawn | Iterator[Drawn]]


class Section:
    """Components over a text, in an accordion unless they are always open.

    `with Section(...) as section:` holds the components.
    """

    def __init__(self, page: Page, shown: gr.State, title: str, words: str, *, name: str) -> None:
        """Begin it.

        Args:
            shown: holds a record of the text, or None while there is none.
            title: of the accordion, empty for none: then it is always open.
            words: what is shown and what to look for, in a sentence or two; may be empty.
            name: element id of the accordion.
        """
        self.page, self.shown, self._words = page, shown, words
        self._pictures: list[gr.HTML] = []
        self._opened = gr.State(not title)
        self._accordion = gr.Accordion(title, open=False, elem_id=name) if title else None
        if self._accordion:
            quick = {"outputs": self._opened, "queue": False, "show_progress": "hidden", **PRIVATE}
            self._expanded = self._accordion.expand(lambda: True, **quick)
            self._accordion.collapse(lambda: False, **quick)

    def __enter__(self) -> "Section":
        if self._accordion:
            self._accordion.__enter__()
        if self._words:
            gr.HTML(note(self._words))
        return self

    def __exit__(self, *error: Any) -> None:
        if self._accordion:
            self._accordion.__exit__(*error)

    def picture(self, name: str) -> gr.HTML:
        """A place for a drawing, under an element id."""
        self._pictures.append(gr.HTML(elem_id=name, js_on_load=PICTURE_JS))
        return self._pictures[-1]

    def wire(
        self,
        draw: Draw,
        controls: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
    ) -> dict[str, Any]:
        """Have it drawn.

        Args:
            draw: draw(shown, *values of controls, screen) gives one value for each output, or an
                iterator of such, each better than the one before, gr.skip() for what stays;
                Drawings become images.
            controls: drawn anew when one of them is moved.

        Returns:
            Keyword arguments of a further event that draws it.
        """

        def run(shown, is_open, *rest):
            if shown is None or not is_open:
                yield _one_or_all([gr.skip()] * len(outputs))
                return
            with errors_in_words():
                *values, viewport = rest
                for drawn in _as_drawn(draw(shown, *values, Viewport.read(viewport))):
                    yield _one_or_all(
                        [value.html() if isinstance(value, Drawing) else value for value in drawn]
                    )

        event = {
            "fn": run,
            "inputs": [self.shown, self._opened, *controls, self.page.viewport],
            "outputs": list(outputs),
            "js": VIEWPORT_JS,
            "show_progress": "minimal" if self._accordion else "hidden",
            **VIEW_EVENTS,
            **PRIVATE,
        }
        if self._accordion:
            self._expanded.then(**event)
        moved = [
            control.change if isinstance(control, gr.State | gr.Textbox) else control.input
            for control in controls
        ]
        gr.on([self.shown.change, *moved], **event, trigger_mode="always_last")
        for place, output in enumerate(outputs):
            if output in self._pictures:
                self._wire_save(draw, controls, output, place)
        return event

    def _wire_save(
        self, draw: Draw, controls: Sequence[gr.components.Component], output: gr.HTML, place: int
    ) -> None:
        def save(event: gr.EventData, shown, *rest):
            kind = event._data.get("kind") if isinstance(event._data, dict) else None
            if shown is None or kind not in FILE_TYPES:
                return gr.skip()
            with errors_in_words():
                *values, viewport = rest
                screen = replace(Viewport.read(viewport), theme=LIGHT)  # for paper
                found = [drawn[place] for drawn in _as_drawn(draw(shown, *values, screen))]
                drawings = [value for value in found if isinstance(value, Drawing)]
                return drawings[-1].file(kind) if drawings else gr.skip()

        output.save(
            save,
            [self.shown, *controls, self.page.viewport],
            self.page.file,
            js=VIEWPORT_JS,
            show_progress="hidden",
            **VIEW_EVENTS,
            **PRIVATE,
        ).success(None, self.page.file, None, js=DOWNLOAD_JS, **PRIVATE)


def _as_drawn(found: Drawn | Iterator[Drawn]) -> Iterator[Drawn]:
    """What a draw function gives, once or better each time."""
    if isinstance(found, Iterator):
        yield from found
    else:
        yield found


def _one_or_all(values: Sequence[Any]) -> Any:
    """What Gradio wants a handler of one or of several outputs to return."""
    return values[0] if len(values) == 1 else list(values)
