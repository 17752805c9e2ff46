"""What makes a loaded model answer sooner, with the same numbers."""

import torch

from gpt2.fast.cpu import CPUModel
from gpt2.fast.decoder import Decoder, Draw, Feed, PlainDecoder
from gpt2.fast.gpu import GraphDecoder, rows_that_fit
from gpt2.model import GPT2

__all__ = ["CPUModel", "Decoder", "Draw", "Feed", "PlainDecoder", "decoder", "prepare"]


def prepare(model: GPT2) -> GPT2:
    """The quickest form of a model on its device, of the same parameters; use it instead.

    On a CPU in float32 a CPUModel, elsewhere the model itself.
    """
    if model.device.type == "cpu" and model.dtype == torch.float32:
        return CPUModel(model)
    return model


def decoder(model: GPT2) -> Decoder:
    """The quickest way to write with a model, which is not changed and shares its parameters.

    Keep it: on a GPU it takes up to a quarter of the free memory, and gets quick with its use.
    """
    if model.device.type == "cuda":
        return GraphDecoder(model, rows=rows_that_fit(model))
    return PlainDecoder(model)
