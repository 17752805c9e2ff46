"""A checkpoint of any kind whose tensors can be read by our names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.weights.tensors import EMBEDDING, TRANSPOSED, as_float, stored_shapes

Shapes = Mapping[str, tuple[int, ...]]
Read = Callable[[str], Tensor]
# How matrices are stored: [in, out] as here, [out, in] as torch's Linear, [1, in, out] as OpenAI.
Layout = Literal["in-out", "out-in", "openai"]


@dataclass(frozen=True)
class Source:
    """A checkpoint; its tensors stay on disk until they are read, one by one.

    Args:
        kind: what it is, in words.
        path: where it is.
        config: the model in it.
        names: our names on disk -> its names.
        shapes: shapes of its tensors.
        read: gives a tensor of it, as it stands there.
        layout: how it stores matrices.
        skipped: its names that are left out -> why.
        filled: our names that it lacks and that become zeros.
        padded_vocab: rows of its token embedding where they are more than the vocabulary, else 0.
        exact_gelu: it was trained with the exact GELU instead of GPT-2's tanh form.
        notes: what else a reader of the receipt should know.

    Raises:
        ValueError: a tensor is missing or of the wrong shape.
    """

    kind: str
    path: Path
    config: GPT2Config
    names: Mapping[str, str]
    shapes: Shapes
    read: Read
    layout: Layout = "in-out"
    skipped: Mapping[str, str] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    padded_vocab: int = 0
    exact_gelu: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if missing := [theirs for theirs in self.names.values() if theirs not in self.shapes]:
            raise ValueError(
                f"{self.path}: {len(missing)} tensors are missing, the first is {missing[0]}"
            )
        for ours, shape in stored_shapes(self.config).items():
            if ours in self.filled:
                continue
            theirs = self.names[ours]
            wanted, found = self._as_stored(ours, shape), tuple(self.shapes[theirs])
            if found != wanted:
                raise ValueError(
                    f"{self.path}: tensor {theirs} has shape {found}; a model of this "
                    f"configuration has {wanted} there"
                )

    def _as_stored(self, ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if ours.endswith(TRANSPOSED):
            if self.layout == "openai":
                return (1, *shape)
            return shape[::-1] if self.layout == "out-in" else shape
        if self.padded_vocab and ours == EMBEDDING:
            return (self.padded_vocab, *shape[1:])
        return shape

    def where(self, ours: str) -> str:
        """A tensor's path and its own name, for errors."""
        return f"{self.path}: tensor {self.names[ours]}"

    def as_ours(self, ours: str, stored: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor that was read: checked, in our layout, without padding; a view if it can be.

        Raises:
            ValueError: as as_float.
        """
        if ours.endswith(TRANSPOSED):
            if self.layout == "openai":
                stored = stored[0]
            elif self.layout == "out-in":
                stored = stored.t()
        elif self.padded_vocab and ours == EMBEDDING:
            stored = stored[: self.config.vocab_size]
        return as_float(stored, dtype, where=self.where(ours))
