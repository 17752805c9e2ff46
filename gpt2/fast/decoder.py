"""What writes: several texts at once, a step at a time. And the plain way to do it, with torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gpt2.cache import KVCache
from gpt2.model import GPT2
from gpt2.prediction import describe
from gpt2.records import Step
from gpt2.sampling import Sampling, distribution, draw, uniform


@dataclass(frozen=True, eq=False)
class Feed:
    """What is to be read of one text.

    Args:
        cache: holds the tokens before; it is filled further.
        ids: the next tokens, at least 1.
        wanted: after how many of the last of them the logits are wanted, 0 to len(ids).
    """

    cache: KVCache
    ids: Sequence[int]
    wanted: int = 1


@dataclass(frozen=True, eq=False)
class Draw:
    """How one token is to be chosen.

    Args:
        sampling: the settings; with the token's position its seed decides the draw.
        seen: all tokens before it, the prompt's too.
        forced: the token to take, described as if it had been drawn; None to draw.
    """

    sampling: Sampling
    seen: Sequence[int]
    forced: int | None = None


class Decoder(Protocol):
    """A model made ready for writing. For one thread, which calls nothing of it at the same time.

    A text's numbers never depend on the texts that are read beside it, to the last bit.
    """

    model: GPT2
    in_parts: bool  # whether a text read in parts gives the very bits of one read at once

    def cache(self, capacity: int) -> KVCache:
        """An empty cache for a text of at most so many tokens."""

    def read(self, feeds: Sequence[Feed]) -> Tensor:
        """Read some tokens of each text.

        Returns:
            The wanted logits, [n, V] in float32, in the order of the feeds.

        Raises:
            ValueError: the tokens do not fit; or in_parts is False, several tokens came at once and
                the cache was not empty.
        """

    def hidden(self, feeds: Sequence[Feed]) -> Tensor:
        """As read, but the final norm's output, [n, C], from which a classifier reads too."""

    def choose(self, logits: Tensor, draws: Sequence[Draw]) -> list[Step]:
        """Choose a token after each row of logits, [n, V]; finish_reason is left empty.

        Raises:
            FloatingPointError: the model gave a logit that is not a number.
        """


class PlainDecoder:
    """A model as it is, text after text: on any device, in any numbers, with any blocks."""

    in_parts = False

    def __init__(self, model: GPT2) -> None:
        self.model = model

    def cache(self, capacity: int) -> KVCache:
        model = self.model
        return KVCache(model.config, capacity, device=model.device, dtype=model.dtype)

    @torch.inference_mode()
    def read(self, feeds: Sequence[Feed]) -> Tensor:
        hidden = self.hidden(feeds)
        # Row by row: torch's product of several is another in its last bits.
        logits = [self.model.logits(row).float() for row in hidden]
        return torch.stack(logits) if logits else hidden.new_empty(0, self.model.config.vocab_size)

    @torch.inference_mode()
    def hidden(self, feeds: Sequence[Feed]) -> Tensor:
        device = self.model.device
        rows = []
        for feed in feeds:
            hidden = self.model.hidden(torch.tensor([list(feed.ids)], device=device), feed.cache)
            rows.append(hidden[0, len(feed.ids) - feed.wanted :])
        return torch.cat(rows)

    def choose(self, logits: Tensor, draws: Sequence[Draw]) -> list[Step]:
        return [self._choose(row, draw) for row, draw in zip(logits, draws, strict=True)]

    def _choose(self, logits: Tensor, wanted: Draw) -> Step:
        seen = torch.tensor(wanted.seen, device=logits.device)
        probs = distribution(logits, wanted.sampling, seen)
        token = wanted.forced
        if token is None:
            token = draw(probs, uniform(wanted.sampling.seed, len(wanted.seen)))
        return describe(logits, probs, token)
