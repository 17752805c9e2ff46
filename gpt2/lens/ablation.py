"""What a prediction owes to each head and each MLP: take it away and look again.

Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 3.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.blocks import blocks_of, last_state
from gpt2.lens.reading import Reading
from gpt2.lens.scaling import scaled_block
from gpt2.model import GPT2
from gpt2.prediction import logits_in_parts
from gpt2.records import AblationMap

LAYERS_AT_ONCE = 4  # between two results; a tenth of a second or two with the shipped model


@torch.inference_mode()
def ablation_maps(reading: Reading, index: int, token: int) -> Iterator[AblationMap]:
    """How the log-probability of one token changes when each head, and each MLP, is off.

    A part is off at every position, as with a scale of 0. The blocks before it are as they were,
    so each layer's variants start together from the stream that was read. The map comes as it
    fills, from the last layers, which are quick, to the first; the last one is whole.

    Args:
        index: of the token that is predicted, 1 to T.
        token: the one whose probability is watched, usually ids[index].

    Raises:
        ValueError: no such index, or no such token.
    """
    reading.check_prediction(index)
    model, config = reading.model, reading.model.config
    if not 0 <= token < config.vocab_size:
        raise ValueError(f"token id {token} is not between 0 and {config.vocab_size - 1}")
    streams = reading.streams[:, :index]
    changes = np.full((config.n_layer, config.n_head + 1), np.nan, np.float32)
    for end in range(config.n_layer, 0, -LAYERS_AT_ONCE):
        layers = reading.layers[max(0, end - LAYERS_AT_ONCE) : end]
        without = [_without(model, layer, streams[layer, None]) for layer in layers]
        hidden = model.ln_f(torch.cat([streams[-1, -1:], *without]))
        logprob, *after = torch.cat(
            [row[:, token] - row.logsumexp(dim=-1) for row in logits_in_parts(model, hidden)]
        )
        changes[layers] = (torch.stack(after) - logprob).view(len(layers), -1).cpu().numpy()
        heads, mlps = changes[:, :-1].copy(), changes[:, -1].copy()
        yield AblationMap(index, token, float(logprob), heads, mlps)


def _without(model: GPT2, layer: int, x: Tensor) -> Tensor:
    """The last token's last state without each head of a layer, then without its MLP.

    Args:
        x: [1, T, C], the stream before the layer.

    Returns:
        [H + 1, C].
    """
    on = 1 - torch.eye(model.config.n_head + 1, device=x.device, dtype=x.dtype)[:, None]
    block, *later = blocks_of(model)[layer:]
    return last_state([scaled_block(block, heads=on[..., :-1], mlp=on[..., -1:]), *later], x)
