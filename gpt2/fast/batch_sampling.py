"""Sampling and statistics for many rows at once, in steps that never depend on what is in them.

The same as gpt2.sampling and gpt2.prediction row by row, where the steps are explained. There is no
branch on a number and no shape that follows from one, so a GPU can replay it all without waiting
for the CPU. Sums that decide something are made in float64: a token does not depend on the order
in which they were added up, which follows from the number of rows.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.fast.decoder import Draw
from gpt2.prediction import ranks_of
from gpt2.records import Step
from gpt2.sampling import BAD_LOGITS, FIRST_SORTED, Sampling, uniform

SETTINGS = 8  # numbers in a row of settings_of
WIDTHS = (0, 64, FIRST_SORTED)  # of the likeliest tokens that are sorted; else all are
TOP = 10
LOW, LOWEST = 1e-3, 1e-30  # temperatures, as in gpt2.sampling.heated
_NUMBERS = 6  # before the likeliest tokens in a row of choose_rows


def settings_of(draws: Sequence[Draw], vocab_size: int) -> np.ndarray:
    """What choose_rows is told of each row, [n, SETTINGS] in float64."""
    return np.array([_settings(draw, vocab_size) for draw in draws])


def _settings(draw: Draw, vocab_size: int) -> tuple[float, ...]:
    sampling = draw.sampling
    temperature = sampling.temperature
    k, p, m = _filters(sampling, vocab_size)
    if draw.forced is not None:
        number = -1.0 - draw.forced
    else:
        number = uniform(sampling.seed, len(draw.seen)) if temperature > 0 else 0.0
    return (
        sampling.repetition_penalty,
        max(temperature, LOWEST),
        temperature < LOW,
        temperature == 0,
        k,
        p,
        math.log(m) if m > 0 else -math.inf,
        number,
    )


def _filters(sampling: Sampling, vocab_size: int) -> tuple[int, float, float]:
    """top_k, 0 where it is off, top_p and min_p; all are off when greedy."""
    if sampling.temperature == 0:
        return 0, 1.0, 0.0
    k = sampling.top_k if sampling.top_k < vocab_size else 0
    return k, sampling.top_p, sampling.min_p


def width_of(draws: Sequence[Draw], vocab_size: int) -> int:
    """How many of the likeliest tokens must be sorted for these rows; often enough, for top-p."""
    needed = 0
    for draw in draws:
        k, p, _ = _filters(draw.sampling, vocab_size)
        if p < 1:  # one more than k, to see that nothing is left
            k = k + 1 if k else FIRST_SORTED
        needed = max(needed, k)
    return min(next((w for w in WIDTHS if w >= needed), vocab_size), vocab_size)


def seen_of(draws: Sequence[Draw], length: int, vocab_size: int) -> np.ndarray:
    """The tokens of each row that are penalized, [n, length]; filled up with vocab_size."""
    seen = np.full((len(draws), length), vocab_size)
    for row, draw in zip(seen, draws, strict=True):
        if draw.sampling.repetition_penalty != 1:
            row[: len(draw.seen)] = draw.seen
    return seen


def numbers_in_row(vocab_size: int) -> int:
    """How many numbers choose_rows gives for a row."""
    return _NUMBERS + 3 * min(TOP, vocab_size)


def choose_rows(
    logits: Tensor, settings: Tensor, seen: Tensor | None, *, vocab_size: int, width: int
) -> Tensor:
    """Choose a token in every row.

    Args:
        logits: [N, V or more], float32; -inf after the last token's.
        settings: [N, SETTINGS], of settings_of.
        seen: [N, T], of seen_of; None if no row has a penalty.
        width: at least width_of, at most vocab_size.

    Returns:
        [N, numbers_in_row] in float32, for steps_of.
    """
    penalty, divisor, low, greedy, k, p, log_min_p, _ = settings.float()[:, :, None].unbind(1)
    likeliest = _largest(logits, min(max(width, TOP), vocab_size))
    warmed = logits if seen is None else _penalized(logits, seen, penalty)  # each [N,1]
    warmed = _heated(warmed, divisor, low, greedy)
    short = torch.zeros_like(penalty)
    if width:  # only the penalty changes an order
        ids = likeliest[:, :width] if seen is None else _largest(warmed, width)
        warmed, last = _keep_likeliest(warmed, ids, k, p)
        if width < vocab_size:
            short = ((p < 1) & (last < p)).float()
    warmed = warmed.masked_fill(warmed < warmed.amax(dim=1, keepdim=True) + log_min_p, -math.inf)
    probs = warmed.softmax(dim=1)
    token = _draw(probs, settings[:, -1:])
    return torch.cat([short, *_described(logits, probs, token, likeliest[:, :TOP])], dim=1)


def short_rows(numbers: Sequence[Sequence[float]]) -> bool:
    """Whether a row was so flat that top-p needs more than the width it was given."""
    return any(row[0] for row in numbers)


def steps_of(numbers: Sequence[Sequence[float]]) -> list[Step]:
    """The records of what choose_rows chose.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    return [_step(row) for row in numbers]


def _step(row: Sequence[float]) -> Step:
    token, logprob, rank, entropy, sampled_prob = row[1:_NUMBERS]
    if not math.isfinite(entropy):
        raise FloatingPointError(BAD_LOGITS)
    count = (len(row) - _NUMBERS) // 3
    ids, probs, sampled = (row[_NUMBERS + i * count :][:count] for i in range(3))
    return Step(
        id=int(token),
        prob=math.exp(logprob),
        sampled_prob=sampled_prob,
        logprob=logprob,
        rank=int(rank),
        entropy=entropy,
        top_ids=tuple(map(int, ids)),
        top_probs=tuple(probs),
        top_sampled_probs=tuple(sampled),
    )


# --- gpt2.sampling, for rows with settings of their own: each [N, 1] ------------------------------


def _penalized(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    rows, count = logits.shape
    marked = torch.zeros(rows, count + 1, dtype=torch.bool, device=logits.device)
    marked = marked.scatter_(1, seen, True)[:, :count]
    return torch.where(marked, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _heated(logits: Tensor, divisor: Tensor, low: Tensor, greedy: Tensor) -> Tensor:
    likeliest = logits.argmax(dim=1, keepdim=True)
    warmed = (logits - low * logits.gather(1, likeliest)) / divisor
    ids = torch.arange(logits.size(1), device=logits.device)
    return warmed.masked_fill((ids != likeliest) & greedy.bool(), -math.inf)


def _keep_likeliest(logits: Tensor, ids: Tensor, k: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """keep_top_k, then keep_top_p; and what stands before the last of these ids, [N, 1].

    Args:
        ids: [N, width], the likeliest tokens, likeliest first.
    """
    least = logits.gather(1, ids.gather(1, (k.long() - 1).clamp(min=0)))
    best = logits.masked_fill((k > 0) & (logits < least), -math.inf)
    probs = best.softmax(dim=1).gather(1, ids).double()
    before = probs.cumsum(dim=1) - probs
    kept = before < p
    kept[:, 0].fill_(True)
    kept = torch.zeros_like(best, dtype=torch.bool).scatter_(1, ids, kept)
    return best.masked_fill(~kept & (p < 1), -math.inf), before[:, -1:]


def _largest(x: Tensor, count: int) -> Tensor:
    """Where the largest numbers of each row are, [N, count], and of equal ones the first.

    Ties are frequent in half precision, and what topk makes of them depends on the count, which
    follows from the rows beside. So whole numbers are sorted, in the order of the floats, each with
    its place below it.
    """
    bits, last = x.view(torch.int32), x.size(1) - 1
    order = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = (order.long() << 32) + torch.arange(last, -1, -1, device=x.device)
    return last - (keys.topk(count, dim=1).values & 0xFFFFFFFF)


def _draw(probs: Tensor, number: Tensor) -> Tensor:
    """The first token whose slice ends above the number, [N, 1]; or the one it stands for."""
    ends = probs.double().cumsum(dim=1)
    reached = (ends / ends[:, -1:] > number) & (probs > 0)
    drawn = reached.view(torch.uint8).argmax(dim=1, keepdim=True)
    return torch.where(number < 0, -1 - number.long(), drawn)


def _described(logits: Tensor, probs: Tensor, token: Tensor, top: Tensor) -> list[Tensor]:
    """The token and its Step's numbers in their order.

    Where a logit is not a number, the entropy is none.

    Args:
        top: [N, TOP], the tokens with the largest logits.
    """
    logprobs = logits.log_softmax(dim=1)
    raw = logprobs.exp()
    entropy = -(raw * logprobs.clamp(min=-1e30)).sum(dim=1, keepdim=True, dtype=torch.float64)
    rank = ranks_of(logits, logits.gather(1, token)[:, 0])[:, None]
    own = (token, logprobs.gather(1, token), rank, entropy, probs.gather(1, token))
    likeliest = (top, raw.gather(1, top), probs.gather(1, top))
    return [column.float() for column in (*own, *likeliest)]  # ids are exact, far below 2^24
