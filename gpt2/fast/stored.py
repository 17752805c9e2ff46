"""A model whose matrices are stored in fewer bits, and which computes in float32.

A step of writing takes as long as reading the matrices takes, so half or a quarter of the bytes is
half or a quarter of the time. Only they are rounded, once: the stream between the blocks, norms,
biases, positions, the cache and the logits stay float32 (cpu.cpp rounds what int8 is multiplied
with too, to 16 bits). In int8 each row of a matrix, which makes one number of the output, has a
scale of its own, and its largest number is 127 of them (the "vector-wise" scheme of Dettmers et al.
2022, "LLM.int8()", section 2.1, for the weights alone).
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2.model import GPT2

LEVELS = 127  # int8 from -127 to 127; -128 would have no counterpart
PART = 1 << 22  # numbers of a matrix that are floats at a time: 16 MB, in a processor's cache


def computed_in(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What to load a model in that is then stored in a number type: float32 on a CPU."""
    few_bits = device.type == "cpu" and dtype in (torch.bfloat16, torch.int8)
    return torch.float32 if few_bits else dtype


def stored(model: GPT2, dtype: torch.dtype) -> GPT2:
    """A model with its matrices in a number type, or itself if they are in it.

    Args:
        model: it is not changed, and shares all but its matrices with the other.
        dtype: bfloat16 or int8 of a model in float32.
    """
    return model if dtype == model.dtype else StoredModel(model, dtype)


class StoredModel(GPT2):
    """A model with another one's parts and rounded matrices; for reading and writing alone."""

    wte: "StoredEmbedding"  # type: ignore[assignment]  # it answers as nn.Embedding does

    def __init__(self, model: GPT2, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # the parameters are there already
        self.config, self.drop = model.config, model.drop
        self.wte = StoredEmbedding(model.wte, dtype)
        self.wpe, self.h, self.ln_f = model.wpe, nn.ModuleList(), model.ln_f
        self.h.extend(_with_stored(block, dtype) for block in model.h)
        self.train(model.training)

    def logits(self, hidden: Tensor) -> Tensor:
        return _product(hidden, self.wte)


class Matrix(nn.Module):
    """A matrix [out, in] in few bits.

    Args:
        weight: in float32.
        dtype: bfloat16 or int8.

    Raises:
        ValueError: a number is past the number type's range.
    """

    stored: Tensor  # [out, in] in the number type, row after row
    scale: Tensor | None  # [out] in float32, what 1 means in each row; None in bfloat16

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        small, scale = _rounded(weight.detach(), dtype)
        self.register_buffer("stored", small)
        self.register_buffer("scale", scale)

    @property
    def weight(self) -> Tensor:
        """[out, in] in float32, made anew each time."""
        return _floats(self.stored, self.scale)


class StoredLinear(Matrix):
    """A linear layer with its matrix in few bits."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__(linear.weight, dtype)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self, self.bias)


class StoredEmbedding(Matrix):
    """A table of embeddings in few bits; only the rows that are asked for become floats."""

    def __init__(self, table: nn.Embedding, dtype: torch.dtype) -> None:
        super().__init__(table.weight, dtype)

    def forward(self, ids: Tensor) -> Tensor:
        return _floats(self.stored[ids], None if self.scale is None else self.scale[ids])


def _with_stored(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a module with its linear layers stored, that shares all else with it."""
    if isinstance(module, nn.Linear):
        return StoredLinear(module, dtype)
    twin = copy.copy(module)
    twin._modules = {
        name: child and _with_stored(child, dtype) for name, child in module._modules.items()
    }
    return twin


def _rounded(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """A matrix in a number type, and the scale of each row if it has any."""
    if dtype == torch.bfloat16:
        small = weight.to(dtype, memory_format=torch.contiguous_format)
        if not small.isfinite().all():
            raise ValueError("a weight is too large for bfloat16; use float32 or int8")
        return small, None
    least, most = weight.aminmax(dim=1)
    scale = torch.maximum(most, -least) / LEVELS
    steps = weight / torch.where(scale > 0, scale, 1)[:, None]  # a row of zeros stays one
    whole = steps.round_().clamp_(-LEVELS, LEVELS)
    return whole.to(dtype, memory_format=torch.contiguous_format), scale


def _floats(stored: Tensor, scale: Tensor | None) -> Tensor:
    """Rows of a matrix as floats: [..., in], and their scales, [...]."""
    floats = stored.float()
    return floats if scale is None else floats.mul_(scale[..., None])


def _product(x: Tensor, matrix: "Matrix", bias: Tensor | None = None) -> Tensor:
    """x times the matrix, transposed, plus the bias: [..., in] to [..., out]."""
    return _Product.apply(x, matrix.stored, matrix.scale, bias)  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    """F.linear, which keeps no floats of the matrix; only x has a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stored: Tensor, scale: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(stored, scale)
        parts = _parts(stored, scale)
        products = [F.linear(x, weight) for weight in parts]
        y = products[0] if len(products) == 1 else torch.cat(products, dim=-1)
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = upstreams
        stored, scale = ctx.saved_tensors
        rows, gradient = _rows_at_once(stored), None
        for some, weight in zip(upstream.split(rows, dim=-1), _parts(stored, scale), strict=True):
            part = some @ weight
            gradient = part if gradient is None else gradient.add_(part)
        return gradient, None, None, None


def _parts(stored: Tensor, scale: Tensor | None) -> Iterator[Tensor]:
    """A matrix as floats, some rows at a time."""
    rows = _rows_at_once(stored)
    for start in range(0, len(stored), rows):
        part = slice(start, start + rows)
        yield _floats(stored[part], None if scale is None else scale[part])


def _rows_at_once(stored: Tensor) -> int:
    return max(1, PART // stored.size(1))
