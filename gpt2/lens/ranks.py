"""The place of a token among all, 1 for the most likely. Imports: torch."""

import torch
from torch import Tensor


def ranks_of(logits: Tensor, chosen: Tensor) -> Tensor:
    """How many logits are greater, and one: [N, V] and chosen [N] to [N] in int32.

    Counted in 32 bits: torch sums booleans ten times slower.
    """
    above = (logits > chosen[:, None]).view(torch.uint8)
    return above.sum(dim=-1, dtype=torch.int32) + 1
