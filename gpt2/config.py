"""The numbers that define one GPT-2.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3 and
table 2; field names as in OpenAI's hparams.json and Hugging Face's config.json.
"""

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2 and, for a classifier, its labels.

    Args:
        vocab_size: tokens in the vocabulary (V).
        n_ctx: positions the model has embeddings for, the longest input in tokens.
        n_embd: width of the residual stream (C), a multiple of n_head.
        n_layer: transformer blocks (L).
        n_head: attention heads in a block (H).
        layer_norm_epsilon: added to the variance before the square root.
        dropout: probability of zeroing an embedding or a branch's output while training.
        labels: class names of a classifier, empty for a language model.
        bos_token_id, eos_token_id, pad_token_id: as config.json says them, None if it does not;
            carried for other programs. What begins and ends a text here its vocabulary says.

    Raises:
        ValueError: a size is not positive, n_head does not divide n_embd, dropout not in [0, 1),
            two labels are the same.
    """

    vocab_size: int = 50257
    n_ctx: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    layer_norm_epsilon: float = 1e-5
    dropout: float = 0.0
    labels: tuple[str, ...] = ()
    bos_token_id: int | None = 50256
    eos_token_id: int | None = 50256
    pad_token_id: int | None = 50256

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_ctx", "n_embd", "n_layer", "n_head"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd is {self.n_embd} and n_head is {self.n_head}; "
                "n_embd must be a multiple of n_head"
            )
        epsilon, dropout = self.layer_norm_epsilon, self.dropout
        if not _is_number(epsilon) or not epsilon > 0:
            raise ValueError(f"layer_norm_epsilon is {epsilon!r}; it must be a number above 0")
        if not _is_number(dropout) or not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout!r}; it must be at least 0 and below 1")
        for earlier, name in pairwise(sorted(self.labels)):
            if name == earlier:
                raise ValueError(f"two labels are {name!r}; every class needs a name of its own")

    @property
    def head_dim(self) -> int:
        """Width of one attention head (D)."""
        return self.n_embd // self.n_head


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# Number types of a model in memory.
DTYPES = ("float32", "bfloat16", "float16", "int8")

SIZES = {
    "124M": GPT2Config(n_embd=768, n_layer=12, n_head=12),
    "355M": GPT2Config(n_embd=1024, n_layer=24, n_head=16),
    "774M": GPT2Config(n_embd=1280, n_layer=36, n_head=20),
    "1558M": GPT2Config(n_embd=1600, n_layer=48, n_head=25),
}
