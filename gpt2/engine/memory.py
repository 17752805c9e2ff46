"""A memory that forgets: what was used longest ago goes first when the bytes run out."""

import threading
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that knows its size."""

    @property
    def nbytes(self) -> int:
        """Memory it holds."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Sized)


class Memory(Generic[Key, Value]):
    """Values by key, together at most so many bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        """Start empty.

        Args:
            limit: most bytes held, 0 = keep nothing.
        """
        self.limit = limit
        self._values: dict[Key, Value] = {}  # in the order of last use
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value kept under a key, which counts as its use; None if there is none."""
        with self._lock:
            value = self._values.pop(key, None)
            if value is not None:
                self._values[key] = value
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value if it fits at all, and forget the oldest until all fit."""
        with self._lock:
            self._values.pop(key, None)
            if value.nbytes > self.limit:
                return
            self._values[key] = value
            while sum(kept.nbytes for kept in self._values.values()) > self.limit:
                del self._values[next(iter(self._values))]

    def items(self) -> list[tuple[Key, Value]]:
        """All that is kept, the oldest first."""
        with self._lock:
            return list(self._values.items())

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(value.nbytes for _, value in self.items())
