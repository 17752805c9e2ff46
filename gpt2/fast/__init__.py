"""The same numbers sooner: what a loaded model is written with, several texts at once."""

from gpt2.fast.build import library
from gpt2.fast.decoder import Decoder, Draw, Feed, PlainDecoder
from gpt2.fast.drafter import SMALLER, Drafter
from gpt2.fast.gpu import GraphDecoder
from gpt2.fast.native import NativeDecoder
from gpt2.fast.reader import reader
from gpt2.fast.speculation import Speculation
from gpt2.fast.stored import computed_in, stored
from gpt2.model import GPT2

__all__ = [
    "SMALLER",
    "Decoder",
    "Drafter",
    "Draw",
    "Feed",
    "GraphDecoder",
    "NativeDecoder",
    "PlainDecoder",
    "Speculation",
    "computed_in",
    "decoder",
    "library",
    "reader",
    "stored",
]


def decoder(model: GPT2) -> Decoder:
    """The quickest way to write with a model, which is not changed and shares its parameters.

    On a CPU compiled code where it can be had, on a GPU captured graphs, else torch. Keep it: on a
    GPU it takes memory for many texts, and gets quick with its use.
    """
    if NativeDecoder.fits(model) and library() is not None:
        return NativeDecoder(model)
    if GraphDecoder.fits(model):
        return GraphDecoder(model)
    return PlainDecoder(model)
