"""cpu.cpp, compiled for this machine when it is first needed, and kept for the next time."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("cpu.cpp")
HEADERS = sorted(SOURCE.with_name("cpu").glob("*.h"))
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
SHARED = ("-fPIC", "-shared", "-pthread")
SECONDS = 120  # that a compiler may take


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None, with one line in the log, where they can't be had."""
    compiler = _compiler()
    if compiler is None:
        log.warning("no C++ compiler here (CXX, c++, g++ or clang++): writing with torch, slower")
        return None
    try:
        return ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        log.warning(
            "cpu.cpp was not compiled (%s): writing with torch, slower", _first_error(words)
        )
        return None


def _compiler() -> str | None:
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _built(compiler: str) -> Path:
    """The library's file, compiled unless that was done before for this source and processor."""
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    sources = [path.read_text() for path in (SOURCE, *HEADERS)]
    about = [*sources, compiler, native, *FLAGS, *SHARED, _processor()]
    name = hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]
    path = _directory() / f"cpu-{name}.so"
    if path.is_file():
        return path
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        made = Path(directory, path.name)
        command = [compiler, native, *FLAGS, *SHARED, "-o", str(made), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
        made.replace(path)  # whole or not at all, whoever else does the same
    log.info("compiled cpu.cpp in %.1f s, once, to %s", time.perf_counter() - start, path)
    return path


def _directory() -> Path:
    """Where what was compiled is kept: the user's cache, else a place for temporary files.

    Neither is used if it is somebody else's, who could have put another program there.
    """
    home, user = os.environ.get("XDG_CACHE_HOME"), getattr(os, "getuid", lambda: 0)()
    places = [Path(tempfile.gettempdir(), f"gpt2-cpu-{user}")]
    with suppress(RuntimeError):  # there is no home
        places.insert(0, Path(home or Path.home() / ".cache", "gpt2-cpu"))
    for place in places:
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.access(place, os.W_OK) and place.stat().st_uid == user:
                return place
    return Path(tempfile.mkdtemp(prefix="gpt2-cpu-"))


def _processor() -> str:
    """What the compiled code depends on: another processor needs it compiled again."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        return "\n".join(sorted(set(told)))
    except OSError:
        return platform.processor()


def _first_error(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in lines if "error" in line), lines[0])
