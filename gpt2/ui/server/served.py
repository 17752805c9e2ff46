"""Gradio's Blocks with manners: what comes in is checked, and no error tells what it was.

Gradio has many routes to a function (/call, /call/v2, /queue/join, MCP, its clients); all of them
end here.
"""

import inspect
import logging
import math
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import InvalidPathError

from gpt2.engine import check_text
from gpt2.ui.server.collector import share_arenas
from gpt2.ui.server.connections import bounded_connections
from gpt2.ui.server.mailbox import forget_state
from gpt2.ui.server.queue import FairQueue
from gpt2.ui.server.visitors import Places

log = logging.getLogger(__name__)

SHOWN = 60  # characters of a wrong value that are said again
UNFORESEEN = "This could not be done: an error in this program, which its log names."


class Served(gr.Blocks):
    """The page and its API."""

    example: Any = None  # what the page opens with (ui/example.py)
    skeleton = ""  # what the page looks like (ui/skeleton.py)
    trusted_proxies = ""  # see connections.py
    engine: Any = None  # answers
    tools: Any = None  # as which an assistant calls it (ui/api/tools.py), with --mcp
    door: Any = None  # whether it takes new requests (door.py)

    def launch(self, *args: Any, **options: Any) -> Any:
        """As of Blocks, with connections that end when nothing comes of them, in little memory."""
        share_arenas()
        with bounded_connections(self.trusted_proxies):
            return super().launch(*args, **options)

    def queue_fairly(self, places: Mapping[str, Places]) -> None:
        """Queue events fairly, by the places there are for each kind (their concurrency_id)."""
        self.queue(api_open=False)  # else /gradio_api/run/* would go past the queue
        self._queue = FairQueue(self, places)

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: Sequence[Any], *rest: Any
    ) -> list[Any]:
        """As of Blocks, once the inputs are complete and of the right kind."""
        try:
            if block_fn.api_visibility == "public":
                inputs = arguments(block_fn.name, parameters(block_fn), inputs)
            else:
                inputs = values(block_fn.inputs, inputs)
        except ValueError as error:
            raise gr.Error(str(error)) from None
        try:
            return await super().preprocess_data(block_fn, list(inputs), *rest)
        except InvalidPathError:
            raise gr.Error("a file came in place of a value; send texts and numbers") from None

    async def process_api(self, block_fn: BlockFunction, *args: Any, **options: Any) -> dict:
        """As of Blocks; an error reaches the log without the values that it was about."""
        result = {}
        try:
            result = await super().process_api(block_fn, *args, **options)
        except gr.Error as error:
            error.print_exception = False
            # Gradio repeats what it can't use, and can't send half a character.
            error.message = str(error.message).encode("utf-8", "backslashreplace").decode()
            asked = getattr(options.get("request"), "request", None)
            if asked is not None:
                asked.state.refused = True  # see guard.py
            raise
        except Exception as error:
            log_error(error, f"/{block_fn.api_name or block_fn.name}")
            raise gr.Error(UNFORESEEN, print_exception=False) from None
        finally:
            session = options.get("session_hash")
            if session and session == options.get("event_id") and not result.get("is_generating"):
                forget_state(self, session)  # a call without a session of its own
        return result


def parameters(block_fn: BlockFunction) -> Mapping[str, inspect.Parameter]:
    """Of an endpoint's function, by name."""
    return inspect.signature(block_fn.fn).parameters


def arguments(
    endpoint: str, wanted: Mapping[str, inspect.Parameter], given: Sequence[Any]
) -> list[Any]:
    """The arguments of an endpoint, those that were left out by their defaults.

    Numbers are checked by those who know their ranges.

    Raises:
        ValueError: there are too few or too many, or one is of the wrong kind.
    """
    if len(given) > len(wanted):
        takes = f"takes {len(wanted)} ({', '.join(wanted)})" if wanted else "takes none"
        raise ValueError(f"{len(given)} values came; /{endpoint} {takes}")
    by_name = dict(zip(wanted, given, strict=False))
    check_names(endpoint, wanted, by_name)
    return [
        _checked(name, by_name[name], parameter) if name in by_name else parameter.default
        for name, parameter in wanted.items()
    ]


def values(wanted: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """What the page sent for its components; a number that was emptied is the one it began with.

    Raises:
        ValueError: there are too few, or one for a number is none.
    """
    if len(given) < len(wanted):
        raise ValueError(
            f"this event of the page takes {len(wanted)} values and {len(given)} came; "
            "load the page again"
        )
    return [_value(block, value) for block, value in zip(wanted, given, strict=False)]


def _value(block: Any, value: Any) -> Any:
    if not isinstance(block, gr.Slider | gr.Number):
        return value
    value = block.value if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{block.label} is {shortened(value)}; it must be a number")
    return value


def check_names(
    endpoint: str, wanted: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> None:
    """Refuse arguments that an endpoint does not have, and a call without one that it needs.

    Raises:
        ValueError: there is such a one, in one sentence.
    """
    has = f"it has {', '.join(wanted)}" if wanted else "it has none"
    for name in given:
        if name not in wanted:
            raise ValueError(f"/{endpoint} has no argument {shortened(name)}; {has}")
    for name, parameter in wanted.items():
        if name not in given and parameter.default is parameter.empty:
            kind = getattr(parameter.annotation, "__name__", "value")
            raise ValueError(f"/{endpoint} needs {name}, a {kind}, and none came; {has}")


def _checked(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    kind = parameter.annotation
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} is {shortened(value)}; {name} must be a string")
        try:
            check_text(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    elif kind is bool and not isinstance(value, bool):
        raise ValueError(f"{name} is {shortened(value)}; {name} must be true or false")
    elif kind in (int, float) and isinstance(value, str | list | dict):
        return _Wrong(value)  # what is allowed is said by whoever knows the range
    return value


class _Wrong:
    """A value that is no number, for the sentence that refuses it."""

    def __init__(self, value: Any) -> None:
        self._words = shortened(value)

    def __repr__(self) -> str:
        return self._words


def shortened(value: Any) -> str:
    """A value as it would be written, its beginning if that is long."""
    words = repr(value)
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def log_error(error: BaseException, where: str) -> None:
    """One line for the operator: what kind of error, answering what, in which line of the program.

    Never its words, which may hold what a visitor typed.
    """
    place = traceback.extract_tb(error.__traceback__)[-1:]
    line = "".join(f" ({step.filename.rsplit('/', 1)[-1]}:{step.lineno})" for step in place)
    log.error("%s while answering %s%s", type(error).__name__, where, line)
