"""Next-token loss without ever holding all the logits.

With 50,257 tokens the logits of one batch outweigh the model, so the head and its cross-entropy are
computed a few thousand tokens at a time, gradients at once, and only those are kept for backward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # a target that is not counted, as in F.cross_entropy


def _chunk(
    hidden: Tensor, weight: Tensor, targets: Tensor, vocab_size: int, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of some tokens and its gradients with respect to hidden and weight.

    Args:
        hidden: [N, C].
        weight: [V', C] with V' >= vocab_size; rows past it are padding.
        targets: [N].
        scale: one number, what each counted token's loss is multiplied by.
    """
    logits = F.linear(hidden, weight).float()  # [N,V']
    if weight.size(0) > vocab_size:
        logits[:, vocab_size:] = float("-inf")
    counted = targets != IGNORE
    index = targets.clamp(min=0)[:, None]
    log_total = logits.logsumexp(dim=-1, keepdim=True)
    losses = (log_total - logits.gather(1, index)).squeeze(1)
    probs = torch.exp(logits - log_total)
    columns = torch.arange(weight.size(0), device=logits.device)
    gradient = (probs - (columns == index).float()) * (counted[:, None] * scale)
    gradient = gradient.to(hidden.dtype)
    return (losses * counted).sum() * scale, gradient @ weight, gradient.t() @ hidden


Chunk = Callable[[Tensor, Tensor, Tensor, int, Tensor], tuple[Tensor, Tensor, Tensor]]


class _HeadLoss(torch.autograd.Function):
    """Mean cross-entropy of hidden @ weight.T against targets, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        divisor: Tensor,
        chunk_size: int,
        compute: Chunk,
    ) -> Tensor:
        vocab_size = weight.size(0)
        low = weight.to(hidden.dtype)
        if hidden.is_cuda:  # matrix units want multiples of 8
            low = F.pad(low, (0, 0, 0, -vocab_size % 64))
        scale = 1.0 / divisor
        loss = torch.zeros((), device=hidden.device)
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros(low.shape, device=hidden.device)
        for start in range(0, hidden.size(0), chunk_size):
            part = slice(start, start + chunk_size)
            value, d_part, d_low = compute(hidden[part], low, targets[part], vocab_size, scale)
            loss += value
            d_hidden[part] = d_part
            d_weight += d_low
        ctx.save_for_backward(d_hidden, d_weight[:vocab_size])
        return loss

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = upstreams
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * upstream.to(d_hidden.dtype), d_weight * upstream, None, None, None, None


def head_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    total: int | None = None,
    chunk_size: int | None = None,
    compute: Chunk = _chunk,
) -> Tensor:
    """Mean negative log-likelihood of targets under softmax(hidden @ weight.T).

    Args:
        hidden: [B, T, C], in the number type to compute in.
        weight: [V, C], the embedding matrix.
        targets: [B, T]; IGNORE where nothing is to be predicted.
        total: what the sum of losses is divided by; by default the number of counted targets. A
            process with a share of a batch gives the targets of the whole batch.
        chunk_size: tokens computed at once; by default what the device's memory likes.
        compute: _chunk, or a compiled form of it.

    Returns:
        One number in float32, in nats per token of `total`, differentiable in hidden and weight.
    """
    if chunk_size is None:
        chunk_size = 8192 if hidden.is_cuda else 128
    targets = targets.reshape(-1)
    divisor = (targets != IGNORE).sum() if total is None else torch.tensor(total)
    divisor = divisor.to(hidden.device).clamp(min=1)
    hidden = hidden.reshape(-1, hidden.size(-1))
    return _HeadLoss.apply(hidden, weight, targets, divisor, chunk_size, compute)  # type: ignore[no-untyped-call]


def compiled_chunk() -> Chunk:
    """_chunk through torch.compile, for a GPU."""
    return torch.compile(_chunk, dynamic=False)


def low_precision(device: torch.device) -> torch.autocast:
    """bfloat16 matrix products on a GPU, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
