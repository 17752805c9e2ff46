"""Too little memory, in words for whoever asked for too much."""

from gpt2.command import lacks_memory

WORDS = (
    "there is not enough memory for this at the moment; shorten the text, or try again when others "
    "are done"
)


def in_words(error: Exception) -> Exception:
    """An error as it is told: torch's of too little memory names sizes and hints for a programmer.

    What was being computed at the same time for others goes on without it.
    """
    return ValueError(WORDS) if lacks_memory(error) else error
