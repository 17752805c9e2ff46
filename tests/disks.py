"""A disk that is really full: a file system of a few megabytes in memory (Linux, as root)."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Callable[[int], None]]:
    """A disk at `path` while the context lasts; gives a function that makes it larger."""
    path.mkdir()

    def mount(options: str, megabytes: int) -> None:
        size = f"{options}size={megabytes}m"
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")

    try:
        mount("", megabytes)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    try:
        yield lambda megabytes: mount("remount,", megabytes)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
