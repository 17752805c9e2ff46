"""From logits to the next token: penalty, temperature, filters, and a draw that can be repeated.

Everything works on the logits of one position, [V] in float32. Sources: Fan et al. 2018,
"Hierarchical Neural Story Generation" (top-k); Holtzman et al. 2020, "The Curious Case of Neural
Text Degeneration" (top-p); Nguyen et al. 2024, "Turning Up the Heat" (min-p); Keskar et al. 2019,
"CTRL", section 4.1 (repetition penalty).
Imports: torch, numpy.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
        check_number("repetition_penalty", self.repetition_penalty, 0.1, 10)
        check_number("temperature", self.temperature, 0, 10)
        check_number("top_k", self.top_k, 0, 1_000_000, whole=True)
        check_number("top_p", self.top_p, 0, 1)
        check_number("min_p", self.min_p, 0, 1)
        check_number("seed", self.seed, 0, SEED_LIMIT - 1, whole=True)


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
        shown = str(value) if abs(value) < 1e20 else "far out of range"
        raise ValueError(f"{name} is {shown}; {limits}")
    return int(value) if whole else float(value)


def distribution(logits: Tensor, sampling: Sampling, seen: Tensor) -> Tensor:
    """The probabilities a token is drawn from.

    Args:
        logits: [V], float32.
        sampling: what to apply.
        seen: ids of the prompt and of all tokens drawn, for the repetition penalty.

    Returns:
        [V], summing to 1, 0 where a filter cut; one 1 when greedy.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    if logits.isnan().any():
        raise FloatingPointError(BAD_LOGITS)
    logits = penalize(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        greedy = torch.zeros_like(logits)
        greedy[logits.argmax()] = 1.0
        return greedy
    logits = logits / sampling.temperature
    logits = keep_top_k(logits, sampling.top_k)
    logits = keep_top_p(logits, sampling.top_p)
    logits = keep_min_p(logits, sampling.min_p)
    return logits.softmax(dim=-1)


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive logits of seen tokens by the penalty, multiply negative ones by it."""
    if penalty == 1:
        return logits
    seen = seen.unique()
    values = logits[seen]
    return logits.index_copy(0, seen, torch.where(values > 0, values / penalty, values * penalty))


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Cut all but the k largest; ties with the k-th stay, as in OpenAI's sample.py."""
    if not 0 < k < logits.numel():
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[-1], -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Cut all but the fewest tokens whose probabilities reach p; the most likely one stays."""
    if p >= 1:
        return logits
    left = int(torch.isfinite(logits).sum())
    values, ids = logits.topk(left)
    probs = values.softmax(dim=-1)
    before = probs.cumsum(dim=-1) - probs  # what the more likely tokens hold together
    cut = before >= p
    cut[0] = False
    return logits.index_fill(0, ids[cut], -math.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Cut tokens less than p times as likely as the most likely one."""
    if p <= 0:
        return logits
    return logits.masked_fill(logits < logits.max() + math.log(p), -math.inf)


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
    kept = probs.nonzero().squeeze(1)
    cumulative = probs[kept].double().cumsum(dim=0)
    index = int(torch.searchsorted(cumulative, u * cumulative[-1], right=True))
    return int(kept[min(index, len(kept) - 1)])


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
                    torch.special.entr(raw).sum(),
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
