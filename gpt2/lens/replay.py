"""How each token of a text was predicted and chosen, by replaying it. Imports: torch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.ranks import ranks_of
from gpt2.lens.scaling import ScaledModel
from gpt2.model import GPT2
from gpt2.sampling import Sampling, describe, distribution
from gpt2.trace import Step


@torch.inference_mode()
def next_token_logits(model: GPT2, ids: Sequence[int]) -> Tensor:
    """Logits after every token, [T, V] in float32."""
    return model(_batch(model, ids))[0].float()


@torch.inference_mode()
def next_logits(model: GPT2 | ScaledModel, ids: Sequence[int]) -> Tensor:
    """Logits after the last token, [V] in float32."""
    return model.logits(model.hidden(_batch(model, ids))[0, -1]).float()


@torch.inference_mode()
def replay_step(model: GPT2, ids: Sequence[int], index: int, sampling: Sampling) -> Step:
    """The choice of ids[index] as it was made after ids[:index], recomputed.

    Raises:
        ValueError: index is not 1 to len(ids) - 1; the first token was not chosen by the model.
    """
    check_index(ids, index)
    return observed_step(next_logits(model, ids[:index]), ids, index, sampling)


@torch.inference_mode()
def observed_step(logits: Tensor, ids: Sequence[int], index: int, sampling: Sampling) -> Step:
    """replay_step from the logits after ids[index - 1] on, [V]."""
    before = torch.tensor(list(ids[:index]), device=logits.device)
    return describe(logits, distribution(logits, sampling, before), ids[index])


def check_index(ids: Sequence[int], index: int) -> None:
    """Refuse a token that was not predicted from one before it.

    Raises:
        ValueError: index is not 1 to len(ids) - 1.
    """
    if not 1 <= index < len(ids):
        raise ValueError(f"token {index} has no prediction; choose 1 to {len(ids) - 1}")


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
    return score_hidden(model, model.hidden(_batch(model, ids[:-1]))[0, -last:], ids[-last:])


@torch.inference_mode()
def score_hidden(
    model: GPT2, hidden: Tensor, targets: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """score_tokens from the final norm's output on: [T, C] and the T tokens that followed."""
    wanted = torch.tensor(list(targets), device=model.device)
    parts = []
    for h, target in zip(hidden.split(128), wanted.split(128), strict=True):
        logits = model.logits(h).float()  # [128,V]: all of them at once would be 200 MB at T = 1024
        chosen = logits.gather(1, target[:, None])
        logprobs = logits.log_softmax(dim=-1)
        entropy = torch.special.entr(logprobs.exp()).sum(dim=-1)
        ranks = ranks_of(logits, chosen[:, 0])
        parts.append((logprobs.gather(1, target[:, None])[:, 0], ranks, entropy))
    logprobs, ranks, entropies = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    return logprobs, ranks, entropies


def _batch(model: GPT2 | ScaledModel, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)
