"""What pretraining minimizes: next-token loss over windows of a corpus, and over held-out ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2.model import GPT2
from gpt2.tokenizer import Tokenizer
from gpt2.training.corpus import hold_out, read_tokens, windows
from gpt2.training.losses import compiled_chunk, head_loss, low_precision
from gpt2.training.processes import rank, sum_over_processes, world_size

HELD_OUT_WINDOWS = 512  # measured at most


@dataclass(frozen=True)
class Corpus:
    """Tokens to train on and tokens held out, uint16 or uint32."""

    train: np.ndarray
    held_out: np.ndarray


def read_corpus(
    paths: Sequence[str], tokenizer: Tokenizer, *, hold_out_every: int, context: int
) -> Corpus:
    """Read files; one named twice counts twice, with the same documents held out."""
    end, least = tokenizer.end_id, context + 1
    parts = [
        hold_out(read_tokens(path, tokenizer), every=hold_out_every, end_id=end, least=least)
        for path in paths
    ]
    unique = {path: part[1] for path, part in zip(paths, parts, strict=True)}
    return Corpus(np.concatenate([part[0] for part in parts]), np.concatenate([*unique.values()]))


class NextToken:
    """The loss of batch number i, and of the held-out tokens."""

    def __init__(self, model: GPT2, corpus: Corpus, *, batch_size: int, seed: int) -> None:
        self.model, self.corpus = model, corpus
        self.batch_size, self.seed = batch_size, seed
        self.hidden = model.hidden
        self.chunk: dict[str, Any] = {}
        if model.device.type == "cuda":
            self.hidden = torch.compile(model.hidden)
            self.chunk = {"compute": compiled_chunk(), "chunk_size": 16384}

    def __call__(self, batch: int) -> Tensor:
        """This process's part of a batch's loss, differentiable; the parts add up to the loss."""
        rows = windows(
            self.corpus.train,
            context=self.model.config.n_ctx,
            batch_size=self.batch_size,
            step=batch,
            seed=self.seed,
        )
        return self.loss(rows[rank() :: world_size()], total=rows[:, 1:].size)

    def loss(self, rows: np.ndarray, *, total: int) -> Tensor:
        """Loss summed over windows [B, T + 1], of which there may be none, divided by `total`."""
        if not len(rows):
            return torch.zeros((), device=self.model.device, requires_grad=True)
        device = self.model.device
        ids = torch.from_numpy(rows)
        if device.type == "cuda":
            ids = ids.pin_memory().to(device, non_blocking=True)
        with low_precision(device):
            hidden = self.hidden(ids[:, :-1])
        if device.type == "cuda":
            hidden = hidden.bfloat16()
        return head_loss(hidden, self.model.wte.weight, ids[:, 1:], total=total, **self.chunk)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss over held_out_windows, in nats per token; several processes share them."""
        rows, size = self.held_out_windows(), self.batch_size
        self.model.eval()
        loss = torch.zeros((), device=self.model.device)
        for start in range(rank() * size, len(rows), world_size() * size):
            loss += self.loss(rows[start : start + size], total=rows[:, 1:].size)
        sum_over_processes([loss])
        return float(loss)

    def held_out_windows(self) -> np.ndarray:
        """The first held-out windows, 512 at most and whole batches: int64 [N, context + 1].

        Raises:
            ValueError: the held-out tokens fill none.
        """
        context, tokens = self.model.config.n_ctx, self.corpus.held_out
        count = min(HELD_OUT_WINDOWS, (len(tokens) - 1) // context)
        if count > self.batch_size:
            count -= count % self.batch_size
        if count < 1:
            raise ValueError(f"{len(tokens)} held-out tokens; one window takes {context + 1}")
        rows = [tokens[i * context : i * context + context + 1] for i in range(count)]
        return np.stack(rows).astype(np.int64)
