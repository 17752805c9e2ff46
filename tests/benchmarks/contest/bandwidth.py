"""How fast this machine's memory can be read: no model writes sooner than its weights are read."""

import time
from collections.abc import Sequence

import torch

from contest.contender import Entry

SIZE = 2**30  # bytes; far more than any cache holds


class Memory:
    """Not a contender, but started as one: what it does is read."""

    def __init__(self, entry: Entry) -> None:
        self._buffer = torch.ones(SIZE // 4, device=entry.device)
        self._device = entry.device

    def bandwidth(self, repeats: int = 5) -> float:
        """Bytes a second, the best of a few reads with all threads."""
        seconds: Sequence[float] = []
        for _ in range(repeats):
            start = time.perf_counter()
            total = self._buffer.sum()
            total.item()  # waits for a GPU
            seconds = [*seconds, time.perf_counter() - start]
        return SIZE / min(seconds)
