"""How much each token of a text counts for one prediction: three ways to ask.

The input that is explained are the tokens' embeddings; positions stay. A token is taken away by
putting the mean embedding in its place (Target.removed). Sources: Shrikumar et al. 2016, "Not
Just a Black Box" (gradient x input); Li et al. 2016, "Understanding Neural Networks through
Representation Erasure" (occlusion); integrated.py. Imports: torch.
"""

from collections.abc import Sequence

import numpy as np
import torch

from gpt2.lens.integrated import integrated_gradients
from gpt2.lens.reading import Reading
from gpt2.lens.target import Target
from gpt2.records import GRADIENT, OCCLUSION, Attribution

CHUNK = 16  # tokens occluded together: they share the pass over what stands before the first


def attribute(target: Target, reading: Reading, count: int, method: str) -> Attribution:
    """One of METHODS by name, for the answer after the first `count` tokens of a text."""
    if method == OCCLUSION:
        return occlusion(target, reading, count)
    gradient = gradient_x_input if method == GRADIENT else integrated_gradients
    return gradient(target, reading.ids[:count])


def gradient_x_input(target: Target, ids: Sequence[int]) -> Attribution:
    """Each token's embedding times the gradient there: the effect of making it a little longer.

    Args:
        ids: the T tokens before the prediction.
    """
    x = target.embed(ids)
    gradients, logit = target.gradients(x[None])
    shares = (gradients[0] * x.float()).sum(dim=-1)
    return Attribution(GRADIENT, shares.cpu().numpy(), float(logit), 0.0, float("nan"), 1)


@torch.inference_mode()
def occlusion(
    target: Target, reading: Reading, count: int, *, tokens: range | None = None
) -> Attribution:
    """What the logit loses when one token is taken away, token by token.

    Args:
        reading: of the text, or of a longer one.
        count: T, how many tokens stand before the prediction.
        tokens: that are taken away, all by default; the shares of the others are NaN. The later
            ones are quicker.
    """
    tokens, x = tokens or range(count), target.embed(reading.ids[:count])
    logits = []
    for first in tokens[::CHUNK]:
        places = torch.arange(min(CHUNK, tokens.stop - first), device=x.device)
        texts = x[first:].repeat(len(places), 1, 1)  # [B,S,C]; what stands before is as it was read
        texts[places, places] = target.removed()
        logits.append(target.logit(target.hidden(texts, reading.streams[:, :first])))
    whole = target.logit(reading.hidden()[count - 1, None])[0]
    lost = np.full(count, np.nan, np.float32)
    lost[tokens] = (whole - torch.cat(logits)).cpu().numpy()
    return Attribution(OCCLUSION, lost, float(whole), 0.0, float("nan"), len(tokens))
