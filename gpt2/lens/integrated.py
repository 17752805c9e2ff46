"""Integrated gradients: gradients on the way from an empty text to this one, added up.

Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.target import Target
from gpt2.records import INTEGRATED, Attribution

COMPLETE = 0.01  # of the change that is to be explained
CLOSE = 0.005  # of a logit: an error below this can't be seen, however small the change
# From where to where on the way, and gradients taken there: most where the embeddings grow out of
# the mean one, since the norm before the first block makes much of small differences.
STRETCHES = ((0.0, 0.15, 3), (0.15, 0.3, 4), (0.3, 0.5, 3), (0.5, 1.0, 3))
MOST_STEPS = 160


def integrated_gradients(target: Target, ids: Sequence[int]) -> Iterator[Attribution]:
    """The straight way from a text without tokens to this one, its gradients added up.

    They are complete: the T shares add up to the change of the logit along the way. On each stretch
    the integral is Gauss and Legendre's sum; the worst one is halved until the whole is complete
    within COMPLETE. `error` says by how much it fails.

    Args:
        ids: the T tokens before the prediction.

    Yields:
        What is known after each halving; the last is as complete as it gets.
    """
    way = _Way(target, ids)
    parts = way.integrals(STRETCHES)
    empty, logit = way.logits(0.0, 1.0)
    change = logit - empty
    while True:
        shares = torch.stack([part.shares for part in parts]).sum(dim=0)
        error = abs(float(shares.sum()) - change)
        steps = sum(part.steps for part in parts)
        relative = error / abs(change) if change else float("nan")
        yield Attribution(INTEGRATED, shares.cpu().numpy(), logit, empty, relative, steps)
        if error <= max(COMPLETE * abs(change), CLOSE) or steps >= MOST_STEPS:
            return
        way.logits(*(part.end for part in parts))  # all at once
        worst = max(parts, key=way.error)
        middle = (worst.start + worst.end) / 2
        halves = ((worst.start, middle, worst.steps), (middle, worst.end, worst.steps))
        parts = [part for part in parts if part is not worst] + way.integrals(halves)


@dataclass(frozen=True, eq=False)
class _Integral:
    """What each token's embedding does to the logit between two places of the way: shares [T]."""

    start: float
    end: float
    steps: int
    shares: Tensor


class _Way:
    """From the empty text at place 0 to the whole one at place 1."""

    def __init__(self, target: Target, ids: Sequence[int]) -> None:
        self._target = target
        self._start = target.removed()
        self._along = target.embed(ids) - self._start  # [T,C]
        self._logits: dict[float, float] = {}

    def logits(self, *places: float) -> list[float]:
        """The logit at some places; each is computed once."""
        new = [place for place in dict.fromkeys(places) if place not in self._logits]
        if new:
            with torch.inference_mode():
                logits = self._target.logit(self._target.hidden(self._texts(new)))
            self._logits.update(zip(new, logits.tolist(), strict=True))
        return [self._logits[place] for place in places]

    def integrals(self, stretches: Sequence[tuple[float, float, int]]) -> list[_Integral]:
        """The integrals over some stretches, all gradients of which are computed together."""
        places, weights = [], []
        for start, end, steps in stretches:
            nodes, parts = np.polynomial.legendre.leggauss(steps)  # on -1..1
            places.extend((start + (nodes + 1) / 2 * (end - start)).tolist())
            weights.extend((parts / 2 * (end - start)).tolist())
        gradients, _ = self._target.gradients(self._texts(places))  # [S,T,C]
        effects = (gradients * self._along.float()).sum(dim=-1)  # [S,T]
        effects *= effects.new_tensor(weights)[:, None]
        parts = effects.split([steps for _, _, steps in stretches])
        return [
            _Integral(*stretch, part.sum(dim=0))
            for stretch, part in zip(stretches, parts, strict=True)
        ]

    def error(self, part: _Integral) -> float:
        """How far an integral is from the change of the logit over its stretch."""
        before, after = self.logits(part.start, part.end)
        return abs(float(part.shares.sum()) - (after - before))

    def _texts(self, places: Sequence[float]) -> Tensor:
        """The embeddings at some places of the way: [S, T, C]."""
        return self._start + self._along * self._along.new_tensor(places)[:, None, None]
