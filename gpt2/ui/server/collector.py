"""Memory: what Python's collector need not look at again, and what the allocator need not keep."""

import ctypes
import gc
from contextlib import suppress

M_ARENA_MAX = -8  # of mallopt(3), in glibc
ARENAS = 2


def spare_what_is_here() -> None:
    """Leave all objects that exist by now out of later collections.

    What was imported and loaded stays as long as the page does, a million objects; without this
    every full collection looks at each of them, and a picture waits a quarter of a second.
    """
    gc.collect()
    gc.freeze()


def share_arenas() -> None:
    """Have threads that begin from now on share their allocator's memory.

    glibc gives each of some 50 threads an arena of its own, which keeps what the thread has freed.
    Elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def trim_memory() -> None:
    """Hand what was freed back to the system: glibc keeps it, a third of the process after a rush.

    Elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
