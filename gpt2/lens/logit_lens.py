"""What the model would say after each block, by the final norm and the head.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens". Imports: torch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.observe import Observation
from gpt2.model import GPT2
from gpt2.prediction import ranks_of
from gpt2.records import LogitLens

CHUNK = 128  # rows at once: [128,V] is 26 MB, all of a long text's would be gigabytes


@torch.inference_mode()
def logit_lens(
    model: GPT2, observation: Observation, positions: Sequence[int], *, top: int = 5
) -> LogitLens:
    """Read every layer's stream as if it were the last.

    Args:
        positions: P tokens after which to predict, 0 to T - 1.
        top: tokens to name at each place.

    Raises:
        ValueError: no positions, one that is not in the text, or top is not 1 to V.
    """
    T, V = len(observation.ids), model.config.vocab_size
    if not positions or not all(0 <= position < T for position in positions):
        raise ValueError(f"positions are {list(positions)}; choose some from 0 to {T - 1}")
    if not 1 <= top <= V:
        raise ValueError(f"top is {top}; it must be 1 to {V}")
    after = [*observation.ids[1:], -1]
    followed = torch.tensor([after[position] for position in positions], device=model.device)
    streams = observation.streams[:, list(positions)]  # [L+1,P,C]
    predicted = torch.cat(
        [model.logits(model.ln_f(x)).argmax(dim=-1) for x in streams[-1].split(CHUNK)]
    )
    wanted = torch.stack([followed.clamp(min=0), predicted], dim=1)  # [P,2]
    rows = streams.flatten(0, 1)  # [(L+1)P,C]: the large matrix of the head is read once for all
    columns = _read(model, rows, wanted.repeat(len(streams), 1), top)
    ids, tops, probs, ranks = (column.unflatten(0, streams.shape[:2]) for column in columns)
    there = followed >= 0
    return LogitLens(
        positions=np.array(positions),
        top_ids=ids.cpu().numpy(),
        top_probs=tops.cpu().numpy(),
        followed_ids=followed.cpu().numpy(),
        followed_probs=(probs[..., 0] * there).cpu().numpy(),
        followed_ranks=(ranks[..., 0] * there).cpu().numpy(),
        predicted_ids=predicted.cpu().numpy(),
        predicted_probs=probs[..., 1].cpu().numpy(),
        predicted_ranks=ranks[..., 1].cpu().numpy(),
    )


@torch.inference_mode()
def logits_after(model: GPT2, observation: Observation, index: int) -> Tensor:
    """The model's logits after token `index`, [V] in float32."""
    return model.logits(model.ln_f(observation.streams[-1, index])).float()


def _read(model: GPT2, rows: Tensor, wanted: Tensor, top: int) -> tuple[Tensor, ...]:
    """[N, C] and wanted [N, 2] to top ids [N, top], their probabilities, and those and ranks of
    the wanted ones."""
    parts = []
    for x, tokens in zip(rows.split(CHUNK), wanted.split(CHUNK), strict=True):
        logits = model.logits(model.ln_f(x)).float()  # [N,V]
        probs = logits.softmax(dim=-1)
        best = probs.topk(top)
        chosen = logits.gather(1, tokens)  # [N,2]
        ranks = torch.stack([ranks_of(logits, one) for one in chosen.unbind(1)], dim=1)
        parts.append((best.indices, best.values, probs.gather(1, tokens), ranks))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
