"""One text, and what a model makes of it: the logits that a receipt compares.

The source's side is numpy_forward over its own arrays; ours is the written model. Imports: torch.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2 import numpy_forward
from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.numpy_forward import Layout
from gpt2.sources import Source
from gpt2.tokenizer import ENDOFTEXT

TEXT = (
    f"{ENDOFTEXT}Alan Turing theorized that computers would one day become the most powerful "
    "machines on the planet. 3.14159 — “naïve” café, 東京!"
)
# As GPT-2's tokenizer splits it; written out so that a check needs no vocabulary.
TEXT_IDS = (
    *(50256, 36235, 39141, 18765, 1143, 326, 9061, 561, 530, 1110, 1716, 262, 749, 3665, 8217),
    *(319, 262, 5440, 13, 513, 13, 1415, 19707, 851, 564, 250, 2616, 38776, 447, 251, 40304, 11),
    *(10545, 251, 109, 12859, 105, 0),
)

_ROWS = 8192  # of the embedding matrix, turned to float32 at a time


def check_ids(config: GPT2Config) -> list[int]:
    """The tokens of TEXT, brought into a smaller vocabulary and context where need be."""
    return [token % config.vocab_size for token in TEXT_IDS][: config.n_ctx]


def source_logits(
    source: Source,
    ids: Sequence[int],
    *,
    gelu: Callable[[np.ndarray], np.ndarray] = numpy_forward.tanh_gelu,
) -> np.ndarray:
    """Logits of a source's own arrays, [T, V] in float64."""
    config = source.config
    return numpy_forward.logits(
        lambda name: source.read(name).float().numpy(),
        ids,
        n_layer=config.n_layer,
        n_head=config.n_head,
        layout=source.layout,
        epsilon=config.layer_norm_epsilon,
        gelu=gelu,
    )[:, : config.vocab_size]


def openai_logits(
    read: Callable[[str], Tensor], ids: Sequence[int], config: GPT2Config
) -> np.ndarray:
    """Logits of a written TensorFlow checkpoint, [T, V] in float64."""
    return numpy_forward.logits(
        lambda name: read(name).numpy(),
        ids,
        n_layer=config.n_layer,
        n_head=config.n_head,
        layout=Layout(openai=True),
        epsilon=config.layer_norm_epsilon,
    )


@torch.inference_mode()
def model_logits(model: GPT2, ids: Sequence[int]) -> np.ndarray:
    """Logits of a loaded model, computed in float32 whatever its type, [T, V].

    One block at a time is turned to float32, so that a half-precision model is not held twice.
    """
    tokens = torch.tensor([list(ids)])
    x = model.wte(tokens).float() + model.wpe.weight[: len(ids)].float()
    for block in model.h:
        x = (block if model.dtype == torch.float32 else copy.deepcopy(block).float())(x)
    x = copy.deepcopy(model.ln_f).float()(x)[0]
    return torch.cat([x @ rows.float().t() for rows in model.wte.weight.split(_ROWS)], 1).numpy()
