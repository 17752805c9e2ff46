"""The benchmarks that the README's numbers come from can be started."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted(Path(__file__).parent.joinpath("benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_finds_all_that_it_measures(script, root, starter):
    done = starter.run([sys.executable, str(script), "--help"], cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


@pytest.mark.soak
def test_the_peers_are_measured_in_one_table(model_directory, root, starter, tmp_path):
    """pytest -n 0 -m soak tests/test_benchmarks.py"""
    table, picture = tmp_path / "table.md", tmp_path / "picture.png"
    script = root / "tests" / "benchmarks" / "peers.py"
    flags = ["--quick", "--only", "decode", "--rounds", "1", "--numbers", "float32"]
    flags += ["--peers", "transformers", "--models", str(model_directory), "--threads", "1"]
    flags += ["--out", str(table), "--picture", str(picture)]
    done = starter.run([sys.executable, str(script), *flags], cwd=root)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in table.read_text().splitlines() if line[:1] == "|"]
    assert rows[0][3:5] == ["ours", "transformers"]
    assert rows[2][0] == "| decode, 32 tokens (tokens/s)"
    assert rows[3][0] == "| same computation?"
    assert "NOT" not in " ".join(rows[3])
    assert picture.read_bytes().startswith(b"\x89PNG")
