"""A completion request, and what one may ask for."""

import secrets
from dataclasses import dataclass, field

from gpt2.checks import check_number
from gpt2.sampling import SEED_LIMIT, Sampling


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Args:
        prompt_chars: characters of a prompt or text.
        new_tokens: tokens of a completion.
        seconds: wall time of a completion.
        queue: requests of one kind that may wait.
        rows: completions written at once; each has a cache of its own, for its prompt and the
            tokens to come: 2 x n_layer x n_embd numbers a token, so with 32 texts that fill the
            context at most 0.6 GB (mini), 2.4 GB (124M) or 20 GB (1558M) in float32.
        attention_tokens: tokens shown on a side of an attention map.
        models: models of each kind kept in memory; the one used longest ago goes first.
        explained_tokens: tokens before a prediction that is attributed to them or to heads.
        observed_bytes: forward passes kept for the views, together.
        draft_bytes: completions kept to branch from, together.
    """

    prompt_chars: int = 20_000
    new_tokens: int = 512
    seconds: float = 60.0
    queue: int = 64
    rows: int = 32
    attention_tokens: int = 64
    models: int = 2
    explained_tokens: int = 128
    observed_bytes: int = 128 * 2**20
    draft_bytes: int = 128 * 2**20


@dataclass(frozen=True)
class Request:
    """What is to be completed, and how.

    Args:
        prompt: the text to continue, empty to start from nothing.
        max_new_tokens: most tokens to write.
        sampling: how to choose them.
        stop: end before this text, empty for none.
        model: a name from Library.models, empty for the first.
    """

    prompt: str
    max_new_tokens: int = 60
    sampling: Sampling = field(default_factory=Sampling)
    stop: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        count: object = self.max_new_tokens
        if isinstance(count, float) and count.is_integer():
            object.__setattr__(self, "max_new_tokens", int(count))  # 60.0 is 60


def seed_or_random(seed: int) -> int:
    """The seed itself, or a random one for -1.

    Raises:
        ValueError: not a whole number from -1 to 2**31 - 1.
    """
    seed = int(check_number("seed", seed, -1, SEED_LIMIT - 1, whole=True))
    return secrets.randbelow(SEED_LIMIT) if seed == -1 else seed
