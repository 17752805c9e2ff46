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
        self._keys = torch.empty(shape, device=device, dtype=dtype)
        self._values = torch.empty(shape, device=device, dtype=dtype)
        self._config = config
        self.capacity = capacity
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values of one block; return all of that block's so far.

        Args:
            layer: block index.
            k, v: [1, H, T, D], the new tokens'.

        Returns:
            Keys and values, [1, H, length + T, D], views of the cache.

        Raises:
            ValueError: several tokens at once on a cache that is not empty, or no room left.
        """
        new = k.size(2)
        end = self.length + new
        if new > 1 and self.length:
            raise ValueError(f"{new} tokens at once on a cache that holds {self.length}; feed one")
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens; {end} do not fit")
        self._keys[layer, :, :, self.length : end] = k
        self._values[layer, :, :, self.length : end] = v
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def advance(self, count: int) -> None:
        """Count tokens as read, once every block has appended them."""
        self.length += count

    def copy(self, length: int, *, capacity: int) -> "KVCache":
        """A cache of its own that holds the first `length` tokens of this one.

        Raises:
            ValueError: this one holds fewer, or they do not fit.
        """
        if not 0 <= length <= min(self.length, capacity):
            raise ValueError(
                f"cannot copy {length} tokens of a cache of {self.length} to one for {capacity}"
            )
        device, dtype = self._keys.device, self._keys.dtype
        made = KVCache(self._config, capacity, device=device, dtype=dtype)
        made._keys[:, :, :, :length] = self._keys[:, :, :, :length]
        made._values[:, :, :, :length] = self._values[:, :, :, :length]
        made.length = length
        return made

    @property
    def nbytes(self) -> int:
        """Memory it takes, used or not."""
        return self._keys.nbytes + self._values.nbytes
