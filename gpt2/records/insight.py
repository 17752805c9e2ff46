"""What went on inside the model while it read: records for the views that explain.

Shape letters as in model.py; P positions looked at, n cells of a pooled map.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pooled:
    """Attention maps made small, so that a long text fits on a screen.

    Args:
        weights: [..., n, n]; a row is the mean over its tokens of what they took from all tokens of
            a column, so rows of attention still add up to 1.
        edges: n + 1 token indices; cell i holds tokens edges[i] to edges[i + 1] - 1.
    """

    weights: np.ndarray
    edges: tuple[int, ...]


@dataclass(frozen=True)
class LogitLens:
    """What the model would predict if it stopped after each block.

    Row 0 is the embedding, row l the stream after l blocks, row L the model's own answer.

    Args:
        positions: [P], indices of the tokens after which it predicts.
        top_ids: [L + 1, P, k], the most likely next tokens, most likely first.
        top_probs: [L + 1, P, k], their probabilities.
        followed_ids: [P], the token that really came next; -1 where the text ends.
        followed_probs: [L + 1, P], its probability in each layer; 0 where the text ends.
        followed_ranks: [L + 1, P], 1 = most likely; 0 where the text ends.
        predicted_ids: [P], the most likely token of the last row.
        predicted_probs, predicted_ranks: [L + 1, P], of that token through the layers.
    """

    positions: np.ndarray
    top_ids: np.ndarray
    top_probs: np.ndarray
    followed_ids: np.ndarray
    followed_probs: np.ndarray
    followed_ranks: np.ndarray
    predicted_ids: np.ndarray
    predicted_probs: np.ndarray
    predicted_ranks: np.ndarray


HEAD_LABELS = ("previous token", "first token", "duplicate token", "induction")


@dataclass(frozen=True)
class HeadScores:
    """How much each head does of what heads are known to do.

    Args:
        scores: [4, L, H] in 0..1, in the order of HEAD_LABELS: the share of its attention that a
            head gives to the previous token, the first token, earlier occurrences of the same
            token, and the tokens after those; the mean over the tokens that have such a target.
        counts: how many tokens had such a target; a score without any is 0.
        threshold: from which score on a head gets the label.
    """

    scores: np.ndarray
    counts: tuple[int, ...]
    threshold: float

    def label(self, layer: int, head: int) -> str:
        """The label of the highest score, empty if none reaches the threshold."""
        own = self.scores[:, layer, head]
        return HEAD_LABELS[int(own.argmax())] if own.max() >= self.threshold else ""


@dataclass(frozen=True)
class Waterfall:
    """How one token was drawn: what each setting left of the distribution, and where chance fell.

    Greedy choice (temperature 0) shows as a temperature that leaves one token; the filters after it
    are inactive, its slice is [0, 1) and u decides nothing.

    Args:
        names: of the six stages: "softmax", the model's own distribution, then the fields of
            Sampling in the order in which they work.
        active: whether each could change anything as it was set.
        probs: [6, V], the probabilities after each stage; the last are those drawn from.
        left: tokens of a probability above 0 after each stage.
        cut: the probability, before each stage, of the tokens that it cut; 0 where it cut none.
        u: the random number of this seed and position, in [0, 1).
        low, high: the slice [low, high) of 0..1 that belongs to the token when the last
            distribution is laid out in the order of ids; u is in it.
        token: the one drawn.
    """

    names: tuple[str, ...]
    active: tuple[bool, ...]
    probs: np.ndarray
    left: tuple[int, ...]
    cut: tuple[float, ...]
    u: float
    low: float
    high: float
    token: int


@dataclass(frozen=True)
class AblationMap:
    """What one prediction owes to each part of the model.

    Args:
        index: of the token that is predicted.
        token: the one whose probability is watched.
        logprob: its natural log with all parts on.
        heads: [L, H], what is added to logprob when a head is off; below 0 the head helped. NaN
            in layers that were not asked for.
        mlps: [L], the same for each MLP.
    """

    index: int
    token: int
    logprob: float
    heads: np.ndarray
    mlps: np.ndarray


@dataclass(frozen=True)
class Ablation:
    """One prediction with all parts of the model as trained, and with some scaled.

    Args:
        index: of the token that is predicted.
        token: the one that stands there; -1 if the text ends before it.
        before, after: [V], the model's own probabilities (raw softmax).
    """

    index: int
    token: int
    before: np.ndarray
    after: np.ndarray


METHODS = GRADIENT, INTEGRATED, OCCLUSION = (
    "gradient x input",
    "integrated gradients",
    "occlusion",
)
RANDOM_ORDER = "random order"


@dataclass(frozen=True)
class Attribution:
    """How much each token counts for one answer.

    Args:
        method: its name.
        scores: [T], in logits; above 0 the token spoke for the answer, NaN where it was not asked.
        score: the answer's logit, or its lead over the other one asked about.
        empty: the same for a text of which every token was taken away; 0 where it plays no part.
        error: how far the scores are from adding up to score - empty, as a share of that; NaN
            for a method that does not promise it.
        steps: gradients or passes that were computed.
    """

    method: str
    scores: np.ndarray
    score: float
    empty: float
    error: float
    steps: int


@dataclass(frozen=True)
class Faithfulness:
    """How well each method's order foretells what happens when tokens are taken away.

    Args:
        names: of the M methods; RANDOM_ORDER is the mean of several random orders.
        fractions: [F] of the tokens, from 0 to 1.
        deletion: [M, F], the answer's probability without that share of the first tokens.
        insertion: [M, F], with that share of the first tokens alone.
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """[M], the area under insertion less that under deletion: -1..1, more is better."""
        gain = self.insertion - self.deletion
        widths = np.diff(self.fractions)
        return ((gain[:, 1:] + gain[:, :-1]) / 2 * widths).sum(axis=1)
