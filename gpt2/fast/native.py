"""Writing on a CPU with cpu.cpp: the same numbers as the modules', several times sooner."""

import copy
import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2.cache import KVCache
from gpt2.fast.build import library
from gpt2.fast.decoder import Draw, Feed
from gpt2.fast.native_model import NativeModel, fits
from gpt2.model import GPT2
from gpt2.records import Step
from gpt2.sampling import BAD_LOGITS


def _struct(fields: str) -> np.dtype[Any]:
    """A struct of cpu.cpp: its fields as name:type, or name:type:count of an array."""
    parts = (field.split(":") for field in fields.split())
    return np.dtype([(name, kind, *map(int, count)) for name, kind, *count in parts])


ROW = _struct("token:i4 position:i4 keys:u8 values:u8 capacity:i8 factors:u8 wanted:i4 unused:i4")
DRAW = _struct(
    "seed:u8 position:u8 temperature:f8 top_p:f8 min_p:f8 penalty:f8 seen:u8 seen_count:i4 "
    "top_k:i4 forced:i4 unused:i4"
)
CHOICE = _struct(
    "token:i4 rank:i4 bad:i4 top_count:i4 logprob:f8 entropy:f8 sampled_prob:f8 "
    "top_ids:i4:10 top_probs:f4:10 top_sampled:f4:10"
)


class NativeDecoder:
    """A model's own weights, read by cpu.cpp; keys, values and all that is computed is float32."""

    in_parts = True

    def __init__(self, model: GPT2) -> None:
        """Take a model that fits (see `fits`), where cpu.cpp can be compiled."""
        compiled = library()
        if compiled is None:
            raise RuntimeError("cpu.cpp can't be compiled here; see gpt2.fast.decoder")
        self.model, self._library = model, compiled
        self._native = NativeModel(compiled, model)
        self._C, self._V = model.config.n_embd, model.config.vocab_size
        self._factors: np.ndarray | None = None

    @staticmethod
    def fits(model: GPT2) -> bool:
        """Whether cpu.cpp can read this model; see native_model.fits."""
        return fits(model)

    def scaled(self, factors: np.ndarray) -> "NativeDecoder":
        """A decoder of the same model with its parts turned down, off or up.

        Args:
            factors: [L, H + 2], for each layer those of its heads, of its MLP and of the whole.
        """
        config, twin = self.model.config, copy.copy(self)
        twin._factors = np.ascontiguousarray(factors, dtype=np.float32)
        if twin._factors.shape != (config.n_layer, config.n_head + 2):
            raise ValueError(
                f"factors are {twin._factors.shape}; this model has "
                f"({config.n_layer}, {config.n_head + 2})"
            )
        return twin

    def cache(self, capacity: int) -> KVCache:
        cpu = torch.device("cpu")
        return KVCache(self.model.config, capacity, device=cpu, dtype=torch.float32)

    def read(self, feeds: Sequence[Feed]) -> Tensor:
        return self.logits(self.hidden(feeds))

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's answer: [n, C], contiguous, to [n, V]."""
        logits = torch.empty(len(hidden), self._V)
        self._library.model_logits(self._native.place, _place(hidden), len(hidden), _place(logits))
        return logits

    def hidden(self, feeds: Sequence[Feed]) -> Tensor:
        rows = np.zeros(sum(len(feed.ids) for feed in feeds), dtype=ROW)
        end = 0
        for feed in feeds:
            count, cache = len(feed.ids), feed.cache
            if cache.length + count > cache.capacity:
                raise ValueError(
                    f"the cache holds {cache.capacity} tokens; {cache.length + count} do not fit"
                )
            part = rows[end : end + count]
            part["token"] = feed.ids
            part["position"] = np.arange(cache.length, cache.length + count)
            part["keys"], part["values"] = cache.keys.data_ptr(), cache.values.data_ptr()
            part["capacity"] = cache.capacity
            if self._factors is not None:
                part["factors"] = self._factors.ctypes.data
            part["wanted"][count - feed.wanted :] = 1
            end += count
        if len(rows) and not 0 <= rows["token"].min() <= rows["token"].max() < self._V:
            raise ValueError(f"a token is not one of the {self._V} in the vocabulary")
        hidden = torch.empty(int(rows["wanted"].sum()), self._C)
        self._library.model_read(
            self._native.place,
            ctypes.c_void_p(rows.ctypes.data),
            len(rows),
            _place(hidden),
        )
        for feed in feeds:
            feed.cache.advance(len(feed.ids))
        return hidden

    def choose(self, logits: Tensor, draws: Sequence[Draw]) -> list[Step]:
        # Only the penalty looks at the tokens themselves.
        ids = (draw.seen if draw.sampling.repetition_penalty != 1 else () for draw in draws)
        seen = [np.array(each, dtype=np.int32) for each in ids]
        wanted = np.array(list(map(_draw, draws, seen)), dtype=DRAW)
        choices = np.empty(len(draws), dtype=CHOICE)
        self._library.model_choose(
            self._native.place,
            _place(logits),
            ctypes.c_void_p(wanted.ctypes.data),
            ctypes.c_void_p(choices.ctypes.data),
            len(draws),
        )
        return [_step(*choice) for choice in choices.tolist()]


def _draw(draw: Draw, seen: Any) -> tuple[float, ...]:
    """The fields of a DRAW."""
    s, forced = draw.sampling, -1 if draw.forced is None else draw.forced
    numbers = s.temperature, s.top_p, s.min_p, s.repetition_penalty
    return (s.seed, len(draw.seen), *numbers, seen.ctypes.data, len(seen), s.top_k, forced, 0)


def _step(
    token: int,
    rank: int,
    bad: int,
    count: int,
    logprob: float,
    entropy: float,
    sampled_prob: float,
    top_ids: Any,
    top_probs: Any,
    top_sampled: Any,
) -> Step:
    """What the fields of a CHOICE say."""
    if bad:
        raise FloatingPointError(BAD_LOGITS)
    ids, probs, sampled = (tuple(top[:count].tolist()) for top in (top_ids, top_probs, top_sampled))
    prob = math.exp(logprob)
    return Step(token, prob, sampled_prob, logprob, rank, entropy, ids, probs, sampled)


def _place(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
