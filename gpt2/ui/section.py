"""A part of a tab that explains the text above it, and the pictures in it.

It draws when it is opened, and anew when the text, the selected token or one of its controls
changes; never while it is closed. Imports: gradio, figures.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import Figure, to_csv, to_png, to_svg
from gpt2.ui.common import MODEL_EVENTS, PRIVATE, VIEWPORT_JS, Viewport, errors_in_words, note

FILE_TYPES = {"svg": "image/svg+xml", "csv": "text/csv"}

# SVG and CSV are made when asked for. A picture that can be clicked tells where, as fractions of
# its sides, and the width it was drawn for.
PICTURE_JS = """
element.addEventListener('click', (event) => {
    const save = event.target.closest('button[data-save]');
    if (save) trigger('save', {kind: save.dataset.save});
    const image = event.target.closest('img[data-pick]');
    if (image) {
        const box = image.getBoundingClientRect();
        trigger('pick', {
            x: (event.clientX - box.left) / box.width,
            y: (event.clientY - box.top) / box.height,
            width: Number(image.getAttribute('width')),
        });
    }
});
"""
DOWNLOAD_JS = """(file) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([file.text], {type: file.type}));
    link.download = file.name;
    link.click();
    URL.revokeObjectURL(link.href);
}"""


@dataclass(frozen=True)
class Drawing:
    """A figure on its way to the page.

    Args:
        figure: what is drawn.
        alt: what it shows, in words.
        width: in CSS pixels.
        name: of its files, without ending.
        table: gives its numbers as columns by name, for the CSV file.
        clickable: a click on it tells the page where.
    """

    figure: Figure
    alt: str
    width: int
    name: str
    table: Callable[[], Mapping[str, Sequence]]
    clickable: bool = False

    def html(self) -> str:
        """The image, what it shows in words, and its downloads."""
        data = base64.b64encode(to_png(self.figure)).decode("ascii")
        source, said, name = f"data:image/png;base64,{data}", escape(self.alt), escape(self.name)
        buttons = "".join(
            f'<button type="button" data-save="{kind}">{kind.upper()}</button>'
            for kind in FILE_TYPES
        )
        pick = " data-pick" if self.clickable else ""
        return (
            f'<figure class="picture">'
            f'<img src="{source}" alt="{said}" width="{self.width}"{pick}>'
            f'<figcaption>{said} <span class="save">Save as <a href="{source}" '
            f'download="{name}.png">PNG</a>{buttons}</span></figcaption></figure>'
        )

    def file(self, kind: str) -> dict[str, str]:
        """The picture or its numbers as a file: name, type and text."""
        text = to_csv(self.table()) if kind == "csv" else to_svg(self.figure).decode("utf-8")
        return {"name": f"{self.name}.{kind}", "type": FILE_TYPES[kind], "text": text}


@dataclass(frozen=True)
class Page:
    """What all parts of the page share.

    Args:
        engine: answers.
        viewport: the input that VIEWPORT_JS fills.
        file: carries a file to the browser, which saves it.
    """

    engine: Engine
    viewport: gr.JSON
    file: gr.JSON


Draw = Callable[..., Sequence[Any]]


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
            draw: draw(shown, *values of controls, screen) gives one value for each output;
                Drawings become images.
            controls: drawn anew when one of them is moved.

        Returns:
            Keyword arguments of a further event that draws it.
        """

        def run(shown, is_open, *rest):  # noqa: ANN001, ANN002, ANN202
            if shown is None or not is_open:
                return _one_or_all([gr.skip()] * len(outputs))
            with errors_in_words():
                *values, viewport = rest
                drawn = draw(shown, *values, Viewport.read(viewport))
                return _one_or_all(
                    [value.html() if isinstance(value, Drawing) else value for value in drawn]
                )

        event = {
            "fn": run,
            "inputs": [self.shown, self._opened, *controls, self.page.viewport],
            "outputs": list(outputs),
            "js": VIEWPORT_JS,
            "show_progress": "minimal" if self._accordion else "hidden",
            **MODEL_EVENTS,
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
        def save(event: gr.EventData, shown, *rest):  # noqa: ANN001, ANN002, ANN202
            kind = event._data.get("kind") if isinstance(event._data, dict) else None
            if shown is None or kind not in FILE_TYPES:
                return gr.skip()
            with errors_in_words():
                *values, viewport = rest
                drawing = draw(shown, *values, Viewport.read(viewport))[place]
                return drawing.file(kind) if isinstance(drawing, Drawing) else gr.skip()

        output.save(
            save,
            [self.shown, *controls, self.page.viewport],
            self.page.file,
            js=VIEWPORT_JS,
            show_progress="hidden",
            **MODEL_EVENTS,
            **PRIVATE,
        ).success(None, self.page.file, None, js=DOWNLOAD_JS, **PRIVATE)


def clicked(event: gr.EventData) -> tuple[float, float, int] | None:
    """Where a picture was clicked, x and y in 0..1, and its width in CSS pixels."""
    data = event._data if isinstance(event._data, dict) else {}
    place = [data.get(key) for key in ("x", "y", "width")]
    if not all(isinstance(value, int | float) and 0 <= value < 10_000 for value in place):
        return None
    x, y, width = place
    return float(x), float(y), round(width)


def _one_or_all(values: Sequence[Any]) -> Any:
    """What Gradio wants a handler of one or of several outputs to return."""
    return values[0] if len(values) == 1 else list(values)
