"""A contender in a process of its own, so that no library's threads disturb another's."""

import multiprocessing
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from contest.contender import Entry, Program, Unsupported, load

SETTLE = 0.3  # seconds until the threads of the one before no longer wait for work


class Failed(RuntimeError):
    """A contender could not do what it was asked; the message holds its traceback."""


class Worker:
    """A loaded contender; call its methods by name."""

    def __init__(self, program: Program, entry: Entry) -> None:
        """Start and load.

        Raises:
            Unsupported, Failed: it has no such numbers, or did not load.
        """
        context = multiprocessing.get_context("spawn")
        self.program = program
        self._asked, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, program, entry), daemon=True)
        self._process.start()
        there.close()
        try:
            self._answer()
        except Exception:
            self.close()
            raise

    def call(self, method: str, *args: Any, **options: Any) -> tuple[float, Any]:
        """Seconds that it took, and the result."""
        self._asked.send((method, args, options))
        return self._answer()

    def close(self) -> None:
        with suppress(OSError):
            self._asked.send(None)
        self._process.join(timeout=20)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> tuple[float, Any]:
        try:
            found = self._asked.recv()
        except EOFError:
            self._process.join()
            raise Failed(f"{self.program.name} ended: {self._process.exitcode}") from None
        if isinstance(found, Exception):
            raise found
        return found


def _serve(asked: Connection, program: Program, entry: Entry) -> None:
    """What the process does."""
    import torch

    torch.set_num_threads(entry.threads)
    try:
        loaded = load(program, entry)
        asked.send((0.0, None))
        while (request := asked.recv()) is not None:
            method, args, options = request
            time.sleep(SETTLE)
            start = time.perf_counter()
            result = getattr(loaded, method)(*args, **options)
            asked.send((time.perf_counter() - start, result))
    except EOFError:
        return  # who asked has ended
    except Unsupported as error:
        asked.send(error)
    except Exception:
        asked.send(Failed(f"{program.name}:\n{traceback.format_exc()}"))
