"""What explains: numbers read off a forward pass, for text that is already there.

Each function replays the text through the same blocks; causality makes row t of a replay what the
model computed when it stood at token t. Imports: torch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.model import GPT2
from gpt2.sampling import Sampling, describe, distribution
from gpt2.trace import Step


@torch.inference_mode()
def attention_maps(model: GPT2, ids: Sequence[int], layer: int) -> np.ndarray:
    """Attention of all heads of one block.

    Args:
        ids: T tokens.
        layer: 0 to n_layer - 1.

    Returns:
        [H, T, T] in float32; row t says how much token t took from each token up to itself.

    Raises:
        ValueError: no such layer.
    """
    if not 0 <= layer < model.config.n_layer:
        raise ValueError(f"layer is {layer}; this model has layers 0 to {model.config.n_layer - 1}")
    x = model.embed(_batch(model, ids))
    for block in model.h[:layer]:
        x = block(x)
    block = model.h[layer]
    return block.attn.pattern(block.ln_1(x))[0].cpu().numpy()


@torch.inference_mode()
def next_token_logits(model: GPT2, ids: Sequence[int]) -> Tensor:
    """Logits after every token, [T, V] in float32."""
    return model(_batch(model, ids))[0].float()


@torch.inference_mode()
def replay_step(model: GPT2, ids: Sequence[int], index: int, sampling: Sampling) -> Step:
    """The choice of ids[index] as it was made after ids[:index], recomputed.

    Raises:
        ValueError: index is not 1 to len(ids) - 1; the first token was not chosen by the model.
    """
    if not 1 <= index < len(ids):
        raise ValueError(f"token {index} has no prediction; choose 1 to {len(ids) - 1}")
    before = _batch(model, ids[:index])
    logits = model.logits(model.hidden(before)[0, -1]).float()
    return describe(logits, distribution(logits, sampling, before[0]), ids[index])


@torch.inference_mode()
def score_tokens(
    model: GPT2, ids: Sequence[int], *, last: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How each token after the first was predicted from those before it.

    Args:
        ids: T + 1 tokens.
        last: only the last so many are wanted; all T if None.

    Returns:
        Log-probability (natural), rank (1 = most likely) and entropy (nats), each [last].
    """
    last = last or len(ids) - 1
    hidden = model.hidden(_batch(model, ids[:-1]))[0, -last:]
    targets = torch.tensor(list(ids[-last:]), device=model.device)
    parts = []
    for h, target in zip(hidden.split(128), targets.split(128), strict=True):
        logits = model.logits(h).float()  # [128,V]: all of them at once would be 200 MB at T = 1024
        chosen = logits.gather(1, target[:, None])
        logprobs = logits.log_softmax(dim=-1)
        entropy = torch.special.entr(logprobs.exp()).sum(dim=-1)
        ranks = (logits > chosen).sum(dim=-1) + 1
        parts.append((logprobs.gather(1, target[:, None])[:, 0], ranks, entropy))
    logprobs, ranks, entropies = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    return logprobs, ranks, entropies


def _batch(model: GPT2, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)
