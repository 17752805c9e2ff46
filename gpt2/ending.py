"""Ends from outside, Ctrl-C (SIGINT) and SIGTERM: in a sentence, and within two seconds."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS = 1.5  # that tidying up may take


def end_at_once(name: str) -> None:
    """From now on a signal ends the program, with one sentence and status 1.

    For a start, which leaves nothing to tidy up. An exception would come to nothing there: many
    libraries catch all that is raised while they are imported.

    Args:
        name: of the program, as its messages begin.
    """

    def end(*_: object) -> NoReturn:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one of those that torchrun started
            with suppress(OSError):
                os.write(2, f"{name}: interrupted\n".encode())
        _leave(1)

    _answer(end)


def raise_interrupts() -> None:
    """From now on signals do again what Python has them do; what is begun can be tidied up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def listen() -> "SimpleQueue[int]":
    """From now on a signal does nothing but wait here, for whoever ends the program in order."""
    heard: SimpleQueue[int] = SimpleQueue()
    _answer(lambda number, _: heard.put(number))
    return heard


def end_soon(status: int) -> None:
    """Leave with a status, in SECONDS at the latest, whatever the program is waiting for then."""
    late = threading.Timer(SECONDS, _leave, [status])
    late.daemon = True
    late.start()


def _answer(with_what: Callable[[int, FrameType | None], object]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it of its background
            signal.signal(number, with_what)


def _leave(status: int) -> NoReturn:
    """No destructor and no thread is waited for; children are ended."""
    _end_children(os.getpid())
    os._exit(status)


def _end_children(of: int) -> None:
    """End what a process has started, and what that has: a compiler, a tunnel (Linux only)."""
    threads = Path(f"/proc/{of}/task")
    for thread in threads.iterdir() if threads.is_dir() else ():
        with suppress(OSError):  # it has ended meanwhile
            for child in map(int, (thread / "children").read_text().split()):
                _end_children(child)
                os.kill(child, signal.SIGTERM)
