"""How much each token of a text counts for one prediction: three ways to ask.

The input that is explained are the tokens' embeddings; positions stay. A token is taken away by
putting the mean embedding in its place (Target.removed). Sources: Shrikumar et al. 2016, "Not
Just a Black Box" (gradient x input); Li et al. 2016, "Understanding Neural Networks through
Representation Erasure" (occlusion); integrated.py.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from gpt2.lens.integrated import integrated_gradients
from gpt2.lens.reading import Reading
from gpt2.lens.target import Target
from gpt2.records import GRADIENT, OCCLUSION, Attribution

OCCLUDED_AT_ONCE = 32  # between two results; a tenth of a second or two with the shipped model
CHUNK = 16  # of them run together: they share the pass over what stands before the first


def attribute(target: Target, reading: Reading, count: int, method: str) -> Iterator[Attribution]:
    """One of METHODS by name, for the answer after the first `count` tokens; the last is whole."""
    if method == OCCLUSION:
        yield from occlusion(target, reading, count)
    elif method == GRADIENT:
        yield gradient_x_input(target, reading.ids[:count])
    else:
        yield from integrated_gradients(target, reading.ids[:count])


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
def occlusion(target: Target, reading: Reading, count: int) -> Iterator[Attribution]:
    """What the logit loses when one token is taken away, token by token.

    It comes as it fills, from the last tokens, which are quick, to the first; the last one is
    whole.

    Args:
        reading: of the text, or of a longer one.
        count: T, how many tokens stand before the prediction.
    """
    x, lost = target.embed(reading.ids[:count]), np.full(count, np.nan, np.float32)
    whole, empty = target.logit(reading.hidden()[count - 1, None]), target.removed()
    for end in range(count, 0, -OCCLUDED_AT_ONCE):
        tokens, logits = range(max(0, end - OCCLUDED_AT_ONCE), end), []
        for first in tokens[::CHUNK]:
            places = torch.arange(min(CHUNK, end - first), device=x.device)
            texts = x[first:].repeat(len(places), 1, 1)  # [B,S,C]; what stands before is as it was
            texts[places, places] = empty
            logits.append(target.logit(target.hidden(texts, reading.streams[:, :first])))
        lost[tokens] = (whole - torch.cat(logits)).cpu().numpy()
        steps = count - tokens.start
        yield Attribution(OCCLUSION, lost.copy(), float(whole), 0.0, float("nan"), steps)
