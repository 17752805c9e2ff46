"""Texts that were written, kept so that a branch of one does not read it all again.

Whatever is kept, the answer is the same to the last bit: where a decoder's numbers depend on how
much it reads at once, a prompt is always read at once and what follows token by token, and a kept
part was computed in that very order.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch

from gpt2.cache import KVCache
from gpt2.engine.memory import Memory
from gpt2.records import Step
from gpt2.sampling import Sampling


@dataclass(frozen=True, eq=False)
class Draft:
    """A text as far as it was written.

    Args:
        prompt: the tokens it began with.
        first: [V], the logits after them.
        steps: of the tokens written so far.
        cache: holds all of these tokens, but for the last.
    """

    prompt: tuple[int, ...]
    first: torch.Tensor
    steps: tuple[Step, ...]
    cache: KVCache

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        return self.cache.nbytes + self.first.nbytes


# The model and all that changes it, the prompt, the sampling but its seed, the tokens written.
_Key = tuple[Hashable, tuple[int, ...], Sampling, tuple[int, ...]]


class Drafts:
    """A memory of drafts of at most so many bytes."""

    def __init__(self, limit: int) -> None:
        """Start empty; limit 0 keeps nothing."""
        self._kept: Memory[_Key, Draft] = Memory(limit)

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._kept.nbytes

    def open(
        self,
        name: Hashable,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        written: Sequence[int],
        capacity: int,
    ) -> Draft | None:
        """A draft to write on, with as many of the written tokens as a kept one shares.

        Args:
            name: of the model and of all that changes what it computes.
            sampling: as for those tokens; another one, seeds aside, shares the prompt alone.
            written: tokens that follow the prompt.
            capacity: most tokens that the draft's cache will hold.

        Returns:
            The draft with a cache of its own, which lacks the last of the shared tokens: what
            followed it is not kept. None if the prompt was not read before.
        """
        best, shared = None, 0
        for key, kept in self._kept.items():
            if key[:2] != (name, tuple(prompt)):
                continue
            count = _common(kept.steps, written) if key[2] == _unseeded(sampling) else 0
            if best is None or count > shared:
                best, shared = key, count
        draft = self._kept.get(best) if best is not None else None
        if draft is None:
            return None
        cache = draft.cache.copy(len(prompt) + max(0, shared - 1), capacity=capacity)
        return replace(draft, steps=draft.steps[:shared], cache=cache)

    def keep(self, name: Hashable, sampling: Sampling, draft: Draft) -> None:
        """Remember a draft; nothing may be written to its cache any more."""
        ids = tuple(step.id for step in draft.steps)
        self._kept.keep((name, draft.prompt, _unseeded(sampling), ids), draft)


def _unseeded(sampling: Sampling) -> Sampling:
    """What of a sampling decides the numbers in a Step."""
    return replace(sampling, seed=0)


def _common(steps: Sequence[Step], written: Sequence[int]) -> int:
    """How many tokens two texts share from their beginning on."""
    count = 0
    for step, token in zip(steps, written, strict=False):
        if step.id != token:
            break
        count += 1
    return count
