"""The events of a text, the same in both tabs: it is asked for, and its form is filled and kept."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

from gpt2.ui.page import PRIVATE

QUICK = {"queue": False, "show_progress": "hidden", **PRIVATE}


def record_js(tab: str) -> str:
    """Fills an event's last input with what the page says of itself."""
    return f"(...inputs) => [...inputs.slice(0, -1), gpt2.stages.{tab}.asked()]"


def wire_text(
    record: gr.JSON,
    tab: str,
    strip: gr.HTML,
    *,
    asks: Iterable[Any],
    sent: Callable[..., Any],
    inputs: Sequence[gr.components.Component],
    wanted: Callable[..., Any],
    fields: dict[str, gr.components.Component],
    events: dict[str, Any],
) -> None:
    """Have a text written or read.

    Args:
        record: the input that the page fills with what it asks about.
        strip: where its lines go.
        asks: events of the form.
        sent: answers them, given the values of `inputs` and the page's record.
        wanted: answers what the page asks for by itself, given the record.
        fields: of the form, by the names that the page's record has for them.
        events: whose places it takes, TEXT_EVENTS or another kind.
    """
    on_page = {"show_progress": "hidden", **events, **PRIVATE}
    settle = {"fn": None, "js": f"() => gpt2.stages.{tab}.settle()", **PRIVATE}
    gr.on(asks, sent, [*inputs, record], [strip], js=record_js(tab), **on_page).failure(**settle)
    strip.wanted(
        wanted,
        [record],
        [strip],
        js=f"() => [gpt2.stages.{tab}.wanted()]",
        trigger_mode="always_last",  # "once" forgets what is asked while the last answer ends
        **on_page,
    ).failure(**settle)
    names, filled = json.dumps(list(fields)), list(fields.values())
    strip.fill(None, None, filled, js=f"() => gpt2.stages.{tab}.form({names})", **QUICK)
    keep = f"(...values) => {{ gpt2.drafts.keep('{tab}', {names}, values); return []; }}"
    gr.on([field.change for field in filled], None, filled, None, js=keep, **QUICK)
