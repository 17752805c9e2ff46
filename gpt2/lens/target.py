"""What an attribution explains: one logit, read off the last token's final norm."""

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor, nn

from gpt2.classifier import GPT2Classifier
from gpt2.lens.blocks import blocks_of, last_state
from gpt2.model import GPT2

GRADIENTS_AT_ONCE = 704  # tokens in one batch; the shipped model then takes 100 MB more


class Target:
    """Why this answer, or why this one rather than that one?

    It is the answer's logit, less the other's if one is named (Yin & Neubig 2022,
    "Interpreting Language Models with Contrastive Explanations", section 3): what both share, such
    as being a noun, then cancels out.
    """

    def __init__(
        self, model: GPT2 | GPT2Classifier, answer: int, *, instead_of: int | None = None
    ) -> None:
        """Ask a language model for the next token, or a classifier for the class of a text.

        Args:
            answer: token or class index.
            instead_of: another one to compare with.

        Raises:
            ValueError: there is no such answer, or both are the same.
        """
        self._score: nn.Linear | None
        if isinstance(model, GPT2Classifier):
            self._backbone, self._score = model.transformer, model.score
            count = model.score.out_features
        else:
            self._backbone, self._score = model, None  # its head is the embedding
            count = model.config.vocab_size
        for index in (answer, answer if instead_of is None else instead_of):
            if not 0 <= index < count:
                raise ValueError(f"answer {index} is not between 0 and {count - 1}")
        if answer == instead_of:
            raise ValueError(f"answer {answer} can't be compared with itself; name another one")
        self._answer, self._instead_of = answer, instead_of

    def logit(self, hidden: Tensor) -> Tensor:
        """The logit, or the difference of two: [N, C] to [N] in float32."""
        direction = self._row(self._answer)
        if self._instead_of is not None:
            direction = direction - self._row(self._instead_of)
        return hidden.float() @ direction

    @torch.no_grad()
    def prob(self, hidden: Tensor) -> Tensor:
        """The answer's probability among all, or among the two: [N, C] to [N] in float32."""
        if self._instead_of is not None:
            return self.logit(hidden).sigmoid()
        head = self._backbone.logits if self._score is None else self._score
        return head(hidden).float().softmax(dim=-1)[:, self._answer]

    def _row(self, answer: int) -> Tensor:
        """The head's weights for an answer, [C] in float32."""
        if self._score is None:
            return self.embed([answer])[0].float()
        return self._score.weight.detach()[answer].float()

    def embed(self, ids: Iterable[int]) -> Tensor:
        """The tokens' embeddings without positions, [T, C]: the input that is explained."""
        model = self._backbone
        return model.wte(torch.tensor(list(ids), device=model.device)).detach()

    def removed(self) -> Tensor:
        """What stands in for a token that is taken away: the mean of all embeddings, [C].

        Its position stays. It says no more than that some token is there; <|endoftext|> would say
        that a new text begins, and zeros are an embedding that the model has never met.
        """
        return self._backbone.wte.weight.detach().mean(dim=0)

    def hidden(self, texts: Tensor, before: Tensor | None = None) -> Tensor:
        """The final norm at the last token of texts given as embeddings: [N, T, C] to [N, C].

        Args:
            before: Reading.streams of P tokens that stand before them all, [L + 1, P, C].
        """
        model = self._backbone
        x = model.place(texts, start=0 if before is None else before.size(1))
        return model.ln_f(last_state(blocks_of(model), x, before))

    def gradients(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the logit by the embeddings, and the logit of the last text.

        Args:
            texts: [N, T, C], as `hidden` takes them.

        Returns:
            [N, T, C] and a number, both in float32.
        """
        batches, found = ceil(texts.size(0) * texts.size(1) / GRADIENTS_AT_ONCE), []
        for some in texts.chunk(batches):
            with torch.enable_grad():
                inputs = some.detach().clone().requires_grad_()
                logit = self.logit(self.hidden(inputs))
                (gradient,) = torch.autograd.grad(logit.sum(), inputs)
            found.append(gradient.float())
        return torch.cat(found), logit[-1].detach()
