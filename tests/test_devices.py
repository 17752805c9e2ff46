"""gpt2.devices: the device a flag names."""

import pytest
import torch

from gpt2.devices import pick_device, pick_dtype

CPU = torch.device("cpu")


def test_the_cpu_can_always_be_named():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "mps", "toaster"])
def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device {name} is not available here; available: cpu"):
        pick_device(name)


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda", torch.bfloat16),
        ("float16", "cpu", torch.float16),
        ("bfloat16", "cpu", torch.bfloat16),
        ("int8", "cpu", torch.int8),
    ],
)
def test_number_types(name, device, expected):
    assert pick_dtype(name, torch.device(device)) == expected


@pytest.mark.parametrize("name", ["float64", "", "double"])
def test_other_number_types_are_refused_by_name(name):
    words = f"dtype {name} is not available; use float32, bfloat16, float16, int8"
    with pytest.raises(ValueError, match=words):
        pick_dtype(name, CPU)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_int8_is_refused_on_a_gpu(device):
    with pytest.raises(ValueError, match=f"int8 is for a CPU; use bfloat16 on {device}"):
        pick_dtype("int8", torch.device(device))
