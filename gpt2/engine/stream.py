"""What a text gains, on its way from the model thread to whoever asked for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue

from gpt2.records import Update


class Stream:
    """The updates of one text. One thread puts them, one reader takes them; leaving closes it.

    The reader is a thread (updates) or an event loop (batches). Putting never waits: a text is
    written as fast as the model can, up to its end or until its reader has left.
    """

    def __init__(self, first: int = 1) -> None:
        """Hold nothing yet.

        Args:
            first: which update its reader waits for; those before it are no news.
        """
        self._waiting: SimpleQueue[Update | Exception | None] = SimpleQueue()  # None: the end
        self._missing = first
        self._wake: Callable[[], object] = lambda: None
        self.closed = False  # nobody will read any more

    # --- the model thread's side ---------------------------------------------------------------

    def put(self, update: Update) -> None:
        """Hand an update over; a loop is woken by the first alone, and later has its clock."""
        self._waiting.put(update)
        self._missing -= 1
        if self._missing == 0:
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more comes, and why if that is an error."""
        self._waiting.put(error)
        self._missing = 0
        self._wake()

    # --- the reader's side ---------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether there were news yet, or the end."""
        return self._missing <= 0

    def close(self) -> None:
        """Want no more: the model thread ends the text before its next step."""
        self.closed = True

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def updates(self) -> Iterator[Update]:
        """Each update as it comes.

        Raises:
            Exception: what ended the text, if it was an error.
        """
        while (update := self._waiting.get()) is not None:
            if isinstance(update, Exception):
                raise update
            yield update

    async def batches(self, seconds: float) -> AsyncIterator[list[Update]]:
        """Updates on a clock, with no thread that waits: the first at once, then all of a while.

        Args:
            seconds: from one batch to the next.

        Raises:
            Exception: what ended the text, if it was an error.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is gone, and so is who listened
                loop.call_soon_threadsafe(news.set)

        self._wake = wake
        if not self.begun:
            await news.wait()
        while True:
            news.clear()
            due = loop.time() + seconds
            batch: list[Update] = []
            while not self._waiting.empty():
                update = self._waiting.get()
                if not isinstance(update, Update):
                    if batch:
                        yield batch
                    if update is not None:
                        raise update
                    return
                batch.append(update)
            if batch:
                yield batch
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(news.wait(), max(0.0, due - loop.time()))
