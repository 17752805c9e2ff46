"""From logits to the next token: penalty, temperature, filters, and a draw that can be repeated.

Everything works on the logits of one position, [V] in float32. Sources: Keskar et al. 2019, "CTRL",
section 4.1 (repetition penalty); Fan et al. 2018, "Hierarchical Neural Story Generation" (top-k);
Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (top-p); Nguyen et al. 2024,
"Turning Up the Heat" (min-p).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2.checks import check_number

SEED_LIMIT = 2**31
FIRST_SORTED = 1024  # tokens that hold nearly all; sorting 50,257 takes ten times as long
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


# --- what each setting does ---------------------------------------------------------------------


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive logits of seen tokens by the penalty, multiply negative ones by it."""
    if penalty == 1:
        return logits
    seen = seen.unique()
    values = logits[seen]
    return logits.index_copy(0, seen, torch.where(values > 0, values / penalty, values * penalty))


def heated(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature; at 0 cut all but the likeliest token.

    By a very low one the differences are divided, which do not overflow.
    """
    if temperature >= 1e-3:
        return logits / temperature
    if temperature > 0:
        return (logits - logits.max()) / max(temperature, 1e-30)
    return torch.full_like(logits, -math.inf).index_fill(0, logits.argmax(), 0.0)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Cut all but the k largest; ties with the k-th stay, as in OpenAI's sample.py."""
    if not 0 < k < logits.numel():
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[-1], -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Cut all but the fewest tokens whose probabilities reach p; the most likely one stays."""
    if p >= 1:
        return logits
    probs, count = logits.softmax(dim=-1), logits.numel()
    sorted_count = min(count, FIRST_SORTED)
    while True:
        ids = logits.topk(sorted_count).indices
        before = probs[ids].cumsum(dim=-1) - probs[ids]  # what the more likely ones hold together
        if sorted_count == count or before[-1] >= p:
            break
        sorted_count = min(count, 8 * sorted_count)  # it was too flat to reach p
    kept = before < p
    kept[0] = True
    kept = ids[kept]
    return torch.full_like(logits, -math.inf).index_copy(0, kept, logits[kept])


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Cut tokens less than p times as likely as the most likely one."""
    if p <= 0:
        return logits
    return logits.masked_fill(logits < logits.max() + math.log(p), -math.inf)


# --- the draw ----------------------------------------------------------------------------------


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
