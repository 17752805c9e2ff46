"""How much each token of a text counts for one prediction: three ways to ask.

The input that is explained are the tokens' embeddings; positions stay. A token is taken away by
putting the mean embedding in its place (Question.removed). Sources: Shrikumar et al. 2016, "Not
Just a Black Box" (gradient x input); Li et al. 2016, "Understanding Neural Networks through
Representation Erasure" (occlusion); integrated.py. Imports: torch.
"""

from collections.abc import Sequence

import numpy as np
import torch

from gpt2.lens.blocks import last_hidden, last_hidden_after
from gpt2.lens.integrated import integrated_gradients
from gpt2.lens.observe import Observation
from gpt2.lens.question import Question
from gpt2.records import GRADIENT, OCCLUSION, Attribution

CHUNK = 16  # tokens occluded together: they share the pass over what stands before the first


def attribute(question: Question, observation: Observation, count: int, method: str) -> Attribution:
    """One of METHODS by name, for the answer after the first `count` tokens observed."""
    if method == OCCLUSION:
        return occlusion(question, observation, count)
    gradient = gradient_x_input if method == GRADIENT else integrated_gradients
    return gradient(question, observation.ids[:count])


def gradient_x_input(question: Question, ids: Sequence[int]) -> Attribution:
    """Each token's embedding times the gradient there: the effect of making it a little longer.

    Args:
        ids: the T tokens before the prediction.
    """
    x = question.embed(ids)
    gradients, score = question.gradients(x[None])
    scores = (gradients[0] * x.float()).sum(dim=-1)
    return Attribution(GRADIENT, scores.cpu().numpy(), float(score), 0.0, float("nan"), 1)


@torch.inference_mode()
def occlusion(
    question: Question, observation: Observation, count: int, *, tokens: range | None = None
) -> Attribution:
    """What the score loses when one token is taken away, token by token.

    Args:
        observation: of the text, or of a longer one.
        count: T, how many tokens stand before the prediction.
        tokens: that are taken away, all by default; the scores of the others are NaN. The later
            ones are quicker.
    """
    tokens = tokens or range(count)
    model, ids = question.backbone, observation.ids[:count]
    empty, x = question.removed(), question.embed(ids) + model.wpe.weight[:count]
    scores = []
    for first in tokens[::CHUNK]:
        places = torch.arange(first, min(first + CHUNK, tokens.stop), device=x.device)
        texts = x[first:].repeat(len(places), 1, 1)  # [B,S,C]; what stands before is as observed
        texts[torch.arange(len(places)), places - first] = empty + model.wpe.weight[places]
        if first:
            hidden = last_hidden_after(model, observation, first, texts)
        else:
            hidden = last_hidden(model, texts)
        scores.append(question.score(hidden))
    whole = question.score(model.ln_f(observation.streams[-1, count - 1])[None])[0]
    lost = np.full(count, np.nan, np.float32)
    lost[tokens] = (whole - torch.cat(scores)).cpu().numpy()
    return Attribution(OCCLUSION, lost, float(whole), 0.0, float("nan"), len(tokens))
