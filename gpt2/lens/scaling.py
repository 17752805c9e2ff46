"""A model with parts turned down, off or up: heads, MLPs, whole layers.

The weights stay as they are; what a part adds to the stream is multiplied on its way. Source:
Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 2.3 (a factor for each
head). Imports: torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2.cache import KVCache
from gpt2.checks import check_number
from gpt2.config import GPT2Config
from gpt2.model import GPT2, Block

LARGEST = 2


@dataclass(frozen=True)
class Scales:
    """How strongly each part works: 0 = off, 1 = as trained, up to 2.

    Args:
        heads: L rows of H, each head's share in what its attention adds.
        mlps: L, what each MLP adds.
        layers: L, everything a block adds; 0 skips it.

    Raises:
        ValueError: a number is no number from 0 to 2, or the lengths do not fit each other.
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

    @property
    def neutral(self) -> bool:
        """Whether all are 1."""
        return {*self.mlps, *self.layers, *(value for row in self.heads for value in row)} == {1}


class ScaledModel:
    """A view of a model through Scales, with what generate needs of one."""

    def __init__(self, model: GPT2, scales: Scales) -> None:
        """Look at a model, which must be in evaluation mode and is not changed.

        Raises:
            ValueError: the scales are of a model of another shape.
        """
        shape, wanted = (len(scales.heads), len(scales.heads[0])), model.config
        if shape != (wanted.n_layer, wanted.n_head):
            raise ValueError(
                f"the scales are for {shape[0]} layers of {shape[1]} heads; "
                f"the model has {wanted.n_layer} of {wanted.n_head}"
            )
        self._model = model
        self.config, self.device, self.dtype = model.config, model.device, model.dtype
        place = {"device": model.device, "dtype": model.dtype}
        self._heads = torch.tensor(scales.heads, **place)[:, None, :, None, None]  # [L,1,H,1,1]
        self._mlps = torch.tensor(scales.mlps, **place)
        self._layers = torch.tensor(scales.layers, **place)

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """As GPT2.hidden: [B, T] to [B, T, C]."""
        x = self._model.embed(ids, start=cache.length if cache is not None else 0)
        for layer, block in enumerate(self._model.h):
            whole = self._layers[layer]
            x = x + attend(block, x, self._heads[layer], cache, layer) * whole
            x = x + block.mlp(block.ln_2(x)) * (self._mlps[layer] * whole)
        if cache is not None:
            cache.advance(ids.size(1))
        return self._model.ln_f(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """As GPT2.logits: [..., C] to [..., V]."""
        return self._model.logits(hidden)


def attend(
    block: Block, x: Tensor, heads: Tensor, cache: KVCache | None = None, layer: int = 0
) -> Tensor:
    """What a block's attention adds with its heads scaled: [B, T, C].

    Args:
        heads: [B or 1, H, 1, 1]; c_proj's bias belongs to no head and stays.
    """
    answers = block.attn.heads(block.ln_1(x), cache, layer) * heads
    return block.attn.c_proj(block.attn.join(answers))
