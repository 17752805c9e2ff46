"""One forward pass that is remembered, and the attention that can be read off it.

The residual stream between the blocks is enough: whatever a block did, it did to the stream before
it, so a view replays that one block and no other. Sources: Kobayashi et al. 2020, "Attention is Not
Only a Weight" (weighted maps); Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers"
(rollout). Imports: torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2.model import GPT2
from gpt2.records import Pooled


@dataclass(frozen=True, eq=False)
class Observation:
    """What is kept of a forward pass.

    Args:
        ids: the T tokens that were read.
        streams: [L + 1, T, C], on the model's device: the embedding and the stream after each
            block, the last one before the final norm.
    """

    ids: tuple[int, ...]
    streams: Tensor

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.streams.nbytes


@torch.inference_mode()
def observe(model: GPT2, ids: Sequence[int]) -> Observation:
    """Read a text once and keep the residual stream.

    Args:
        model: in evaluation mode.
        ids: 1 to n_ctx tokens.

    Raises:
        ValueError: no tokens, or more than the context holds.
    """
    if not ids:
        raise ValueError("there are no tokens to look at; give at least 1")
    streams = [model.embed(torch.tensor([list(ids)], device=model.device))]
    for block in model.h:
        streams.append(block(streams[-1]))
    return Observation(tuple(ids), torch.cat(streams))


def attention_maps(model: GPT2, ids: Sequence[int], layer: int) -> np.ndarray:
    """Attention of all heads of one block over a text, [H, T, T]; see attention."""
    check_layer(model, layer)
    return attention(model, observe(model, ids), layer)


@torch.inference_mode()
def attention(
    model: GPT2, observation: Observation, layer: int, *, weighted: bool = False
) -> np.ndarray:
    """Attention of all heads of one block.

    Args:
        layer: 0 to n_layer - 1.
        weighted: as `maps`.

    Returns:
        [H, T, T] in float32; row t says how much token t took from each token up to itself.

    Raises:
        ValueError: no such layer.
    """
    return maps(model, observation, layer, weighted=weighted).cpu().numpy()


@torch.inference_mode()
def attention_window(
    model: GPT2,
    observation: Observation,
    layer: int,
    *,
    rows: tuple[int, int],
    columns: tuple[int, int],
    weighted: bool = False,
) -> np.ndarray:
    """A part of the attention of a long text.

    Args:
        rows: (first, past the last) of the tokens that look back.
        columns: the same of the tokens they look at.

    Returns:
        [H, number of rows, number of columns].

    Raises:
        ValueError: no such layer, or a window that is empty or outside the text.
    """
    count = len(observation.ids)
    for name, (start, stop) in (("rows", rows), ("columns", columns)):
        if not 0 <= start < stop <= count:
            raise ValueError(f"{name} are {start} to {stop}; choose a range within 0 to {count}")
    found = maps(model, observation, layer, weighted=weighted)
    return found[:, slice(*rows), slice(*columns)].cpu().numpy()


@torch.inference_mode()
def overview(
    model: GPT2, observation: Observation, layer: int, cells: int, *, weighted: bool = False
) -> Pooled:
    """Attention of all heads of one block, pooled to at most `cells` a side: [H, n, n]."""
    edges = cell_edges(len(observation.ids), cells)
    found = pool(maps(model, observation, layer, weighted=weighted), edges)
    return Pooled(found.cpu().numpy(), edges)


@torch.inference_mode()
def tiles(model: GPT2, observation: Observation, cells: int, *, weighted: bool = False) -> Pooled:
    """Attention of every head of every block, pooled to at most `cells` a side: [L, H, n, n].

    Only one block's full maps exist at a time: all of them would be 1.8 GB for GPT-2 small at 1,024
    tokens.
    """
    edges = cell_edges(len(observation.ids), cells)
    found = torch.stack(
        [
            pool(maps(model, observation, layer, weighted=weighted), edges)
            for layer in range(model.config.n_layer)
        ]
    )
    return Pooled(found.cpu().numpy(), edges)


@torch.inference_mode()
def rollout(model: GPT2, observation: Observation) -> np.ndarray:
    """Attention followed through all blocks, as if values were carried and never changed.

    The product over the layers of half the mean map and half the identity, which stands for the
    residual connection; rows are normalised (Abnar & Zuidema 2020, section 3).

    Returns:
        [T, T] in float32; row t says how much of token t's last state came from each token; it adds
        up to 1.
    """
    T = len(observation.ids)
    identity = torch.eye(T, device=model.device)
    total = identity
    for layer in range(model.config.n_layer):
        mixed = 0.5 * maps(model, observation, layer).mean(dim=0) + 0.5 * identity
        total = mixed / mixed.sum(dim=-1, keepdim=True) @ total
    return total.cpu().numpy()


def maps(model: GPT2, observation: Observation, layer: int, *, weighted: bool = False) -> Tensor:
    """Attention of one block as a tensor, [H, T, T] in float32.

    Args:
        weighted: multiply each weight with the length of what it lets through, the token's value
            after the head's part of c_proj, without biases of c_proj (Kobayashi et al. 2020,
            section 3.2). A large weight on a value of no length moves nothing. Rows then add up
            to no fixed number.

    Raises:
        ValueError: no such layer.
    """
    check_layer(model, layer)
    block = model.h[layer]
    x = block.ln_1(observation.streams[layer])[None]
    pattern = block.attn.pattern(x)[0]  # [H,T,T]
    if not weighted:
        return pattern
    _, _, v = block.attn.qkv(x)
    H, D = v.size(1), v.size(3)
    out = block.attn.c_proj.weight.float().T.view(H, D, -1)  # [H,D,C], each head's part
    return pattern * (v[0].float() @ out).norm(dim=-1)[:, None]  # [H,T,C] to [H,1,T]


def pool(weights: Tensor, edges: Sequence[int]) -> Tensor:
    """Maps [..., T, T] as cells [..., n, n]: the mean over rows of the sum over columns."""
    bounds = torch.tensor(edges, device=weights.device)
    cell = torch.bucketize(torch.arange(edges[-1], device=weights.device), bounds[1:], right=True)
    member = torch.nn.functional.one_hot(cell, len(edges) - 1).to(weights.dtype)  # [T,n]
    return (member / member.sum(dim=0)).T @ weights @ member


def cell_edges(tokens: int, cells: int) -> tuple[int, ...]:
    """Where to cut a text into at most so many cells, whose sizes differ by at most 1.

    Raises:
        ValueError: fewer than 1 cell.
    """
    if cells < 1:
        raise ValueError(f"cells is {cells}; it must be at least 1")
    count = min(cells, tokens)
    return tuple(i * tokens // count for i in range(count + 1))


def check_layer(model: GPT2, layer: int) -> None:
    """Refuse a layer that is not there.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= layer < model.config.n_layer:
        raise ValueError(f"layer is {layer}; this model has layers 0 to {model.config.n_layer - 1}")
