"""What makes a loaded model answer sooner, with the same numbers."""

import torch

from gpt2.fast.cpu import CPUModel
from gpt2.fast.decoder import Decoder, Draw, Feed, PlainDecoder
from gpt2.fast.speculation import Speculation
from gpt2.model import GPT2

__all__ = [
    "CPUModel",
    "Decoder",
    "Draw",
    "Feed",
    "PlainDecoder",
    "Speculation",
    "decoder",
    "prepare",
]


def prepare(model: GPT2) -> GPT2:
    """The quickest form of a model on its device, of the same parameters; use it instead.

    On a CPU in float32 a CPUModel, elsewhere the model itself.
    """
    if model.device.type == "cpu" and model.dtype == torch.float32:
        return CPUModel(model)
    return model


def decoder(model: GPT2) -> Decoder:
    """The quickest way to write with a model, which is not changed and shares its parameters."""
    return PlainDecoder(model)
