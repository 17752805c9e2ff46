"""gpt2.pretrain: from text to a model directory, alone, interrupted, and in two processes."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import small_disk
from runs import by_ranks, kill_when

from gpt2 import pretrain, weights
from gpt2.training import next_token
from gpt2.training.losses import head_loss

PROGRAM = ["-m", "gpt2.pretrain"]
SHAPE = ["--layers", "2", "--heads", "2", "--embd", "32", "--context", "32"]
STEPS = 6
RUN = [
    *SHAPE,
    *("--batch-size", "4", "--tokens", str(STEPS * 4 * 32), "--warmup", "2", "--lr", "3e-3"),
    *("--hold-out-every", "5", "--report-every", "1", "--eval-every", "3"),
    *("--save-dtype", "float32", "--device", "cpu", "--seed", "3"),
]


@pytest.fixture(autouse=True)
def same_precision_after():
    """Pretraining sets how exact matrix products are, for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Thirty documents of sixty words from a dozen."""
    rng = random.Random(0)
    words = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "red", "old", "mat", "and"]
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(
        "".join(" ".join(rng.choices(words, k=60)) + ".\n<|endoftext|>\n" for _ in range(30))
    )
    return path


@pytest.fixture
def command(text, vocabulary, tmp_path):
    """Arguments of a run of six steps into tmp_path/out."""
    return ["--data", str(text), "--out", str(tmp_path / "out"), "--vocab", str(vocabulary), *RUN]


@pytest.fixture(scope="module")
def finished(text, vocabulary, tmp_path_factory):
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished") / "out"
    command = ["--data", str(text), "--out", str(out), "--vocab", str(vocabulary), *RUN]
    assert pretrain.main(command) == 0
    return out


def parameters(directory):
    model = weights.load_language_model(directory)
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def assert_fails_in_one_sentence(capsys, command, *mentions):
    """Status 1 or 2, and nothing like a traceback on standard error."""
    try:
        status = pretrain.main(command)
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status in (1, 2)
    assert "Traceback" not in error
    said = [line for line in error.splitlines() if re.match(r"(python -m )?gpt2\.pretrain: ", line)]
    assert len(said) == 1, error  # on a line of its own, not behind the progress bar
    for mention in mentions:
        assert mention in said[0]


# --- one process -----------------------------------------------------------------------------


def test_a_run_writes_a_model_directory_that_loads(finished):
    model = weights.load_language_model(finished)
    assert (model.config.n_layer, model.config.n_head) == (2, 2)
    assert (model.config.n_embd, model.config.n_ctx) == (32, 32)
    assert [path.name for path in finished.parent.iterdir()] == ["out"]  # no state, no scratch


def test_a_run_learns(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    losses = [point["loss"] for point in metrics["curve"]]
    assert len(losses) == STEPS
    assert losses[0] == pytest.approx(np.log(50257), abs=0.1)  # it knows nothing
    assert losses[-1] < losses[0] - 0.3
    assert metrics["held_out_loss"] < losses[0] - 0.3


def test_metrics_say_what_was_run_and_measured(finished, tokenizer, text):
    metrics = json.loads((finished / "metrics.json").read_text())
    model = weights.load_language_model(finished)
    corpus = next_token.read_corpus([str(text)], tokenizer, hold_out_every=5, context=32)
    assert metrics["tokens_seen"] == STEPS * 4 * 32
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert metrics["train_tokens"] == len(corpus.train)
    assert metrics["held_out_tokens"] == (len(corpus.held_out) - 1) // 32 // 4 * 4 * 32
    assert metrics["held_out_perplexity"] == pytest.approx(np.exp(metrics["held_out_loss"]))
    assert "--layers 2" in metrics["command"]
    assert str(text.parent) not in metrics["command"]


@torch.no_grad()
def test_the_held_out_loss_is_that_of_the_model_that_was_saved(finished, tokenizer, text):
    """Over the held-out windows in whole batches of 4."""
    metrics = json.loads((finished / "metrics.json").read_text())
    model = weights.load_language_model(finished)
    held_out = next_token.read_corpus([str(text)], tokenizer, hold_out_every=5, context=32).held_out
    count = (len(held_out) - 1) // 32 // 4 * 4
    rows = np.stack([held_out[32 * i : 32 * i + 33] for i in range(count)]).astype(np.int64)
    ids = torch.from_numpy(rows)
    loss = head_loss(model.hidden(ids[:, :-1]), model.wte.weight, ids[:, 1:])
    assert metrics["held_out_loss"] == pytest.approx(float(loss), abs=1e-5)


def test_a_run_is_a_function_of_its_seed(command, finished, tmp_path):
    assert pretrain.main(command) == 0
    assert torch.equal(parameters(tmp_path / "out"), parameters(finished))
    assert pretrain.main([*command, "--seed", "4"]) == 0
    assert not torch.equal(parameters(tmp_path / "out"), parameters(finished))


@pytest.mark.parametrize("options", [[], ["--dropout", "0.1", "--average", "0.9"]])
@pytest.mark.slow
def test_an_interrupted_run_resumes_and_ends_with_the_same_bits(
    monkeypatch, command, tmp_path, options, capsys
):
    command = [*command, *options, "--save-minutes", "0"]
    assert pretrain.main(command) == 0
    whole = parameters(tmp_path / "out")
    curve = json.loads((tmp_path / "out" / "metrics.json").read_text())["curve"]

    command[command.index("--out") + 1] = str(tmp_path / "killed")
    real = next_token.NextToken.__call__

    def interrupted_at_the_fifth(self, batch):
        if batch == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(next_token.NextToken, "__call__", interrupted_at_the_fifth)
        assert_fails_in_one_sentence(capsys, command, "stopped; --resume goes on")
    assert not (tmp_path / "killed").exists()
    assert (tmp_path / "killed.state" / "pretraining.pt").is_file()

    read = []
    monkeypatch.setattr(
        next_token.NextToken, "__call__", lambda self, i: read.append(i) or real(self, i)
    )
    assert pretrain.main([*command, "--resume"]) == 0
    assert read == [4, 5]
    assert torch.equal(parameters(tmp_path / "killed"), whole)
    assert not (tmp_path / "killed.state").exists()
    resumed = json.loads((tmp_path / "killed" / "metrics.json").read_text())["curve"]
    assert [point["step"] for point in resumed] == [point["step"] for point in curve]


def test_a_killed_run_resumes_and_ends_with_the_same_bits(
    command, finished, tmp_path, root, starter
):
    """SIGKILL as soon as a state stands there."""
    command = [*command, "--save-minutes", "0"]
    state = tmp_path / "out.state" / "pretraining.pt"
    assert kill_when(state.is_file, [*PROGRAM, *command], root, starter) == -9
    assert not (tmp_path / "out").exists()
    assert pretrain.main([*command, "--resume"]) == 0
    assert torch.equal(parameters(tmp_path / "out"), parameters(finished))


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--lr", "1e-3"], "lr 0.003, and this one has 0.001"),
        (["--embd", "64"], "embd 32, and this one has 64"),  # gave a traceback
        (["--data", "other"], "tokens"),
    ],
)
def test_resuming_with_other_settings_or_data_ends_in_one_sentence(
    command, capsys, tmp_path, text, vocabulary, tokenizer, monkeypatch, options, mention
):
    def interrupt(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(next_token.NextToken, "held_out_loss", interrupt)
        assert_fails_in_one_sentence(
            capsys, [*command, "--save-minutes", "0", "--eval-every", "2"], "stopped"
        )
    assert (tmp_path / "out.state" / "pretraining.pt").is_file()
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().replace("cat", "cow"))
    options = [str(other) if word == "other" else word for word in options]
    assert_fails_in_one_sentence(capsys, [*command, *options, "--resume"], "out.state", mention)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_on_a_full_disk_it_says_so_and_a_larger_disk_goes_on_to_the_same_bits(
    command, finished, tmp_path, capsys
):
    disk = tmp_path / "disk"
    command[command.index("--out") + 1] = str(disk / "out")
    command += ["--save-minutes", "0"]
    with small_disk(disk, 25) as grow:  # the first state, but not the next one beside it
        assert_fails_in_one_sentence(capsys, command, "the disk is full", "--resume goes on")
        assert [path.name for path in disk.iterdir()] == ["out.state"]
        grow(100)
        assert pretrain.main([*command, "--resume"]) == 0
        assert torch.equal(parameters(disk / "out"), parameters(finished))


def test_samples_on_the_way_are_shown_and_kept(command, tmp_path, capsys):
    words = ["--sample", "The cat", "--sample-tokens", "5"]
    assert pretrain.main([*command, *words]) == 0
    samples = json.loads((tmp_path / "out" / "metrics.json").read_text())["samples"]
    assert [point["step"] for point in samples] == [3, 6]
    assert all(point["sample"].startswith("The cat") for point in samples)
    assert json.dumps(samples[0]["sample"]) in capsys.readouterr().out


def test_utilisation_is_reported_only_of_a_known_peak(command, finished, tmp_path):
    assert "model_flops_utilisation" not in json.loads((finished / "metrics.json").read_text())
    assert pretrain.main([*command, "--peak-tflops", "0.5"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    per_token = 6 * (metrics["parameters"] - 32 * 32) + 12 * 2 * 32 * 32
    expected = metrics["tokens_per_second"] * per_token / 0.5e12
    assert metrics["model_flops_utilisation"] == pytest.approx(expected)


def test_resuming_where_nothing_was_saved_starts_at_the_beginning(command, finished, tmp_path):
    assert pretrain.main([*command, "--resume"]) == 0
    assert torch.equal(parameters(tmp_path / "out"), parameters(finished))


def test_a_file_named_twice_is_read_twice_but_measured_once(text, tokenizer):
    once = next_token.read_corpus([str(text)], tokenizer, hold_out_every=5, context=32)
    twice = next_token.read_corpus([str(text)] * 2, tokenizer, hold_out_every=5, context=32)
    np.testing.assert_array_equal(twice.train, np.concatenate([once.train] * 2))
    np.testing.assert_array_equal(twice.held_out, once.held_out)


def test_no_held_out_document_is_trained_on(text, tokenizer):
    corpus = next_token.read_corpus([str(text)], tokenizer, hold_out_every=5, context=32)
    trained = set(tokenizer.decode(corpus.train.tolist()).split("<|endoftext|>"))
    measured = set(tokenizer.decode(corpus.held_out.tolist()).split("<|endoftext|>")) - {""}
    assert len(measured) == 6
    assert not trained & measured


# --- what fails ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--data", "no-such-file.txt"], "no-such-file.txt"),
        (["--vocab", "no-such-directory"], "no-such-directory"),
        (["--heads", "5"], "n_head is 5"),
        (["--context", "0"], "n_ctx is 0"),
        (["--context", "100000"], "one step takes 400000"),
        (["--context", "100000", "--tokens", "400000"], "one window takes 100001"),
        (["--lr", "0"], "lr is 0"),
        (["--average", "1"], "average is 1"),
        (["--average", "nan"], "average is nan"),
        (["--lr", "nan"], "error: lr is nan"),
        (["--save-minutes", "nan"], "error: save_minutes is nan"),
        (["--seed", "-1"], "error: seed is -1"),
        (["--warmup", "1.5"], "--warmup: invalid int value: '1.5'"),
        (["--tokens", "127"], "--tokens is 127; one step takes 128"),
        (["--hold-out-every", "1"], "holding out"),
        (["--device", "mps"], "mps is not available"),
        (["--batch-size", "0"], "batch"),
        (["--accumulate", "0"], "accumulate"),
        (["--hold-out-every", "0"], "hold"),
        (["--report-every", "0"], "report"),
        (["--eval-every", "0"], "eval"),
        (["--layers", "two"], "--layers"),
    ],
)
def test_a_flag_that_can_not_be_ends_in_one_sentence(
    monkeypatch, command, capsys, options, mention
):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert_fails_in_one_sentence(capsys, [*command, *options], mention)
    out = Path(command[command.index("--out") + 1])
    assert not out.exists()


def test_a_file_in_the_place_of_the_output_is_found_before_training(command, tmp_path, capsys):
    """It was found when all steps were done."""
    (tmp_path / "out").write_text("mine")
    assert_fails_in_one_sentence(capsys, command, "out is a file")


def test_a_loss_that_is_no_number_ends_in_one_sentence(monkeypatch, command, capsys, tmp_path):
    monkeypatch.setattr(next_token, "head_loss", lambda h, w, t, **_: h.sum() * float("nan"))
    assert_fails_in_one_sentence(capsys, command, "nan at step 1", "--lr")
    assert not (tmp_path / "out").exists()


# --- two processes ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_two(text, vocabulary, tmp_path_factory, root, starter):
    """The same run shared by two processes: its directory and what it printed."""
    out = tmp_path_factory.mktemp("two") / "out"
    command = ["--data", str(text), "--out", str(out), "--vocab", str(vocabulary), *RUN]
    return out, by_ranks([*PROGRAM, *command], root, starter)


def test_two_processes_end_with_the_held_out_loss_of_one(by_two, finished):
    """To 1e-4 nats: the same global batch, its gradients added up in another order."""
    one, two = (json.loads((path / "metrics.json").read_text()) for path in (finished, by_two[0]))
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], abs=1e-4)
    assert two["tokens_seen"] == one["tokens_seen"]


def test_two_processes_print_their_result_once(by_two):
    """Each of them printed it."""
    assert by_two[1].count('"held_out_perplexity"') == 1
    assert by_two[1].count('"step": 3,') == 1


@pytest.mark.soak
def test_more_processes_than_windows_of_a_batch(tmp_path, root, command, starter):
    """A process without a share ended the run with an error.

    pytest -n 0 -m soak tests/test_pretrain.py
    """
    command = [*command, "--batch-size", "1", "--tokens", str(2 * 32)]
    by_ranks([*PROGRAM, *command], root, starter)
    two = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert pretrain.main(command) == 0
    one = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], abs=1e-4)
