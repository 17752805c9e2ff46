"""Where the work is done, and in which numbers: what --device and --dtype mean."""

import os

import torch

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
        ValueError: there is none of this name, or not on this device.
    """
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    if name not in DTYPES:
        raise ValueError(f"dtype {name} is not available; use {', '.join(DTYPES)}")
    if name == "int8" and device.type != "cpu":
        raise ValueError(f"dtype int8 is for a CPU; use bfloat16 on {device.type}")
    return getattr(torch, name)


def device_name(device: torch.device) -> str:
    """A GPU's model, or the kind of any other device."""
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type
