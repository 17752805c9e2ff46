"""The outermost net of every program: whatever fails ends in one sentence and an exit status.

Exit statuses: 0 done, 1 the work failed or was interrupted, 2 bad arguments (argparse's own).
"""

import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

DEBUG = "GPT2_DEBUG"  # set to 1 in the environment, it is --debug
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_command(
    name: str,
    work: Callable[[], int],
    *,
    debug: bool = False,
    interrupted: str = "interrupted",
    room: str = "free some room",
) -> int:
    """Do a program's work; its exit status.

    Under torchrun one process a machine tells of an error, and all that lost another process.

    Args:
        name: of the program, as its messages begin.
        work: returns the exit status.
        debug: show tracebacks too.
        interrupted: the answer to Ctrl-C.
        room: the way out of a full disk.
    """
    debug = debug or os.environ.get(DEBUG, "0") not in ("", "0")
    with nullcontext() if debug else _one_line_each(name):
        try:
            status = work()
            _flush()
            return status
        except (Exception, KeyboardInterrupt) as raised:
            error = _cause(raised)
            if not _speaks(error):
                return 1
            if isinstance(error, KeyboardInterrupt):
                said = interrupted
            else:
                said = sentence(error, room=room)
                if debug:
                    traceback.print_exc()
        with suppress(OSError):
            _flush()
        _tell(name, said)
    return 1


def run_training(name: str, work: Callable[[], int], *, debug: bool, out: str) -> int:
    """The same for a program that saves states to resume from, beside its --out directory."""
    if "LOCAL_RANK" in os.environ:
        signal.signal(signal.SIGTERM, _tell_of_the_launcher)
    resume = "--resume goes on from the last saved state"
    return run_command(
        name,
        work,
        debug=debug,
        interrupted=f"stopped; {resume}",
        room=f"free some for {out}, then {resume}",
    )


class LostProcess(ConnectionError):
    """Another process of this run has ended, and this one can't go on alone."""

    def __init__(self) -> None:
        super().__init__(
            f"process {os.environ.get('RANK', '0')} stops, since another process of this run has "
            "ended; the same command with --resume goes on from the last saved state"
        )


def _tell_of_the_launcher(*_: object) -> None:
    """torchrun ends a process, perhaps before that has missed the one that died."""
    if sys.exc_info()[0] is None:  # else it is ending already, and says why
        raise LostProcess


def sentence(error: BaseException, *, room: str = "free some room") -> str:
    """One line that says what failed, and the way out where there is one.

    Args:
        error: anything that a program's work raised.
        room: the way out of a full disk.
    """
    text, kind = " ".join(str(error).split()), type(error).__name__
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _FULL:
            where = f" at {link.filename}" if link.filename else ""
            return f"the disk is full{where} ({os.strerror(link.errno)}); {room}"
    if lacks_memory(error):
        return f"there is not enough memory{f' ({text})' if text else ''}; make the task smaller"
    if isinstance(error, BrokenPipeError):
        return "the reader of standard output has gone before everything was written"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError | ValueError | FloatingPointError) and text:
        return text
    return (
        f"failed unexpectedly, with {kind}{f': {text}' if text else ''}; "
        f"--debug (or {DEBUG}=1) shows the traceback"
    )


def lacks_memory(error: BaseException) -> bool:
    """Whether something failed since it would have taken too much memory, of whatever device."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in str(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it; torch hides a full disk behind one of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _cause(error: Exception | KeyboardInterrupt) -> Exception | KeyboardInterrupt:
    """What a failure is told as: the end from outside behind it, if there is one.

    That may strike amid code which then fails of it; torch.save, cut off, says that a file has an
    unexpected length.
    """
    for link in _chain(error):
        if isinstance(link, KeyboardInterrupt | LostProcess):
            return link
    return error


def _speaks(error: BaseException) -> bool:
    """Whether this process is the one to tell of an error."""
    told_by_all = isinstance(error, KeyboardInterrupt | LostProcess)
    return told_by_all or os.environ.get("LOCAL_RANK", "0") == "0"


def _flush() -> None:
    """Write out what was printed; if that fails, drop it, or Python complains again at its end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _tell(name: str, said: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens
        print(f"{name}: {said}", file=sys.stderr, flush=True)


@contextmanager
def _one_line_each(name: str) -> Iterator[None]:
    """Threads, destructors and logging tell of a failure in one line too."""

    def tell(failure: Any) -> None:
        if failure.exc_value is not None:
            _tell(name, sentence(failure.exc_value))

    kept = threading.excepthook, sys.unraisablehook, logging.raiseExceptions
    threading.excepthook, sys.unraisablehook, logging.raiseExceptions = tell, tell, False
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook, logging.raiseExceptions = kept
