"""The outermost net: whatever a program meets ends in one sentence, never in a traceback."""

import errno
import gc
import io
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from programs import AT_AN_IMPORT

from gpt2.command import LostProcess, run_command, run_training

ROOT = Path(__file__).resolve().parent.parent


def failing(error: BaseException):
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("--stride is 0; it must be 1"), "--stride is 0; it must be 1"),
        (ValueError("two\n lines"), "two lines"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"), "a.txt: No such"),
        (OSError(errno.ENOSPC, "", "m/x"), "the disk is full at m/x (No space left on device); "),
        (OSError(errno.EFBIG, ""), "the disk is full (File too large); free some room"),
        (MemoryError(), "there is not enough memory; make the task smaller"),
        (KeyError("wte"), "failed unexpectedly, with KeyError: 'wte'; --debug (or GPT2_DEBUG=1)"),
        (ZeroDivisionError(), "failed unexpectedly, with ZeroDivisionError; --debug"),
        (ValueError(), "failed unexpectedly, with ValueError; --debug"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_status_1(capsys, error, said):
    assert run_command("x.py", failing(error)) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"x.py: {said}"), err
    assert err.count("\n") == 1, err


def test_a_program_that_works_gives_its_own_status(capsys):
    assert run_command("x.py", lambda: 0) == 0
    assert capsys.readouterr().err == ""


def test_no_memory_for_a_tensor_is_said_as_such(capsys):
    run_command("x.py", lambda: len(torch.zeros(10**13)))
    assert capsys.readouterr().err.startswith("x.py: there is not enough memory (")


@pytest.mark.parametrize("given", ["flag", "environment"])
def test_debug_shows_the_traceback_and_the_sentence(capsys, monkeypatch, given):
    if given == "environment":
        monkeypatch.setenv("GPT2_DEBUG", "1")
    run_command("x.py", failing(ValueError("bad")), debug=given == "flag")
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("x.py: bad\n")


def test_a_training_says_how_to_go_on(capsys):
    run_training("x.py", failing(KeyboardInterrupt()), debug=False, out="m")
    run_training("x.py", failing(OSError(errno.EDQUOT, "")), debug=False, out="m")
    stopped, full = capsys.readouterr().err.splitlines()
    assert stopped == "x.py: stopped; --resume goes on from the last saved state"
    assert full.endswith("free some for m, then --resume goes on from the last saved state")


def test_of_many_processes_one_speaks_and_all_that_lost_another(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run_command("x.py", failing(ValueError("bad"))) == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "1")
    run_command("x.py", failing(LostProcess()))
    assert capsys.readouterr().err.startswith("x.py: process 1 stops, since another process")


@pytest.mark.parametrize(
    ("end", "said"),
    [(KeyboardInterrupt(), "x.py: stopped; --resume"), (LostProcess(), "process 0")],
)
def test_what_ends_a_run_amid_a_save_is_told_and_not_what_became_of_the_file(capsys, end, said):
    """torch.save answers both with an error of its own: an unexpected position in the file."""

    class Disk(io.BytesIO):
        def write(self, data):
            if self.tell() > 1000:
                raise end
            return super().write(data)

    assert run_training("x.py", lambda: torch.save(torch.zeros(999), Disk()), debug=False, out="m")
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_threads_and_destructors_tell_of_a_failure_in_one_line(capsys):
    class Falls:
        def __del__(self):
            raise ValueError("while it was thrown away")

    def work() -> int:
        thread = threading.Thread(target=failing(ValueError("in a thread")))
        thread.start()
        thread.join()
        Falls()
        gc.collect()
        return 0

    before = threading.excepthook, sys.unraisablehook, logging.raiseExceptions
    assert run_command("x.py", work) == 0
    err = capsys.readouterr().err
    assert err == "x.py: in a thread\nx.py: while it was thrown away\n"
    assert (threading.excepthook, sys.unraisablehook, logging.raiseExceptions) == before


def programs() -> list[list[str]]:
    """All that can be started but the page, which has tests of its own, as Python is told."""
    here = [path for path in ROOT.glob("*.py") if path.name != "app.py"]
    parts = [path.relative_to(ROOT) for path in (ROOT / "gpt2").rglob("*.py")]
    inside = [path for path in parts if "__main__" in (ROOT / path).read_text(encoding="utf-8")]
    return [
        *([path.name] for path in sorted(here)),
        *(["-m", ".".join(path.with_suffix("").parts)] for path in sorted(inside)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("program", programs(), ids=lambda program: program[-1])
def test_an_interrupt_while_a_program_imports_is_told_in_one_line(program, tmp_path):
    """It was a traceback of whatever was being imported."""
    (tmp_path / "sitecustomize.py").write_text(AT_AN_IMPORT)
    told = {"INTERRUPT_AT": "5", "INTERRUPTED": str(tmp_path / "where")}
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), **told}
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, *program, "--help"], timeout=60, **options)
    assert (tmp_path / "where").exists()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{program[-1]}: interrupted\n"


PRINTS = """
import sys
from gpt2.command import run_command
sys.exit(run_command("x.py", lambda: print("y" * 100) or 0))
"""


@pytest.mark.parametrize(
    ("where", "said"),
    [("> /dev/full", "the disk is full"), ("| true", "the reader of standard output has gone")],
)
@pytest.mark.slow
def test_output_that_cannot_be_written_ends_in_one_line_too(where, said):
    line = f'(sleep 0.2; "{sys.executable}" -c "$PRINTS"; echo "status $?" >&2) {where}'
    done = subprocess.run(
        line, shell=True, cwd=ROOT, env={**os.environ, "PRINTS": PRINTS}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    first, status = done.stderr.splitlines()
    assert first.startswith(f"x.py: {said}")
    assert status == "status 1"


def test_every_program_has_the_net_and_the_flag():
    programs = [*ROOT.glob("*.py"), *(ROOT / "gpt2").rglob("*.py")]
    mains = [path for path in programs if "__main__" in path.read_text(encoding="utf-8")]
    assert len(mains) >= 7
    for path in mains:
        text = path.read_text(encoding="utf-8")
        assert "run_command(" in text or "run_training(" in text, path
        assert "debug=args.debug" in text, path
