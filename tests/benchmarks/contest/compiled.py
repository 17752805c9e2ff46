"""The plain model in gpt-fast's way: keys and values of a fixed size, and one step compiled.

Source: pytorch-labs/gpt-fast, generate.py and model.py: torch.compile with mode "reduce-overhead"
(which captures CUDA graphs) of the step, sampling included, by the exponential trick.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from contest.contender import Entry, Unsupported
from gpt2 import weights
from gpt2.model import GPT2


class Compiled:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        if entry.numbers == "int8":
            raise Unsupported("no int8")
        dtype = getattr(torch, entry.numbers)
        self._model = weights.load_language_model(entry.directory, device=entry.device, dtype=dtype)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}  # by how many texts they hold
        options = {"mode": "reduce-overhead", "fullgraph": True, "dynamic": False}
        self._greedy = torch.compile(_greedy_step, **options)
        self._drawn = torch.compile(_drawn_step, **options)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> np.ndarray:
        return self._prefill([ids])[0].cpu().numpy()

    def read(self, ids: Sequence[int]) -> None:
        self.logits(ids)

    @torch.inference_mode()
    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        logits = self._prefill(texts)
        keys, values = self._kept[len(texts)]
        token = logits.argmax(dim=-1) if greedy else _draw(logits)
        step, written = (self._greedy if greedy else self._drawn), [token]
        position = torch.tensor([len(texts[0])], device=token.device)
        for _ in range(count - 1):
            torch.compiler.cudagraph_mark_step_begin()
            token = step(self._model, token, position, keys, values).clone()
            written.append(token)
            position = position + 1
        return torch.stack(written, dim=1).tolist()

    def _prefill(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Read texts of one length from their start; the logits after each, [B, V]."""
        model, config = self._model, self._model.config
        if len(texts) not in self._kept:
            shape = (config.n_layer, len(texts), config.n_head, config.n_ctx, config.head_dim)
            kept = [torch.zeros(shape, device=model.device, dtype=model.dtype) for _ in range(2)]
            self._kept[len(texts)] = kept[0], kept[1]
        ids = torch.tensor([list(ids) for ids in texts], device=model.device)
        places = torch.arange(ids.size(1), device=model.device)
        return _forward(model, ids, places, *self._kept[len(texts)])


def _greedy_step(
    model: GPT2, token: Tensor, position: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    return _forward(model, token[:, None], position, keys, values).argmax(dim=-1)


def _drawn_step(
    model: GPT2, token: Tensor, position: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    return _draw(_forward(model, token[:, None], position, keys, values))


def _draw(logits: Tensor) -> Tensor:
    """At temperature 0.8 of the 50 likeliest, [B, V] to [B]; without waiting for the GPU."""
    logits = logits / 0.8
    least = logits.topk(50).values[:, -1:]
    probs = logits.masked_fill(logits < least, -torch.inf).softmax(dim=-1)
    return (probs / torch.empty_like(probs).exponential_(1)).argmax(dim=-1)


def _forward(model: GPT2, ids: Tensor, places: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Read tokens [B, T] that stand at places [T]; the logits after the last, [B, V]."""
    x = model.wte(ids) + model.wpe(places)
    seen = torch.arange(keys.size(3), device=ids.device) <= places[:, None]  # [T, n_ctx]
    for layer, block in enumerate(model.h):
        q, k, v = block.attn.qkv(block.ln_1(x))
        keys[layer].index_copy_(2, places, k)
        values[layer].index_copy_(2, places, v)
        mixed = F.scaled_dot_product_attention(q, keys[layer], values[layer], attn_mask=seen)
        x = block.finish(x, block.attn.mix(mixed))
    return model.logits(model.ln_f(x[:, -1])).float()
