"""finetune_agnews.py: what a run leaves, what it refuses, and what it survives."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import small_disk
from runs import ENVIRONMENT, LAUNCHER, by_ranks, kill_when

import finetune_agnews
from gpt2 import evaluate, weights
from gpt2.agnews import finetune
from gpt2.agnews.finetune import _stalled
from gpt2.tokenizer import Tokenizer
from gpt2.training.progress import Point

WORDS = ("treaty minister border", "goal striker cup", "oil shares profit", "probe software planet")
RUN = [
    *("--batch-size", "8", "--epochs", "3", "--lr", "1e-2", "--max-length", "16"),
    *("--average", "0.8", "--save-dtype", "float32", "--device", "cpu", "--seed", "3"),
]
# Everything that draws or carries state: dropout, both stages, an average, two runs.
BUSY = [*RUN, "--lm-epochs", "1", "--lm-weight", "0.2", "--runs", "2"]


def csv(rows, *, seed):
    """Rows of five words of their class and one of any."""
    generator = random.Random(seed)
    lines = []
    for number in range(rows):
        own = WORDS[number % 4].split()
        said = [*generator.choices(own, k=5), *generator.choices(" ".join(WORDS).split(), k=1)]
        lines.append(f'"{number % 4 + 1}","{said[0]} {number}","{" ".join(said[1:])}"\n')
    return "".join(lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """61 rows to train on, of which 3 are held out, so that an epoch's last batch holds 2."""
    path = tmp_path_factory.mktemp("data")
    (path / "train.csv").write_text(csv(61, seed=0))
    (path / "test.csv").write_text(csv(12, seed=1))
    return path


@pytest.fixture
def command(data, model_directory, tmp_path):
    """Arguments of a run into tmp_path/out, but for its settings."""
    return ["--data", str(data), "--base", str(model_directory), "--out", str(tmp_path / "out")]


@pytest.fixture(scope="module")
def finished(data, model_directory, tmp_path_factory):
    """Runs that nothing interrupted, by their settings."""
    made = {}

    def run(settings):
        if tuple(settings) not in made:
            out = tmp_path_factory.mktemp("finished") / "out"
            words = ["--data", str(data), "--base", str(model_directory), "--out", str(out)]
            assert finetune_agnews.main([*words, *settings]) == 0
            made[tuple(settings)] = out
        return made[tuple(settings)]

    return run


def parameters(directory):
    model = weights.load_classifier(directory)
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def metrics_of(directory):
    return json.loads((directory / "metrics.json").read_text())


def assert_fails_in_one_sentence(capsys, command, *mentions):
    """Status 1, one line on standard error, and nothing written."""
    out = Path(command[command.index("--out") + 1])
    before = sorted(out.parent.iterdir())
    assert finetune_agnews.main(command) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    said = [line for line in error.splitlines() if line.startswith("finetune_agnews.py: ")]
    assert len(said) == 1, error
    for mention in mentions:
        assert mention in said[0]
    assert sorted(out.parent.iterdir()) == before


# --- what a run leaves -----------------------------------------------------------------------


def test_a_run_learns_and_writes_a_classifier_that_loads(finished):
    out = finished([*RUN, "--epochs", "15", "--patience", "0"])
    labels = weights.load_classifier(out).transformer.config.labels
    assert labels == ("World", "Sports", "Business", "Sci/Tech")
    found = metrics_of(out)
    assert found["test"]["accuracy"] >= 0.9
    assert found["curve"][0]["loss"] > found["curve"][-1]["loss"] + 0.7
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # no state, no scratch


def test_metrics_say_what_was_run_and_on_what(finished, data):
    found = metrics_of(finished(RUN))
    assert found["settings"]["lr"] == 1e-2
    assert found["train_rows"] == 58
    assert found["held_out"]["rows"] == 3
    assert found["test"]["rows"] == 12
    assert set(found["data"]) == {"train.csv", "test.csv"}
    assert found["data"]["train.csv"] == weights.hash_file(data / "train.csv")
    assert found["versions"]["torch"] == torch.__version__
    assert found["texts_per_second"] > 0
    assert found["train_texts_per_second"] * found["train_seconds"] == pytest.approx(3 * 58)
    assert str(data.parent) not in found["command"]
    assert np.sum(found["test"]["confusion"]) == 12
    assert set(found["test"]["per_class"]) == {"World", "Sports", "Business", "Sci/Tech"}
    assert 0 <= found["test"]["calibration_error"] <= 1
    assert len(found["epochs"]) == 3


def test_a_classifier_says_how_long_its_texts_were(finished, data, model_directory, tmp_path):
    """Trained on 9 tokens, it was read to the end of the context everywhere else."""
    from transformers import AutoTokenizer

    settings = [*RUN, "--max-length", "9"]
    out = finished(settings)
    theirs = AutoTokenizer.from_pretrained(out)
    assert theirs.model_max_length == 9
    assert len(theirs("one two three four five six seven eight nine ten", truncation=True)[0]) == 9
    assert Tokenizer(out).max_length == 9
    row = evaluate.agnews(out, str(data / "test.csv"), device=torch.device("cpu"))
    assert "first 9 tokens" in row["protocol"]
    assert row["accuracy"] == metrics_of(out)["test"]["accuracy"]
    assert Tokenizer(model_directory).max_length is None  # the base is left alone


def test_the_test_scores_are_those_of_evaluate(finished, data, capsys):
    out = finished(RUN)
    words = ["--model", str(out), "--agnews", str(data / "test.csv")]
    assert evaluate.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    wanted = metrics_of(out)["test"]
    for name in ("accuracy", "macro_f1", "confusion", "rows"):
        assert found[name] == wanted[name]
    assert found["nll"] == pytest.approx(wanted["nll"], abs=1e-6)


def test_the_pictures_are_pngs_with_alt_text(finished):
    out = finished(RUN)
    for name, alt in metrics_of(out)["figures"].items():
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert len(alt) > 40


@pytest.mark.slow
def test_a_table_puts_the_run_beside_baselines_and_published_figures(command, capsys):
    pytest.importorskip("sklearn")
    assert finetune_agnews.main([*command, *RUN, "--epochs", "1", "--baseline"]) == 0
    said = capsys.readouterr().out
    found = metrics_of(Path(command[-1]))
    assert [row["name"] for row in found["baselines"]] == [
        *("TF-IDF + LinearSVC", "TF-IDF + logistic regression"),
    ]
    for row in [found["test"], *found["baselines"]]:
        assert f"{100 * row['accuracy']:.2f} %" in said
    assert all(f"{row['train_rows']}" == "58" for row in found["baselines"])
    assert said.index("published") < said.index("95.51 %")


def test_a_baseline_without_scikit_learn_ends_before_training(monkeypatch, command, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = [*command, *RUN, "--baseline"]
    assert_fails_in_one_sentence(capsys, words, "pip install scikit-learn")


@pytest.mark.parametrize("train", ["head", "last-block", "last-two", "lora", "full"])
def test_only_what_is_named_is_trained(finished, model_directory, train):
    settings = [*RUN, "--train", train, "--epochs", "1", "--save-dtype", "float32"]
    after = weights.load_classifier(finished(settings)).transformer.state_dict()
    before = weights.load_language_model(model_directory).state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    blocks = {name for name in before if name.startswith("h.")}
    projections = {name for name in blocks if "attn.c_" in name or "mlp.c_" in name}
    wanted = {
        "head": set(),
        "last-block": {n for n in blocks if n.startswith("h.1.")} | {"ln_f.weight", "ln_f.bias"},
        "last-two": blocks | {"ln_f.weight", "ln_f.bias"},
        "lora": {name for name in projections if name.endswith(".weight")},
        "full": set(before),
    }[train]
    assert moved == wanted


def test_a_run_without_test_rows_is_measured_on_held_out_ones(data, command, tmp_path, capsys):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "train.csv").write_text((data / "train.csv").read_text())
    assert finetune_agnews.main([*command, *RUN, "--epochs", "1", "--data", str(alone)]) == 0
    assert "test" not in metrics_of(tmp_path / "out")
    assert "held-out rows of train.csv" in capsys.readouterr().out


# --- when to stop ----------------------------------------------------------------------------


def test_a_run_that_gets_no_better_stops_early(command, tmp_path):
    """A head whose weights such a rate can't move, in float32."""
    still = ["--train", "head", "--lr", "1e-14", "--epochs", "9", "--patience", "2"]
    assert finetune_agnews.main([*command, *RUN, *still]) == 0
    assert len(metrics_of(tmp_path / "out")["epochs"]) == 3


@pytest.mark.parametrize(
    ("accuracies", "patience", "stalled"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.4, 0.6], 1, False),
        ([0.5, 0.4, 0.3], 2, True),
        ([0.3, 0.4, 0.3], 2, False),
        ([0.5, 0.4, 0.3, 0.2], 0, False),
    ],
)
def test_patience_counts_epochs_since_the_best(accuracies, patience, stalled):
    points = [Point(1, 1.0, held_out={"accuracy": value, "nll": 1.0}) for value in accuracies]
    assert _stalled([Point(1, 1.0), *points], patience) == stalled


@pytest.mark.parametrize("accuracies", [(0.9, 0.2, 0.3), (0.2, 0.9, 0.9), (0.1, 0.2, 0.3)])
def test_the_best_epochs_weights_are_kept(monkeypatch, command, tmp_path, accuracies):
    """Of two that are equally good the first; held-out scores are given, weights are real."""
    seen, real = [], finetune.news_metrics

    def news_metrics(model, rows):
        if len(seen) == len(accuracies):  # of the finished classifier
            return real(model, rows)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"accuracy": accuracies[len(seen) - 1], "nll": 1.0}

    monkeypatch.setattr(finetune, "news_metrics", news_metrics)
    assert finetune_agnews.main([*command, *RUN, "--patience", "0"]) == 0
    kept = weights.load_classifier(tmp_path / "out").state_dict()
    best = seen[accuracies.index(max(accuracies))]
    assert len(seen) == 3
    assert all(torch.equal(value, best[name]) for name, value in kept.items())


# --- killed ----------------------------------------------------------------------------------


PROGRAM = "finetune_agnews.py"


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    command, finished, tmp_path, root, starter
):
    """Before anything is saved, within an epoch of each stage, while saving, and near the end."""
    command = [*command, *BUSY, "--save-minutes", "0", "--resume"]
    state = tmp_path / "out.state"
    moments = [
        lambda: state.exists(),
        lambda: (state / "language.pt").exists(),
        lambda: (state / "classifier-1.partial").exists(),
        lambda: (state / "classifier-2-best.pt").exists(),
    ]
    for seen in moments:
        assert kill_when(seen, [PROGRAM, *command], root, starter) == -signal.SIGKILL
        assert not (tmp_path / "out").exists()
    assert finetune_agnews.main(command) == 0
    assert torch.equal(parameters(tmp_path / "out"), parameters(finished(BUSY)))
    ours, theirs = (metrics_of(path)["curve"] for path in (tmp_path / "out", finished(BUSY)))
    assert [point["step"] for point in ours] == [point["step"] for point in theirs]
    assert ours[-1]["loss"] == theirs[-1]["loss"]
    assert not state.exists()


def test_on_a_full_disk_it_says_so_and_a_larger_disk_goes_on_to_the_same_bits(
    command, finished, tmp_path, capsys
):
    disk = tmp_path / "disk"
    command[command.index("--out") + 1] = str(disk / "out")
    command += [*RUN, "--save-minutes", "0"]
    with small_disk(disk, 16) as grow:  # the first state, but not the next one beside it
        assert finetune_agnews.main(command) == 1
        error = capsys.readouterr().err
        assert "Traceback" not in error
        (said,) = (line for line in error.splitlines() if line.startswith("finetune_agnews.py: "))
        assert "the disk is full" in said
        assert [path.name for path in disk.iterdir()] == ["out.state"]
        grow(100)
        assert finetune_agnews.main([*command, "--resume"]) == 0
        assert torch.equal(parameters(disk / "out"), parameters(finished(RUN)))


@pytest.fixture(scope="module")
def half_done(data, model_directory, tmp_path_factory, root, starter):
    """The state of a run that was killed within an epoch."""
    out = tmp_path_factory.mktemp("killed") / "out"
    words = [PROGRAM, "--data", str(data), "--base", str(model_directory), "--out", str(out)]
    state = out.with_name("out.state")
    seen = (state / "classifier-1.pt").exists
    assert kill_when(seen, [*words, *RUN, "--save-minutes", "0"], root, starter) == -signal.SIGKILL
    return state


@pytest.fixture
def killed(half_done, command, tmp_path):
    """A command to resume that run, its state in place."""
    shutil.copytree(half_done, tmp_path / "out.state")
    return [*command, *RUN, "--resume"]


def test_resuming_with_other_settings_or_data_ends_in_one_sentence(killed, data, tmp_path, capsys):
    assert_fails_in_one_sentence(capsys, [*killed, "--lr", "1e-3"], "lr 0.01", "has 0.001")
    assert_fails_in_one_sentence(capsys, [*killed, "--limit", "40"], "limit 0", "has 40")
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.csv").write_text((data / "train.csv").read_text().replace("goal", "match"))
    assert_fails_in_one_sentence(capsys, [*killed, "--data", str(other)], "train.csv")


def test_a_damaged_state_ends_in_one_sentence(killed, tmp_path, capsys):
    state = tmp_path / "out.state" / "classifier-1.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert_fails_in_one_sentence(capsys, killed, str(state), "damaged")


def test_without_resume_a_run_starts_anew(killed, finished, tmp_path):
    assert finetune_agnews.main(killed[:-1]) == 0
    assert torch.equal(parameters(tmp_path / "out"), parameters(finished(RUN)))


# --- several processes -----------------------------------------------------------------------

# 58 rows in batches of 19: the last one holds a single row, so one process has no share of it.
UNEVEN = [*RUN, "--batch-size", "19", "--dropout", "0", "--lm-epochs", "1", "--lm-weight", "0.3"]


def test_two_processes_end_with_the_metrics_of_one(command, finished, tmp_path, root, starter):
    """To 1e-4; shares of texts and of tokens are uneven, and the last batch is one text."""
    said = by_ranks([PROGRAM, *command, *UNEVEN], root, starter)
    assert said.count("measured here") == 1
    one, two = metrics_of(finished(UNEVEN)), metrics_of(tmp_path / "out")
    assert two["processes"] == 2
    for part in ("held_out", "test"):
        for name in ("accuracy", "macro_f1", "nll", "calibration_error"):
            assert two[part][name] == pytest.approx(one[part][name], abs=1e-4)
    losses = [[point["loss"] for point in found["curve"]] for found in (one, two)]
    np.testing.assert_allclose(*losses, atol=1e-4)


@pytest.mark.soak
def test_two_machines_train_what_two_processes_of_one_do(command, tmp_path, root, starter):
    """The README's lines, two agents on one machine: pytest -n 0 -m soak tests/test_finetune.py"""
    by_ranks([PROGRAM, *command, *RUN], root, starter)
    agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    agent += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:8075", "--rdzv-id=news"]
    words = [*agent, PROGRAM, *command, *RUN, "--out", str(tmp_path / "two")]
    options = {"cwd": root, "env": ENVIRONMENT, "text": True, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **options) as first, subprocess.Popen(words, **options) as second:
        for process in (first, second):
            _, error = process.communicate(timeout=300)
            assert process.returncode == 0, error[-3000:]
    assert metrics_of(tmp_path / "two")["processes"] == 2
    assert torch.equal(parameters(tmp_path / "two"), parameters(tmp_path / "out"))


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_a_killed_process_ends_the_others_and_the_run_resumes(command, tmp_path, root, starter):
    """pytest -n 0 -m soak tests/test_finetune.py"""
    words = [PROGRAM, *command, *RUN, "--save-minutes", "0"]
    options = {"cwd": root, "env": ENVIRONMENT, "text": True, "stderr": subprocess.PIPE}
    with subprocess.Popen([*LAUNCHER, *words], **options) as process:
        while process.poll() is None and not (tmp_path / "out.state/classifier-1.pt").exists():
            time.sleep(0.001)
        os.kill(child_of_rank(1, process.pid), signal.SIGKILL)
        _, error = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "finetune_agnews.py: process 0 stops, since another process" in error
    assert not (tmp_path / "out").exists()
    by_ranks([*words, "--resume"], root, starter)
    resumed = parameters(tmp_path / "out")
    by_ranks(words, root, starter)
    assert torch.equal(parameters(tmp_path / "out"), resumed)


def child_of_rank(rank, launcher):
    """The process of a rank, among those the launcher started."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
            parent = f"PPid:\t{launcher}\n" in (path / "status").read_text()
        except OSError:  # it has just ended, or is another user's
            continue
        if parent and f"RANK={rank}".encode() in variables:
            return int(path.name)
    raise AssertionError(f"no process of rank {rank}")


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mentions"),
    [
        ("1,a,b\n5,c,d\n", ["train.csv row 2", "'5'"]),
        ("1,a,b\n2,c\n", ["train.csv row 2", "2 columns"]),
        ("Class Index,Title,Description\n1,a,b\n2,,\n", ["train.csv row 3", "empty"]),
        ('1,a,b\n2,"c,d\n3,e,f\n', ["train.csv row 2", "quotation mark"]),
        (b"1,caf\xe9,b\n", ["train.csv line 1", "UTF-8"]),
        ("1,a,b\n" * 9, ["train.csv: the 8 rows", "all of class 1"]),
        ("", ["no rows"]),
    ],
)
def test_a_csv_that_can_not_be_used_ends_in_one_sentence(
    command, tmp_path, capsys, content, mentions
):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "train.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_fails_in_one_sentence(capsys, [*command, *RUN, "--data", str(bad)], *mentions)


def test_a_broken_test_file_is_found_before_training(command, data, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "train.csv").write_text((data / "train.csv").read_text())
    (bad / "test.csv").write_text("1,a,b\n7,c,d\n")
    words = [*command, *RUN, "--data", str(bad)]
    assert_fails_in_one_sentence(capsys, words, "test.csv row 2", "'7'")


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--data", "nowhere"], "train.csv does not exist"),
        (["--base", "nowhere"], "nowhere is no model directory"),
        (["--epochs", "0"], "epochs is 0"),
        (["--epochs", "nan"], "epochs is nan"),
        (["--epochs", "inf"], "epochs is inf"),
        (["--lm-epochs", "inf"], "lm_epochs is inf"),
        (["--lr", "nan"], "lr is nan"),
        (["--weight-decay", "inf"], "weight_decay is inf"),
        (["--save-minutes", "nan"], "save_minutes is nan"),
        (["--seed", str(2**70)], "seed is far out of range"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--lr", "0"], "lr is 0"),
        (["--max-length", "65"], "max_length is 65; tiny reads up to 64"),
        (["--smoothing", "1"], "smoothing is 1"),
        (["--dropout", "-0.1"], "dropout is -0.1"),
        (["--patience", "-1"], "patience is -1"),
        (["--limit", "-1"], "limit is -1"),
        (["--limit", "1"], "1 row"),
    ],
)
def test_a_flag_that_can_not_be_ends_in_one_sentence(command, capsys, options, mention):
    assert_fails_in_one_sentence(capsys, [*command, *RUN, *options], mention)


def test_a_file_in_the_place_of_the_output_is_found_before_training(command, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert_fails_in_one_sentence(capsys, [*command, *RUN], "out is a file")
