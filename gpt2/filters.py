"""What each setting of Sampling does to the logits of one position, [V] in float32.

Sources: Keskar et al. 2019, "CTRL", section 4.1 (repetition penalty); Fan et al. 2018,
"Hierarchical Neural Story Generation" (top-k); Holtzman et al. 2020, "The Curious Case of Neural
Text Degeneration" (top-p); Nguyen et al. 2024, "Turning Up the Heat" (min-p). Imports: torch.
"""

import math

import torch
from torch import Tensor

FIRST_SORTED = 1024  # tokens that hold nearly all; sorting 50,257 takes ten times as long


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
