"""What makes a loaded model answer sooner, with the same numbers. Imports: torch."""

from gpt2.fast.layout import prepare

__all__ = ["prepare"]
