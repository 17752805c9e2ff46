"""gpt2.training.state: a state is read by its own run, or refused in a sentence."""

import io
import resource
import subprocess
import sys

import pytest
import torch

import convert
import finetune_agnews
from gpt2 import pretrain, weights
from gpt2.command import run_training
from gpt2.training.state import RunSettings, State

RUN = {"lr": 0.1, "data": "abc"}
STATE = {"step": 3, "weights": {"a": torch.arange(4.0)}, "points": [{"loss": 1.5}]}


def opened(tmp_path, run=RUN, **options):
    """The state beside tmp_path/m of a run that resumes."""
    return State(RunSettings(out=str(tmp_path / "m"), resume=True, **options), run)


def test_what_is_written_is_read(tmp_path):
    opened(tmp_path).write("a", STATE)
    found = opened(tmp_path).read("a")
    assert torch.equal(found["weights"].pop("a"), STATE["weights"]["a"])
    assert found == {"step": 3, "weights": {}, "points": [{"loss": 1.5}]}
    assert [path.name for path in tmp_path.rglob("*")] == ["m.state", "a.pt"]


def test_a_run_that_does_not_resume_starts_with_nothing(tmp_path):
    opened(tmp_path).write("a", STATE)
    assert opened(tmp_path).holds("a")
    assert not State(RunSettings(out=str(tmp_path / "m")), RUN).holds("a")
    assert not opened(tmp_path).holds("a")


@pytest.mark.parametrize(("minutes", "due"), [(0, True), (60, False)])
def test_a_state_is_due_after_so_many_minutes(tmp_path, minutes, due):
    assert opened(tmp_path, save_minutes=minutes).due() == due


def test_states_of_an_older_version_are_refused_by_name(tmp_path):
    """They said nothing of their form: pretraining kept a file, fine-tuning other points."""
    state = opened(tmp_path)
    torch.save({"run": RUN, "state": STATE}, state.directory / "a.pt")
    with pytest.raises(ValueError, match="format of states None, and this one has 2; give the"):
        state.read("a")
    state.remove()
    state.directory.write_text("one file")
    with pytest.raises(ValueError, match=r"m\.state is a file"):
        opened(tmp_path)


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
    opened(tmp_path).write("a", STATE)
    with pytest.raises(ValueError) as error:
        opened(tmp_path, run).read("a")
    assert mention in str(error.value)


def bytes_of(something):
    torch.save(something, file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"not what torch wrote", bytes_of([1, 2]), None])
def test_a_damaged_state_is_named(tmp_path, content):
    state = opened(tmp_path)
    state.write("a", STATE)
    path = state.directory / "a.pt"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(ValueError, match=r"a\.pt can't be resumed from: it is damaged"):
        state.read("a")


@pytest.mark.parametrize(("program", "minutes"), [(pretrain, 5.0), (finetune_agnews, 1.0)])
def test_help_tells_units_and_defaults(program, minutes, capsys):
    with pytest.raises(SystemExit, match="0"):
        program.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"minutes between states to resume from, 0 to 1,000,000 ({minutes})" in said
    assert "decay of the weights' running average, from 0 for none to below 1 (0." in said
    assert "--resume go on from the last saved state, if any --" in said


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
    assert not (tmp_path / "out").exists()
    assert holder.poll() is None


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
    state = opened(tmp_path)
    state.write("a", STATE)
    path = state.directory / "a.pt"
    before = path.read_bytes()
    large = {"weights": torch.zeros(1_000_000)}

    def work() -> int:
        state.write("a", large)
        return 0

    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, kept[1]))
    try:
        assert run_training("x.py", work, debug=False, out="m") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    said = capsys.readouterr().err
    assert said.startswith("x.py: the disk is full")
    assert said.count("\n") == 1
    assert "free some for m, then --resume goes on" in said
    assert path.read_bytes() == before
    assert list(state.directory.iterdir()) == [path]
