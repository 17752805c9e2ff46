"""What all parts of the page need: the engine, hidden carriers, and errors in words."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TypeVar

import gradio as gr

from gpt2.engine import Closed, Engine, Limits
from gpt2.ui.server.visitors import Places

# Events by what they ask for; each kind has places of its own (places_of), so that short calls do
# not wait for long texts, and the API does not keep a page waiting. Gradio's own limits are off.
TEXT_EVENTS = {"concurrency_id": "texts", "concurrency_limit": None}
MODEL_EVENTS = {"concurrency_id": "calls", "concurrency_limit": None}
VIEW_EVENTS = {"concurrency_id": "views", "concurrency_limit": None}
AT_ONCE = 8  # calls or views; each holds a worker thread
ERRORS = (ValueError, OSError, FloatingPointError, Closed)  # whose words are meant for the visitor
CLOCK = 0.08  # seconds from one batch of tokens to the next
PRIVATE = {"api_visibility": "private"}  # a handler of the page, no part of the API

PATIENCE = 0.03  # seconds until a first picture is worth its time, of what can be shown in part
_RUN = str.maketrans({sign: f"&#{ord(sign)};" for sign in "${}`\\"})

Result = TypeVar("Result")


def places_of(limits: Limits) -> dict[str, Places]:
    """How many events there may be of each kind; texts wait without a thread."""
    return {
        "texts": Places("texts", running=limits.rows, waiting=limits.queue),
        "calls": Places("calls", running=AT_ONCE, waiting=limits.queue),
        "views": Places("views", running=AT_ONCE, waiting=limits.queue),
    }


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Have a caller of the API told what was wrong with a request instead of "Error"."""
    try:
        yield
    except ERRORS as error:
        raise gr.Error(str(error), print_exception=False) from error


def template(html: str) -> str:
    """HTML as a template of gr.HTML, of which Gradio would run ${...} and {{...}}."""
    return html.translate(_RUN)


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="note">{escape(text)}</p>'


def on_a_clock(results: Iterable[Result], seconds: float) -> Iterator[list[Result]]:
    """Results in batches: the first at once, then all of a while together, and the last ones."""
    due, waiting = 0.0, []
    for result in results:
        waiting.append(result)
        if (now := time.monotonic()) >= due:
            yield waiting
            due, waiting = now + seconds, []
    if waiting:
        yield waiting


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
        record: the input that the page fills with what it asks about (ui/record.py).
        ahead: carries what was drawn before it was asked for.
        file: carries a file to the browser, which saves it.
    """

    engine: Engine
    record: gr.JSON
    ahead: gr.HTML
    file: gr.HTML
