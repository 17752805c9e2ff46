"""GPT-2's forward pass over a checkpoint's own arrays: the second opinion in a receipt.

It shares nothing with the model or with the tables that convert names: it spells every format
itself, so a tensor that the conversion puts in the wrong place shows as a difference in the logits.
float64; a tensor is read when it is needed and dropped after. Radford et al. 2018, section 3.1;
Radford et al. 2019, section 2.3.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Read = Callable[[str], np.ndarray | None]  # None for a bias that the file lacks: zeros

_ROWS = 8192  # of the embedding matrix, turned to float64 at a time


@dataclass(frozen=True)
class Layout:
    """How one kind of file spells and stores GPT-2's parts.

    Args:
        openai: model/h0/attn/c_attn/w and [1, in, out]; otherwise h.0.attn.c_attn.weight.
        transposed: matrices are [out, in].
    """

    openai: bool = False
    transposed: bool = False

    def name(self, layer: int | None, part: str, kind: str) -> str:
        """A tensor's name; kind is w (matrix), b (bias), g (gain) or empty (embedding)."""
        if self.openai:
            place = "model" if layer is None else f"model/h{layer}"
            return "/".join(word for word in (place, part, kind) if word)
        place = "" if layer is None else f"h.{layer}"
        last = "bias" if kind == "b" else "weight"
        return ".".join(word for word in (place, part.replace("/", "."), last) if word)

    def matrix(self, stored: np.ndarray) -> np.ndarray:
        """A stored matrix as [in, out]."""
        if self.openai:
            return stored[0]
        return stored.T if self.transposed else stored


@dataclass(frozen=True)
class _Arrays:
    """The tensors of a checkpoint, read one at a time."""

    read: Read
    layout: Layout
    epsilon: float

    def get(self, layer: int | None, part: str, kind: str) -> np.ndarray:
        found = self.read(self.layout.name(layer, part, kind))
        if found is None:
            raise ValueError(f"there is no {self.layout.name(layer, part, kind)}")
        return found

    def wide(self, layer: int | None, part: str, kind: str) -> np.ndarray:
        return self.get(layer, part, kind).astype(np.float64)

    def bias(self, layer: int | None, part: str) -> np.ndarray | float:
        found = self.read(self.layout.name(layer, part, "b"))
        return 0.0 if found is None else found.astype(np.float64)

    def linear(self, x: np.ndarray, layer: int, part: str) -> np.ndarray:
        """x w + b."""
        return x @ self.layout.matrix(self.wide(layer, part, "w")) + self.bias(layer, part)

    def norm(self, x: np.ndarray, layer: int | None, part: str) -> np.ndarray:
        """Each row to mean 0 and variance 1, then gain and bias."""
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return normal * self.wide(layer, part, "g") + self.bias(layer, part)


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    """GELU in the tanh form that GPT-2 was trained with (Hendrycks & Gimpel 2016)."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x: np.ndarray) -> np.ndarray:
    """GELU by the error function, as nanoGPT computes it."""
    return x / 2 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def logits(
    read: Read,
    ids: Sequence[int],
    *,
    n_layer: int,
    n_head: int,
    layout: Layout,
    epsilon: float = 1e-5,
    gelu: Callable[[np.ndarray], np.ndarray] = tanh_gelu,
    heads: Sequence[str] = ("wte",),
) -> np.ndarray:
    """Scores of every next token, and of every class of a classifier.

    Args:
        read: gives the tensor of a name, as the file has it.
        ids: T tokens, at most n_ctx.
        heads: matrices of one row a token or class; wte is that of the tokens.

    Returns:
        [T, rows of all heads] in float64.

    Raises:
        ValueError: a tensor is not there.
    """
    arrays = _Arrays(read, layout, epsilon)
    x = arrays.get(None, "wte", "")[list(ids)].astype(np.float64)
    x += arrays.get(None, "wpe", "")[: len(ids)]
    for layer in range(n_layer):
        x = x + attention(arrays, arrays.norm(x, layer, "ln_1"), layer, n_head)
        wide = arrays.linear(arrays.norm(x, layer, "ln_2"), layer, "mlp/c_fc")
        x = x + arrays.linear(gelu(wide), layer, "mlp/c_proj")
    x = arrays.norm(x, None, "ln_f")
    parts = []
    for head in heads:
        rows = arrays.get(None, head, "")
        parts += [x @ rows[i : i + _ROWS].astype(np.float64).T for i in range(0, len(rows), _ROWS)]
    return np.concatenate(parts, axis=1)


def attention(arrays: _Arrays, x: np.ndarray, layer: int, n_head: int) -> np.ndarray:
    """Every head by itself, then their projection: [T, C] to [T, C]."""
    queries, keys, values = np.split(arrays.linear(x, layer, "attn/c_attn"), 3, axis=-1)
    width = x.shape[-1] // n_head
    future = ~np.tri(len(x), dtype=bool)
    answers = []
    for head in range(n_head):
        own = slice(head * width, (head + 1) * width)
        scores = queries[:, own] @ keys[:, own].T / np.sqrt(width)
        powers = np.exp(np.where(future, -np.inf, scores - scores.max(-1, keepdims=True)))
        answers.append(powers / powers.sum(-1, keepdims=True) @ values[:, own])
    return arrays.linear(np.concatenate(answers, axis=-1), layer, "attn/c_proj")
