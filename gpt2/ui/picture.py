"""Pictures on their way to the page, and what a visitor does with them."""

import base64
from dataclasses import dataclass
from html import escape

import gradio as gr

from gpt2.figures import LIGHT, Picture, to_csv, to_png, to_svg
from gpt2.ui.page import Viewport

FILE_TYPES = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv"}

# Files are made when asked for. A picture that can be clicked tells where, as fractions of
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
    link.href = file.url;
    link.download = file.name;
    link.click();
}"""


@dataclass(frozen=True)
class Drawing:
    """A picture on its way to the page.

    Args:
        picture: what is drawn.
        screen: what it is drawn for.
        name: of its files, without ending.
        widest: CSS pixels it is wide at most, on any screen.
        clickable: a click on it tells the page where.
    """

    picture: Picture
    screen: Viewport
    name: str
    widest: int = 1040
    clickable: bool = False

    @property
    def width(self) -> int:
        """In CSS pixels."""
        return min(self.screen.width, self.widest)

    def html(self) -> str:
        """The image, what it shows in words, and its downloads."""
        figure = self.picture.figure(self.screen.theme, self.width)
        source, said = _data_uri("image/png", to_png(figure)), escape(self.picture.alt())
        buttons = "".join(
            f'<button type="button" data-save="{kind}">{kind.upper()}</button>'
            for kind in FILE_TYPES
        )
        pick = " data-pick" if self.clickable else ""
        return (
            f'<figure class="picture">'
            f'<img src="{source}" alt="{said}" width="{self.width}"{pick}>'
            f'<figcaption>{said} <span class="save">Save as {buttons}</span></figcaption></figure>'
        )

    def file(self, kind: str) -> dict[str, str]:
        """The picture on white, or its numbers, as a file: its name and a data URI."""
        if kind == "csv":
            data = to_csv(self.picture.columns()).encode("utf-8")
        else:
            draw = {"png": to_png, "svg": to_svg}[kind]
            figure = self.picture.figure(self.screen.theme, self.width)
            data = draw(figure, background=LIGHT.background)
        return {"name": f"{self.name}.{kind}", "url": _data_uri(FILE_TYPES[kind], data)}


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def clicked(event: gr.EventData) -> tuple[float, float, int] | None:
    """Where a picture was clicked, x and y in 0..1, and its width in CSS pixels."""
    data = event._data if isinstance(event._data, dict) else {}
    place = [data.get(key) for key in ("x", "y", "width")]
    if not all(isinstance(value, int | float) and 0 <= value < 10_000 for value in place):
        return None
    x, y, width = place
    return float(x), float(y), round(width)


def compare(before: str, after: str, names: tuple[str, str]) -> str:
    """Two texts side by side; what they do not share is marked."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    sides = "".join(
        f"<div><b>{name}</b><p>{escape(text[:same])}<mark>{escape(text[same:])}</mark></p></div>"
        for name, text in zip(names, (before, after), strict=True)
    )
    return f'<div class="compare">{sides}</div>'
