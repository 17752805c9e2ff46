"""How one token was chosen: the distribution after each setting, and the number that decided.

The stages and the slices are sampling's own, so what is shown is what was drawn from.
Imports: torch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt2.records import Waterfall
from gpt2.sampling import Sampling, cumulative, draw, stages, uniform


@torch.inference_mode()
def waterfall(logits: Tensor, ids: Sequence[int], sampling: Sampling) -> Waterfall:
    """The choice that follows a text.

    Args:
        logits: [V] in float32, the model's after the last of ids.
        ids: all tokens before the choice.
        sampling: as when the token was drawn.

    Raises:
        FloatingPointError: the model gave a logit that is not a number.
    """
    steps = stages(logits, sampling, torch.tensor(list(ids), device=logits.device))
    probs = torch.stack([stage.logits.softmax(dim=-1) for stage in steps])  # [6,V]
    gone = (probs[1:] == 0) & (probs[:-1] > 0)
    cut = (probs[:-1] * gone).sum(dim=-1).tolist()
    u = uniform(sampling.seed, len(ids))
    token = draw(probs[-1], u)
    kept, ends = cumulative(probs[-1])
    place = int((kept == token).nonzero())
    return Waterfall(
        names=tuple(stage.name for stage in steps),
        active=tuple(stage.active for stage in steps),
        probs=probs.cpu().numpy(),
        left=tuple((probs > 0).sum(dim=-1).tolist()),
        cut=(0.0, *cut),
        u=u,
        low=float(ends[place - 1]) if place else 0.0,
        high=float(ends[place]),
        token=token,
    )
