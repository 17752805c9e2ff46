"""GPT-2, from token ids to logits. Read it from the top; it is the whole model.

Shape letters, here and everywhere: B batch, T tokens, C = n_embd the width of the residual stream,
H = n_head heads, D = C / H the width of one head, L = n_layer blocks, V = vocab_size.

Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3; Radford et al. 2019, section
2.3; OpenAI's model.py, whose names are kept.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt2.cache import KVCache, LayerCache
from gpt2.config import GPT2Config


def gelu(x: Tensor) -> Tensor:
    """Gaussian error linear unit in the tanh form GPT-2 was trained with (Hendrycks & Gimpel 2016).

    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which torch computes in one pass. The exact
    erf form differs by up to 5e-4, enough to change a greedy completion.
    """
    return F.gelu(x, approximate="tanh")


class LayerNorm(nn.Module):
    """A token's vector brought to mean 0 and variance 1, scaled and shifted (Ba et al. 2016).

    (x - mean) / sqrt(variance + eps) * weight + bias, in float32 inside whatever x is.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class CausalSelfAttention(nn.Module):
    """Every token looks at itself and the tokens before it, through H heads at once."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # queries, keys and values
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Attend. x: [B, T, C]; with a cache, x are the tokens after those it holds."""
        q, k, v = self.qkv(x)
        if cache is not None:
            k, v = cache.append(k, v)
        # Several tokens start at position 0 (the cache refuses others) and need the causal rule; a
        # single one sees all so far.
        return self.mix(F.scaled_dot_product_attention(q, k, v, is_causal=x.size(1) > 1))

    def pattern(self, x: Tensor) -> Tensor:
        """How much each token attends to each, computed step by step to be looked at.

        Args:
            x: [B, T, C], this module's input.

        Returns:
            [B, H, T, T] in float32: row t is a distribution over tokens 0 to t. Multiplied with v
            and mixed it is what forward returns.
        """
        q, k, _ = self.qkv(x)
        scores = q.float() @ k.float().transpose(-2, -1) / math.sqrt(q.size(-1))  # [B,H,T,T]
        future = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
        return scores.masked_fill(future, -math.inf).softmax(dim=-1)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [B, H, T, D]."""
        B, T, C = x.shape
        q, k, v = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # each [B,H,T,D]

    def mix(self, y: Tensor) -> Tensor:
        """The heads' answers side by side, mixed into one: [B, H, T, D] to [B, T, C]."""
        return self.c_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Each token by itself: widen four times, GELU, and back."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention, then MLP; each reads a normalised copy of the stream and adds its answer to it.

    Normalising first (pre-LN) is GPT-2's change from GPT (Radford et al. 2019, section 2.3).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        return self.finish(x, self.attn(self.ln_1(x), cache))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block, once its attention has answered; all [B, T, C]."""
        x = x + self.drop(attended)
        return x + self.drop(self.mlp(self.ln_2(x)))


class GPT2(nn.Module):
    """Token and position embeddings, L blocks, a final norm, and a head tied to the embeddings."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.wte = _embedding(config.vocab_size, config.n_embd)
        self.wpe = _embedding(config.n_ctx, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The final norm's output, from which both heads read.

        Args:
            ids: [B, T], at most n_ctx tokens counting those in the cache.
            cache: what was read before; it then holds these tokens too.

        Returns:
            [B, T, C].
        """
        x = self.embed(ids, start=cache.length if cache is not None else 0)
        for layer, block in enumerate(self.h):
            x = block(x, None if cache is None else cache[layer])
        if cache is not None:
            cache.advance(ids.size(1))
        return self.ln_f(x)

    def embed(self, ids: Tensor, *, start: int = 0) -> Tensor:
        """What a token is plus where it stands: [B, T] to [B, T, C]; raises as place."""
        return self.place(self.wte(ids), start=start)

    def place(self, tokens: Tensor, *, start: int = 0) -> Tensor:
        """Token embeddings with their positions' added, [B, T, C].

        Raises:
            ValueError: position start + T is past the context.
        """
        end = start + tokens.size(1)
        if end > self.config.n_ctx:
            raise ValueError(f"{end} tokens; the context holds {self.config.n_ctx}")
        positions = torch.arange(start, end, device=tokens.device)
        return self.drop(tokens + self.wpe(positions))

    def logits(self, hidden: Tensor) -> Tensor:
        """Score of every token as the next one: [..., C] to [..., V], by the embedding matrix."""
        return F.linear(hidden, self.wte.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits at every position: [B, T] to [B, T, V]."""
        return self.logits(self.hidden(ids))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.ln_f.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the stream between the blocks."""
        return self.ln_f.weight.dtype


def _embedding(rows: int, width: int) -> nn.Embedding:
    """A trainable table of zeros, for a checkpoint or init_weights to fill.

    nn.Embedding's own random start costs three seconds on the meta device (torch 2.13), where every
    model is built before its weights are loaded.
    """
    return nn.Embedding.from_pretrained(torch.zeros(rows, width), freeze=False)


def init_weights(model: GPT2, *, seed: int) -> None:
    """Random weights to train from, in place (Radford et al. 2019, section 2.3).

    Normal with deviation 0.02 (positions 0.01, as in OpenAI's model.py), biases 0; projections back
    into the residual stream are scaled by 1 / sqrt(2 L), one for each of the 2 L additions to it.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue  # norms start at 1 and 0 as built; biases follow
        std = 0.01 if name.endswith("wpe.weight") else 0.02
        if name.endswith("c_proj.weight"):
            std /= math.sqrt(2 * model.config.n_layer)
        with torch.no_grad():
            parameter.copy_(torch.normal(0.0, std, parameter.shape, generator=generator))
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def parameter_count(config: GPT2Config) -> int:
    """Parameters of a language model of this shape, its tied head counted once.

    Nothing is allocated: torch's meta device has shapes and no memory.
    """
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GPT2(config).parameters())
