"""A model as cpu.cpp sees it: where each of its numbers lies in torch's own memory."""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpt2.fast.stored import Matrix, StoredEmbedding, StoredLinear, StoredModel
from gpt2.model import GPT2, MLP, Block, CausalSelfAttention, LayerNorm

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # cpu.cpp's Kind
GPT2_PARTS = (GPT2, Block, CausalSelfAttention, MLP, LayerNorm)
TORCH_PARTS = (nn.Embedding, nn.Linear, nn.Dropout, nn.ModuleList)
PARTS = (*GPT2_PARTS, *TORCH_PARTS, StoredModel, StoredLinear, StoredEmbedding)
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # microseconds of a period, of Linux's cgroups
WIDEST_HEAD = 1024  # numbers of a query that cpu.cpp has room for


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


class NativeModel:
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


def fits(model: GPT2) -> bool:
    """Whether cpu.cpp can read this model.

    It is on a CPU, its parts are as they are built, and all but the matrices is float32.
    """
    parts = all(type(part) in PARTS for part in model.modules())
    widest = model.config.head_dim <= WIDEST_HEAD
    return parts and widest and all(_kind_fits(tensor) for tensor in _tensors(model))


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
