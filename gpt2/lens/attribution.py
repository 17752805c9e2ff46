"""How much each token of a text counts for one prediction: three ways to ask.

The input that is explained are the tokens' embeddings; positions stay. A token is taken away by
putting the mean embedding in its place (Question.removed). Sources: Shrikumar et al. 2016, "Not
Just a Black Box" (gradient x input); Sundararajan et al. 2017, "Axiomatic Attribution for Deep
Networks" (integrated gradients); Li et al. 2016, "Understanding Neural Networks through
Representation Erasure" (occlusion). Imports: torch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.blocks import last_hidden, last_hidden_after
from gpt2.lens.observe import Observation
from gpt2.lens.question import Question
from gpt2.trace import METHODS, Attribution

COMPLETE = 0.01  # of the change that is to be explained
CLOSE = 0.005  # of a logit: an error below this can't be seen, however small the change
FIRST_STEPS, MOST_STEPS = 20, 160
TOKENS_AT_ONCE = 704  # in one batch with gradients; the shipped model then takes 100 MB more
CHUNK = 16  # tokens occluded together: they share the pass over what stands before the first


def attribute(question: Question, observation: Observation, count: int, method: str) -> Attribution:
    """One of METHODS by name, for the answer after the first `count` tokens observed."""
    if method == METHODS[2]:
        return occlusion(question, observation, count)
    gradient = gradient_x_input if method == METHODS[0] else integrated_gradients
    return gradient(question, observation.ids[:count])


def gradient_x_input(question: Question, ids: Sequence[int]) -> Attribution:
    """Each token's embedding times the gradient there: the effect of making it a little longer.

    Args:
        ids: the T tokens before the prediction.
    """
    x = question.embed(ids)
    gradients, score = _gradients(question, x[None])
    scores = (gradients[0] * x.float()).sum(dim=-1)
    return Attribution(METHODS[0], scores.cpu().numpy(), float(score), 0.0, float("nan"), 1)


def integrated_gradients(question: Question, ids: Sequence[int]) -> Attribution:
    """Gradients on the straight way from a text without tokens to this one, added up.

    They are complete: the T scores add up to the change of the score along the way. The integral is
    Gauss and Legendre's sum, its steps doubled until this holds within COMPLETE; `error` says by
    how much it fails.
    """
    x = question.embed(ids)
    start = question.removed().expand_as(x)
    with torch.inference_mode():
        empty, score = question.score(question.hidden(torch.stack([start, x]))).tolist()
    change, steps = score - empty, FIRST_STEPS
    while True:
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        places = torch.tensor((nodes + 1) / 2, dtype=x.dtype, device=x.device)[:, None, None]
        gradients, _ = _gradients(question, start + places * (x - start))  # [steps,T,C]
        shares = torch.tensor(weights / 2, dtype=torch.float32, device=x.device)
        mean = torch.einsum("s,stc->tc", shares, gradients)
        scores = (mean * (x - start).float()).sum(dim=-1)
        error = abs(float(scores.sum()) - change)
        if error <= max(COMPLETE * abs(change), CLOSE) or steps >= MOST_STEPS:
            break
        steps *= 2
    relative = error / abs(change) if change else float("nan")
    return Attribution(METHODS[1], scores.cpu().numpy(), score, empty, relative, steps)


@torch.inference_mode()
def occlusion(question: Question, observation: Observation, count: int) -> Attribution:
    """What the score loses when one token is taken away, token by token.

    Args:
        observation: of the text, or of a longer one.
        count: T, how many tokens stand before the prediction.
    """
    model, ids = question.backbone, observation.ids[:count]
    empty, x = question.removed(), question.embed(ids) + model.wpe.weight[:count]
    scores = []
    for first in range(0, count, CHUNK):
        places = torch.arange(first, min(first + CHUNK, count), device=x.device)
        texts = x[first:].repeat(len(places), 1, 1)  # [B,S,C]; what stands before is as observed
        texts[torch.arange(len(places)), places - first] = empty + model.wpe.weight[places]
        if first:
            hidden = last_hidden_after(model, observation, first, texts)
        else:
            hidden = last_hidden(model, texts)
        scores.append(question.score(hidden))
    whole = question.score(model.ln_f(observation.streams[-1, count - 1])[None])[0]
    lost = (whole - torch.cat(scores)).cpu().numpy()
    return Attribution(METHODS[2], lost, float(whole), 0.0, float("nan"), count)


def _gradients(question: Question, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the score by the embeddings, [N, T, C] in float32, and the last text's score."""
    rows, found = max(1, TOKENS_AT_ONCE // texts.size(1)), []
    for some in texts.split(rows):
        with torch.enable_grad():
            inputs = some.detach().clone().requires_grad_()
            score = question.score(question.hidden(inputs))
            (gradient,) = torch.autograd.grad(score.sum(), inputs)
        found.append(gradient.float())
    return torch.cat(found), score[-1].detach()
