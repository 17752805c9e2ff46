"""Ends from outside, Ctrl-C (SIGINT) and SIGTERM: in a sentence, and within two seconds."""

import atexit
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS = 1.25  # that tidying up may take
LOOK = 0.1  # from one look for a signal to the next
GRACE = 0.2  # seconds that what was started may take for it


def end_at_once(name: str) -> None:
    """From now on a signal ends the program, with one sentence and status 1.

    For a start, which leaves nothing to tidy up. An exception would come to nothing there: many
    libraries catch all that is raised while they are imported.

    Args:
        name: of the program, as its messages begin.
    """

    def end(*_: object) -> NoReturn:
        _tell(name)
        _leave(1)

    _answer(end)


def end_in_order(name: str) -> None:
    """From now on a signal does the same once all is tidied up, which may take SECONDS."""

    def end(*_: object) -> NoReturn:
        _tell(name)
        started = Processes(descendants(os.getpid()))
        atexit.register(_leave, 1, started, grace=0)
        _leave_soon(1, started)
        raise SystemExit(1)

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


def first_of(heard: "SimpleQueue[int]") -> int:
    """The first signal that waits there, once there is one.

    It is looked for again and again: where another thread is starting a thread or a process, the
    system may hand a signal to that one, and Python's main thread, which alone answers signals, is
    told only when it next runs.
    """
    while True:
        with suppress(Empty):
            return heard.get(timeout=LOOK)


def end_soon(status: int) -> None:
    """Leave with a status, in SECONDS at the latest, whatever the program is waiting for then.

    What it has started by now is ended then too.
    """
    _leave_soon(status, Processes(descendants(os.getpid())))


def _leave_soon(status: int, started: "Processes") -> None:
    late = threading.Timer(SECONDS, _leave, [status, started])
    late.daemon = True
    late.start()


def _answer(with_what: Callable[[int, FrameType | None], object]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it of its background
            signal.signal(number, with_what)


def _tell(name: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one of those that torchrun started
        with suppress(OSError):
            os.write(2, f"{name}: interrupted\n".encode())


def _leave(status: int, started: "Processes | None" = None, *, grace: float = GRACE) -> NoReturn:
    """No destructor and no thread is waited for; children are ended."""
    (started or Processes(descendants(os.getpid()))).end(grace=grace)
    os._exit(status)


def children(of: int) -> list[int]:
    """What a process has started and not outlived, by number (Linux only)."""
    found: list[int] = []
    threads = Path(f"/proc/{of}/task")
    with suppress(OSError):  # it has ended meanwhile
        for thread in threads.iterdir() if threads.is_dir() else ():
            found += map(int, (thread / "children").read_text().split())
    return found


def descendants(of: int) -> list[int]:
    """What a process has started, and what that has: a compiler, a tunnel, Ray (Linux only)."""
    own = children(of)
    return own + [pid for child in own for pid in descendants(child)]


class Processes:
    """Processes as they are now, whoever else is given their numbers later."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._handles: list[int] = []
        for pid in pids:
            with suppress(OSError):  # it has ended meanwhile
                self._handles.append(os.pidfd_open(pid))

    def end(self, *, grace: float = GRACE) -> None:
        """Tell them to end, and end those that have not after so many seconds."""
        if not self._handles:
            return  # as where there is no /proc
        self._tell(signal.SIGTERM)
        here, end = select.poll(), time.monotonic() + grace
        for handle in self._handles:
            here.register(handle, select.POLLIN)
        left = set(self._handles)
        while left and (rest := end - time.monotonic()) > 0:
            for handle, _ in here.poll(1000 * rest):
                here.unregister(handle)
                left.discard(handle)
        self._tell(signal.SIGKILL)
        while self._handles:
            os.close(self._handles.pop())

    def _tell(self, number: signal.Signals) -> None:
        for handle in self._handles:
            with suppress(OSError):
                signal.pidfd_send_signal(handle, number)
