"""What Python's garbage collector need not look at again."""

import gc


def spare_what_is_here() -> None:
    """Leave all objects that exist by now out of later collections.

    What was imported and loaded stays as long as the page does, a million objects; without this
    every full collection looks at each of them, and a picture waits a quarter of a second.
    """
    gc.collect()
    gc.freeze()
