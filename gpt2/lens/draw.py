"""How one token was chosen: the distribution after each setting, and the number that decided.

The stages and the slices are sampling's own, so what is shown is what was drawn from.
"""

import torch

from gpt2.lens.reading import Reading
from gpt2.records import Waterfall
from gpt2.sampling import Sampling, cumulative, draw, stages, uniform


@torch.inference_mode()
def how_drawn(reading: Reading, index: int, sampling: Sampling) -> Waterfall:
    """How token `index` of a text is drawn after those before it; T may be yet to come.

    Args:
        sampling: as when the token was drawn.

    Raises:
        ValueError: no such index.
        FloatingPointError: the model gave a logit that is not a number.
    """
    logits = reading.logits_before(index)
    steps = stages(logits, sampling, torch.tensor(reading.ids[:index], device=logits.device))
    probs = torch.stack([stage.logits.softmax(dim=-1) for stage in steps])  # [6,V]
    gone = (probs[1:] == 0) & (probs[:-1] > 0)
    cut = (probs[:-1] * gone).sum(dim=-1).tolist()
    u = uniform(sampling.seed, index)
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
