"""Where the work is done: the device, its precision, and the processes that share a training.

Several processes are what torchrun starts; alone, none of this communicates. Imports: torch.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from gpt2.command import LostProcess
from gpt2.config import DTYPES


def pick_device(name: str) -> torch.device:
    """The device a --device flag names; "auto" takes a GPU if there is one.

    Raises:
        ValueError: the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ValueError(f"device {name} is not available here; available: {there}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type a --dtype flag means; "auto" is bfloat16 on a GPU, float32 elsewhere.

    Raises:
        ValueError: not one that this build computes in.
    """
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    if name not in DTYPES[1:-1]:
        raise ValueError(f"dtype {name} is not available; use float32, bfloat16 or float16")
    return getattr(torch, name)


def device_name(device: torch.device) -> str:
    """A GPU's model, or the kind of any other device."""
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type


def low_precision(device: torch.device) -> torch.autocast:
    """bfloat16 matrix products on a GPU, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


# --- several processes -----------------------------------------------------------------------


def rank() -> int:
    """This process's number, 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes torchrun started; alone, do nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in place and in one message.

    Raises:
        LostProcess: another process has ended.
    """
    if world_size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    try:
        distributed.all_reduce(flat)
    except RuntimeError as error:
        raise LostProcess from error
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def wait_for_all(device: torch.device) -> None:
    """Return once every process has come here; the device is the one they work on."""
    sum_over_processes([torch.zeros(1, device=device)])
