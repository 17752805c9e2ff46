"""What fine-tuning minimizes: the topic's cross-entropy, and next-token loss beside it.

Source: Radford et al. 2018, section 3.2, equation 5.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gpt2.agnews.rows import Rows, bucketed_batches
from gpt2.classifier import GPT2Classifier
from gpt2.training.losses import IGNORE, head_loss, low_precision
from gpt2.training.processes import rank, sum_over_processes, world_size


class Objective:
    """The loss of batch number i over shuffled epochs of the training rows.

    Processes share a batch row by row. Each divides by the rows and the target tokens of the whole
    batch, so the parts add up to the loss one process would have, however uneven the shares are.
    """

    def __init__(
        self,
        model: GPT2Classifier,
        rows: Rows,
        *,
        batch_size: int,
        seed: int,
        smoothing: float = 0.0,
        topic_weight: float = 1.0,
        language_weight: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            batch_size: texts in a batch, over all processes.
            seed: of the order of rows.
            smoothing: of labels, 0 to 1 (Szegedy et al. 2016, section 7).
            topic_weight, language_weight: of the two losses; one that is 0 is not computed.
        """
        self.model, self.rows = model, rows
        self.batch_size, self.seed, self.smoothing = batch_size, seed, smoothing
        self.topic_weight, self.language_weight = topic_weight, language_weight
        self.batches_per_epoch = -(-len(rows) // batch_size)
        self._epoch, self._batches = -1, list[np.ndarray]()
        self._hits = torch.zeros(2, device=model.score.weight.device)  # right, read

    def __call__(self, batch: int) -> Tensor:
        """This process's part of a batch's loss, differentiable."""
        chosen = self._chosen(batch)
        share = chosen[rank() :: world_size()]
        device = self.model.score.weight.device
        if not len(share):
            return torch.zeros((), device=device, requires_grad=True)
        ids, lengths, labels = self.rows.batch(share, device)
        with low_precision(device):
            hidden = self.model.transformer.hidden(ids)
        loss = torch.zeros((), device=device)
        if self.topic_weight:
            loss = loss + self.topic_weight * self._topic_loss(hidden, lengths, labels, len(chosen))
        if self.language_weight:
            targets = int((self.rows.lengths[chosen] - 1).sum())
            loss = loss + self.language_weight * self._language_loss(hidden, ids, lengths, targets)
        return loss

    def take_accuracy(self) -> float:
        """Share of rows named right since the last call, by all processes; with dropout on."""
        sum_over_processes([self._hits])
        right, read = self._hits.tolist()
        self._hits.zero_()
        return right / read if read else 0.0

    def _chosen(self, batch: int) -> np.ndarray:
        """Row numbers of a batch."""
        epoch, index = divmod(batch, self.batches_per_epoch)
        if epoch != self._epoch:
            self._batches = bucketed_batches(
                self.rows.lengths, batch_size=self.batch_size, seed=self.seed, epoch=epoch
            )
            self._epoch = epoch
        return self._batches[index]

    def _topic_loss(self, hidden: Tensor, lengths: Tensor, labels: Tensor, total: int) -> Tensor:
        with low_precision(hidden.device):
            logits = self.model.read(hidden, lengths)
        logits = logits.float()  # [B,C]
        right = (logits.argmax(dim=-1) == labels).sum()
        self._hits += torch.stack([right, torch.full_like(right, len(labels))])
        smoothing = self.smoothing
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum") / total

    def _language_loss(self, hidden: Tensor, ids: Tensor, lengths: Tensor, total: int) -> Tensor:
        positions = torch.arange(1, ids.size(1), device=ids.device)
        targets = ids[:, 1:].masked_fill(positions >= lengths[:, None], IGNORE)
        inputs = hidden[:, :-1]
        if hidden.is_cuda:
            inputs = inputs.bfloat16()
        return head_loss(inputs, self.model.transformer.wte.weight, targets, total=total)
