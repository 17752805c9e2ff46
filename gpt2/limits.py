"""What one request may ask for, and what is remembered between them. Imports: nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Args:
        prompt_chars: characters of a prompt or text.
        new_tokens: tokens of a completion.
        seconds: wall time of a completion.
        queue: requests that may wait.
        attention_tokens: tokens shown on a side of an attention map.
        models: models of each kind kept in memory; the one used longest ago goes first.
        explained_tokens: tokens before a prediction that is attributed to them or to heads.
        observed_bytes: forward passes kept for the views, together.
        draft_bytes: completions kept to branch from, together.
    """

    prompt_chars: int = 20_000
    new_tokens: int = 512
    seconds: float = 60.0
    queue: int = 16
    attention_tokens: int = 64
    models: int = 2
    explained_tokens: int = 128
    observed_bytes: int = 128 * 2**20
    draft_bytes: int = 128 * 2**20
