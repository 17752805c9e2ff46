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
