"""How much of a device's arithmetic a training uses."""

import torch

from gpt2.config import GPT2Config
from gpt2.model import parameter_count
from gpt2.training.processes import world_size

# Dense bfloat16 peaks in 10^12 operations a second, from NVIDIA's data sheets; the first name that
# is part of the device's is taken.
PEAK_TFLOPS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
}


def flops_per_token(config: GPT2Config) -> int:
    """Operations that training on one token of a full context takes, forward and backward.

    6 for each parameter that multiplies (the position embedding does not; the token embedding does,
    as the head), and 12 L C T for attention's two products (Chowdhery et al. 2022, "PaLM",
    appendix B, which counts no causal saving).
    """
    multiplying = parameter_count(config) - config.n_ctx * config.n_embd
    return 6 * multiplying + 12 * config.n_layer * config.n_embd * config.n_ctx


def peak_tflops(device: torch.device, *, given: float) -> float:
    """Peak of a device: the one given, or of the table if it is 0; 0 if neither knows."""
    if given or device.type != "cuda":
        return given
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), 0.0)


def utilisation(
    rate: float, config: GPT2Config, device: torch.device, *, given: float
) -> dict[str, float]:
    """Tokens a second and, where the peak is known, the share of it that the model's work takes.

    Args:
        rate: tokens a second, over all processes, each with a device of its own.
        given: as for peak_tflops.
    """
    peak = peak_tflops(device, given=given)
    if not peak:
        return {"tokens_per_second": rate}
    used = rate * flops_per_token(config) / world_size()
    share = used / (peak * 1e12)
    return {"tokens_per_second": rate, "peak_tflops": peak, "model_flops_utilisation": share}
