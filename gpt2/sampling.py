"""From logits to the next token: penalty, temperature, filters, and a draw that can be repeated.

Everything works on the logits of one position, [V] in float32. Imports: torch, numpy.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2.filters import heated, keep_min_p, keep_top_k, keep_top_p, penalize
from gpt2.trace import Step

SEED_LIMIT = 2**31
BAD_LOGITS = "the model gave logits that are not numbers; its weights are bad"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the filters work in the order of the fields.

    Args:
        repetition_penalty: tokens seen before are made this many times less likely, 1 = off.
        temperature: above 1 flattens the distribution, below 1 sharpens it, 0 = greedy.
        top_k: keep the k most likely tokens (and ties with the last), 0 = off.
        top_p: keep the fewest tokens that hold this much probability, 1 = off.
        min_p: keep tokens at least this share as likely as the most likely one, 0 = off.
        seed: with a position, decides every draw.

    Raises:
        ValueError: a number is missing, not a number or out of its range.
    """

    repetition_penalty: float = 1.0
    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"repetition_penalty": (0.1, 10), "temperature": (0, 10), "top_p": (0, 1)}
        limits |= {"min_p": (0, 1), "top_k": (0, 1_000_000), "seed": (0, SEED_LIMIT - 1)}
        for name, (low, high) in limits.items():
            whole = name in ("top_k", "seed")
            number = check_number(name, getattr(self, name), low, high, whole=whole)
            object.__setattr__(self, name, number)  # 50.0 is 50


def check_number(
    name: str, value: object, low: float, high: float, *, whole: bool = False
) -> float | int:
    """A number that came from outside, once it is known to be one and in range.

    Raises:
        ValueError: it is not, in one sentence.
    """
    kind = "a whole number" if whole else "a number"
    limits = f"{name} must be {kind} from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}; {limits}")
    if not low <= value <= high or (whole and value != int(value)):  # NaN is in no range
        shown = value if isinstance(value, float) or abs(value) < 1e20 else "far out of range"
        raise ValueError(f"{name} is {shown}; {limits}")
    return int(value) if whole else float(value)


@dataclass(frozen=True, eq=False)
class Stage:
    """The logits after one step from the model's to those that are drawn from.

    Args:
        name: "softmax" for the model's own, else the field of Sampling that made them.
        active: whether the step could change anything.
        logits: [V], -inf where a filter cut.
    """

    name: str
    active: bool
    logits: Tensor


def distribution(logits: Tensor, sampling: Sampling, seen: Tensor) -> Tensor:
    """The probabilities a token is drawn from: the softmax of the last stage.

    Args:
        logits: [V], float32.
        sampling: what to apply.
        seen: ids of the prompt and of all tokens drawn, for the repetition penalty.

    Returns:
        [V], summing to 1, 0 where a filter cut; one 1 when greedy.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    return stages(logits, sampling, seen)[-1].logits.softmax(dim=-1)


def stages(logits: Tensor, sampling: Sampling, seen: Tensor) -> list[Stage]:
    """What each setting makes of the logits, in the order of Sampling's fields.

    Greedy choice is a temperature that leaves the likeliest token alone; the filters after it are
    off. Arguments and errors as of distribution.
    """
    if math.isnan(float(logits.sum())):
        raise FloatingPointError(BAD_LOGITS)
    greedy = sampling.temperature == 0
    k, p, m = (0, 1, 0) if greedy else (sampling.top_k, sampling.top_p, sampling.min_p)
    penalized = penalize(logits, seen, sampling.repetition_penalty)
    warmed = heated(penalized, sampling.temperature)
    best = keep_top_k(warmed, k)
    likely = keep_top_p(best, p)
    return [
        Stage("softmax", True, logits),
        Stage("repetition_penalty", sampling.repetition_penalty != 1, penalized),
        Stage("temperature", sampling.temperature != 1, warmed),
        Stage("top_k", 0 < k < logits.numel(), best),
        Stage("top_p", p < 1, likely),
        Stage("min_p", m > 0, keep_min_p(likely, m)),
    ]


def uniform(seed: int, position: int) -> float:
    """The random number in [0, 1) that decides the token at a position.

    A function of its arguments alone (Philox, Salmon et al. 2011), so a branch, an undo, a
    neighbour or a restart meets the same number at the same place.
    """
    return float(np.random.Generator(np.random.Philox(key=[seed, position])).random())


def draw(probs: Tensor, u: float) -> int:
    """Invert the cumulative distribution, tokens in the order of their ids.

    Args:
        probs: [V].
        u: in [0, 1).
    """
    kept, ends = cumulative(probs)
    return int(kept[torch.searchsorted(ends, u, right=True)])


def cumulative(probs: Tensor) -> tuple[Tensor, Tensor]:
    """How the numbers from 0 to 1 are dealt out to the tokens, in the order of their ids.

    Returns:
        The n tokens of a probability above 0, and where each one's slice ends, [n] in float64; it
        starts at the end of the one before. The last end is 1, whatever probs add up to.
    """
    kept = probs.nonzero().squeeze(1)
    ends = probs[kept].double().cumsum(dim=0)
    return kept, ends / ends[-1]


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
