"""A model with parts turned down, off or up: heads, MLPs, whole layers.

The weights stay as they are; what a part adds to the stream is multiplied on its way. Source:
Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 2.3 (a factor for each
head).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from gpt2.checks import check_number
from gpt2.config import GPT2Config
from gpt2.lens.blocks import blocks_of
from gpt2.model import GPT2, Block

LARGEST = 2
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Scales:
    """How strongly each part works: 0 = off, 1 = as trained, up to 2.

    Args:
        heads: L rows of H, each head's share in what its attention adds.
        mlps: L, what each MLP adds.
        layers: L, everything a block adds; 0 skips it.

    Raises:
        ValueError: a scale is not a number from 0 to 2, or the lengths do not fit each other.
    """

    heads: tuple[tuple[float, ...], ...]
    mlps: tuple[float, ...]
    layers: tuple[float, ...]

    def __post_init__(self) -> None:
        rows = {len(row) for row in self.heads}
        if len(rows) != 1 or not len(self.heads) == len(self.mlps) == len(self.layers):
            raise ValueError(
                f"scales are for {len(self.heads)} layers of heads ({sorted(rows)} in each), "
                f"{len(self.mlps)} MLPs and {len(self.layers)} layers; they must be of one model"
            )
        for layer, row in enumerate(self.heads):
            for head, value in enumerate(row):
                check_number(f"the scale of head {layer}.{head}", value, 0, LARGEST)
        for name, values in (("MLP", self.mlps), ("layer", self.layers)):
            for layer, value in enumerate(values):
                check_number(f"the scale of {name} {layer}", value, 0, LARGEST)

    @property
    def factors(self) -> tuple[tuple[float, ...], ...]:
        """L rows of H + 2: of a layer's heads, its MLP and the whole of it."""
        return tuple(
            (*heads, mlp, layer)
            for heads, mlp, layer in zip(self.heads, self.mlps, self.layers, strict=True)
        )

    @classmethod
    def of(
        cls,
        config: GPT2Config,
        *,
        heads: Mapping[tuple[int, int], float] | None = None,
        mlps: Mapping[int, float] | None = None,
        layers: Mapping[int, float] | None = None,
    ) -> "Scales":
        """Scales of a model of which only some parts differ from 1.

        Args:
            heads: by (layer, head).
            mlps, layers: by layer.

        Raises:
            ValueError: there is no such part, or the scale is none.
        """
        L, H = config.n_layer, config.n_head
        heads, mlps, layers = heads or {}, mlps or {}, layers or {}
        for layer in (*(place[0] for place in heads), *mlps, *layers):
            check_number("the layer to scale", layer, 0, L - 1, whole=True)
        for _, head in heads:
            check_number("the head to scale", head, 0, H - 1, whole=True)
        return cls(
            tuple(tuple(heads.get((layer, head), 1.0) for head in range(H)) for layer in range(L)),
            tuple(mlps.get(layer, 1.0) for layer in range(L)),
            tuple(layers.get(layer, 1.0) for layer in range(L)),
        )


def scaled_model(model: GPT2, scales: Scales) -> GPT2:
    """A view of a model through Scales, of the same parameters.

    Args:
        model: in evaluation mode; it is not changed.

    Raises:
        ValueError: the scales are of a model of another shape.
    """
    shape, wanted = (len(scales.heads), len(scales.heads[0])), model.config
    if shape != (wanted.n_layer, wanted.n_head):
        raise ValueError(
            f"the scales are for {shape[0]} layers of {shape[1]} heads; "
            f"the model has {wanted.n_layer} of {wanted.n_head}"
        )
    heads, mlps, layers = (
        torch.tensor(values, device=model.device, dtype=model.dtype)
        for values in (scales.heads, scales.mlps, scales.layers)
    )
    blocks = [
        scaled_block(block, heads=heads[layer], mlp=mlps[layer], whole=layers[layer])
        for layer, block in enumerate(blocks_of(model))
    ]
    return _replaced(model, h=nn.ModuleList(blocks))


def scaled_block(block: Block, *, heads: Tensor, mlp: Tensor, whole: Tensor | float = 1.0) -> Block:
    """A view of a block with its parts scaled.

    Args:
        heads: [H], or [N, 1, H] for N variants of [1, T, C]; c_proj's bias belongs to no head and
            stays.
        mlp: what the MLP adds, a number or [N, 1, 1].
        whole: all that the block adds.
    """
    columns = heads.repeat_interleave(len(block.ln_1.weight) // heads.size(-1), dim=-1)  # [..., C]
    c_proj = _Scaled(block.attn.c_proj, before=columns, after=whole)
    attn = _replaced(block.attn, c_proj=c_proj)
    return _replaced(block, attn=attn, mlp=_Scaled(block.mlp, after=mlp * whole))


class _Scaled(nn.Module):
    """A module whose input and output are multiplied on their way."""

    def __init__(
        self, module: nn.Module, *, before: Tensor | float = 1.0, after: Tensor | float = 1.0
    ) -> None:
        super().__init__()
        self.module, self.before, self.after = module, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x * self.before) * self.after


def _replaced(module: Module, **parts: nn.Module) -> Module:
    """A copy of a module that shares all but some of its parts with it."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **parts}
    return twin
