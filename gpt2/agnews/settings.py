"""How a classifier of news is fine-tuned: what makes it, and what the run reads."""

from dataclasses import dataclass, fields

from gpt2.agnews.adapt import TRAIN_MODES, TrainMode
from gpt2.checks import check_number
from gpt2.training.state import RunSettings
from gpt2.training.trainer import TrainSettings

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
        check_number("patience", self.patience, 0, whole=True)
        check_number("seed", self.seed, 0, 2**63 - 1, whole=True)
        if self.train not in TRAIN_MODES:
            raise ValueError(f"train is {self.train!r}; it must be one of {', '.join(TRAIN_MODES)}")
        for name in ("batch_size", "max_length", "runs"):
            check_number(name, getattr(self, name), 1, whole=True)
        for name in ("smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1")
        if not self.epochs > 0:
            raise ValueError(f"epochs is {self.epochs}; it must be above 0")
        TrainSettings(steps=1, lr=self.lr, average=self.average)  # refuses what it can't take


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
