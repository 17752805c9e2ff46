"""gpt2.evaluate --workers: every row once, whatever becomes of the processes that share them.

The slow part needs Ray: pip install "ray[data]" && pytest -n 0 -m soak tests/test_news_workers.py
"""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gpt2 import evaluate
from gpt2.ending import children, descendants
from gpt2.news_workers import PART, Job, keep_part, read_parts

with_ray = pytest.mark.skipif(not find_spec("ray"), reason="needs pip install 'ray[data]'")


@pytest.fixture
def rows(tmp_path):
    """A CSV of nine parts, the last one not full."""
    path = tmp_path / "rows.csv"
    lines = (
        f'{n % 4 + 1},"Title {n}","and {n % 97} words of a text"\n' for n in range(9 * PART - 9)
    )
    path.write_text("".join(lines))
    return path


@pytest.fixture
def command(classifier_directory, rows):
    words = ["--model", classifier_directory, "--agnews", rows, "--device", "cpu"]
    return [str(word) for word in words]


@pytest.mark.skipif(bool(find_spec("ray")), reason="Ray is here")
def test_without_ray_one_sentence_says_so(command, capsys):
    assert evaluate.main([*command, "--workers", "2"]) == 1
    said = 'gpt2.evaluate: --workers needs Ray, which is missing here; pip install "ray[data]"\n'
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("words", [["--workers", "0"], ["--out", "somewhere"]])
def test_flags_that_mean_nothing_are_refused(command, capsys, words):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([*command, *words])
    assert "--workers" in capsys.readouterr().err.splitlines()[-1]


def test_parts_of_another_job_are_not_taken(classifier_directory, rows, tmp_path):
    job = Job(str(classifier_directory), str(rows), 16, "cpu", "float32")
    out, probs = tmp_path / "out", np.ones((PART, 4), np.float32)
    assert read_parts(out, job) == {}
    keep_part(out, PART, probs)
    assert [*read_parts(out, job)] == [PART]
    with open(rows, "a") as file:
        file.write('1,"One","row more"\n')
    with pytest.raises(ValueError, match="was begun with another data; take another --out"):
        read_parts(out, job)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        read_parts(other, job)


def processes(name):
    """Those whose title begins so."""
    found = subprocess.run(["pgrep", "-f", f"^{name}"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.soak
@with_ray
def test_every_row_is_answered_once_though_workers_and_the_run_are_killed(
    command, root, tmp_path, capsys
):
    """Alone, with a worker killed, and gone on with after the whole run was killed: the same."""
    assert evaluate.main(command) == 0
    alone = json.loads(capsys.readouterr().out)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "gpt2.evaluate", *command, "--workers", "2", "--out", str(out)]

    def parts():
        return len([*Path(out).glob("rows-*.npy")])

    def wait_for(true):
        end = time.monotonic() + 120
        while not true():
            assert time.monotonic() < end
            time.sleep(0.01)

    with subprocess.Popen(words, cwd=root, stdout=subprocess.DEVNULL) as first:
        wait_for(lambda: parts() >= 1)
        os.kill(processes("ray::MapWorker")[0], signal.SIGKILL)
        wait_for(lambda: parts() >= 3)
        first.kill()
    kept = parts()
    assert kept < 9
    wait_for(lambda: not processes("ray::MapWorker"))
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    for name in ("rows", "accuracy", "macro_f1", "confusion"):
        assert shared[name] == alone[name]
    assert shared["nll"] == pytest.approx(alone["nll"], abs=1e-6)  # other batches, other padding
    assert parts() == 9


@pytest.mark.soak
@with_ray
def test_an_interrupt_ends_the_run_with_its_workers_and_keeps_what_is_done(command, root, tmp_path):
    """It took eight seconds, and left a lock."""
    out = tmp_path / "out"
    words = [sys.executable, "-m", "gpt2.evaluate", *command, "--workers", "2", "--out", str(out)]
    with subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True) as run:
        end = time.monotonic() + 120
        while not [*out.glob("rows-*.npy")]:
            assert time.monotonic() < end
            time.sleep(0.01)
        started, begun = descendants(run.pid), time.monotonic()
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=20) == 1
        assert time.monotonic() - begun < 2
        assert run.stderr.read().splitlines()[-1] == "gpt2.evaluate: interrupted"
    assert len(started) > 5
    time.sleep(0.5)
    assert not [pid for pid in started if children(pid) or b"ray" in cmdline(pid)]
    assert not [*tmp_path.glob(".*")]


def cmdline(pid):
    """How a process was called; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
