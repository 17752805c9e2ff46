"""Is this picture true? Take the tokens away that it calls important, and see what is left.

A good order makes the prediction fall at once when its first tokens are taken away, and come back
at once when only they are put in. Source: Petsiuk et al. 2018, "RISE", section 4.3 (deletion and
insertion); DeYoung et al. 2020, "ERASER", section 4 (the same for text).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

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
) -> Iterator[Faithfulness]:
    """Both curves of each method and of a random order, on this very text.

    Tokens go in the order of their shares, the largest first; a token that is away is replaced by
    the mean embedding at its position, as in the methods themselves.

    Args:
        ids: the T tokens before the prediction.
        shares: [T] by name of a method.
        seeds: random orders whose mean is shown last, 0 for none.

    Yields:
        The curves of the orders that were tried, after each of them; the last has all.

    Raises:
        ValueError: a method has not one share for each token.
    """
    for name, values in shares.items():
        if len(values) != len(ids):
            raise ValueError(f"{name} has {len(values)} shares for {len(ids)} tokens")
    orders = [np.argsort(-np.asarray(values), kind="stable") for values in shares.values()]
    orders += [np.random.default_rng(seed).permutation(len(ids)) for seed in range(seeds)]
    known: dict[bytes, float] = {}  # probabilities by what was kept; orders have ends in common
    curves: list[np.ndarray] = []  # [2,F] of each order
    for count, order in enumerate(orders, start=1):
        curves.append(_probs(target, ids, _masks(order), known))
        names, shown = tuple(shares)[:count], np.stack(curves[: len(shares)])
        if count > len(shares):
            chance = np.mean(curves[len(shares) :], axis=0, keepdims=True)
            names, shown = (*names, RANDOM_ORDER), np.concatenate([shown, chance])
        deletion, insertion = shown.swapaxes(0, 1)
        yield Faithfulness(names, FRACTIONS, deletion, insertion)


def _masks(order: np.ndarray) -> np.ndarray:
    """Which tokens are there, when deleting and when inserting, at each fraction: [2, F, T]."""
    place = np.argsort(order)  # of each token in the order
    gone = np.stack([place < round(fraction * len(order)) for fraction in FRACTIONS])
    return np.stack([~gone, gone])


def _probs(
    target: Target, ids: Sequence[int], kept: np.ndarray, known: dict[bytes, float]
) -> np.ndarray:
    """The answer's probability with only some tokens there: [..., T] to [...].

    Args:
        known: by the bytes of a row, gains those that are new.
    """
    rows = kept.reshape(-1, len(ids))
    new = list({row.tobytes(): row for row in rows if row.tobytes() not in known}.items())
    x, empty = target.embed(ids), target.removed()
    for start in range(0, len(new), ROWS):
        keys, masks = zip(*new[start : start + ROWS], strict=True)
        some = torch.from_numpy(np.stack(masks)).to(empty.device)[..., None]
        probs = target.prob(target.hidden(torch.where(some, x, empty)))
        known.update(zip(keys, probs.tolist(), strict=True))
    return np.array([known[row.tobytes()] for row in rows]).reshape(kept.shape[:-1])
