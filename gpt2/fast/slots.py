"""Where a GPU keeps the keys and values of the texts being written: one memory, at fixed places.

A captured CUDA graph reads and writes the same addresses whenever it is replayed. So a text that is
to take part in a step is moved into a slot, and its cache is then a view of that slot; one that has
waited for long, a text kept for a branch say, moves out when its slot is needed.
"""

import weakref
from collections.abc import Sequence

import torch

from gpt2.cache import KVCache
from gpt2.config import GPT2Config

PATIENCE = 16  # reads without a text before its slot is another's


class Slots:
    """Keys and values of a fixed number of texts, each of up to n_ctx tokens.

    Every slot has one position more, past the context, which no attention reads: there a row of a
    graph writes that stands for no text.

    Args:
        config: the model's shape.
        count: texts that have a slot at the same time.
        device, dtype: as the model's.
    """

    def __init__(
        self, config: GPT2Config, count: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (config.n_layer, count, config.n_head, config.n_ctx + 1, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)  # [L,slots,H,T,D]
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.count = count
        self._slots: weakref.WeakKeyDictionary[KVCache, int] = weakref.WeakKeyDictionary()
        self._reads = 0
        self._read_at = [0] * count

    @staticmethod
    def nbytes_of_one(config: GPT2Config, dtype: torch.dtype) -> int:
        """Memory that a slot takes."""
        return 2 * config.n_layer * (config.n_ctx + 1) * config.n_embd * dtype.itemsize

    def seat(self, caches: Sequence[KVCache], first: int) -> list[int]:
        """Where the texts of a step are, each in a slot.

        Args:
            caches: at most as many as there are slots.
            first: they should all be among so many slots, counted from 0; another text that was
                read lately is not moved out for that.
        """
        self._reads += 1
        for cache in caches:
            slot = self._slots.get(cache, self.count)
            if slot >= first:
                found = self._find(caches, first)
                if found < min(slot, first) or slot == self.count:
                    self._move(cache, found)
        slots = [self._slots[cache] for cache in caches]
        for slot in slots:
            self._read_at[slot] = self._reads
        return slots

    def _find(self, caches: Sequence[KVCache], first: int) -> int:
        """The best slot that none of these texts has."""
        owned = {slot: cache for cache, slot in self._slots.items()}
        fed = {id(cache) for cache in caches}
        others = [slot for slot in range(self.count) if id(owned.get(slot)) not in fed]
        late = self._reads - PATIENCE
        idle = [slot for slot in others if slot not in owned or self._read_at[slot] < late]
        near = [slot for slot in idle if slot < first] or idle
        return near[0] if near else min(others, key=self._read_at.__getitem__)

    def _move(self, cache: KVCache, slot: int) -> None:
        """Bring a text into a slot, and the text that is there out."""
        for other in [other for other, its in self._slots.items() if its == slot]:
            other.keys, other.values = other.keys.clone(), other.values.clone()
            del self._slots[other]
        length = cache.length
        for store, held in ((self.keys, cache.keys), (self.values, cache.values)):
            store[:, slot, :, :length] = held[:, 0, :, :length]
            # What is masked counts 0 times, and 0 times what is no number would be none.
            store[:, slot, :, length:] = 0
        cache.keys = self.keys[:, slot : slot + 1, :, : cache.capacity]
        cache.values = self.values[:, slot : slot + 1, :, : cache.capacity]
        self._slots[cache] = slot
