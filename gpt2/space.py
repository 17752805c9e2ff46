"""What the environment of a Hugging Face Space says of it."""

import os


def on_zerogpu() -> bool:
    """Whether the Space has no GPU of its own, and is lent one for the length of a call."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
