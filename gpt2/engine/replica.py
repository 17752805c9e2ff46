"""An engine in a process of its own: what a page with replicas asks. It knows nothing of Ray."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch

from gpt2.engine.engine import Engine
from gpt2.engine.request import Limits, Request
from gpt2.lens import Scales
from gpt2.records import Trace, Update

Result = TypeVar("Result")

BEAT = 0.05  # seconds from one message of a text to the next
WAITING = 64  # questions that may wait for the model thread at a time


@dataclass(frozen=True)
class Settings:
    """What a replica loads, as Engine.load takes it.

    Args:
        model, classifier: names in checkpoints/ or directories.
        device, dtype: as of Engine.load.
        limits: of each replica.
    """

    model: str
    classifier: str
    device: str
    dtype: str
    limits: Limits

    def load(self) -> Engine:
        """The engine."""
        return Engine.load(
            self.model,
            self.classifier,
            device=self.device,
            dtype=self.dtype,
            limits=self.limits,
        )


class Loads(Protocol):
    """Anything that loads an engine."""

    def load(self) -> Engine:
        """The engine; errors as of Engine.load."""


class Replica:
    """Answers in records, so that it makes no difference where it runs."""

    def __init__(self, models: Loads, *, threads: int) -> None:
        """Load the models, and compute with so many threads."""
        torch.set_num_threads(threads)
        self._engine = models.load()
        self._pool = ThreadPoolExecutor(WAITING, "asking")

    async def device(self) -> str:
        """Where it computes: cpu, cuda or mps."""
        return self._engine.library.device.type

    async def have(self, model: str) -> None:
        """Load a model if it is not in memory.

        Raises:
            ValueError: it can't be loaded.
        """
        await self._apart(lambda: self._engine.library.get(model))

    async def describe(self, model: str) -> dict[str, str | int]:
        """As Library.describe."""
        return await self._apart(lambda: self._engine.library.describe(model))

    async def ask(
        self, part: str, method: str, args: Sequence[Any], named: Mapping[str, Any]
    ) -> Any:
        """What a method of one of the engine's parts returns."""
        return await self._apart(partial(self._method(part, method), *args, **named))

    async def ask_parts(
        self, part: str, method: str, args: Sequence[Any], named: Mapping[str, Any]
    ) -> AsyncIterator[list[Any]]:
        """What it yields, one in a message."""
        parts = self._method(part, method)(*args, **named)
        while found := await self._apart(lambda: [*_next(parts)]):
            yield found

    async def write(
        self,
        request: Request,
        begun: Trace,
        scales: Scales | None,
        forced: Sequence[int],
        spent: float,
    ) -> AsyncIterator[list[Update]]:
        """A completion; see Writer.start. Whoever stops listening ends the work."""
        start = partial(self._engine.writer.start, request, begun)
        begin = partial(start, scales=scales, forced=forced, spent=spent)
        with await self._apart(begin) as text:
            async for updates in text.batches(BEAT):
                yield updates

    def _method(self, part: str, method: str) -> Callable[..., Any]:
        return getattr(getattr(self._engine, part), method)

    async def _apart(self, work: Callable[[], Result]) -> Result:
        """Work that waits, without others waiting for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _next(parts: Any) -> Any:
    """The next part, if there is one."""
    for part in parts:
        yield part
        return
