"""Fine-tuning a GPT-2 to name the topic of AG News texts.

Two stages on the training rows: first, if asked for, the language model reads the texts (Howard &
Ruder 2018, ULMFiT, section 3.2), then the classifier learns their labels. Rows held out from
train.csv choose the epoch and stop a run that no longer gets better; the test rows are measured
once, at the end.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gpt2 import weights
from gpt2.agnews import baselines, report
from gpt2.agnews.adapt import choose_parameters, merge_lora, set_dropout
from gpt2.agnews.download import find_or_download
from gpt2.agnews.news import AGNEWS_LABELS, read_split
from gpt2.agnews.rows import Rows, news_metrics
from gpt2.agnews.settings import FinetuneRun, FinetuneSettings
from gpt2.agnews.topic_loss import Objective
from gpt2.classifier import GPT2Classifier
from gpt2.tokenizer import Tokenizer, load_tokenizer
from gpt2.training.processes import machines, rank, wait_for_all
from gpt2.training.progress import Point
from gpt2.training.state import State
from gpt2.training.trainer import Trainer, TrainSettings
from gpt2.weights.hub import find_directory
from gpt2.weights.vocabulary_files import keep_max_length


class Finetuning:
    """A classifier to be, the rows it reads, and its curve so far."""

    def __init__(
        self, settings: FinetuneSettings, where: FinetuneRun, device: torch.device
    ) -> None:
        """Read what it needs, or raise an OSError or a ValueError that says why it can't."""
        self.settings, self.where, self.device = settings, where, device
        if where.baseline:
            baselines.check_installed()
        self.base = find_directory(where.base)
        self.model, tokenizer = new_classifier(self.base, settings)
        self.model.to(device)
        if not where.data and os.environ.get("LOCAL_RANK", "0") == "0":
            find_or_download()  # one process for all
        wait_for_all(device)
        data = Path(where.data) if where.data else find_or_download()
        self.split = read_split(data, limit=where.limit, seed=settings.seed)
        self.rows, self.held_out, self.test = (
            Rows(news, tokenizer, max_length=settings.max_length)
            for news in (self.split.train, self.split.held_out, self.split.test)
        )
        self.files, self.base_hash = report.files_of(data), weights.hash_weights(self.base)
        run = {
            **asdict(settings),
            "limit": where.limit,
            "base": self.base_hash,
            "train.csv": self.files["train.csv"],
        }
        self.state = State(where, run, device)
        passes = settings.lm_epochs + settings.runs * settings.epochs
        self.total_texts = round(len(self.rows) * passes)
        self.points: list[Point] = []
        self.seconds = 0.0

    def train(self) -> Iterator[Point]:
        """Train the classifier; after the last point it holds the finished weights.

        They are those of the best epoch; with several runs, the mean of the runs' best epochs
        (Wortsman et al. 2022, "Model soups"), all started from the same weights but reading the
        rows in other orders.

        Yields:
            Points of the training curve, those before a resume too. Those of the classifier have
            an accuracy, at the end of an epoch also the scores on held-out rows.
        """
        start = time.perf_counter()
        for point in self._stages():
            self.points.append(point)
            yield point
        self.seconds = time.perf_counter() - start

    def _stages(self) -> Iterator[Point]:
        model, settings, state = self.model, self.settings, self.state
        set_dropout(model, settings.dropout)
        objective = partial(Objective, model, self.rows, batch_size=settings.batch_size)
        if settings.lm_epochs:
            model.score.requires_grad_(False)
            task = objective(seed=settings.seed, topic_weight=0.0, language_weight=1.0)
            yield from self._stage("language", task)
            model.score.requires_grad_(True)
        torch.manual_seed(settings.seed)  # of LoRA's matrices
        choose_parameters(model, settings.train)
        first = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        language = settings.lm_weight if settings.train != "head" else 0.0
        classify = partial(objective, smoothing=settings.smoothing, language_weight=language)
        stages = [f"classifier-{run + 1}" for run in range(settings.runs)]
        for run, stage in enumerate(stages):
            model.load_state_dict(first)
            yield from self._stage(stage, classify(seed=settings.seed + run))
        wait_for_all(self.device)  # until the first process has written the last of them
        best = [state.read(f"{stage}-best") for stage in stages]
        wait_for_all(self.device)  # until all have read: the caller may delete them
        mean = {name: torch.stack([one[name] for one in best]).mean(0) for name in first}
        model.load_state_dict(mean)
        if settings.train == "lora":
            merge_lora(model.transformer)
        model.requires_grad_(True)
        model.eval()

    def _stage(self, name: str, task: Objective) -> Iterator[Point]:
        """Train on one task until its epochs are done or the held-out scores stop rising."""
        settings, per_epoch = self.settings, task.batches_per_epoch
        before = self.points[-1].read if self.points else 0
        epochs = settings.epochs if task.topic_weight else settings.lm_epochs
        steps = max(1, round(epochs * per_epoch))
        optimizing = TrainSettings(
            steps=steps,
            lr=settings.lr,
            warmup=min(100, steps // 10 + 1),
            weight_decay=settings.weight_decay,
            beta2=0.98,
            average=settings.average if task.topic_weight else 0.0,
            seed=task.seed,
        )
        trainer = Trainer(self.model, optimizing, state=self.state, stage=name)

        def complete(point: Point) -> Point:
            """With texts, accuracy and, at the end of an epoch, scores; keeps the best weights."""
            point = replace(point, read=before + round(point.step / per_epoch * len(self.rows)))
            if not task.topic_weight:
                return point
            point = replace(point, accuracy=task.take_accuracy())
            if point.step % per_epoch and point.step != steps:
                return point
            with trainer.averaged():
                found = news_metrics(self.model, self.held_out)
                numbers = {key: value for key, value in found.items() if isinstance(value, float)}
                point = replace(point, held_out=numbers)
                if max(_ranks([*trainer.points, point])) not in _ranks(trainer.points):
                    self.state.write(f"{name}-best", self.model.state_dict())
            return point

        yield from trainer.points
        every = 10 if self.device.type == "cuda" else 1  # a report waits for the GPU
        while trainer.step < steps and not _stalled(trainer.points, settings.patience):
            until = min((trainer.step // per_epoch + 1) * per_epoch, steps)
            yield from trainer.run(task, complete, report_every=every, until=until)

    def metrics(self) -> dict[str, Any]:
        """What came of it, measured on held-out rows and on test rows; all processes share."""
        texts = self.points[-1].read
        found: dict[str, Any] = {
            "settings": asdict(self.settings),
            "base": {"name": self.where.base, "sha256": self.base_hash},
            "data": self.files,
            "train_rows": len(self.rows),
            "commit": report.commit(),
            "versions": report.versions(),
            **machines(self.device),
            "train_seconds": self.seconds,  # of this call, which may have gone on from a state
            "train_texts_per_second": None if self.where.resume else texts / self.seconds,
        }
        start, read = time.perf_counter(), len(self.held_out)
        found["held_out"] = news_metrics(self.model, self.held_out)
        if self.split.has_test:
            found["test"] = news_metrics(self.model, self.test)
            read += len(self.test)
        found["texts_per_second"] = read / (time.perf_counter() - start)
        if self.where.baseline and rank() == 0:
            found["baselines"] = list(baselines.measure(self.split.train, self.split.test))
        return found

    def write(self, metrics: dict[str, Any], pictures: Mapping[str, tuple[bytes, str]]) -> None:
        """Write the classifier's directory with its metrics and curve; the state is done with.

        Args:
            pictures: a PNG file and its alt text by the file's name.
        """
        dtype = getattr(torch, self.where.save_dtype)
        alts = {name: alt for name, (_, alt) in pictures.items()}
        full = {**metrics, "figures": alts, **report.curves(self.points)}
        with weights.whole_directory(self.where.out) as work:
            weights.write_model(self.model, work, vocabulary=self.base, dtype=dtype)
            keep_max_length(work, self.settings.max_length)
            for name, (picture, _) in pictures.items():
                (work / name).write_bytes(picture)
            weights.write_json(work / "metrics.json", full)
        self.state.remove()


def new_classifier(base: Path, settings: FinetuneSettings) -> tuple[GPT2Classifier, Tokenizer]:
    """A language model with a fresh head that names AG News's labels, and its vocabulary.

    Raises:
        ValueError: it can't read texts of max_length, or its vocabulary is another model's.
    """
    config = weights.read_config(base)
    if settings.max_length > config.n_ctx:
        raise ValueError(
            f"max_length is {settings.max_length}; {base.name} reads up to {config.n_ctx} tokens"
        )
    tokenizer = load_tokenizer(base, rows=config.vocab_size)
    backbone = weights.load_language_model(base)
    pad = config.pad_token_id
    if pad is None or pad >= config.vocab_size:  # other programs look for the last token before it
        pad = tokenizer.end_id
    backbone.config = replace(backbone.config, labels=AGNEWS_LABELS, pad_token_id=pad)
    torch.manual_seed(settings.seed)
    model = GPT2Classifier(backbone)
    torch.nn.init.normal_(model.score.weight, std=0.02)
    return model, tokenizer


def _ranks(points: Sequence[Point]) -> list[tuple[float, float]]:
    """What makes one measured epoch better than another: accuracy, then likelihood."""
    measured = [point.held_out for point in points if point.held_out is not None]
    return [(found["accuracy"], -found["nll"]) for found in measured]


def _stalled(points: Sequence[Point], patience: int) -> bool:
    """Whether `patience` epochs have passed since the best one; never with a patience of 0."""
    ranks = _ranks(points)
    return bool(ranks) and 0 < patience <= len(ranks) - 1 - ranks.index(max(ranks))
