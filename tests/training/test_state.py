"""gpt2.training.state: a state is read by its own run, or refused in a sentence."""

import resource
import subprocess
import sys

import pytest
import torch

import convert
import finetune_agnews
from gpt2 import pretrain, weights
from gpt2.command import run_training
from gpt2.training.state import read_state, write_state

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


# --- one program at a time, and a full disk ---------------------------------------------------

HOLDS = """
import sys, time
from gpt2.weights import sole_writer
with sole_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, root, starter):
    """A program that writes tmp_path/out for a while."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "out")]
    with starter.start(command, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_program_is_refused_at_once_and_changes_nothing(
    holder, tmp_path, model_directory, text_and_news, capsys
):
    """A second training emptied the first one's state, and both went on for minutes."""
    state = tmp_path / "out.state"
    state.mkdir()
    (state / "classifier-1.pt").write_text("the first one's")
    text, news = text_and_news
    out = ["--out", str(tmp_path / "out")]
    programs = {
        "finetune_agnews.py": (finetune_agnews, ["--data", str(news), "--base", "mini"]),
        "gpt2.pretrain": (pretrain, ["--data", str(text)]),
        "convert.py": (convert, [str(model_directory)]),
    }
    for name, (program, words) in programs.items():
        assert program.main([*words, *out]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"{name}: --out {tmp_path / 'out'} is being written by another")
        assert said.count("\n") == 1
    assert (state / "classifier-1.pt").read_text() == "the first one's"
    assert not (tmp_path / "out").exists() and holder.poll() is None


@pytest.fixture
def text_and_news(tmp_path):
    (tmp_path / "a.txt").write_text("A story.\n")
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "train.csv").write_text("1,a,b\n2,c,d\n")
    return tmp_path / "a.txt", tmp_path / "news"


def test_the_lock_of_a_killed_program_does_not_hold(holder, tmp_path):
    holder.kill()
    holder.wait()
    with weights.sole_writer(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_last_state_and_no_scraps(tmp_path, capsys):
    """It ended in a RuntimeError of torch's, with a traceback."""
    path = tmp_path / "a.pt"
    write_state(path, STATE, run=RUN)
    before = path.read_bytes()
    large = {"weights": torch.zeros(1_000_000)}

    def work() -> int:
        write_state(path, large, run=RUN)
        return 0

    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, kept[1]))
    try:
        assert run_training("x.py", work, debug=False, out="m") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    said = capsys.readouterr().err
    assert said.startswith("x.py: the disk is full") and said.count("\n") == 1
    assert "free some for m, then --resume goes on" in said
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
