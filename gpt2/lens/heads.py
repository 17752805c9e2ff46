"""What a head does, measured: four kinds of attention that are known from other models.

What a head is, is measured on random tokens that are repeated, where nothing but position and
repetition can guide it; the same numbers on a text say what it did there. A text may have no
repetition, and its sense may point to the same places by chance, so labels come from the former.

Sources: Clark et al. 2019, "What Does BERT Look At?", section 3 (previous and first token); Elhage
et al. 2021, "A Mathematical Framework for Transformer Circuits" (duplicate token, induction);
Olsson et al. 2022, "In-context Learning and Induction Heads", "prefix matching score" (repeated
random tokens).
"""

import numpy as np
import torch
from torch import Tensor

from gpt2.lens.reading import Reading
from gpt2.model import GPT2
from gpt2.records import HeadScores

# Even attention over 128 tokens scores at most 0.04 in each; no paper gives a limit. A third of a
# head's attention on one kind of place out of a hundred is a habit.
THRESHOLD = 0.3
REPEATED = 64  # random tokens, which then come a second time
TEXTS = 4  # of those, over which the mean is taken


@torch.inference_mode()
def head_scores(reading: Reading) -> HeadScores:
    """The four scores of every head on a text."""
    scores, counts = _scores(reading)
    return HeadScores(scores, counts, THRESHOLD)


@torch.inference_mode()
def model_heads(model: GPT2, *, seed: int = 0) -> HeadScores:
    """The four scores of every head on repeated random tokens, the mean over several texts.

    Args:
        seed: of the tokens. They are drawn from the whole vocabulary, none twice in a text if it is
            large enough; half as many as the context holds if that is below REPEATED.
    """
    config = model.config
    length = min(REPEATED, config.n_ctx // 2, config.vocab_size)
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randperm(config.vocab_size, generator=generator) for _ in range(TEXTS)]
    readings = (Reading.of(model, text[:length].tolist() * 2) for text in texts)
    scores, counts = zip(*map(_scores, readings), strict=True)
    mean = np.stack(scores).astype(np.float64).mean(axis=0)
    return HeadScores(mean.astype(np.float32), tuple(np.sum(counts, axis=0).tolist()), THRESHOLD)


def head_targets(ids: tuple[int, ...] | list[int]) -> Tensor:
    """Where a head of each kind would look: [4, T, T] of 0 and 1, in the order of HEAD_LABELS.

    Row t marks the targets of token t; the first row is empty, for token 0 has only itself. An
    induction target is never the token itself, which follows its own repetition in "a a".
    """
    tokens = torch.tensor(ids)
    earlier = torch.ones(len(ids), len(ids)).tril(diagonal=-1)
    same = (tokens[:, None] == tokens) * earlier
    previous = earlier - earlier.tril(diagonal=-2)
    first = torch.zeros_like(earlier)
    first[1:, 0] = 1
    induction = torch.zeros_like(earlier)
    induction[:, 1:] = same[:, :-1]
    return torch.stack([previous, first, same, induction * earlier])


def _scores(reading: Reading) -> tuple[np.ndarray, tuple[int, ...]]:
    """[4, L, H]: attention on the targets, the mean over the tokens that have one; and how many."""
    targets = head_targets(reading.read).to(reading.model.device)  # [4,T,T]
    counts = targets.any(dim=-1).sum(dim=-1)  # [4]
    layers = [torch.einsum("hts,kts->kh", reading.maps(layer), targets) for layer in reading.layers]
    scores = torch.stack(layers, dim=1) / counts.clamp(min=1)[:, None, None]  # [4,L,H]
    return scores.clamp(max=1).cpu().numpy(), tuple(counts.tolist())
