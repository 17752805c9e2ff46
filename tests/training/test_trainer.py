"""gpt2.training.trainer: a run that was stopped goes on as if it had not been."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gpt2.model import GPT2, init_weights
from gpt2.training import processes
from gpt2.training import state as states
from gpt2.training.losses import head_loss
from gpt2.training.trainer import Trainer, TrainSettings

SETTINGS = TrainSettings(steps=6, lr=1e-2, warmup=2, average=0.9, accumulate=2)


@pytest.fixture
def new_run(tiny_config):
    """new_run(settings, seed=0): a trainer of a fresh model with dropout, and its loss."""

    def make(settings, *, seed=0, state=None):
        model = GPT2(replace(tiny_config, dropout=0.2))
        init_weights(model, seed=seed)

        def loss_of(batch):
            generator = torch.Generator().manual_seed(batch)
            ids = torch.randint(97, (2, 9), generator=generator)
            return head_loss(model.hidden(ids[:, :-1]), model.wte.weight, ids[:, 1:])

        return Trainer(model, settings, state=state), loss_of

    return make


def linear_run(settings, *, width=4):
    """A trainer of one linear layer, and the loss of single rows of a regression."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(32, width, generator=generator)
    targets = rows @ torch.randn(width, 2, generator=generator)
    model = nn.Linear(width, 2)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, width, generator=generator))
        model.bias.zero_()

    def loss_of_rows(some):
        return (model(rows[some]) - targets[some]).square().mean()

    return Trainer(model, settings), loss_of_rows


def bits(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def kept(tmp_path, **options):
    """A state beside tmp_path/out."""
    return states.State(states.RunSettings(out=str(tmp_path / "out"), **options), {"lr": 1})


def measured(point):
    return replace(point, read=9 * point.step, held_out={"loss": point.loss / 2})


def run(trainer, loss_of, *complete, **options):
    return list(trainer.run(loss_of, *complete, **options))


# --- settings --------------------------------------------------------------------------------


def test_the_learning_rate_rises_linearly_then_falls_along_a_cosine():
    settings = TrainSettings(steps=110, lr=2.0, warmup=10)
    assert [settings.lr_at(step) for step in range(10)] == pytest.approx(
        [0.2 * (step + 1) for step in range(10)]
    )
    assert settings.lr_at(10) == 2.0
    assert settings.lr_at(60) == pytest.approx(1.0)  # halfway between 2 and 0
    assert settings.lr_at(35) == pytest.approx(1 + math.sqrt(0.5))
    assert settings.lr_at(109) == pytest.approx(0, abs=1e-3)
    falling = [settings.lr_at(step) for step in range(10, 110)]
    assert falling == sorted(falling, reverse=True)


def test_the_learning_rate_starts_at_its_peak_without_warmup():
    assert TrainSettings(steps=5, lr=0.3).lr_at(0) == 0.3


def test_reports_carry_the_rate_of_the_schedule(new_run):
    settings = TrainSettings(steps=4, lr=1e-2, warmup=2)
    rates = [report.lr for report in run(*new_run(settings))]
    assert rates == [settings.lr_at(step) for step in range(4)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("accumulate", 0),
        ("lr", 0.0),
        ("lr", -1.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("average", 1.0),
        ("average", -0.1),
    ],
)
def test_settings_that_can_not_train_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        TrainSettings(**{"steps": 5, "lr": 1e-3, name: value})


# --- the loop --------------------------------------------------------------------------------


def test_training_lowers_the_loss(new_run):
    trainer, _ = new_run(TrainSettings(steps=60, lr=1e-2))
    model = trainer.model
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5]])

    def loss_of(batch):
        return head_loss(model.hidden(ids[:, :-1]), model.wte.weight, ids[:, 1:])

    reports = run(trainer, loss_of, report_every=10)
    assert reports[0].loss > 2
    assert reports[-1].loss < 0.5


def test_reports_come_every_so_many_steps_and_at_the_end(new_run):
    trainer, loss_of = new_run(TrainSettings(steps=8, lr=1e-3))
    assert [r.step for r in trainer.run(loss_of, report_every=3, until=5)] == [3, 5]
    assert [r.step for r in trainer.run(loss_of, report_every=3)] == [6, 8]
    assert run(trainer, loss_of) == []


def test_a_report_is_the_mean_loss_of_the_steps_since_the_last():
    steps = list(range(6))
    singles = [r.loss for r in run(*linear_run(TrainSettings(steps=6, lr=1e-2)))]
    pairs = run(*linear_run(TrainSettings(steps=6, lr=1e-2)), report_every=2)
    expected = [(singles[i] + singles[i + 1]) / 2 for i in steps[::2]]
    assert [report.loss for report in pairs] == pytest.approx(expected, rel=1e-5)


def test_accumulating_two_batches_equals_one_of_twice_the_size():
    """To 1e-6, float32, in weights of size about 1."""
    half, loss_of_rows = linear_run(TrainSettings(steps=6, lr=1e-2, accumulate=2))
    half_losses = [r.loss for r in half.run(lambda i: loss_of_rows(slice(2 * i, 2 * i + 2)))]
    whole, loss_of_rows = linear_run(TrainSettings(steps=6, lr=1e-2))
    whole_losses = [r.loss for r in whole.run(lambda i: loss_of_rows(slice(4 * i, 4 * i + 4)))]
    torch.testing.assert_close(bits(half.model), bits(whole.model), atol=1e-6, rtol=0)
    assert half_losses == pytest.approx(whole_losses, rel=1e-5)


def test_parts_of_a_loss_add_up_over_processes(monkeypatch):
    """Adam hides a wrong scale from the weights, but clipping and the report do not."""
    trainer, loss_of_rows = linear_run(TrainSettings(steps=3, lr=1e-2))
    alone = run(trainer, lambda i: loss_of_rows(slice(4 * i, 4 * i + 4)))
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes.distributed, "all_reduce", lambda flat: flat.mul_(2))
    trainer, loss_of_rows = linear_run(TrainSettings(steps=3, lr=1e-2))
    halves = run(trainer, lambda i: loss_of_rows(slice(4 * i, 4 * i + 4)) / 2)
    for mine, expected in zip(halves, alone, strict=True):
        assert mine.loss == pytest.approx(expected.loss, rel=1e-5)
        assert mine.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-5)


def test_a_process_without_a_share_of_a_batch_takes_the_step_all_the_same():
    trainer, _ = linear_run(TrainSettings(steps=1, lr=1e-2, weight_decay=0.0))
    before = bits(trainer.model).clone()
    (report,) = trainer.run(lambda i: torch.zeros((), requires_grad=True))
    assert report.gradient_norm == 0
    assert torch.equal(bits(trainer.model), before)


def test_processes_draw_other_dropout_and_the_same_again(monkeypatch):
    """All processes dropped the same places."""

    def drawn(process):
        monkeypatch.setattr("gpt2.training.trainer.rank", lambda: process)
        seen = []
        trainer, loss_of_rows = linear_run(TrainSettings(steps=3, lr=1e-2, seed=5))
        run(trainer, lambda i: (seen.append(torch.rand(()).item()), loss_of_rows(slice(0, 4)))[1])
        return seen

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 6


def test_only_matrices_decay():
    trainer, _ = linear_run(TrainSettings(steps=1, lr=0.1, weight_decay=0.5))
    model = trainer.model
    nn.init.ones_(model.bias)
    before = model.weight.detach().clone()
    run(trainer, lambda i: 0.0 * (model.weight.sum() + model.bias.sum()))
    torch.testing.assert_close(model.weight.detach(), 0.95 * before, atol=1e-6, rtol=0)
    assert (model.bias == 1).all()


def test_a_large_gradient_is_clipped_and_reported_as_it_was():
    trainer, _ = linear_run(TrainSettings(steps=1, lr=1e-3, clip=0.5))
    seen = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(trainer.model.bias.grad.norm()))
    )
    (report,) = trainer.run(lambda i: 300 * trainer.model.bias.sum())
    assert report.gradient_norm == pytest.approx(300 * math.sqrt(2), rel=1e-4)
    assert seen[0] == pytest.approx(0.5, rel=1e-4)


def test_frozen_parameters_do_not_move():
    trainer, loss_of_rows = linear_run(TrainSettings(steps=3, lr=0.1))
    trainer.model.bias.requires_grad_(False)
    frozen = Trainer(trainer.model, trainer.settings)
    run(frozen, lambda i: loss_of_rows(slice(0, 8)))
    assert (trainer.model.bias == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(value):
    trainer, loss_of_rows = linear_run(TrainSettings(steps=9, lr=1e-3))
    with pytest.raises(FloatingPointError, match="at step 4"):
        run(trainer, lambda i: loss_of_rows(slice(0, 4)) * (value if i == 3 else 1))


# --- stopping and going on -------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(new_run, tmp_path, stop):
    torch.manual_seed(1)
    whole, loss_of = new_run(SETTINGS)
    run(whole, loss_of)

    torch.manual_seed(1)
    first, loss_of = new_run(SETTINGS, state=kept(tmp_path))
    before = run(first, loss_of, measured, until=stop)
    first.state = None
    run(first, loss_of, until=stop + 1)  # lost when the run is killed

    torch.manual_seed(1234)  # another process: other weights, other random numbers
    second, loss_of = new_run(SETTINGS, seed=9, state=kept(tmp_path, resume=True))
    assert second.points == before
    assert second.step == stop
    reports = run(second, loss_of)

    assert reports[-1].step == SETTINGS.steps
    assert torch.equal(bits(second.model), bits(whole.model))
    with second.averaged() as ours, whole.averaged() as theirs:
        assert torch.equal(bits(ours), bits(theirs))


def test_a_save_that_fails_keeps_the_state_before_it(monkeypatch, new_run, tmp_path):
    trainer, loss_of = new_run(SETTINGS, state=kept(tmp_path))
    run(trainer, loss_of, until=1)

    def disk_full(state, file):
        file.write(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states.torch, "save", disk_full)
    with pytest.raises(OSError):
        run(trainer, loss_of, until=2)
    other, _ = new_run(SETTINGS, state=kept(tmp_path, resume=True))
    assert other.step == 1


# --- averaging -------------------------------------------------------------------------------


def test_averaged_weights_lend_themselves_and_give_the_trained_ones_back(new_run):
    trainer, loss_of = new_run(SETTINGS)
    run(trainer, loss_of)
    trained = bits(trainer.model).clone()
    with trainer.averaged() as model:
        assert not model.training
        assert not torch.equal(bits(model), trained)
    assert torch.equal(bits(trainer.model), trained)


def test_averaged_weights_are_given_back_after_an_error(new_run):
    trainer, loss_of = new_run(SETTINGS)
    run(trainer, loss_of)
    trained = bits(trainer.model).clone()
    with pytest.raises(RuntimeError), trainer.averaged():
        raise RuntimeError("measuring failed")
    assert torch.equal(bits(trainer.model), trained)


def test_measuring_in_the_middle_of_a_run_changes_nothing(new_run):
    torch.manual_seed(1)
    plain, loss_of = new_run(SETTINGS)
    run(plain, loss_of)
    torch.manual_seed(1)
    measured, loss_of = new_run(SETTINGS)
    for _ in measured.run(loss_of):
        with measured.averaged() as model:
            model(torch.tensor([[1, 2, 3]]))
    assert torch.equal(bits(measured.model), bits(plain.model))


def test_the_average_follows_its_decay():
    trainer, loss_of_rows = linear_run(TrainSettings(steps=5, lr=0.1, average=0.3))
    expected = bits(trainer.model).clone()
    for step, _ in enumerate(trainer.run(lambda i: loss_of_rows(slice(0, 8)))):
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * bits(trainer.model)
    with trainer.averaged() as model:
        torch.testing.assert_close(bits(model), expected, atol=1e-6, rtol=0)


def test_without_an_average_measuring_sees_the_trained_weights(new_run):
    trainer, loss_of = new_run(replace(SETTINGS, average=0.0))
    run(trainer, loss_of)
    trained = bits(trainer.model).clone()
    with trainer.averaged() as model:
        assert torch.equal(bits(model), trained)
