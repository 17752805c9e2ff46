"""Directories that appear whole or not at all, also after a crash, a kill or a full disk."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpt2.weights.files import CONFIG_FILE, MODEL_FILES, TF_STATE_FILE

_LAST = (CONFIG_FILE, TF_STATE_FILE)  # by these a directory is taken for a model
_SCRATCH = ".partial"


@contextmanager
def whole_directory(directory: str | Path) -> Iterator[Path]:
    """A scratch directory whose files move to `directory` only if the block succeeds.

    They replace a model that stands there, in whatever form, so that nobody reads the old one's
    shards or tokenizer with the new one. config.json goes first and comes last, so a directory
    that a crash left half-written is not taken for a model.
    """
    directory = Path(directory)
    new_parents = [path for path in directory.parents if not path.exists()]
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(directory)
    work = Path(
        tempfile.mkdtemp(prefix=f".{directory.name}-", suffix=_SCRATCH, dir=directory.parent)
    )
    lock = _lock(work)
    try:
        yield work
        for path in work.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        directory.mkdir(exist_ok=True)
        for name in MODEL_FILES:
            for old in directory.glob(name):
                old.unlink()
        for path in sorted(work.iterdir(), key=lambda path: path.name in _LAST):
            path.chmod(0o644)
            os.replace(path, directory / path.name)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        for path in new_parents:
            with suppress(OSError):  # not empty
                path.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)
    work.rmdir()


def _remove_abandoned(directory: Path) -> None:
    """Remove the scratch directories of runs that were killed: nobody holds their lock."""
    for left in directory.parent.glob(f".{glob.escape(directory.name)}-*{_SCRATCH}"):
        lock = _lock(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """An open file that holds a directory's lock until it is closed or its process ends.

    None where another process holds it, and on systems without such locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    with suppress(OSError):
        file = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            os.close(file)
    return None


@contextmanager
def sole_writer(directory: str | Path) -> Iterator[None]:
    """Keep other programs from writing a directory until the block ends, however it ends.

    The lock is on a file beside it, which nobody needs afterwards; that of a killed program does
    not hold.

    Raises:
        ValueError: another program writes it now.
    """
    try:
        import fcntl
    except ImportError:  # a system without such locks
        yield
        return
    place = Path(directory).resolve()
    path = place.with_name(f".{place.name}.lock")
    new_parents = [parent for parent in place.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file))):
            raise BlockingIOError  # its last holder has just removed it
    except BlockingIOError as error:
        os.close(file)
        raise ValueError(
            f"--out {directory} is being written by another program; wait until it has ended, or "
            "choose another --out"
        ) from error
    except OSError:  # a file system without such locks
        pass
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)
        for parent in new_parents:
            with suppress(OSError):  # not empty
                parent.rmdir()


def check_space(directory: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        ValueError: there is less free than `size` bytes.
    """
    free = shutil.disk_usage(directory).free
    if free < size:
        raise ValueError(
            f"the disk of {directory.parent} has {free / 1e6:,.0f} MB free and the model needs "
            f"{size / 1e6:,.0f} MB; free some or choose another --out"
        )
