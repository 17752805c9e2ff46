"""The processes that share a training, as torchrun starts them; alone, none communicates."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, distributed

from gpt2.command import LostProcess
from gpt2.devices import device_name
from gpt2.weights import sole_writer


def rank() -> int:
    """This process's number, 0 when alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 when alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def machines(device: torch.device) -> dict[str, str | int]:
    """What a run computes on, for its metrics."""
    return {"device": device_name(device), "processes": world_size()}


@contextmanager
def process_group(device: torch.device, out: str) -> Iterator[None]:
    """Join the processes torchrun started, if any; the first keeps other programs from `out`.

    Raises:
        ValueError: another program writes it now.
    """
    many = "WORLD_SIZE" in os.environ
    if many:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        with sole_writer(out) if rank() == 0 else nullcontext():
            yield
    finally:
        if many:
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
