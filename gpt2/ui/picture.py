"""Pictures on their way to the page, and what a visitor does with them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from gpt2.figures import LIGHT, PAGE, Picture, to_csv, to_inline_svg, to_png, to_svg

FILE_TYPES = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv"}


@dataclass(frozen=True)
class Drawing:
    """A picture on its way to the page, which follows the page's theme by itself.

    Args:
        picture: what is drawn.
        width: in CSS pixels.
        name: of its files, without ending.
        picks: what a click on one of its cells does (static/cells.js): "head", "part", "token" or
            "window"; empty for nothing.
        places: in the text, of its columns, or of its rows where those are tokens.
    """

    picture: Picture
    width: int
    name: str
    picks: str = ""
    places: Sequence[int] = ()

    def html(self) -> str:
        """The picture, what it shows in words, and its downloads."""
        drawn = to_inline_svg(self.picture.figure(PAGE, self.width), alt=self.picture.alt())
        buttons = "".join(
            f'<button type="button" data-save="{kind}">{kind.upper()}</button>'
            for kind in FILE_TYPES
        )
        return (
            f'<figure class="picture"><div class="drawn-picture">{drawn}</div>'
            f'<figcaption><span class="said">{escape(self.picture.alt())}</span> '
            f'<span class="save">Save as {buttons}</span></figcaption></figure>'
        )

    def cells(self) -> dict[str, Any] | None:
        """Where its cells lie and what they hold, for a keyboard and a screen reader."""
        cells = self.picture.cells(self.width)
        if cells is None:
            return None
        return {**cells.as_json(), "picks": self.picks, "places": list(self.places)}

    def file(self, kind: str) -> dict[str, str]:
        """The picture on white, or its numbers, as a file: its name and a data URI."""
        if kind == "csv":
            data = to_csv(self.picture.columns()).encode("utf-8")
        else:
            draw = {"png": to_png, "svg": to_svg}[kind]
            data = draw(self.picture.figure(LIGHT, self.width), background=LIGHT.background)
        return {"name": f"{self.name}.{kind}", "url": _data_uri(FILE_TYPES[kind], data)}


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def compare(before: str, after: str, names: tuple[str, str]) -> str:
    """Two texts side by side; what they do not share is marked."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    sides = "".join(
        f"<div><b>{name}</b><p>{escape(text[:same])}<mark>{escape(text[same:])}</mark></p></div>"
        for name, text in zip(names, (before, after), strict=True)
    )
    return f'<div class="compare" translate="no">{sides}</div>'
