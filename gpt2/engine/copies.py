"""A copy of this process, forked for the length of a call: it answers as a replica does.

It has this process's memory, the weights in it too, and none of its threads: so it starts an engine
of its own, which answers as long as the copy is asked again. Nothing but plain records goes there
or comes back.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gpt2.engine.catalog import Catalog
from gpt2.engine.engine import Engine
from gpt2.engine.library import Library, Weights, read_weights
from gpt2.engine.replica import Replica

log = logging.getLogger(__name__)

FORESEEN = (ValueError, OSError, FloatingPointError)  # whose words are meant for who asked


@dataclass(frozen=True)
class Call:
    """What a copy is asked.

    Args:
        method: of Replica.
        args: of the method.
    """

    method: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Failed:
    """Why it has no answer.

    Args:
        words: of the error.
        foreseen: whether they are meant for who asked.
    """

    words: str
    foreseen: bool

    @property
    def error(self) -> Exception:
        """What is raised here in its place; not each error survives being sent."""
        return ValueError(self.words) if self.foreseen else RuntimeError(self.words)


class Copies:
    """What all copies share, and what each of them does. Here it reads weights, and no more."""

    def __init__(self, catalog: Catalog, *, device: torch.device, dtype: torch.dtype) -> None:
        """Hold nothing yet.

        Args:
            device, dtype: where copies compute, and in which numbers.
        """
        self.catalog, self.device, self.dtype = catalog, device, dtype
        self.held: dict[str, Weights] = {}
        self._replica: Replica | None = None  # in a copy

    def hold(self, name: str) -> None:
        """Read a model; copies that are made from now on have it in memory.

        Raises:
            FileNotFoundError, ValueError: it can't be loaded.
        """
        here = torch.device("cpu")
        self.held[name] = read_weights(
            self.catalog, name, device=self.device, dtype=self.dtype, place=here
        )

    # --- in a copy ------------------------------------------------------------------------------

    def answer(self, call: Call) -> Generator[Any, None, None]:
        """What a Replica answers to a call, one message after another."""
        try:
            if self._replica is None:
                self._replica = Replica(self, threads=torch.get_num_threads())
            yield from _as_they_come(getattr(self._replica, call.method)(*call.args))
        except Exception as error:
            foreseen = isinstance(error, FORESEEN)
            if not foreseen:  # its words may be a visitor's
                place = traceback.extract_tb(error.__traceback__)[-1]
                log.error("%s in a copy (%s:%s)", type(error).__name__, place.name, place.lineno)
            yield Failed(str(error), foreseen)

    def load(self) -> Engine:
        """The engine of a copy: there is a GPU, and none of the threads that were here."""
        limits = self.catalog.limits
        library = Library(
            self.catalog,
            device=self.device,
            dtype=self.dtype,
            keep=limits.models,
            held=self.held,
        )
        return Engine(library, limits)


def _as_they_come(answer: Awaitable[Any] | AsyncGenerator[Any, None]) -> Iterator[Any]:
    """An answer, or all that is yielded, for a thread without an event loop."""
    loop = asyncio.new_event_loop()
    try:
        if not isinstance(answer, AsyncGenerator):
            yield loop.run_until_complete(_awaited(answer))
            return
        while True:
            try:
                yield loop.run_until_complete(_awaited(anext(answer)))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(_closed(answer))
        loop.close()


async def _awaited(one: Awaitable[Any]) -> Any:
    return await one


async def _closed(answer: Awaitable[Any] | AsyncGenerator[Any, None]) -> None:
    """Close a generator, and those that it was fed by, which the loop closes when it has time."""
    if isinstance(answer, AsyncGenerator):
        await answer.aclose()
    await asyncio.sleep(0)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
