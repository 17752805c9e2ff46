"""The page as it will look, as plain HTML: what stands there until Gradio's scripts have built it.

Walks the components of the page, so that whatever is moved there moves here. What of Gradio's own
style it needs is in static/skeleton.css.
"""

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.layouts import Form

from gpt2.ui.presets import OPENING


def skeleton(app: gr.Blocks) -> str:
    """The visible part of the page, its first tab open."""
    return f'<div class="column">{_all(app.children)}</div>'


def _all(blocks: list[Block]) -> str:
    return "".join(_one(block) for block in blocks if getattr(block, "visible", True))


def _one(block: Block) -> str:
    for kind, made in _MADE.items():
        if isinstance(block, kind):
            return made(block)
    return ""


def _named(block: Any, kind: str, more: str = "") -> str:
    """The attributes of an element: its name, its classes, and how much room it takes."""
    classes = escape(" ".join([kind, *(block.elem_classes or [])]))
    name = f' id="{escape(block.elem_id)}"' if block.elem_id else ""
    return f'class="{classes}"{name}{more}'


def _room(block: Any) -> str:
    scale = "" if block.scale is None else f"flex-grow:{block.scale};"
    return f' style="{scale}min-width:min({block.min_width or 0}px,100%)"'


def _column(block: gr.Column) -> str:
    return f"<div {_named(block, 'column', _room(block))}>{_all(block.children)}</div>"


def _row(block: gr.Row) -> str:
    return f"<div {_named(block, 'row')}>{_all(block.children)}</div>"


def _form(block: Form) -> str:
    return f"<div {_named(block, 'form')}>{_all(block.children)}</div>"


def _tabs(block: gr.Tabs) -> str:
    tabs = [tab for tab in block.children if isinstance(tab, gr.Tab) and tab.visible]
    row = "".join(f"<b>{escape(tab.label or '')}</b>" for tab in tabs)
    inside = _all(tabs[0].children) if tabs else ""
    row = f'<div class="tab-row">{row}</div>'
    inside = f'<div class="tabitem"><div class="column">{inside}</div></div>'
    return f'<div class="tabs">{row}{inside}</div>'


def _html(block: gr.HTML) -> str:
    if "view" in block.elem_classes and block.elem_id != f"{OPENING.tab}-{OPENING.view}":
        return ""  # one view is open
    written = block.value if block.html_template == "${value}" else block.html_template
    inner = escape(" ".join(["prose" if block.apply_default_css else "", *block.elem_classes]))
    return (
        f'<div {_named(block, "block")}><div class="html-container">'
        f'<div class="{inner}">{written or ""}</div></div></div>'
    )


def _textbox(block: gr.Textbox) -> str:
    # No field: nobody is to type here, or to look for a field here.
    height = f"min-height:calc({block.lines}lh + 2*var(--input-padding))"
    words = f'<p style="{height}">{escape(block.value or "")}</p>'
    label = f"<span>{escape(block.label or '')}</span>"
    return f'<div {_named(block, "block padded")}><div class="field">{label}{words}</div></div>'


def _button(block: gr.Button) -> str:
    kind = f"button {block.variant} {block.size}"
    return f"<b {_named(block, kind, _room(block))}>{escape(block.value)}</b>"


def _accordion(block: gr.Accordion) -> str:
    title = f"<span>{escape(block.label or '')}</span><span><i>▼</i></span>"
    return f'<div {_named(block, "block padded boxed")}><div class="label-wrap">{title}</div></div>'


_MADE: dict[type, Callable[[Any], str]] = {
    Form: _form,
    gr.Row: _row,
    gr.Tabs: _tabs,
    gr.Accordion: _accordion,
    gr.Column: _column,
    gr.HTML: _html,
    gr.Textbox: _textbox,
    gr.Button: _button,
}
