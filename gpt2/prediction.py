"""How a model predicts each token: its log-probability, its rank, and how sure the model was."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gpt2.cache import KVCache
from gpt2.config import GPT2Config
from gpt2.records import Step
from gpt2.sampling import BAD_LOGITS, Sampling, distribution


class LanguageModel(Protocol):
    """What reading and writing need of a model: GPT2, or a view of one."""

    config: GPT2Config

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor: ...

    def logits(self, hidden: Tensor) -> Tensor: ...


def describe(logits: Tensor, probs: Tensor, token: int, *, finish_reason: str = "") -> Step:
    """The record of one choice.

    Args:
        logits: [V], float32, as the model gave them.
        probs: [V], what the token was drawn from.
        token: the choice.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    logprobs = logits.log_softmax(dim=-1)
    raw = logprobs.exp()
    top = raw.topk(min(10, raw.numel()))
    numbers = torch.cat(
        [
            torch.stack(
                [
                    logprobs[token],
                    probs[token],
                    (logits > logits[token]).sum().float(),
                    -torch.dot(raw, logprobs.clamp(min=-1e30)),  # 0 times -inf would be no number
                ]
            ),
            top.values,
            probs[top.indices],
        ]
    ).tolist()
    logprob, sampled_prob, above, entropy = numbers[:4]
    if not math.isfinite(entropy):
        raise FloatingPointError(BAD_LOGITS)
    count = len(top.indices)
    return Step(
        id=token,
        prob=math.exp(logprob),
        sampled_prob=sampled_prob,
        logprob=logprob,
        rank=int(above) + 1,
        entropy=entropy,
        top_ids=tuple(top.indices.tolist()),
        top_probs=tuple(numbers[4 : 4 + count]),
        top_sampled_probs=tuple(numbers[4 + count :]),
        finish_reason=finish_reason,
    )


@torch.inference_mode()
def next_token_logits(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Logits after every token, [T, V] in float32."""
    return model(_batch(model, ids))[0].float()


@torch.inference_mode()
def next_logits(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Logits after the last token, [V] in float32."""
    return model.logits(model.hidden(_batch(model, ids))[0, -1]).float()


@torch.inference_mode()
def observed_step(logits: Tensor, ids: Sequence[int], index: int, sampling: Sampling) -> Step:
    """The choice of ids[index] as it was made after ids[:index], from the logits there, [V].

    Raises:
        ValueError: as check_index.
    """
    check_index(ids, index)
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
    model: LanguageModel, ids: Sequence[int], *, last: int | None = None
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
    model: LanguageModel, hidden: Tensor, targets: Sequence[int]
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


def _batch(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)


def ranks_of(logits: Tensor, chosen: Tensor) -> Tensor:
    """How many logits are greater, and one: [N, V] and chosen [N] to [N] in int32.

    Counted in 32 bits: torch sums booleans ten times slower.
    """
    above = (logits > chosen[:, None]).view(torch.uint8)
    return above.sum(dim=-1, dtype=torch.int32) + 1
