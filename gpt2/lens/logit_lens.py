"""What the model would say after each block, by the final norm and the head.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.reading import Reading
from gpt2.model import GPT2
from gpt2.prediction import ROWS_AT_ONCE, logits_in_parts, ranks_of
from gpt2.records import LogitLens


@torch.inference_mode()
def logit_lens(reading: Reading, positions: Sequence[int], *, top: int = 5) -> LogitLens:
    """Read every layer's stream as if it were the last.

    Args:
        positions: P tokens after which to predict, 0 to T - 1.
        top: tokens to name at each place.

    Raises:
        ValueError: no positions, one that is not in the text, or top is not 1 to V.
    """
    model, T, V = reading.model, len(reading.read), reading.model.config.vocab_size
    if not positions or not all(0 <= position < T for position in positions):
        raise ValueError(f"positions are {list(positions)}; choose some from 0 to {T - 1}")
    if not 1 <= top <= V:
        raise ValueError(f"top is {top}; it must be 1 to {V}")
    after = [*reading.ids[1:], -1]
    followed = torch.tensor([after[position] for position in positions], device=model.device)
    hidden = model.ln_f(reading.streams[:, list(positions)])  # [L+1,P,C]
    predicted = torch.cat([logits.argmax(dim=-1) for logits in logits_in_parts(model, hidden[-1])])
    wanted = torch.stack([followed.clamp(min=0), predicted], dim=1)  # [P,2]
    rows = hidden.flatten(0, 1)  # [(L+1)P,C]: the large matrix of the head is read once for all
    columns = _read(model, rows, wanted.repeat(len(hidden), 1), top)
    ids, tops, probs, ranks = (column.unflatten(0, hidden.shape[:2]) for column in columns)
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


def _read(model: GPT2, hidden: Tensor, wanted: Tensor, top: int) -> tuple[Tensor, ...]:
    """[N, C] and wanted [N, 2] to top ids [N, top], their probabilities, and those and ranks of
    the wanted ones."""
    parts = []
    tokens_in_parts = wanted.split(ROWS_AT_ONCE)
    for logits, tokens in zip(logits_in_parts(model, hidden), tokens_in_parts, strict=True):
        probs = logits.softmax(dim=-1)
        best = probs.topk(top)
        chosen = logits.gather(1, tokens)  # [N,2]
        ranks = ranks_of(logits[:, None], chosen)
        parts.append((best.indices, best.values, probs.gather(1, tokens), ranks))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
