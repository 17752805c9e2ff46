"""The finished text that the page opens with, made once and shared by all visitors."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from gpt2.engine import Engine
from gpt2.ui.generate.writing import Wanted, Writing
from gpt2.ui.page import ERRORS
from gpt2.ui.presets import OPENING, Preset
from gpt2.ui.view import View

log = logging.getLogger(__name__)

Part = TypeVar("Part")

WIDTHS = (340, 700, 760)  # CSS pixels that its picture is drawn for; the page takes what fits


class Example:
    """A preset as its visitor would get it: the lines of its text, and what its view drew.

    Until it is there, and wherever it can't be had, the page opens without it.
    """

    def __init__(
        self, engine: Engine, writing: Writing, views: Mapping[str, View], preset: Preset = OPENING
    ) -> None:
        """Know what to make.

        Args:
            views: of the Generate tab, by name.
        """
        self._engine, self._writing, self._views = engine, writing, views
        self._preset = preset
        self._made: tuple[str, dict[str, Any]] | None = None  # and of which weights
        self._working = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def start(self, then: Callable[[], None] = lambda: None) -> None:
        """Make it, without anybody waiting for it.

        Args:
            then: called when all that a page needs has been used once.
        """
        if not self._ending.is_set() and self._working.acquire(blocking=False):
            self._thread = threading.Thread(target=self._make, args=(then,), name="example")
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until it is made, but no longer than this."""
        if self._thread is not None:
            self._thread.join(seconds)

    def stop(self) -> None:
        """Make none any more, and wait for one that is being made: a process that ends under a
        model at work is aborted."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def get(self) -> dict[str, Any] | None:
        """What was made, if it is of the model as it is now; else it is made anew, for others.

        {"lines": as writing.py gives them, "view": its name, "answers": [[width, answer], ...]}
        """
        if self._made is None:
            return None  # not yet, or not at all: it was started once
        weights, made = self._made
        if weights == self._weights():
            return made
        self.start()
        return None

    def _weights(self) -> str:
        try:
            return str(self._engine.library.describe(self._engine.catalog.models[0]))
        except ERRORS:
            return ""

    def _make(self, then: Callable[[], None]) -> None:
        try:
            weights = self._weights()
            self._made = (weights, self.make())
            then()
        except _Ending:
            pass
        except ERRORS as error:
            log.warning("the page opens without its example: %s", error)
        finally:
            self._working.release()

    def make(self) -> dict[str, Any]:
        """Write the text and draw its picture."""
        wanted = self._writing.preset(self._preset, self._engine.catalog.models[0])
        lines = asyncio.run(self._written(wanted))
        asked = asked_of(lines)
        view = self._views[asked["look"].get("view", self._preset.view)]
        answers = [
            [width, json.loads(view.answer({**asked, "look": {**asked["look"], "width": width}}))]
            for width in self._unless_ending(WIDTHS)
        ]
        return {"lines": lines, "view": view.name, "answers": answers}

    async def _written(self, wanted: Wanted) -> str:
        parts = []
        async for part in self._writing.lines(wanted):
            parts += self._unless_ending([part])
        return "".join(parts)

    def _unless_ending(self, parts: Iterable[Part]) -> Iterator[Part]:
        for part in parts:
            if self._ending.is_set():
                raise _Ending
            yield part


class _Ending(Exception):
    """The page is closed while its example is made."""


def asked_of(lines: str) -> dict[str, Any]:
    """What the page asks about a text that stands, as static/stage.js makes it of the lines."""
    parsed = [json.loads(line) for line in lines.splitlines()]
    kinds = {line[0]: line[1] for line in parsed}  # the last of a kind
    text, end = kinds["text"], kinds["end"]
    tokens = [line[1] for line in parsed if line[0] == "token"]
    names = ("model", "prompt", "settings", "chosen", "prompt_length")
    return {
        "key": "example",
        "text": {**{name: text[name] for name in names}, "ids": [*text["ids"], *tokens]},
        "look": {**(end["look"] or {}), "token": end["selected"]},
        "moment": 0,
    }
