"""Fine-tuning a GPT-2 to name the topic of AG News texts.

Two stages on the training rows: first, if asked for, the language model reads the texts (Howard &
Ruder 2018, ULMFiT, section 3.2), then the classifier learns their labels. Rows held out from
train.csv choose the epoch and stop a run that no longer gets better; the test rows are measured
once, at the end. Imports: torch.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from gpt2.agnews.adapt import TRAIN_MODES, choose_parameters, merge_lora, set_dropout
from gpt2.agnews.rows import Rows, news_scores
from gpt2.agnews.topic_loss import Objective
from gpt2.checks import check_number
from gpt2.classifier import GPT2Classifier
from gpt2.training.processes import wait_for_all
from gpt2.training.state import read_state, write_state
from gpt2.training.trainer import Trainer, TrainSettings

MOST = 1_000_000  # of epochs, minutes and weights of losses


@dataclass(frozen=True)
class FinetuneSettings:
    """What finetune_agnews.py's flags set; its --help says what each means."""

    train: str = "full"
    epochs: float = 2.0
    patience: int = 2
    lm_epochs: float = 0.0
    batch_size: int = 32
    lr: float = 3e-4
    max_length: int = 128
    lm_weight: float = 0.0
    smoothing: float = 0.05
    dropout: float = 0.1
    weight_decay: float = 0.1
    average: float = 0.999
    runs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:
                check_number(field.name, getattr(self, field.name), 0, MOST)
        check_number("patience", self.patience, 0, MOST, whole=True)
        check_number("seed", self.seed, 0, 2**63 - 1, whole=True)
        if self.train not in TRAIN_MODES:
            raise ValueError(f"train is {self.train!r}; it must be one of {', '.join(TRAIN_MODES)}")
        for name in ("batch_size", "max_length", "runs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1")
        if not self.epochs > 0:
            raise ValueError(f"epochs is {self.epochs}; it must be above 0")
        TrainSettings(steps=1, lr=self.lr, average=self.average)  # refuses what it can't take


@dataclass(frozen=True)
class State:
    """Where a run keeps what resuming needs.

    Args:
        directory: seen by all processes.
        run: settings, data and model of the run by name; resuming wants the same.
        resume: go on from what stands there.
        minutes: between states saved within an epoch; there is one at each epoch's end too.
    """

    directory: Path
    run: Mapping[str, object]
    resume: bool = False
    minutes: float = 1.0

    def file(self, stage: str) -> Path:
        """The trainer's state in a stage."""
        return self.directory / f"{stage}.pt"

    def best(self, stage: str) -> Path:
        """The weights of a stage's best epoch."""
        return self.directory / f"{stage}-best.pt"


def finetune(
    model: GPT2Classifier, rows: Rows, held_out: Rows, settings: FinetuneSettings, *, state: State
) -> Iterator[dict]:
    """Train a classifier in place; after the last yield it holds the finished weights.

    They are those of the best epoch; with several runs, the mean of the runs' best epochs
    (Wortsman et al. 2022, "Model soups"), all started from the same weights but reading the rows in
    other orders.

    Args:
        rows, held_out: rows to train on, and those that choose the epoch.
        state: resumed from, and saved to.

    Yields:
        Points of the training curve, those before a resume too: stage, step and texts read in the
        stage, loss, accuracy (on training rows, with dropout); at the end of an epoch held_out,
        the scores on held-out rows.

    Raises:
        ValueError: the state is damaged or of another run.
        FloatingPointError, LostProcess: as Trainer.run.
    """
    set_dropout(model, settings.dropout)
    size, seed = settings.batch_size, settings.seed
    if settings.lm_epochs:
        model.score.requires_grad_(False)
        reading = {"topic_weight": 0.0, "language_weight": 1.0}
        task = Objective(model, rows, batch_size=size, seed=seed, **reading)
        yield from _stage("language", task, held_out, settings, state)
        model.score.requires_grad_(True)
    torch.manual_seed(seed)  # of LoRA's matrices
    choose_parameters(model, settings.train)
    start = _copy(model)
    weighing = {
        "smoothing": settings.smoothing,
        "language_weight": settings.lm_weight if settings.train != "head" else 0.0,
    }
    stages = [f"classifier-{run + 1}" for run in range(settings.runs)]
    for run, stage in enumerate(stages):
        model.load_state_dict(start)
        task = Objective(model, rows, batch_size=size, seed=seed + run, **weighing)
        yield from _stage(stage, task, held_out, settings, state)
    device = model.score.weight.device
    wait_for_all(device)  # until the first process has written the last of them
    best = [read_state(state.best(stage), run=state.run, device=device) for stage in stages]
    wait_for_all(device)  # until all have read: the caller may delete them
    model.load_state_dict(_mean(best))
    if settings.train == "lora":
        merge_lora(model.transformer)
    model.requires_grad_(True)
    model.eval()


def _stage(
    name: str, task: Objective, held_out: Rows, settings: FinetuneSettings, state: State
) -> Iterator[dict]:
    """Train on one task until its epochs are done or the held-out scores stop rising."""
    model, per_epoch = task.model, task.batches_per_epoch
    epochs = settings.epochs if task.topic_weight else settings.lm_epochs
    steps = max(1, round(epochs * per_epoch))
    trainer = Trainer(
        model,
        TrainSettings(
            steps=steps,
            lr=settings.lr,
            warmup=min(100, steps // 10 + 1),
            weight_decay=settings.weight_decay,
            beta2=0.98,
            average=settings.average if task.topic_weight else 0.0,
            seed=task.seed,
        ),
    )
    points: list[dict] = []
    if state.resume and state.file(name).is_file():
        points = trainer.load(state.file(name), run=state.run)["points"]
        yield from points
    saved = time.monotonic()
    every = 10 if model.transformer.device.type == "cuda" else 1  # a report waits for the GPU
    while trainer.step < steps and not _stalled(points, settings.patience):
        until = min((trainer.step // per_epoch + 1) * per_epoch, steps)
        for report in trainer.run(task, report_every=every, until=until):
            texts = round(report.step / per_epoch * len(task.rows))
            point = {"stage": name, "step": report.step, "texts": texts, "loss": report.loss}
            if task.topic_weight:
                point["accuracy"] = task.take_accuracy()
                if report.step == until:
                    point["held_out"] = _measure(trainer, held_out, points, state, name)
            points.append(point)
            if report.step == until or time.monotonic() - saved >= 60 * state.minutes:
                trainer.save(state.file(name), run=state.run, notes={"points": points})
                saved = time.monotonic()
            yield point


def _measure(
    trainer: Trainer, held_out: Rows, points: list[dict], state: State, stage: str
) -> dict[str, float]:
    """Scores on held-out rows; weights that beat those of the epochs in `points` are kept."""
    with trainer.averaged() as model:
        full = news_scores(model, held_out)
        found = {name: value for name, value in full.items() if isinstance(value, float)}
        if all(_rank_of(found) > _rank_of(earlier) for earlier in _measured(points)):
            write_state(state.best(stage), model.state_dict(), run=state.run)
    return found


def _measured(points: list[dict]) -> list[dict]:
    return [point["held_out"] for point in points if "held_out" in point]


def _rank_of(measured: dict[str, float]) -> tuple[float, float]:
    """What makes one epoch better than another: accuracy, then likelihood."""
    return measured["accuracy"], -measured["nll"]


def _stalled(points: list[dict], patience: int) -> bool:
    """Whether `patience` epochs have passed since the best one; never with a patience of 0."""
    ranks = [_rank_of(measured) for measured in _measured(points)]
    return bool(ranks) and 0 < patience <= len(ranks) - 1 - ranks.index(max(ranks))


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
