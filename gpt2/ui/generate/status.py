"""The line about a text: how much of it there is, and how it was made."""

from collections.abc import Sequence

from gpt2.engine import Sampling
from gpt2.figures import counted
from gpt2.records import Trace, Update
from gpt2.ui.generate.words import drawn_words

FINISHED = {
    "length": "stopped: length",
    "eos": "stopped: the model ended the text",
    "stop": "stopped: the stop text",
    "context": "stopped: the context is full",
    "deadline": "stopped: the time limit",
    "cancelled": "stopped: by you",
    "link": "stopped: where the link's text ended",
    "": "writing",
}


def status(begun: Trace, done: Sequence[Update], sampling: Sampling, *, ended: str = "") -> str:
    """The line about a text: how much, how fast, with which settings and model, why it ended.

    Args:
        sampling: how it was drawn, whatever the form says by now.
        ended: why, if the text itself had no reason to; one of FINISHED.
    """
    seconds, reason = done[-1].seconds, done[-1].finish_reason
    words = [
        counted(len(done), "token"),
        f"{len(done) / seconds if seconds > 0 else 0:.0f} tokens/s",
        *drawn_words(
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            sampling.repetition_penalty,
        ),
        f"seed {begun.seed}",
        begun.model,
        FINISHED[reason or ended],
    ]
    guessed, right = done[-1].guessed
    if guessed:
        words.append(f"{right:,} of {guessed:,} guesses right")
    if begun.truncated:
        words.append(f"the first {begun.truncated:,} tokens of the prompt were dropped")
    return " · ".join(words)
