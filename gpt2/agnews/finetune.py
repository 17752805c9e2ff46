"""Fine-tuning a GPT-2 to name the topic of AG News texts.

Two stages on the training rows: first, if asked for, the language model reads the texts (Howard &
Ruder 2018, ULMFiT, section 3.2), then the classifier learns their labels. Rows held out from
train.csv choose the epoch and stop a run that no longer gets better; the test rows are measured
once, at the end. Imports: torch.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from gpt2.agnews.adapt import TRAIN_MODES, TrainMode, choose_parameters, merge_lora, set_dropout
from gpt2.agnews.rows import Rows, news_scores
from gpt2.agnews.topic_loss import Objective
from gpt2.checks import check_number
from gpt2.classifier import GPT2Classifier
from gpt2.training.processes import wait_for_all
from gpt2.training.progress import Point
from gpt2.training.state import State
from gpt2.training.trainer import Trainer, TrainSettings

MOST = 1_000_000  # of epochs and weights of losses


@dataclass(frozen=True)
class FinetuneSettings:
    """What makes the classifier; a state is resumed under the same settings only.

    Args:
        train: what is trained: the head alone, the last block or two with it, thin matrices beside
            all projections (lora), or all.
        epochs: passes over the training rows for the classifier, above 0.
        patience: stop after so many passes without a better held-out score, 0 = never.
        lm_epochs: passes of next-token training on their texts before that.
        batch_size: texts in a step, over all processes.
        lr: peak learning rate, above 0.
        max_length: tokens kept of a text.
        lm_weight: weight of the next-token loss beside the classifier's.
        smoothing: label smoothing, from 0 to below 1.
        dropout: dropout while training, from 0 to below 1.
        weight_decay: AdamW's decoupled decay of matrices.
        average: decay of the weights' running average, from 0 for none to below 1.
        runs: trainings in other orders of rows whose weights are averaged.
        seed: of the split, the order of rows, dropout and the head.
    """

    train: TrainMode = "full"
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


def finetune(
    model: GPT2Classifier, rows: Rows, held_out: Rows, settings: FinetuneSettings, *, state: State
) -> Iterator[Point]:
    """Train a classifier in place; after the last yield it holds the finished weights.

    They are those of the best epoch; with several runs, the mean of the runs' best epochs
    (Wortsman et al. 2022, "Model soups"), all started from the same weights but reading the rows in
    other orders.

    Args:
        rows, held_out: rows to train on, and those that choose the epoch.
        state: resumed from, and saved to.

    Yields:
        Points of the training curve, those before a resume too. Those of the classifier have an
        accuracy, at the end of an epoch also the scores on held-out rows.

    Raises:
        ValueError: the state is damaged or of another run.
        FloatingPointError, LostProcess: as Trainer.run.
    """
    set_dropout(model, settings.dropout)
    size, seed, read = settings.batch_size, settings.seed, 0
    if settings.lm_epochs:
        model.score.requires_grad_(False)
        reading = {"topic_weight": 0.0, "language_weight": 1.0}
        task = Objective(model, rows, batch_size=size, seed=seed, **reading)
        read = yield from _stage("language", task, held_out, settings, state, read)
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
        read = yield from _stage(stage, task, held_out, settings, state, read)
    wait_for_all(state.device)  # until the first process has written the last of them
    best = [state.read(f"{stage}-best") for stage in stages]
    wait_for_all(state.device)  # until all have read: the caller may delete them
    model.load_state_dict(_mean(best))
    if settings.train == "lora":
        merge_lora(model.transformer)
    model.requires_grad_(True)
    model.eval()


def _stage(
    name: str,
    task: Objective,
    held_out: Rows,
    settings: FinetuneSettings,
    state: State,
    before: int,
) -> Generator[Point, None, int]:
    """Train on one task until its epochs are done or the held-out scores stop rising.

    Args:
        before: texts read in earlier stages.

    Returns:
        Texts read in all so far.
    """
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
        state=state,
        stage=name,
    )

    def complete(point: Point) -> Point:
        """With texts, accuracy and, at the end of an epoch, held-out scores; keeps the best."""
        point = replace(point, read=before + round(point.step / per_epoch * len(task.rows)))
        if not task.topic_weight:
            return point
        point = replace(point, accuracy=task.take_accuracy())
        if point.step % per_epoch and point.step != steps:
            return point
        with trainer.averaged():
            found = news_scores(model, held_out)
            numbers = {key: value for key, value in found.items() if isinstance(value, float)}
            point = replace(point, held_out=numbers)
            if max(_ranks([*trainer.points, point])) not in _ranks(trainer.points):
                state.write(f"{name}-best", model.state_dict())
        return point

    yield from trainer.points
    every = 10 if model.transformer.device.type == "cuda" else 1  # a report waits for the GPU
    while trainer.step < steps and not _stalled(trainer.points, settings.patience):
        until = min((trainer.step // per_epoch + 1) * per_epoch, steps)
        yield from trainer.run(task, complete, report_every=every, until=until)
    return trainer.points[-1].read


def _ranks(points: Sequence[Point]) -> list[tuple[float, float]]:
    """What makes one measured epoch better than another: accuracy, then likelihood."""
    measured = [point.held_out for point in points if point.held_out is not None]
    return [(found["accuracy"], -found["nll"]) for found in measured]


def _stalled(points: Sequence[Point], patience: int) -> bool:
    """Whether `patience` epochs have passed since the best one; never with a patience of 0."""
    ranks = _ranks(points)
    return bool(ranks) and 0 < patience <= len(ranks) - 1 - ranks.index(max(ranks))


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
