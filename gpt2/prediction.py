"""How a model predicts each token: its log-probability, its rank, and how sure the model was."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gpt2.model import GPT2
from gpt2.records import Step
from gpt2.sampling import BAD_LOGITS

ROWS_AT_ONCE = 128  # logits [128, V] are 26 MB; all of a long text's would be 200 MB and more


def describe(logits: Tensor, probs: Tensor, token: int, *, finish_reason: str = "") -> Step:
    """The record of one choice.

    Args:
        logits: [V], float32, as the model gave them.
        probs: [V], what the token was drawn from.
        token: the choice.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    raw, *own = _numbers(logits, token)
    top = raw.topk(min(10, raw.numel()))
    row = torch.stack([*own, probs[token]])  # one row: a GPU is waited for once
    numbers = torch.cat([row, top.values, probs[top.indices]]).tolist()
    logprob, rank, entropy, sampled_prob = numbers[:4]
    if not math.isfinite(entropy):
        raise FloatingPointError(BAD_LOGITS)
    count = len(top.indices)
    return Step(
        id=token,
        prob=math.exp(logprob),
        sampled_prob=sampled_prob,
        logprob=logprob,
        rank=int(rank),
        entropy=entropy,
        top_ids=tuple(top.indices.tolist()),
        top_probs=tuple(numbers[4 : 4 + count]),
        top_sampled_probs=tuple(numbers[4 + count :]),
        finish_reason=finish_reason,
    )


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
    return score_texts(model, [(ids, last or len(ids) - 1)])[0]


@torch.inference_mode()
def score_texts(
    model: GPT2, texts: Sequence[tuple[Sequence[int], int]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """score_tokens of several texts, read at once: of each its ids, and `last`."""
    before = [torch.tensor(ids[:-1]) for ids, _ in texts]
    # Padding stands on the right, where no token of the text can see it.
    hidden = model.hidden(pad_sequence(before, batch_first=True).to(model.device))  # [B,T,C]
    rows = [
        own[len(ids) - 1 - last : len(ids) - 1]
        for own, (ids, last) in zip(hidden, texts, strict=True)
    ]
    targets = [token for ids, last in texts for token in ids[-last:]]
    columns = score_hidden(model, torch.cat(rows), targets)
    edges = np.cumsum([last for _, last in texts])[:-1]
    return list(zip(*(np.split(column, edges) for column in columns), strict=True))


@torch.inference_mode()
def score_hidden(
    model: GPT2, hidden: Tensor, targets: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """score_tokens from the final norm's output on: [T, C] and the T tokens that followed."""
    wanted = torch.tensor(list(targets), device=model.device).split(ROWS_AT_ONCE)
    parts = [
        _numbers(logits, (torch.arange(len(ids), device=ids.device), ids))[1:]
        for logits, ids in zip(logits_in_parts(model, hidden), wanted, strict=True)
    ]
    logprobs, ranks, entropies = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    return logprobs, ranks, entropies


def by_length(lengths: Sequence[int], *, device: torch.device) -> Iterator[list[int]]:
    """The places of texts in batches of similar length, short ones first, to be read at once.

    Args:
        device: how many tokens at once it likes decides how large the batches are.
    """
    most = 1024 if device.type == "cpu" else 8192  # with padding; more leave a processor's cache
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def logits_in_parts(model: GPT2, hidden: Tensor) -> Iterator[Tensor]:
    """The logits of [N, C], ROWS_AT_ONCE of them at a time, in float32."""
    for rows in hidden.split(ROWS_AT_ONCE):
        yield model.logits(rows).float()


def ranks_of(logits: Tensor, chosen: Tensor) -> Tensor:
    """How many logits are greater, and one: [..., V] and chosen [...] to [...] in int32.

    Counted in 32 bits: torch sums booleans ten times slower.
    """
    above = (logits > chosen[..., None]).view(torch.uint8)
    return above.sum(dim=-1, dtype=torch.int32) + 1


def _numbers(
    logits: Tensor, own: int | tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The raw softmax [..., V], and each token's log-probability, rank and entropy, [...].

    Args:
        own: where logits [..., V] have the token's: its id in [V], rows and ids in [N, V].
    """
    logprobs = logits.log_softmax(dim=-1)
    probs, logprob = logprobs.exp(), logprobs[own].clone()
    # 0 times -inf would be no number. In place: another [128, V] costs more than the arithmetic.
    entropy = -torch.linalg.vecdot(probs, logprobs.clamp_(min=-1e30))
    return probs, logprob, ranks_of(logits, logits[own]), entropy
