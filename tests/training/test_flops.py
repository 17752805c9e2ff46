"""gpt2.training.flops: PaLM's count of operations, and shares of a peak."""

import pytest
import torch

from gpt2.config import SIZES, GPT2Config
from gpt2.training import flops


def test_the_count_of_gpt2_is_palms():
    """124M: 123.65 M multiplying parameters, 12 layers of width 768, 1,024 tokens."""
    count = flops.flops_per_token(SIZES["124M"])
    assert count == 6 * (124_439_808 - 1024 * 768) + 12 * 12 * 768 * 1024


def test_a_peak_that_is_given_is_taken(monkeypatch):
    config = GPT2Config(n_ctx=8, n_embd=16, n_layer=1, n_head=2)
    rate = 1e12 / flops.flops_per_token(config)
    found = flops.utilisation(rate, config, torch.device("cpu"), given=2.0)
    assert found["model_flops_utilisation"] == pytest.approx(0.5)
    monkeypatch.setattr(flops, "world_size", lambda: 4)  # with 4 devices it is a quarter of each
    found = flops.utilisation(rate, config, torch.device("cpu"), given=2.0)
    assert found["model_flops_utilisation"] == pytest.approx(0.125)


def test_an_unknown_peak_gives_no_utilisation(monkeypatch):
    assert flops.peak_tflops(torch.device("cpu"), given=0) == 0
    config = GPT2Config(n_ctx=8, n_embd=16, n_layer=1, n_head=2)
    assert flops.utilisation(5.0, config, torch.device("cpu"), given=0) == {"tokens_per_second": 5}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some new GPU")
    assert flops.peak_tflops(torch.device("cuda"), given=0) == 0


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L40S", 362)],
)
def test_a_known_gpu_has_its_data_sheets_peak(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    assert flops.peak_tflops(torch.device("cuda"), given=0) == peak
