"""Answers about a text that is there: its class, and how likely a model finds it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """A classifier's answer for one text.

    Args:
        model: name of the classifier.
        labels: its C class names.
        probs: [C], softmax at the last token.
        ids: the T tokens the model saw.
        truncated: tokens dropped on the right because they did not fit the context.
        per_token: [T, C], softmax after each token, as if the text ended there.
    """

    model: str
    labels: tuple[str, ...]
    probs: np.ndarray
    ids: tuple[int, ...]
    truncated: int
    per_token: np.ndarray

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[int(self.probs.argmax())]


@dataclass(frozen=True)
class Score:
    """How likely a model finds a text, token by token, after <|endoftext|>.

    Args:
        model: name of the model.
        ids: the text's T tokens.
        logprobs: [T], natural log of each token's probability given all before it.
        ranks: [T], 1 for the most likely token.
        entropies: [T], of the distribution each token was predicted from, in nats.
        truncated: tokens of the text after these, which did not fit the context.
    """

    model: str
    ids: tuple[int, ...]
    logprobs: np.ndarray
    ranks: np.ndarray
    entropies: np.ndarray
    truncated: int = 0

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood, in nats per token."""
        return float(-self.logprobs.mean())

    @property
    def perplexity(self) -> float | None:
        """exp(nll), None past a float's range."""
        return perplexity(self.nll)


def perplexity(nll: float) -> float | None:
    """exp of a mean negative log-likelihood in nats; None, JSON's null, past a float's range."""
    return float(np.exp(nll)) if nll < 709 else None
