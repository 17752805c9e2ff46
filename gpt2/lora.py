"""Low-rank adaptation: train two thin matrices beside each frozen projection, then merge them.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
Imports: torch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2.model import GPT2


class LoRALinear(nn.Module):
    """A frozen linear layer plus scale * B A, where B starts at zero."""

    def __init__(self, frozen: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen
        self._trained = [parameter.requires_grad for parameter in frozen.parameters()]
        frozen.requires_grad_(False)
        like = {"device": frozen.weight.device, "dtype": frozen.weight.dtype}
        self.a = nn.Parameter(torch.empty(rank, frozen.in_features, **like))
        self.b = nn.Parameter(torch.zeros(frozen.out_features, rank, **like))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.scale * F.linear(F.linear(x, self.a), self.b)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain linear layer that computes the same, frozen only if it was before."""
        self.frozen.weight += self.scale * self.b @ self.a
        for parameter, trained in zip(self.frozen.parameters(), self._trained, strict=True):
            parameter.requires_grad_(trained)
        return self.frozen


def add_lora(model: GPT2, *, rank: int = 8, alpha: float = 16.0) -> None:
    """Wrap the attention and MLP projections of every block, in place."""
    for parent, name, layer in _projections(model, nn.Linear):
        setattr(parent, name, LoRALinear(layer, rank=rank, alpha=alpha))


def merge_lora(model: GPT2) -> None:
    """Undo add_lora, keeping what was learned: plain layers again, in place."""
    for parent, name, layer in _projections(model, LoRALinear):
        setattr(parent, name, layer.merged())


def _projections(model: GPT2, kind: type) -> list[tuple[nn.Module, str, nn.Module]]:
    return [
        (parent, name, layer)
        for block in model.h
        for parent in (block.attn, block.mlp)
        for name, layer in parent.named_children()
        if isinstance(layer, kind)
    ]
