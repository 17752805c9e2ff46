"""GPT-2 with a classification head: the topic of a text, read at its last token.

The same function as Hugging Face's GPT2ForSequenceClassification. Source: Radford et al. 2018,
"Improving Language Understanding by Generative Pre-Training", section 3.2.
"""

import torch
from torch import Tensor, nn

from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.tokenizer import Tokenizer


class GPT2Classifier(nn.Module):
    """A backbone and a linear head (`score`, no bias) over its final norm."""

    def __init__(self, backbone: GPT2) -> None:
        """Build on a backbone whose config names the labels.

        Raises:
            ValueError: fewer than two labels.
        """
        super().__init__()
        labels = backbone.config.labels
        if len(labels) < 2:
            raise ValueError(f"a classifier needs at least 2 labels; config.labels has {labels}")
        self.transformer = backbone
        self.score = nn.Linear(backbone.config.n_embd, len(labels), bias=False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Class logits at each text's last token.

        Padding stands on the right, where causal attention can't see it from the left, so it does
        not change the answer and needs no mask.

        Args:
            ids: [B, T], padded on the right with any token.
            lengths: [B], real tokens of each row, at least 1.

        Returns:
            [B, number of labels].
        """
        return self.read(self.transformer.hidden(ids), lengths)

    def read(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """forward from the backbone's output on: [B, T, C] to [B, number of labels]."""
        last = hidden[torch.arange(hidden.size(0), device=hidden.device), lengths - 1]  # [B,C]
        return self.score(last)

    def per_token(self, ids: Tensor) -> Tensor:
        """Class logits after every token, as if the text ended there: [B, T] to [B, T, labels]."""
        return self.score(self.transformer.hidden(ids))


def reading_length(tokenizer: Tokenizer, config: GPT2Config) -> int:
    """How many tokens of a text a classifier reads: as many as in training, if that is known."""
    return min(tokenizer.max_length or config.n_ctx, config.n_ctx)
