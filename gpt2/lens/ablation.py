"""What a prediction owes to each head and each MLP: take it away and look again.

Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 3. Imports: torch.
"""

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.blocks import last_token
from gpt2.lens.observe import Observation
from gpt2.model import GPT2
from gpt2.records import AblationMap


@torch.inference_mode()
def ablation_map(
    model: GPT2,
    observation: Observation,
    index: int,
    token: int,
    *,
    layers: range | None = None,
) -> AblationMap:
    """How the log-probability of one token changes when each head, and each MLP, is off.

    A part is off at every position, as with a scale of 0. The blocks before it are as they were,
    so each layer's variants start together from its observed stream.

    Args:
        index: of the token that is predicted, 1 to T.
        token: the one whose probability is watched, usually ids[index].
        layers: asked for, all by default; the rows of the others are NaN. The later ones are
            quicker.

    Raises:
        ValueError: no such index, or no such token.
    """
    T, V = len(observation.ids), model.config.vocab_size
    if not 1 <= index <= T:
        raise ValueError(f"token {index} has no prediction; choose 1 to {T}")
    if not 0 <= token < V:
        raise ValueError(f"token id {token} is not between 0 and {V - 1}")
    streams = observation.streams[:, :index]
    layers = layers or range(model.config.n_layer)
    last = [_without(model, layer, streams[layer, None]) for layer in layers]
    states = torch.cat([streams[-1, -1:], *last])
    before, *after = _logprobs(model, states, token)
    changes = np.full((model.config.n_layer, model.config.n_head + 1), np.nan, np.float32)
    changes[layers] = (torch.stack(after) - before).view(len(layers), -1).cpu().numpy()
    return AblationMap(index, token, float(before), changes[:, :-1], changes[:, -1])


def _without(model: GPT2, layer: int, x: Tensor) -> Tensor:
    """The last token's last state without each head of a layer, then without its MLP.

    Args:
        x: [1, T, C], the stream before the layer.

    Returns:
        [H + 1, C].
    """
    block, later = model.h[layer], list(model.h[layer + 1 :])
    answers = block.attn.heads(block.ln_1(x))  # [1,H,T,D]
    if not later:
        x, answers = x[:, -1:], answers[:, :, -1:]  # only the last token is still asked for
    H = answers.size(1)
    others = 1 - torch.eye(H, device=x.device, dtype=x.dtype)[:, :, None, None]
    silenced = x + block.attn.c_proj(block.attn.join(answers * others))  # [H,T,C]
    silenced = silenced + block.mlp(block.ln_2(silenced))
    mute = x + block.attn.c_proj(block.attn.join(answers))  # [1,T,C]
    x = torch.cat([silenced, mute])
    for block in later[:-1]:
        x = block(x)
    return last_token(later[-1], x)[:, -1] if later else x[:, -1]


def _logprobs(model: GPT2, x: Tensor, token: int) -> Tensor:
    """Log-probability of a token as the next one, from last streams: [N, C] to [N]."""
    parts = []
    for some in x.split(128):  # [128,V] is 26 MB
        logits = model.logits(model.ln_f(some)).float()
        parts.append(logits[:, token] - logits.logsumexp(dim=-1))
    return torch.cat(parts)
