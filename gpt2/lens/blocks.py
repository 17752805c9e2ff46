"""The blocks run for the last token's sake alone, and on from a text that was read before.

Same numbers as GPT2.hidden, less work. Imports: torch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from gpt2.lens.observe import Observation
from gpt2.model import GPT2, Block


def last_hidden(model: GPT2, x: Tensor) -> Tensor:
    """The final norm's output at the last token, from the stream before the first block.

    Args:
        x: [B, T, C].

    Returns:
        [B, C].
    """
    for block in model.h[:-1]:
        x = block(x)
    return model.ln_f(last_token(model.h[-1], x)[:, -1])


def last_token(block: Block, x: Tensor) -> Tensor:
    """A block's output for the last token alone, a quarter of the work: [B, T, C] to [B, 1, C]."""
    q, k, v = block.attn.qkv(block.ln_1(x))
    answer = F.scaled_dot_product_attention(q[:, :, -1:], k, v)
    x = x[:, -1:] + block.attn.c_proj(block.attn.join(answer))
    return x + block.mlp(block.ln_2(x))


def last_hidden_after(model: GPT2, observation: Observation, start: int, x: Tensor) -> Tensor:
    """last_hidden of texts that begin like an observed one.

    Args:
        start: tokens taken from the observation, at least 1; they can't see what follows, so they
            are as they were.
        x: [B, S, C], each text's stream before the first block from token `start` on.

    Returns:
        [B, C].
    """
    B, S, _ = x.shape
    seen = torch.ones(S, start + S, dtype=torch.bool, device=x.device).tril(diagonal=start)
    for layer, block in enumerate(model.h):
        _, before_k, before_v = block.attn.qkv(block.ln_1(observation.streams[layer, None, :start]))
        q, k, v = block.attn.qkv(block.ln_1(x))
        k = torch.cat([before_k.expand(B, -1, -1, -1), k], dim=2)  # [B,H,start+S,D]
        v = torch.cat([before_v.expand(B, -1, -1, -1), v], dim=2)
        if layer == model.config.n_layer - 1:
            q, x, seen = q[:, :, -1:], x[:, -1:], seen[-1:]
        answer = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + block.attn.c_proj(block.attn.join(answer))
        x = x + block.mlp(block.ln_2(x))
    return model.ln_f(x[:, -1])
