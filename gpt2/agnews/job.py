"""One fine-tuning from its CSVs and its language model to a classifier's directory.

Imports: torch.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gpt2 import weights
from gpt2.agnews import baselines, report
from gpt2.agnews.download import find_or_download
from gpt2.agnews.finetune import FinetuneSettings, finetune
from gpt2.agnews.news import AGNEWS_LABELS, read_split
from gpt2.agnews.rows import Rows, news_scores
from gpt2.classifier import GPT2Classifier
from gpt2.tokenizer import Tokenizer, load_tokenizer
from gpt2.training.processes import machines, rank, wait_for_all
from gpt2.training.progress import Point
from gpt2.training.state import RunSettings, State
from gpt2.vocabulary import keep_max_length
from gpt2.weights.hub import find_directory


@dataclass(frozen=True, kw_only=True)
class FinetuneRun(RunSettings):
    """What a fine-tuning reads, and measures beside it.

    Args:
        data: directory of train.csv and test.csv; if left out, downloaded.
        base: language model to start from, by name or directory.
        limit: use so many random rows of train.csv, 0 = all.
        baseline: measure TF-IDF + linear models on the same rows.
    """

    data: str | None = None
    base: str = "mini"
    limit: int = 0
    baseline: bool = False
    save_minutes: float = 1.0


class Finetuning:
    """A classifier to be, the rows it reads, and its curve so far."""

    def __init__(
        self, settings: FinetuneSettings, where: FinetuneRun, device: torch.device
    ) -> None:
        """Read what it needs.

        Raises:
            OSError, ValueError: files or settings that can't be used.
        """
        self.settings, self.where, self.device = settings, where, device
        if where.baseline:
            baselines.check_installed()
        self.out, self.base = Path(where.out), find_directory(where.base)
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"{self.out} is a file; --out takes a directory")
        self.model, tokenizer = new_classifier(self.base, settings)
        self.model.to(device)
        data = find_data(where.data, device)
        self.split = read_split(data, limit=where.limit, seed=settings.seed)
        self.train_rows, self.held_out, self.test = (
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
        self.total_texts = round(len(self.train_rows) * passes)
        self.points: list[Point] = []
        self.seconds = 0.0

    def train(self) -> Iterator[Point]:
        """Points of the curve, as finetune yields them."""
        start = time.perf_counter()
        for point in finetune(
            self.model, self.train_rows, self.held_out, self.settings, state=self.state
        ):
            self.points.append(point)
            yield point
        self.seconds = time.perf_counter() - start

    def metrics(self) -> dict[str, Any]:
        """What came of it, measured on held-out rows and on test rows; all processes share."""
        rate = None if self.where.resume else self.points[-1].read / self.seconds
        found: dict[str, Any] = {
            "settings": asdict(self.settings),
            "base": {"name": self.where.base, "sha256": self.base_hash},
            "data": self.files,
            "train_rows": len(self.train_rows),
            "commit": report.commit(),
            "versions": report.versions(),
            **machines(self.device),
            "train_seconds": self.seconds,  # of this call, which may have gone on from a state
            "train_texts_per_second": rate,
        }
        start, read = time.perf_counter(), len(self.held_out)
        found["held_out"] = news_scores(self.model, self.held_out)
        if self.split.has_test:
            found["test"] = news_scores(self.model, self.test)
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
        with weights.whole_directory(self.out) as work:
            weights.write_model(self.model, work, vocabulary=self.base, dtype=dtype)
            keep_max_length(work, self.settings.max_length)
            for name, (picture, _) in pictures.items():
                (work / name).write_bytes(picture)
            weights.write_json(work / "metrics.json", full)
        self.state.remove()


def find_data(given: str | None, device: torch.device) -> Path:
    """The directory of the CSVs; downloads them if none was given, one process for all."""
    if given:
        return Path(given)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        find_or_download()
    wait_for_all(device)
    return find_or_download()


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
