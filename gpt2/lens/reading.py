"""A model and what it saw of a text: one forward pass, and the attention that is read off it.

The residual stream between the blocks is enough: whatever a block did, it did to the stream before
it, so a view replays that one block and no other. Sources: Kobayashi et al. 2020, "Attention is Not
Only a Weight" (weighted maps); Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers"
(rollout).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.lens.blocks import blocks_of
from gpt2.model import GPT2
from gpt2.prediction import describe, score_hidden
from gpt2.records import Pooled, Step
from gpt2.sampling import Sampling, distribution


def tokens_read(ids: Sequence[int], config: GPT2Config) -> tuple[int, ...]:
    """The tokens of a text that a model reads: all, or all but the last of n_ctx + 1.

    So long is a completion that filled the context: its last token was predicted, and predicts
    nothing.
    """
    return tuple(ids[:-1] if len(ids) == config.n_ctx + 1 else ids)


@dataclass(frozen=True, eq=False)
class Reading:
    """A model and what it saw of a text.

    Args:
        model: in evaluation mode.
        ids: the text, 1 to n_ctx + 1 tokens; T of them are read.
        streams: [L + 1, T, C], on the model's device: the embedding and the stream after each
            block, the last one before the final norm.
    """

    model: GPT2
    ids: tuple[int, ...]
    streams: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, model: GPT2, ids: Sequence[int]) -> "Reading":
        """Read a text once.

        Raises:
            ValueError: no tokens, or more than n_ctx + 1.
        """
        if not ids:
            raise ValueError("there are no tokens to look at; give at least 1")
        read = tokens_read(ids, model.config)
        streams = [model.embed(torch.tensor([read], device=model.device))]
        for block in model.h:
            streams.append(block(streams[-1]))
        return cls(model, tuple(ids), torch.cat(streams))

    @property
    def read(self) -> tuple[int, ...]:
        """The T tokens that were read."""
        return self.ids[: self.streams.size(1)]

    # --- what was predicted ----------------------------------------------------------------------

    def check_prediction(self, index: int) -> None:
        """Refuse a place that no token stands before, or that the context ends before.

        Raises:
            ValueError: index is not 1 to T; T is the first token that is yet to come, if any.
        """
        if not 1 <= index <= len(self.read):
            raise ValueError(f"token {index} has no prediction; choose 1 to {len(self.read)}")

    def token(self, index: int) -> int:
        """The token at a place, which was predicted from those before it.

        Raises:
            ValueError: index is not 1 to len(ids) - 1.
        """
        if not 1 <= index < len(self.ids):
            raise ValueError(f"token {index} has no prediction; choose 1 to {len(self.ids) - 1}")
        return self.ids[index]

    @torch.inference_mode()
    def hidden(self) -> Tensor:
        """The final norm's output, from which both heads read: [T, C]."""
        return self.model.ln_f(self.streams[-1])

    @torch.inference_mode()
    def logits_before(self, index: int) -> Tensor:
        """The logits that token `index` is chosen from, [V] in float32; raises as above."""
        self.check_prediction(index)
        return self.model.logits(self.hidden()[index - 1]).float()

    @torch.inference_mode()
    def step(self, index: int, sampling: Sampling) -> Step:
        """The choice of a token of the text, as it was made after those before it.

        Raises:
            ValueError: as token.
        """
        token, logits = self.token(index), self.logits_before(index)
        before = torch.tensor(self.ids[:index], device=logits.device)
        return describe(logits, distribution(logits, sampling, before), token)

    def scores(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As prediction.score_tokens of ids."""
        return score_hidden(self.model, self.hidden()[: len(self.ids) - 1], self.ids[1:])

    # --- attention -------------------------------------------------------------------------------

    def attention(
        self,
        layer: int,
        *,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
        weighted: bool = False,
    ) -> np.ndarray:
        """Attention of all heads of one block, or a part of it where the text is long.

        Args:
            layer: 0 to n_layer - 1.
            rows: (first, past the last) of the tokens that look back, all by default.
            columns: the same of the tokens they look at.
            weighted: as `maps`.

        Returns:
            [H, rows, columns] in float32; row t says how much token t took from each token up to
            itself.

        Raises:
            ValueError: no such layer, or a window that is empty or outside the text.
        """
        whole = 0, len(self.read)
        rows, columns = rows or whole, columns or whole
        for name, (start, stop) in (("rows", rows), ("columns", columns)):
            if not 0 <= start < stop <= whole[1]:
                raise ValueError(
                    f"{name} are {start} to {stop}; choose a range within 0 to {whole[1]}"
                )
        maps = self.maps(layer, weighted=weighted)
        return maps[:, slice(*rows), slice(*columns)].cpu().numpy()

    def overview(self, layer: int, cells: int, *, weighted: bool = False) -> Pooled:
        """Attention of all heads of one block, pooled to at most `cells` a side: [H, n, n]."""
        edges = cell_edges(len(self.read), cells)
        return Pooled(pool(self.maps(layer, weighted=weighted), edges).cpu().numpy(), edges)

    def tiles(self, cells: int, *, weighted: bool = False) -> Pooled:
        """Attention of every head of every block, pooled to at most `cells` a side: [L, H, n, n].

        Only one block's full maps exist at a time: all of them would be 1.8 GB for GPT-2 small at
        1,024 tokens.
        """
        layers = [self.overview(layer, cells, weighted=weighted) for layer in self.layers]
        return Pooled(np.stack([pooled.weights for pooled in layers]), layers[0].edges)

    @torch.inference_mode()
    def rollout(self) -> np.ndarray:
        """Attention followed through all blocks, as if values were carried and never changed.

        The product over the layers of half the mean map and half the identity, which stands for the
        residual connection; rows are normalised (Abnar & Zuidema 2020, section 3).

        Returns:
            [T, T] in float32; row t says how much of token t's last state came from each token; it
            adds up to 1.
        """
        identity = torch.eye(len(self.read), device=self.model.device)
        total = identity
        for layer in self.layers:
            mixed = 0.5 * self.maps(layer).mean(dim=0) + 0.5 * identity
            total = mixed / mixed.sum(dim=-1, keepdim=True) @ total
        return total.cpu().numpy()

    @torch.inference_mode()
    def maps(self, layer: int, *, weighted: bool = False) -> Tensor:
        """Attention of one block as a tensor, [H, T, T] in float32.

        Args:
            weighted: multiply each weight with the length of what it lets through, the token's
                value after the head's part of c_proj, without biases of c_proj (Kobayashi et al.
                2020, section 3.2). A large weight on a value of no length moves nothing. Rows then
                add up to no fixed number.

        Raises:
            ValueError: no such layer.
        """
        if layer not in self.layers:
            raise ValueError(f"layer is {layer}; this model has layers 0 to {self.layers.stop - 1}")
        block = blocks_of(self.model)[layer]
        x = block.ln_1(self.streams[layer])[None]
        pattern = block.attn.pattern(x)[0]  # [H,T,T]
        if not weighted:
            return pattern
        _, _, v = block.attn.qkv(x)
        H, D = v.size(1), v.size(3)
        out = block.attn.c_proj.weight.float().T.view(H, D, -1)  # [H,D,C], each head's part
        return pattern * (v[0].float() @ out).norm(dim=-1)[:, None]  # [H,T,C] to [H,1,T]

    @property
    def layers(self) -> range:
        """The model's blocks."""
        return range(self.model.config.n_layer)


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
