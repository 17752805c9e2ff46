"""What a resume needs, on disk: written whole or not at all, read only by its own run."""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch

from gpt2.checks import check_number
from gpt2.training.processes import rank, wait_for_all

FORMAT = {"format of states": 2}  # part of every run; states of another are refused


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a training writes and runs, which leaves its result as it is.

    Args:
        out: model directory to write.
        device: what computes; auto takes a GPU if there is one.
        save_dtype: of the numbers on disk.
        save_minutes: minutes between states to resume from, 0 to 1,000,000.
        resume: go on from the last saved state, if any.
    """

    out: str
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    save_minutes: float = 5.0
    resume: bool = False

    def __post_init__(self) -> None:
        check_number("save_minutes", self.save_minutes, 0, 1_000_000)


class State:
    """The directory OUT.state beside OUT, which all processes see and the first one writes."""

    def __init__(
        self, where: RunSettings, run: Mapping[str, object], device: torch.device | str = "cpu"
    ) -> None:
        """Open it, emptied first unless it is to be resumed from.

        Args:
            run: settings, data and model of the run by name; resuming wants the same.
            device: what is read goes to it.

        Raises:
            ValueError: a file stands there, or in the place of OUT.
        """
        self.run = {**run, **FORMAT}
        self.device = torch.device(device)
        out = Path(where.out)
        if out.is_file():
            raise ValueError(f"{out} is a file; --out takes a directory")
        self.directory = out.with_name(out.name + ".state")
        self._seconds = 60 * where.save_minutes
        if self.directory.is_file():
            raise ValueError(f"{self.directory} is a file, as an older version wrote; delete it")
        if not where.resume and rank() == 0:
            self.remove()
        wait_for_all(self.device)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether so many minutes have passed since the last write that the next is due."""
        return time.monotonic() - self._saved >= self._seconds

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file atomically: a crash or a full disk at any moment leaves the one before.

        Args:
            content: tensors, numbers, strings, and lists and dicts of them.
        """
        self._saved = time.monotonic()
        if rank() != 0:
            return
        path = self._path(name)
        partial = path.with_suffix(".partial")
        try:
            with open(partial, "wb") as file:
                torch.save({"run": self.run, "state": dict(content)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def holds(self, name: str) -> bool:
        """Whether there is such a file to read."""
        return self._path(name).is_file()

    def read(self, name: str) -> dict[str, Any]:
        """What was written.

        Raises:
            ValueError: the file is damaged, or of a run with other settings or data.
        """
        path, run = self._path(name), self.run
        try:
            found = torch.load(path, map_location=self.device, weights_only=True)
            theirs: dict[str, Any] = found["run"]
            content: dict[str, Any] = found["state"]
        except (RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError) as error:
            raise ValueError(
                f"{path} can't be resumed from: it is damaged; delete it to start anew"
            ) from error
        for key in [*run, *theirs]:
            if theirs.get(key) != run.get(key):
                raise ValueError(
                    f"{path} can't be resumed from: it is of a run with {key} {theirs.get(key)}, "
                    f"and this one has {run.get(key)}; give the same, or leave out --resume to "
                    "start anew"
                )
        return content

    def remove(self) -> None:
        """Delete all of it, once nobody needs it any more."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.pt"
