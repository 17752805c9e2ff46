"""GPT-2's forward pass a second time: NumPy, float64, OpenAI's variable names and layout.

Written from the paper's formulas and sharing no line with gpt2/, so that an error in one does not
hide in the other. In the spirit of Jay Mody's picoGPT. Radford et al. 2018, section 3.1; Radford et
al. 2019, section 2.3.

The variables are those of OpenAI's checkpoints: `model/wte` [V, C], `model/wpe` [n_ctx, C],
`model/h0/attn/c_attn/w` [1, C, 3 C] and so on: matrices stand as [1, in, out], so x @ w[0].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reference:
    """What one forward pass computes.

    Args:
        logits: [T, V].
        patterns: [L, H, T, T], each layer's attention; row t is over tokens 0 to t.
        hidden: [L + 2, T, C]: the embedding, the stream after each layer, the final norm's output.
    """

    logits: np.ndarray
    patterns: np.ndarray
    hidden: np.ndarray


def forward(variables: Mapping[str, np.ndarray], ids: Sequence[int], *, n_head: int) -> Reference:
    """Run GPT-2 over one sequence of token ids."""
    model = {name: np.asarray(value, dtype=np.float64) for name, value in variables.items()}
    n_layer = sum(name.endswith("/attn/c_attn/w") for name in model)

    x = model["model/wte"][list(ids)] + model["model/wpe"][: len(ids)]
    patterns, hidden = [], [x]
    for layer in range(n_layer):
        block = part(model, f"model/h{layer}/")
        answer, pattern = attention(
            layer_norm(x, part(block, "ln_1/")), part(block, "attn/"), n_head
        )
        x = x + answer
        x = x + mlp(layer_norm(x, part(block, "ln_2/")), part(block, "mlp/"))
        patterns.append(pattern)
        hidden.append(x)
    x = layer_norm(x, part(model, "model/ln_f/"))
    return Reference(x @ model["model/wte"].T, np.stack(patterns), np.stack([*hidden, x]))


def part(variables: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The variables below a prefix, without it."""
    return {name[len(prefix) :]: v for name, v in variables.items() if name.startswith(prefix)}


def linear(x: np.ndarray, p: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """x w + b."""
    return x @ p[f"{name}/w"][0] + p[f"{name}/b"]


def layer_norm(x: np.ndarray, p: Mapping[str, np.ndarray]) -> np.ndarray:
    """Each row to mean 0 and variance 1, then gain and bias."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * p["g"] + p["b"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Each row to a distribution."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form that GPT-2 was trained with."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def mlp(x: np.ndarray, p: Mapping[str, np.ndarray]) -> np.ndarray:
    """Widen, GELU, and back: [T, C] to [T, C]."""
    return linear(gelu(linear(x, p, "c_fc")), p, "c_proj")


def attention(
    x: np.ndarray, p: Mapping[str, np.ndarray], n_head: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each head by itself: its answer's share of [T, C], and its pattern, [H, T, T]."""
    queries, keys, values = np.split(linear(x, p, "c_attn"), 3, axis=-1)
    width = queries.shape[-1] // n_head
    allowed = np.tri(len(x), dtype=bool)
    answers, patterns = [], []
    for head in range(n_head):
        own = slice(head * width, (head + 1) * width)
        scores = queries[:, own] @ keys[:, own].T / np.sqrt(width)
        patterns.append(softmax(np.where(allowed, scores, -np.inf)))
        answers.append(patterns[-1] @ values[:, own])
    return linear(np.concatenate(answers, axis=-1), p, "c_proj"), np.stack(patterns)
