"""What all parts of the page need: the engine, the visitor's screen, and errors in words."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TypeVar

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import DARK, LIGHT, Theme
from gpt2.records import Trace

# Events that use the model share these places; the engine's own lock is behind them. Views have
# places of their own: they are short, and behind texts of a minute they would fill the queue.
MODEL_EVENTS = {"concurrency_id": "model", "concurrency_limit": 4}
VIEW_EVENTS = {"concurrency_id": "views", "concurrency_limit": 4}
ERRORS = (ValueError, OSError, FloatingPointError)  # whose words are meant for the visitor
PRIVATE = {"api_visibility": "private"}  # a handler of the page, no part of the API

PATIENCE = 0.03  # seconds until a first picture is worth its time, of what can be shown in part

# Fills an event's last input with the width to draw for, whether the page is dark, and how many
# events this page has begun, which tells the order in which the visitor did things.
VIEWPORT_JS = """(...inputs) => {
    const page = document.querySelector('#page') || document.body;
    inputs[inputs.length - 1] = {
        width: Math.round(page.clientWidth),
        dark: document.body.classList.contains('dark'),
        moment: window.moments = (window.moments || 0) + 1,
    };
    return inputs;
}"""


Result = TypeVar("Result")


@dataclass(frozen=True)
class Viewport:
    """What a picture is drawn for: its width in CSS pixels and the page's theme."""

    width: int
    theme: Theme

    @classmethod
    def read(cls, raw: object) -> "Viewport":
        """From what VIEWPORT_JS sent; anything else means a desktop page in light colours."""
        raw = raw if isinstance(raw, dict) else {}
        width = raw.get("width")
        width = width if isinstance(width, int) and not isinstance(width, bool) else 1040
        return cls(max(300, min(1040, width - 34)), DARK if raw.get("dark") is True else LIGHT)


def moment_of(raw: object) -> int:
    """When an event began, counted in events of its page; 0 where VIEWPORT_JS did not say."""
    moment = raw.get("moment") if isinstance(raw, dict) else None
    return moment if isinstance(moment, int) else 0


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Show what was wrong with a request on the page instead of "Error"."""
    try:
        yield
    except ERRORS as error:
        raise gr.Error(str(error), print_exception=False) from error


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="note">{escape(text)}</p>'


def on_a_clock(traces: Iterable[Trace], pause: Callable[[Trace], float]) -> Iterator[Trace]:
    """Of a text that grows what to show: its first token at once, then one in a while, and the end.

    Args:
        pause: seconds until the next one may follow.
    """
    due = 0.0
    for trace in traces:
        now = time.monotonic()
        if now >= due or trace.finish_reason:
            due = now + pause(trace)
            yield trace


def paced(results: Iterable[Result]) -> Iterator[Result]:
    """Of ever better results those to draw: one after PATIENCE, then ever rarer, and the last."""
    patience, start = PATIENCE, time.monotonic()
    kept: list[Result] = []
    for result in results:
        kept = [result]
        if time.monotonic() - start > patience:
            yield kept.pop()
            patience, start = 4 * patience, time.monotonic()
    yield from kept


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
