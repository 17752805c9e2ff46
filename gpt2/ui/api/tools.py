"""The API as tools of an assistant: described and called by name, with short answers."""

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gpt2.engine import Engine
from gpt2.flags import told_of
from gpt2.ui.api.endpoints import Endpoints
from gpt2.ui.api.lens import LensEndpoints
from gpt2.ui.api.short import SHORT, Short
from gpt2.ui.server.incoming import Refused
from gpt2.ui.server.served import arguments, check_names, shortened
from gpt2.ui.server.visitors import TURN, Line, visitor_of

KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}
DETAILS = "details"


@dataclass(frozen=True)
class Tool:
    """A function of the API as an assistant sees it."""

    name: str
    function: Any
    short: Short

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """By name; with what is asked of the answer."""
        own = dict(inspect.signature(self.function).parameters)
        if self.short.details is not None:
            keyword = inspect.Parameter.KEYWORD_ONLY
            own[DETAILS] = inspect.Parameter(DETAILS, keyword, default=False, annotation=bool)
        return own

    @property
    def description(self) -> str:
        """What it does, in a sentence, and what it answers."""
        first = inspect.getdoc(self.function).partition("\n")[0]
        return f"{first.partition('. ')[0].rstrip('.')}. {self.short.told}"

    def schema(self) -> dict[str, Any]:
        """Of the arguments, as JSON Schema."""
        told = told_of(inspect.getdoc(self.function)) | {DETAILS: "true: answer token by token"}
        wanted = self.parameters
        properties: dict[str, Any] = {}
        for name, parameter in wanted.items():
            properties[name] = {
                "type": KINDS[parameter.annotation],
                "description": told[name],
            }
            if parameter.default is not parameter.empty:
                default = parameter.default
                properties[name]["default"] = [] if default == () else default
        needed = [name for name in wanted if "default" not in properties[name]]
        schema = {"type": "object", "properties": properties, "required": needed}
        return schema | {"additionalProperties": False}


class Tools:
    """All of them, over one engine."""

    def __init__(self, engine: Engine, lines: Mapping[str, Line]) -> None:
        """As the endpoints of the API.

        Args:
            lines: by kind, which they share with whoever calls in another way.
        """
        groups = Endpoints(engine), LensEndpoints(engine)
        found = {
            name: getattr(group, name)
            for group in groups
            for name in vars(type(group))
            if not name.startswith("_")
        }
        self.by_name = {name: Tool(name, found[name], SHORT[name]) for name in found}
        self._lines = lines
        self.running = 0

    async def call(self, name: str, given: Mapping[str, Any], *, address: str) -> dict[str, Any]:
        """What a tool answers.

        Args:
            address: whose call it is.

        Raises:
            ValueError: there is no such tool, an argument is wrong, or there is no place.
        """
        if name not in self.by_name:
            there = ", ".join(self.by_name)
            raise ValueError(f"there is no tool {shortened(name)}; there are: {there}")
        tool = self.by_name[name]
        wanted = tool.parameters
        check_names(name, wanted, given)
        full = {part: given.get(part, wanted[part].default) for part in wanted}
        values = dict(zip(wanted, arguments(name, wanted, list(full.values())), strict=True))
        details = values.pop(DETAILS, False)
        line = self._lines["texts" if inspect.isasyncgenfunction(tool.function) else "calls"]
        try:
            turn = line.join(visitor_of(address, None))
        except Refused as error:
            raise ValueError(str(error)) from None
        self.running += 1
        try:
            async for _ in turn.places():
                pass
            TURN.set(turn)
            answer = await _answer(tool.function, values)
        except gr.Error as error:
            raise ValueError(error.message) from None
        finally:
            self.running -= 1
            turn.leave()
        return tool.short.brief(answer) | (tool.short.details(answer) if details else {})


async def _answer(function: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    if not inspect.isasyncgenfunction(function):
        return await asyncio.to_thread(function, **values)
    answer: dict[str, Any] = {}
    async for answer in function(**values):  # noqa: B007 - the last one is whole
        pass
    return answer
