"""gpt2.devices: the device a flag names."""

import pytest
import torch

from gpt2.devices import pick_device


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
