"""The model thread: it alone computes, for all who ask at the same time.

torch keeps a pool of workers for each thread that computes, and pools that wake and sleep in turns
halve the speed. So there is one thread, and everybody's work is done there in rounds: first what is
short, then a step of all texts that are being written, then one part of what takes long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from gpt2.engine.row import Row
from gpt2.engine.shortage import in_words
from gpt2.engine.tally import Tally
from gpt2.fast import Decoder

Result = TypeVar("Result")

CHUNK = 128  # tokens of prompts read in one step while others are writing
ALONE = 512  # while nobody is
WIDEST = 8  # tokens read in a step with guesses; where more texts are written, none is guessed
PATIENCE = 10.0  # seconds that closing waits for the work of a round


class Closed(RuntimeError):
    """Nothing is computed any more."""

    def __init__(self) -> None:
        super().__init__("the engine was closed; try again when it has been started anew")


@dataclass(frozen=True, eq=False)
class _Job:
    """Something to compute, and who waits for it."""

    work: Callable[[], Any]
    result: "Future[Any]" = field(default_factory=Future)

    def do(self) -> None:
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.work())
        except Exception as error:
            self.result.set_exception(in_words(error))


class Scheduler:
    """One thread that computes, and the work that waits for it. Any thread may ask."""

    def __init__(self, most: int) -> None:
        """Start the thread.

        Args:
            most: texts written at once; others wait in order.
        """
        self._most = most
        self._news = threading.Condition()
        self._short: deque[_Job] = deque()
        self._long: deque[_Job] = deque()  # parts, of which a round does one
        self._waiting: deque[Row] = deque()
        self._rows: list[Row] = []  # the texts that are being written
        self._closing = False
        self.tally = Tally()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    # --- who asks -------------------------------------------------------------------------------

    def run(self, work: Callable[[], Result], *, bulk: bool = False) -> Result:
        """Have something computed and wait for it.

        Args:
            work: something short, as texts stand still meanwhile.
            bulk: it is a part of something long; others come first.

        Raises:
            Exception: what the work raised.
        """
        if threading.current_thread() is self._thread:
            return work()
        job = _Job(work)
        self._submit(self._long if bulk else self._short, job)
        try:
            return job.result.result()
        finally:
            job.result.cancel()  # who was interrupted wants it no more

    def parts(self, results: Iterator[Result]) -> Iterator[Result]:
        """The results of something long, each computed when it is wanted, others' in between."""
        while part := self.run(lambda: list(islice(results, 1)), bulk=True):
            yield part[0]

    def write(self, row: Row) -> None:
        """Have a text written; its stream tells of it."""
        self._submit(self._waiting, row)

    @property
    def alive(self) -> bool:
        """Whether it computes, or would if it were asked."""
        return self._thread.is_alive() and not self._closing and not self.tally.stuck

    @property
    def writing(self) -> int:
        """Texts that are being written."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Texts and other work that wait for their turn."""
        return len(self._waiting) + len(self._short) + len(self._long)

    def close(self) -> None:
        """End the thread after what it does at the moment; who waits for more gets an error."""
        with self._news:
            self._closing = True
            self._news.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    def _submit(self, queue: "deque[Result]", work: Result) -> None:
        with self._news:
            if self._closing:
                raise Closed
            queue.append(work)
            self._news.notify()

    # --- the thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._wait():
                self.tally.round()
                self._round()
                self.tally.rest()
        finally:  # at the end, and if ever a round failed: nobody is to wait for ever
            with self._news:
                self._closing = True
            for row in (*self._rows, *self._waiting):
                row.stream.end(Closed())
            for job in (*self._short, *self._long):
                if job.result.set_running_or_notify_cancel():
                    job.result.set_exception(Closed())

    def _wait(self) -> bool:
        """Until there is something to do; whether there is, and not the end."""
        with self._news:
            while not (self._closing or self._short or self._long or self._waiting or self._rows):
                self._news.wait()
            return not self._closing

    def _round(self) -> None:
        for _ in range(len(self._short)):  # not those that come meanwhile: texts would stand still
            self._short.popleft().do()
        for row in (*self._rows, *self._waiting):
            if row.stream.closed and not row.done:
                row.close()
        self._rows = [row for row in self._rows if not row.done]
        while self._waiting and len(self._rows) < self._most:
            self._admit(self._waiting.popleft())
        start = time.perf_counter()
        by_decoder: dict[Decoder, list[Row]] = {}
        for row in self._rows:
            by_decoder.setdefault(row.decoder, []).append(row)
        for decoder, rows in by_decoder.items():
            self._advance(decoder, portions(rows, in_parts=decoder.in_parts))
        if self._rows:
            self.tally.step(time.perf_counter() - start)
        self._rows = [row for row in self._rows if not row.done]
        if self._long:
            self._long.popleft().do()

    def _admit(self, row: Row) -> None:
        """Take a text among those that are written, unless it has ended already."""
        try:
            if not row.done:
                row.open()
        except Exception as error:
            row.close(error)
        if not row.done:
            self._rows.append(row)

    def _advance(self, decoder: Decoder, parts: Sequence[tuple[Row, int]]) -> None:
        """Read some tokens of each text, and choose one more for those that are read whole.

        Args:
            parts: texts, and how many of its tokens are read of each.
        """
        guesses = WIDEST // len(self._rows) - 1 if decoder.in_parts else 0
        lengths = [row.cache.length for row, _ in parts]
        try:
            feeds = [row.feed(count, guesses) for row, count in parts]
            logits = decoder.read(feeds)
            drawing = [row for (row, _), feed in zip(parts, feeds, strict=True) if feed.wanted]
            steps = decoder.choose(logits, [draw for row in drawing for draw in row.draws()])
        except Exception as error:
            for (row, _), length in zip(parts, lengths, strict=True):
                row.cache.rewind(length)
            if len(parts) == 1:
                parts[0][0].close(error)
                return
            for portion in parts:  # again one by one: where it fails it ends, the others go on
                self._advance(decoder, [portion])
            return
        first = 0
        for row, feed in zip(drawing, (feed for feed in feeds if feed.wanted), strict=True):
            try:
                row.take(steps[first : first + feed.wanted], logits[first])
            except Exception as error:
                row.close(error)
            first += feed.wanted


def portions(rows: Sequence[Row], *, in_parts: bool) -> list[tuple[Row, int]]:
    """How much is read of each text in one step: of those that are written one token, of prompts
    so much that the others hardly wait, the shortest first.

    Args:
        in_parts: whether a prompt may be read in parts.
    """
    reading = sorted((row for row in rows if row.unread > 1), key=lambda row: row.unread)
    found = [(row, 1) for row in rows if row.unread == 1]
    left = CHUNK if found else ALONE
    for row in reading:
        if left <= 0:
            break
        count = min(row.unread, left) if in_parts else row.unread
        found.append((row, count))
        left -= count
    return found
