"""The state of a training on disk: written whole or not at all, and read only by its own run.

Imports: torch.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pickle import UnpicklingError

import torch

from gpt2 import weights
from gpt2.training.processes import rank


def sole_writer(out: str | Path) -> AbstractContextManager[None]:
    """No other program may write --out meanwhile; of several processes the first sees to it.

    Raises:
        ValueError: another writes it now.
    """
    return weights.sole_writer(out) if rank() == 0 else nullcontext()


def write_state(path: Path, state: Mapping, *, run: Mapping) -> None:
    """Write a state atomically: a crash or a full disk at any moment leaves the one before.

    Of several processes only the first writes.

    Args:
        state: tensors, numbers, strings, and lists and dicts of them.
        run: settings and data of the run, by name; read_state wants the same.
    """
    if rank() != 0:
        return
    partial = path.with_suffix(".partial")
    try:
        with open(partial, "wb") as file:
            torch.save({"run": dict(run), "state": dict(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: Path, *, run: Mapping, device: torch.device | str = "cpu") -> dict:
    """What write_state wrote.

    Raises:
        ValueError: the file is damaged, or of a run with other settings or data.
    """
    try:
        found = torch.load(path, map_location=device, weights_only=True)
        theirs, state = found["run"], found["state"]
    except (RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError) as error:
        raise ValueError(
            f"{path} can't be resumed from: it is damaged; delete it to start anew"
        ) from error
    for name in [*run, *theirs]:
        if theirs.get(name) != run.get(name):
            raise ValueError(
                f"{path} can't be resumed from: it is of a run with {name} {theirs.get(name)}, "
                f"and this one has {run.get(name)}; give the same, or leave out --resume to "
                "start anew"
            )
    return state
