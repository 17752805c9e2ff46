"""Which parameters of a classifier a fine-tuning trains: head, last blocks, thin matrices or all.

Source of the thin matrices: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models",
section 4.1.
"""

import math
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2.classifier import GPT2Classifier
from gpt2.model import GPT2

TrainMode = Literal["head", "last-block", "last-two", "lora", "full"]
Layer = TypeVar("Layer", bound=nn.Module)

TRAIN_MODES: tuple[TrainMode, ...] = get_args(TrainMode)


def choose_parameters(model: GPT2Classifier, train: TrainMode) -> None:
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


# --- LoRA: two thin matrices beside each frozen projection, merged in the end -------------------


class LoRALinear(nn.Module):
    """A frozen linear layer plus scale * B A, where B starts at zero."""

    def __init__(self, frozen: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen
        self._trained = [parameter.requires_grad for parameter in frozen.parameters()]
        frozen.requires_grad_(False)
        weight = frozen.weight
        self.a = nn.Parameter(weight.new_empty(rank, frozen.in_features))
        self.b = nn.Parameter(weight.new_zeros(frozen.out_features, rank))
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


def _projections(model: GPT2, kind: type[Layer]) -> list[tuple[nn.Module, str, Layer]]:
    return [
        (parent, name, layer)
        for parent in model.h.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, kind) and not isinstance(parent, LoRALinear)
    ]
