"""gpt2.checkpoint: a state is read by its own run, or refused in a sentence."""

import pytest
import torch

from gpt2.checkpoint import read_state, write_state

RUN = {"lr": 0.1, "data": "abc"}
STATE = {"step": 3, "weights": {"a": torch.arange(4.0)}, "points": [{"loss": 1.5}]}


def test_what_is_written_is_read(tmp_path):
    write_state(tmp_path / "a.pt", STATE, run=RUN)
    found = read_state(tmp_path / "a.pt", run=RUN)
    assert torch.equal(found["weights"].pop("a"), STATE["weights"]["a"])
    assert found == {"step": 3, "weights": {}, "points": [{"loss": 1.5}]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("run", "mention"),
    [
        ({"lr": 0.2, "data": "abc"}, "of a run with lr 0.1, and this one has 0.2"),
        ({"lr": 0.1, "data": "xyz"}, "with data abc"),
        ({"lr": 0.1}, "with data abc"),
        ({**RUN, "seed": 7}, "with seed None, and this one has 7"),
    ],
)
def test_another_run_is_told_what_differs(tmp_path, run, mention):
    write_state(tmp_path / "a.pt", STATE, run=RUN)
    with pytest.raises(ValueError) as error:
        read_state(tmp_path / "a.pt", run=run)
    assert mention in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not what torch wrote", None])
def test_a_damaged_state_is_named(tmp_path, content):
    path = tmp_path / "a.pt"
    write_state(path, STATE, run=RUN)
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(ValueError, match=r"a\.pt can't be resumed from: it is damaged"):
        read_state(path, run=RUN)


def test_a_state_of_something_else_is_damaged(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(ValueError, match="damaged"):
        read_state(tmp_path / "a.pt", run=RUN)
