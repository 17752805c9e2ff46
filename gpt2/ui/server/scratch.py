"""Where Gradio may put temporary files; this page has none, but it wants a directory to start."""

import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # on Linux, there even where no disk can be written to


def scratch() -> str:
    """Gradio's own place, or one in memory where the disk is full or read-only."""
    try:
        place = Path(tempfile.gettempdir())
    except OSError:
        place = MEMORY
    return str(place / "gradio")
