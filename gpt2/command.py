"""The outermost net of every program: whatever fails ends in one sentence and an exit status.

Exit statuses: 0 done, 1 the work failed or was interrupted, 2 bad arguments (argparse's own).
"""

import argparse
import errno
import inspect
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")

DEBUG = "GPT2_DEBUG"  # set to 1 in the environment, it is --debug
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def add_debug_flag(parser: argparse.ArgumentParser) -> None:
    """--debug, the same for every program."""
    parser.add_argument(
        "--debug", action="store_true", help=f"show the traceback of what fails (or {DEBUG}=1)"
    )


def add_settings(parser: argparse.ArgumentParser, kind: type, *, place: str = "") -> None:
    """A flag for each field of a dataclass; its docstring's Args are the help, its defaults theirs.

    Args:
        kind: its Literals are choices; a field without a default must be given.
        place: the field that is given by its place, without a flag.
    """
    told, types = _args_of(kind), get_type_hints(kind)
    for field in fields(kind):
        options: dict[str, Any] = {"help": told.get(field.name, "")}
        hint = types[field.name]
        if get_origin(hint) is Literal:
            options["choices"] = get_args(hint)
        elif hint is bool:
            options["action"] = "store_true"
        elif get_origin(hint) is tuple:
            options |= {"nargs": "+", "type": get_args(hint)[0]}
        else:
            options["type"] = next(t for t in (get_args(hint) or (hint,)) if t is not NoneType)
        if options.get("type") is str:
            options["metavar"] = field.name.upper()
        if field.default is MISSING:
            options["required"] = True
        else:
            options["default"] = field.default
            if field.default is not False and field.default not in (None, ""):
                options["help"] += f" ({field.default})"
        options["help"] = options["help"].replace("%", "%%")
        if field.name == place:
            options.pop("required", None)
            parser.add_argument(field.name, **options)
        else:
            parser.add_argument("--" + field.name.replace("_", "-"), **options)


def parser_for(description: str, *kinds: type, prog: str | None = None) -> argparse.ArgumentParser:
    """The command line of a program: the flags of some dataclasses, and --debug."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    for kind in kinds:
        add_settings(made, kind)
    add_debug_flag(made)
    return made


def settings_of(kind: type[Settings], args: argparse.Namespace) -> Settings:
    """The dataclass that add_settings's flags make."""
    given = {field.name: getattr(args, field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _args_of(kind: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each argument, in one line each."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        text = inspect.cleandoc(one.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
        told = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", text, flags=re.M)
        lines = ((name, " ".join(said.split()).removesuffix(".")) for name, said in told)
        found |= {name.strip(): said for names, said in lines for name in names.split(",")}
    return found


def typed(program: str, argv: Sequence[str] | None) -> str:
    """The command line as it goes into a record: without the directories of its paths."""
    words = sys.argv[1:] if argv is None else argv
    return " ".join([program, *map(os.path.basename, words)])


def shown(points: Iterable[Any], *, total: int, unit: str, quiet: bool) -> Iterator[Any]:
    """Pass the points of a training on, each shown in one progress bar as it comes.

    Args:
        points: of gpt2.training.progress; they read `total` units in all.
    """
    from tqdm import tqdm

    recent: deque[float] = deque(maxlen=20)
    with tqdm(total=total, unit=unit, unit_scale=True, disable=quiet, mininterval=2) as bar:
        for point in points:
            bar.set_description(point.stage, refresh=False)
            told = {"loss": f"{point.loss:.4f}"}
            if point.accuracy is not None:
                recent.append(point.accuracy)
                told["accuracy"] = f"{sum(recent) / len(recent):.1%}"
            bar.set_postfix(told, refresh=False)
            bar.update(point.read - bar.n)
            yield point


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
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "allocate memory" in text:
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
