"""Fine-tuning a GPT-2 to name the topic of AG News texts.

Two stages on the training rows: first the language model reads the texts (Howard & Ruder 2018,
ULMFiT, section 3.2), then the classifier learns their labels, with next-token loss beside it
(Radford et al. 2018, section 3.2, equation 5). Rows held out from train.csv choose the epoch; the
test rows are read once, at the end. Imports: torch, numpy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2 import data
from gpt2.classifier import GPT2Classifier
from gpt2.data import News
from gpt2.lora import add_lora, merge_lora
from gpt2.losses import IGNORE, head_loss
from gpt2.tokenizer import Tokenizer
from gpt2.training import Report, Trainer, TrainSettings, low_precision, rank, world_size

TRAIN_MODES = ("head", "last-block", "last-two", "lora", "full")


@dataclass(frozen=True)
class FinetuneSettings:
    """What finetune_agnews.py's flags set; its --help says what each means."""

    train: str = "full"
    epochs: float = 3.0
    lm_epochs: float = 1.0
    batch_size: int = 64
    lr: float = 3e-4
    max_length: int = 128
    lm_weight: float = 0.2
    smoothing: float = 0.05
    dropout: float = 0.1
    weight_decay: float = 0.1
    average: float = 0.999
    runs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train not in TRAIN_MODES:
            raise ValueError(f"train is {self.train!r}; it must be one of {', '.join(TRAIN_MODES)}")
        for name in ("batch_size", "max_length", "runs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.epochs <= 0 or self.lm_epochs < 0:
            raise ValueError("epochs must be above 0 and lm_epochs at least 0")


class Rows:
    """Tokenized texts and labels, handed out in batches of similar length."""

    def __init__(self, news: News, tokenizer: Tokenizer, *, max_length: int) -> None:
        ids = tokenizer.encode_batch(news.texts)
        self.ids = [row[:max_length] for row in ids]
        self.labels = news.labels
        self.lengths = np.array([len(row) for row in self.ids])

    def batch(self, rows: Sequence[int] | np.ndarray, device: torch.device) -> tuple[Tensor, ...]:
        """Ids [B, T] padded right, lengths [B] and labels [B] of some rows."""
        ids = torch.from_numpy(data.pad_right([self.ids[int(row)] for row in rows]))
        lengths = torch.from_numpy(self.lengths[rows])
        labels = torch.from_numpy(self.labels[rows])
        return ids.to(device), lengths.to(device), labels.to(device)


class Objective:
    """The loss of batch number i over shuffled epochs of the training rows."""

    def __init__(
        self,
        model: GPT2Classifier,
        rows: Rows,
        settings: FinetuneSettings,
        *,
        language_only: bool = False,
        seed: int,
    ) -> None:
        self.model, self.rows, self.settings = model, rows, settings
        self.language_only, self.seed = language_only, seed
        self.batches_per_epoch = -(-len(rows.ids) // settings.batch_size)
        self._epoch, self._batches = -1, []

    def __call__(self, batch: int) -> Tensor:
        """Loss of this process's share of a batch, differentiable."""
        epoch, index = divmod(batch, self.batches_per_epoch)
        if epoch != self._epoch:
            self._batches = data.bucketed_batches(
                self.rows.lengths,
                batch_size=self.settings.batch_size,
                seed=self.seed,
                epoch=epoch,
            )
            self._epoch = epoch
        chosen = self._batches[index]
        device = self.model.score.weight.device
        ids, lengths, labels = self.rows.batch(chosen[rank() :: world_size()], device)
        with low_precision(device):
            hidden = self.model.transformer.hidden(ids)
            logits = self.model.read(hidden, lengths)
        loss = torch.zeros((), device=device)
        if not self.language_only:
            smoothing = self.settings.smoothing
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        weight = 1.0 if self.language_only else self.settings.lm_weight
        return loss + weight * self._language_loss(hidden, ids, lengths) if weight else loss

    def _language_loss(self, hidden: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        positions = torch.arange(1, ids.size(1), device=ids.device)
        targets = ids[:, 1:].masked_fill(positions >= lengths[:, None], IGNORE)
        inputs = hidden[:, :-1]
        if hidden.is_cuda:
            inputs = inputs.bfloat16()
        return head_loss(inputs, self.model.transformer.wte.weight, targets)


@torch.no_grad()
def predict(model: GPT2Classifier, rows: Rows, *, batch_size: int = 128) -> np.ndarray:
    """Class probabilities of every row: [N, C] in float32."""
    model.eval()
    device = model.score.weight.device
    probs = np.zeros((len(rows.ids), model.score.out_features), dtype=np.float32)
    order = np.argsort(rows.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, lengths, _ = rows.batch(chosen, device)
        with low_precision(device):
            logits = model(ids, lengths)
        probs[chosen] = logits.float().softmax(dim=-1).cpu().numpy()
    return probs


def scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1, each 0 to 1, and the mean negative log-likelihood in nats."""
    guess = probs.argmax(axis=1)
    f1 = []
    for label in range(probs.shape[1]):
        hits = int(((guess == label) & (labels == label)).sum())
        named = int((guess == label).sum()) + int((labels == label).sum())
        f1.append(2 * hits / named if named else 0.0)
    chosen = probs[np.arange(len(labels)), labels]
    return {
        "accuracy": float((guess == labels).mean()),
        "macro_f1": float(np.mean(f1)),
        "nll": float(-np.log(chosen.clip(1e-12)).mean()),
        "rows": len(labels),
    }


def choose_parameters(model: GPT2Classifier, train: str) -> None:
    """Freeze all but what `train` names; the head is always trained."""
    backbone = model.transformer
    backbone.requires_grad_(train == "full")
    if train in ("last-block", "last-two"):
        for block in backbone.h[-1 if train == "last-block" else -2 :]:
            block.requires_grad_(True)
        backbone.ln_f.requires_grad_(True)
    if train == "lora":
        add_lora(backbone)


def set_dropout(model: nn.Module, probability: float) -> None:
    """Set every dropout of a model."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


@dataclass(frozen=True)
class Progress:
    """A report of the loop, its stage, and held-out scores at the end of an epoch."""

    stage: str
    steps: int
    report: Report
    held_out: dict[str, float] | None = None


def finetune(
    model: GPT2Classifier,
    rows: Rows,
    held_out: Rows,
    settings: FinetuneSettings,
    *,
    state: Path,
    resume: bool = False,
) -> Iterator[Progress]:
    """Train a classifier in place; after the last yield it holds the finished weights.

    They are those of the best epoch; with several runs, the mean of the runs' best epochs
    (Wortsman et al. 2022, "Model soups"), all started from the same weights but
    reading the rows in other orders.

    Args:
        rows, held_out: rows to train on, and those that choose the epoch.
        state: a directory for what resuming needs.
        resume: go on from what stands there.
    """
    state.mkdir(parents=True, exist_ok=True)
    set_dropout(model, settings.dropout)
    if settings.lm_epochs:
        model.score.requires_grad_(False)
        task = Objective(model, rows, settings, language_only=True, seed=settings.seed)
        yield from _stage("language", model, task, held_out, state, resume=resume)
        model.score.requires_grad_(True)
    choose_parameters(model, settings.train)
    start = _copy(model)
    finished = []
    for run in range(settings.runs):
        model.load_state_dict(start)
        torch.manual_seed(settings.seed + run)
        task = Objective(model, rows, settings, seed=settings.seed + run)
        name = f"classifier-{run + 1}"
        yield from _stage(name, model, task, held_out, state, resume=resume)
        best = torch.load(_best_file(state, name), weights_only=True)
        finished.append(best["model"])
    model.load_state_dict(_mean(finished))
    if settings.train == "lora":
        merge_lora(model.transformer)
    model.requires_grad_(True)
    model.eval()


def _stage(
    stage: str,
    model: GPT2Classifier,
    task: Objective,
    held_out: Rows,
    state: Path,
    *,
    resume: bool,
) -> Iterator[Progress]:
    settings = task.settings
    epochs = settings.lm_epochs if task.language_only else settings.epochs
    steps = max(1, round(epochs * task.batches_per_epoch))
    trainer = Trainer(
        model,
        TrainSettings(
            steps=steps,
            lr=settings.lr,
            warmup=min(100, steps // 10 + 1),
            weight_decay=settings.weight_decay,
            beta2=0.98,
            average=0.0 if task.language_only else settings.average,
        ),
    )
    saved, best = state / f"{stage}.pt", _best_file(state, stage)
    if resume and saved.is_file():
        trainer.load(saved)
    elif rank() == 0:
        best.unlink(missing_ok=True)
    while trainer.step < steps:
        until = (trainer.step // task.batches_per_epoch + 1) * task.batches_per_epoch
        for report in trainer.run(task, report_every=10, until=until):
            measured = None
            if report.step == min(until, steps) and not task.language_only:
                with trainer.averaged():
                    measured = scores(predict(model, held_out), held_out.labels)
                    _keep_best(model, measured, best)
            yield Progress(stage, steps, report, measured)
        trainer.save(saved)


def _best_file(state: Path, stage: str) -> Path:
    return state / f"{stage}-best.pt"


def _keep_best(model: GPT2Classifier, measured: dict[str, float], path: Path) -> None:
    """Save the weights unless an earlier epoch's scored higher."""
    earlier = torch.load(path, weights_only=True)["accuracy"] if path.is_file() else -1.0
    if measured["accuracy"] > earlier and rank() == 0:
        partial = path.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "accuracy": measured["accuracy"]}, partial)
        partial.replace(path)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
