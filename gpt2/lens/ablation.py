"""What a prediction owes to each head and each MLP: take it away and look again.

Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 3. Imports: torch.
"""

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.blocks import last_state
from gpt2.lens.reading import Reading
from gpt2.lens.scaling import scaled_block
from gpt2.model import GPT2
from gpt2.prediction import logits_in_parts
from gpt2.records import AblationMap


@torch.inference_mode()
def ablation_map(
    reading: Reading, index: int, token: int, *, layers: range | None = None
) -> AblationMap:
    """How the log-probability of one token changes when each head, and each MLP, is off.

    A part is off at every position, as with a scale of 0. The blocks before it are as they were,
    so each layer's variants start together from the stream that was read.

    Args:
        index: of the token that is predicted, 1 to T.
        token: the one whose probability is watched, usually ids[index].
        layers: asked for, all by default; the rows of the others are NaN. The later ones are
            quicker.

    Raises:
        ValueError: no such index, or no such token.
    """
    reading.check_prediction(index)
    model, config = reading.model, reading.model.config
    if not 0 <= token < config.vocab_size:
        raise ValueError(f"token id {token} is not between 0 and {config.vocab_size - 1}")
    streams, layers = reading.streams[:, :index], layers or reading.layers
    without = [_without(model, layer, streams[layer, None]) for layer in layers]
    hidden = model.ln_f(torch.cat([streams[-1, -1:], *without]))
    logprobs = torch.cat(
        [logits[:, token] - logits.logsumexp(dim=-1) for logits in logits_in_parts(model, hidden)]
    )
    changes = np.full((config.n_layer, config.n_head + 1), np.nan, np.float32)
    changes[layers] = (logprobs[1:] - logprobs[0]).view(len(layers), -1).cpu().numpy()
    return AblationMap(index, token, float(logprobs[0]), changes[:, :-1], changes[:, -1])


def _without(model: GPT2, layer: int, x: Tensor) -> Tensor:
    """The last token's last state without each head of a layer, then without its MLP.

    Args:
        x: [1, T, C], the stream before the layer.

    Returns:
        [H + 1, C].
    """
    on = 1 - torch.eye(model.config.n_head + 1, device=x.device, dtype=x.dtype)[:, None]
    block = scaled_block(model.h[layer], heads=on[..., :-1], mlp=on[..., -1:])
    return last_state([block, *model.h[layer + 1 :]], x)
