"""Is this picture true? Take the tokens away that it calls important, and see what is left.

A good order makes the prediction fall at once when its first tokens are taken away, and come back
at once when only they are put in. Source: Petsiuk et al. 2018, "RISE", section 4.3 (deletion and
insertion); DeYoung et al. 2020, "ERASER", section 4 (the same for text).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.target import Target
from gpt2.records import RANDOM_ORDER, Faithfulness

FRACTIONS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
SEEDS = 3  # of random orders
ROWS = 16  # texts in one batch


@torch.inference_mode()
def faithfulness(
    target: Target,
    ids: Sequence[int],
    shares: Mapping[str, np.ndarray],
    *,
    seeds: int = SEEDS,
) -> Faithfulness:
    """Both curves of each method and of a random order, on this very text.

    Tokens go in the order of their shares, the largest first; a token that is away is replaced by
    the mean embedding at its position, as in the methods themselves.

    Args:
        ids: the T tokens before the prediction.
        shares: [T] by name of a method.
        seeds: random orders whose mean is shown last, 0 for none.

    Raises:
        ValueError: a method has not one share for each token.
    """
    for name, values in shares.items():
        if len(values) != len(ids):
            raise ValueError(f"{name} has {len(values)} shares for {len(ids)} tokens")
    orders = [np.argsort(-np.asarray(values), kind="stable") for values in shares.values()]
    orders += [np.random.default_rng(seed).permutation(len(ids)) for seed in range(seeds)]
    kept = np.stack([_masks(order) for order in orders])  # [M,2,F,T]
    probs = _probs(target, ids, torch.from_numpy(kept).flatten(0, 2)).reshape(kept.shape[:3])
    names, curves = tuple(shares), probs[: len(shares)]
    if seeds:
        chance = probs[len(shares) :].mean(axis=0, keepdims=True)
        names, curves = (*names, RANDOM_ORDER), np.concatenate([curves, chance])
    deletion, insertion = curves.swapaxes(0, 1)
    return Faithfulness(names, FRACTIONS, deletion, insertion)


def _masks(order: np.ndarray) -> np.ndarray:
    """Which tokens are there, when deleting and when inserting, at each fraction: [2, F, T]."""
    place = np.argsort(order)  # of each token in the order
    gone = np.stack([place < round(fraction * len(order)) for fraction in FRACTIONS])
    return np.stack([~gone, gone])


def _probs(target: Target, ids: Sequence[int], kept: Tensor) -> np.ndarray:
    """The answer's probability with only some tokens there: [N, T] to [N]; equal rows run once."""
    x, empty = target.embed(ids), target.removed()
    different, which = kept.to(empty.device).unique(dim=0, return_inverse=True)
    parts = [
        target.prob(target.hidden(torch.where(some[..., None], x, empty)))
        for some in different.split(ROWS)
    ]
    return torch.cat(parts)[which].cpu().numpy()
