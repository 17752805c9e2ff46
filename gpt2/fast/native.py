"""Writing on a CPU with cpu.cpp: the same numbers as the modules', several times sooner."""

import copy
import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt2.cache import KVCache
from gpt2.fast.build import library
from gpt2.fast.decoder import Draw, Feed
from gpt2.fast.stored import Matrix, StoredEmbedding, StoredLinear, StoredModel
from gpt2.model import GPT2, MLP, Block, CausalSelfAttention, LayerNorm
from gpt2.records import Step
from gpt2.sampling import BAD_LOGITS

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # cpu.cpp's Kind
GPT2_PARTS = (GPT2, Block, CausalSelfAttention, MLP, LayerNorm)
TORCH_PARTS = (nn.Embedding, nn.Linear, nn.Dropout, nn.ModuleList)
PARTS = (*GPT2_PARTS, *TORCH_PARTS, StoredModel, StoredLinear, StoredEmbedding)
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # microseconds of a period, of Linux's cgroups
WIDEST_HEAD = 1024  # numbers of a query that cpu.cpp has room for


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


class _Matrix(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "bias")),
        *((name, ctypes.c_int32) for name in ("out", "in", "kind")),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("ln_1", _Norm),
        ("c_attn", _Matrix),
        ("attn_proj", _Matrix),
        ("ln_2", _Norm),
        ("c_fc", _Matrix),
        ("mlp_proj", _Matrix),
    )


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("vocab_size", "n_ctx", "n_embd", "n_layer")),
        ("n_head", ctypes.c_int32),
        ("epsilon", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("threads", "unused")),
        ("wte", _Matrix),
        ("wpe", ctypes.c_void_p),
        ("ln_f", _Norm),
    )


class _Native:
    """A Model of cpu.cpp, freed with its last decoder."""

    def __init__(self, compiled: ctypes.CDLL, model: GPT2) -> None:
        config = model.config
        layers = (_Layer * config.n_layer)(*(_layer(block) for block in model.h))
        shape = _Shape(
            config.vocab_size,
            config.n_ctx,
            config.n_embd,
            config.n_layer,
            config.n_head,
            config.layer_norm_epsilon,
            cores(),
            0,
            _matrix(model.wte),
            model.wpe.weight.data_ptr(),
            _norm(model.ln_f),
        )
        compiled.model_new.restype = ctypes.c_void_p
        self._compiled = compiled
        self.place = ctypes.c_void_p(compiled.model_new(ctypes.byref(shape), ctypes.byref(layers)))

    def __del__(self) -> None:
        self._compiled.model_free(self.place)


def cores() -> int:
    """Threads that read a model: torch's number, or the fewer that a container may use.

    More threads than cores wait for one another, and torch counts the cores of the machine.
    """
    count = torch.get_num_threads()
    with suppress(OSError, ValueError):  # there is no such file, or "max" in it: no limit
        quota, period = map(int, CPU_LIMIT.read_text().split())
        count = min(count, max(1, quota // period))
    return count


class NativeDecoder:
    """A model's own weights, read by cpu.cpp; keys, values and all that is computed is float32."""

    in_parts = True

    def __init__(self, model: GPT2) -> None:
        """Take a model that fits (see `fits`), where cpu.cpp can be compiled."""
        compiled = library()
        if compiled is None:
            raise RuntimeError("cpu.cpp can't be compiled here; see gpt2.fast.decoder")
        self.model, self._library = model, compiled
        self._native = _Native(compiled, model)
        self._C, self._V = model.config.n_embd, model.config.vocab_size
        self._factors: np.ndarray | None = None

    @staticmethod
    def fits(model: GPT2) -> bool:
        """Whether cpu.cpp can read this model.

        It is on a CPU, its parts are as they are built, and all but the matrices is float32.
        """
        parts = all(type(part) in PARTS for part in model.modules())
        widest = model.config.head_dim <= WIDEST_HEAD
        return parts and widest and all(_kind_fits(tensor) for tensor in _tensors(model))

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


def _tensors(model: GPT2) -> Iterator[Tensor]:
    """All that cpu.cpp reads of a model: its matrices, as they are stored, and its vectors."""
    yield from (_stored(model.wte), model.wpe.weight)
    for module in model.modules():
        if isinstance(module, LayerNorm):
            yield from (module.weight, module.bias)
        elif isinstance(bias := getattr(module, "bias", None), Tensor):
            yield from (_stored(module), bias)


def _kind_fits(tensor: Tensor) -> bool:
    kinds = KINDS if tensor.dim() == 2 else (torch.float32,)
    return tensor.dtype in kinds and tensor.device.type == "cpu" and tensor.is_contiguous()


def _stored(module: Any) -> Tensor:
    """A module's matrix as it lies in memory."""
    matrix: Tensor = module.stored if isinstance(module, Matrix) else module.weight.detach()
    return matrix


def _matrix(module: Any) -> _Matrix:
    weights, scale = _stored(module), getattr(module, "scale", None)
    bias = getattr(module, "bias", None)
    out, width = weights.shape
    return _Matrix(
        weights.data_ptr(),
        None if scale is None else scale.data_ptr(),
        None if bias is None else bias.data_ptr(),
        out,
        width,
        KINDS[weights.dtype],
    )


def _norm(norm: LayerNorm) -> _Norm:
    return _Norm(norm.weight.data_ptr(), norm.bias.data_ptr())


def _layer(block: Any) -> _Layer:
    return _Layer(
        _norm(block.ln_1),
        _matrix(block.attn.c_attn),
        _matrix(block.attn.c_proj),
        _norm(block.ln_2),
        _matrix(block.mlp.c_fc),
        _matrix(block.mlp.c_proj),
    )
