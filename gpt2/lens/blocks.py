"""The blocks run for the last token's sake alone, and on from a text that was read before.

Same numbers as the blocks themselves, of whose methods they are made; less work.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gpt2.model import GPT2, Block


def blocks_of(model: GPT2) -> list[Block]:
    """A model's blocks, as what they are to a type checker too."""
    return [block for block in model.h if isinstance(block, Block)]


def last_state(blocks: Sequence[Block], x: Tensor, before: Tensor | None = None) -> Tensor:
    """The last token's state after some blocks.

    Args:
        x: [B, S, C], each text's stream before the first of them.
        before: the streams before each block, [>= blocks, P, C], of P tokens that stand before all
            these texts; those can't see what follows, so they are as they were.

    Returns:
        [B, C].
    """
    for layer, block in enumerate(blocks):
        last = layer == len(blocks) - 1
        if before is not None and before.size(1):
            x = rerun(block, x, 1 if last else x.size(1), before[layer])
        else:
            x = rerun(block, x, 1) if last else block(x)
    return x[:, -1]


def rerun(block: Block, x: Tensor, count: int, before: Tensor | None = None) -> Tensor:
    """A block's output for the last tokens alone; for one it is a quarter of the work.

    Args:
        x: [B, S, C].
        count: tokens wanted, 1 to S.
        before: [P, C], the stream before the block of P tokens that stand before all texts.

    Returns:
        [B, count, C].
    """
    q, k, v = block.attn.qkv(block.ln_1(x))
    if before is not None:
        _, *kept = block.attn.qkv(block.ln_1(before)[None])
        k, v = (
            torch.cat([old.expand(len(x), -1, -1, -1), new], dim=2)  # [B,H,P+S,D]
            for old, new in zip(kept, (k, v), strict=True)
        )
    total = k.size(2)
    seen = torch.ones(count, total, dtype=torch.bool, device=x.device).tril(total - count)
    mask = seen if count > 1 else None  # the last one sees all
    answers = F.scaled_dot_product_attention(q[:, :, -count:], k, v, attn_mask=mask)
    return block.finish(x[:, -count:], block.attn.mix(answers))
