"""A model that reads texts sooner: for what measures many of them and wants no gradient."""

import torch
from torch import Tensor, nn

from gpt2.cache import KVCache
from gpt2.fast.build import library
from gpt2.fast.decoder import Feed
from gpt2.fast.native import NativeDecoder
from gpt2.model import GPT2


def reader(model: GPT2) -> GPT2:
    """A model of the same parameters whose texts cpu.cpp reads, or the model itself elsewhere."""
    if NativeDecoder.fits(model) and library() is not None:
        return Reader(model)
    return model


class Reader(GPT2):
    """A view of a model that fits a NativeDecoder. With gradients or a cache it is that model."""

    def __init__(self, model: GPT2) -> None:
        nn.Module.__init__(self)  # the parameters are there already
        self.config, self.drop = model.config, model.drop
        self.wte, self.wpe, self.h, self.ln_f = model.wte, model.wpe, model.h, model.ln_f
        self._plain, self._decoder = [model], NativeDecoder(model)  # in a list: no part of this one
        self.train(model.training)

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        B, T = ids.shape
        if cache is not None or torch.is_grad_enabled() or self.config.n_ctx < T:
            return self._plain[0].hidden(ids, cache)
        feeds = [Feed(self._decoder.cache(T), row, T) for row in ids.tolist()]
        return self._decoder.hidden(feeds).view(B, T, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._plain[0].logits(hidden)
        logits = self._decoder.logits(hidden.reshape(-1, hidden.size(-1)))
        return logits.view(*hidden.shape[:-1], -1)
