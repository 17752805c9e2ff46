"""The key/value cache: what the blocks remember of the tokens already read.

An argument of the forward pass, never an attribute of a module, so two generations can't share one
by accident.
"""

import torch
from torch import Tensor

from gpt2.config import GPT2Config


class KVCache:
    """Keys and values of every block, in memory allocated once.

    Args:
        config: the model's shape.
        capacity: most tokens it will hold, at most config.n_ctx.
        device, dtype: as the model's.
    """

    def __init__(
        self, config: GPT2Config, capacity: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        if not 1 <= capacity <= config.n_ctx:
            raise ValueError(f"capacity is {capacity}; it must be 1 to {config.n_ctx}")
        shape = (config.n_layer, 1, config.n_head, capacity, config.head_dim)  # [L,B,H,T,D]
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self._config = config
        self.capacity = capacity
        self.length = 0

    def __getitem__(self, layer: int) -> "LayerCache":
        """One block's part."""
        return LayerCache(self, layer)

    def check_room(self, new: int) -> None:
        """Raise if so many tokens can't be read now.

        Raises:
            ValueError: several tokens at once on a cache that is not empty, where the causal rule
                would be another; or no room left.
        """
        if new > 1 and self.length:
            raise ValueError(f"{new} tokens at once on a cache that holds {self.length}; feed one")
        if self.length + new > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} tokens; {self.length + new} do not fit"
            )

    def advance(self, count: int) -> None:
        """Count tokens as read, once every block has appended them."""
        self.length += count

    def rewind(self, length: int) -> None:
        """Forget all tokens but the first so many.

        Raises:
            ValueError: it holds fewer.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot go back to {length} tokens; the cache holds {self.length}")
        self.length = length

    def copy(self, length: int, *, capacity: int) -> "KVCache":
        """A cache of its own that holds the first `length` tokens of this one.

        Raises:
            ValueError: this one holds fewer, or they do not fit.
        """
        if not 0 <= length <= min(self.length, capacity):
            raise ValueError(
                f"cannot copy {length} tokens of a cache of {self.length} to one for {capacity}"
            )
        device, dtype = self.keys.device, self.keys.dtype
        made = KVCache(self._config, capacity, device=device, dtype=dtype)
        made.keys[:, :, :, :length] = self.keys[:, :, :, :length]
        made.values[:, :, :, :length] = self.values[:, :, :, :length]
        made.length = length
        return made

    @property
    def nbytes(self) -> int:
        """Memory it takes, used or not."""
        return self.keys.nbytes + self.values.nbytes


class LayerCache:
    """One block's part of a cache."""

    __slots__ = ("_cache", "_layer")

    def __init__(self, cache: KVCache, layer: int) -> None:
        self._cache, self._layer = cache, layer

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return all so far.

        Args:
            k, v: [1, H, T, D], the new tokens'.

        Returns:
            Keys and values, [1, H, length + T, D], views of the cache.

        Raises:
            ValueError: as check_room.
        """
        cache, layer, new = self._cache, self._layer, k.size(2)
        cache.check_room(new)
        end = cache.length + new
        cache.keys[layer, :, :, cache.length : end] = k
        cache.values[layer, :, :, cache.length : end] = v
        return cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
