"""The loop that writes: read the prompt once, then one token at a time.

Source: Radford et al. 2019, section 3.6; OpenAI's sample.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt2.cache import KVCache
from gpt2.model import GPT2
from gpt2.prediction import describe
from gpt2.records import Step
from gpt2.sampling import Sampling, distribution, draw, uniform
from gpt2.tokenizer import ENDOFTEXT_ID


@dataclass(frozen=True, eq=False)
class Start:
    """A text that was read before.

    Args:
        cache: holds all its tokens and has room for those to come.
        logits: [V] in float32, after the last of them.
    """

    cache: KVCache
    logits: Tensor


def generate(
    model: GPT2,
    ids: Sequence[int],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    eos: int = ENDOFTEXT_ID,
) -> Iterator[Step]:
    """Continue a prompt.

    Args:
        model: in evaluation mode.
        ids: the prompt, 1 to n_ctx tokens.
        sampling: how each token is chosen.
        max_new_tokens: at least 1.
        eos: the token that ends the text, it is yielded too; -1 for none.

    Yields:
        A Step for each token; the last one's finish_reason is "eos", "length" or "context".

    Raises:
        ValueError: the prompt is empty or longer than the context, or max_new_tokens is below 1.
    """
    n_ctx = model.config.n_ctx
    if not 1 <= len(ids) <= n_ctx:
        raise ValueError(f"the prompt has {len(ids)} tokens; it must have 1 to {n_ctx}")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    start = read(model, ids, capacity=min(n_ctx, len(ids) + max_new_tokens))
    yield from go_on(model, start, ids, sampling, max_new_tokens=max_new_tokens, eos=eos)


def go_on(
    model: GPT2,
    start: Start,
    ids: Sequence[int],
    sampling: Sampling,
    *,
    max_new_tokens: int,
    eos: int,
    forced: Sequence[int] = (),
) -> Iterator[Step]:
    """Continue a text that was read before; as generate.

    Args:
        start: what reading ids gave; its cache is filled further.
        forced: tokens to write first, described as if they had been drawn.

    Raises:
        ValueError: start is of a text of another length.
    """
    cache, logits = start.cache, start.logits
    if cache.length != len(ids):
        raise ValueError(f"the start holds {cache.length} tokens; the text has {len(ids)}")
    seen = list(ids)
    while True:
        probs = distribution(logits, sampling, torch.tensor(seen, device=logits.device))
        drawn = len(seen) - len(ids)
        if drawn < len(forced):
            token = forced[drawn]
        else:
            token = draw(probs, uniform(sampling.seed, len(seen)))
        seen.append(token)
        reason = ""
        if token == eos:
            reason = "eos"
        elif len(seen) - len(ids) == max_new_tokens:
            reason = "length"
        elif len(seen) > model.config.n_ctx:
            reason = "context"
        yield describe(logits, probs, token, finish_reason=reason)
        if reason:
            return
        logits = decode_one_token(model, token, cache)


def read(model: GPT2, ids: Sequence[int], *, capacity: int) -> Start:
    """Read a text into a cache of its own.

    Args:
        ids: at least 1 token.
        capacity: most tokens the cache will hold.
    """
    cache = KVCache(model.config, capacity, device=model.device, dtype=model.dtype)
    return Start(cache, prefill(model, ids, cache))


@torch.inference_mode()
def prefill(model: GPT2, ids: Sequence[int], cache: KVCache) -> Tensor:
    """Read the prompt into an empty cache; the logits after its last token, [V] in float32."""
    hidden = model.hidden(torch.tensor([list(ids)], device=model.device), cache)
    return model.logits(hidden[0, -1]).float()


@torch.inference_mode()
def decode_one_token(model: GPT2, token: int, cache: KVCache) -> Tensor:
    """Read one more token; the logits after it, [V] in float32."""
    return prefill(model, [token], cache)
