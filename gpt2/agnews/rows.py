"""AG News as tokens: batches of texts of similar length, and a classifier's answers to them."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2.agnews.metrics import metrics_of
from gpt2.agnews.news import AGNEWS_LABELS, News, rows_of_classes
from gpt2.classifier import GPT2Classifier
from gpt2.prediction import by_length
from gpt2.tokenizer import Tokenizer
from gpt2.training.losses import low_precision
from gpt2.training.processes import rank, sum_over_processes, world_size


class Rows:
    """Tokenized texts and labels, handed out in batches."""

    def __init__(self, news: News, tokenizer: Tokenizer, *, max_length: int) -> None:
        ids = tokenizer.encode_batch(news.texts)
        self.ids = [row[:max_length] for row in ids]
        self.labels = news.labels
        self.lengths = np.array([len(row) for row in self.ids])

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int] | np.ndarray, device: torch.device) -> tuple[Tensor, ...]:
        """Ids [B, T] padded right, lengths [B] and labels [B] of some rows."""
        ids = torch.from_numpy(pad_right([self.ids[int(row)] for row in rows]))
        lengths = torch.from_numpy(self.lengths[rows])
        labels = torch.from_numpy(self.labels[rows])
        return ids.to(device), lengths.to(device), labels.to(device)


def bucketed_batches(
    lengths: np.ndarray, *, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """One epoch of row indices in batches of similar length, in random order.

    Sorting only within stretches of 64 batches keeps the order random while little is padded.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    stretch = 64 * batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def pad_right(rows: Sequence[Sequence[int]], *, pad: int = 0) -> np.ndarray:
    """Token rows of different lengths, at least one, as one int64 array [B, longest].

    What stands on the right is never read, so any token of any vocabulary pads.
    """
    padded = np.full((len(rows), max(len(row) for row in rows)), pad, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


@torch.no_grad()
def predict(model: GPT2Classifier, rows: Rows) -> np.ndarray:
    """Class probabilities of every row: [N, C] in float32; several processes share the work."""
    model.eval()
    device = model.score.weight.device
    probs = torch.zeros(len(rows), model.score.out_features, device=device)
    batches = by_length(rows.lengths.tolist(), device=device)
    for batch in islice(batches, rank(), None, world_size()):
        ids, lengths, _ = rows.batch(batch, device)
        with low_precision(device):
            logits = model(ids, lengths)
        probs[torch.tensor(batch, device=device)] = logits.float().softmax(dim=-1)
    sum_over_processes([probs])  # a row is zero in all processes but one
    return probs.cpu().numpy()


def news_metrics(model: GPT2Classifier, rows: Rows) -> dict[str, Any]:
    """Scores of a classifier; see news_scores."""
    return news_scores(predict(model, rows), rows.labels, model.transformer.config.labels)


def news_scores(
    probs: np.ndarray, truth: np.ndarray, names: Sequence[str], *, labels: str | None = None
) -> dict[str, Any]:
    """Scores of answers by labels that are AG News's, in any order and maybe among others.

    The answer is the likeliest of all labels; one that is no class of the file is wrong.

    Args:
        probs: [N, C], of the model's labels.
        truth: [N], the classes.
        names: of the C labels.
        labels: which of them are classes 1 to 4; by their names if None.

    Returns:
        Those of metrics.metrics_of, classes in AG News's order and then the other labels; and
        labels, what the model calls each class.

    Raises:
        ValueError: the labels are not those of AG News.
    """
    chosen = rows_of_classes(names, given=labels)
    others = [i for i in range(len(names)) if i not in chosen]
    classes = [*AGNEWS_LABELS, *(names[i] for i in others)]
    own = {name: names[i] for name, i in zip(AGNEWS_LABELS, chosen, strict=True)}
    return {**metrics_of(probs[:, chosen + others], truth, classes), "labels": own}
