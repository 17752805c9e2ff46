"""What Engine answers about causes: what each head does, and what a prediction owes to each part.

Imports: torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gpt2 import lens, prediction
from gpt2.engine.library import Library
from gpt2.engine.request import Limits
from gpt2.engine.views import Views
from gpt2.records import OCCLUSION, Ablation, AblationMap, Attribution, Faithfulness, HeadScores

# Computed before a first result is given, in a tenth of a second or two with the shipped model.
LAYERS_AT_ONCE, TOKENS_AT_ONCE = 4, 32


class Explain(Views):
    """Views that change something, model or text, to see what comes of it."""

    def __init__(self, library: Library, limits: Limits) -> None:
        super().__init__(library, limits)
        self._heads: dict[str, HeadScores] = {}  # by model; a few hundred bytes each

    def heads(self, ids: Sequence[int], *, model: str) -> HeadScores:
        """What each head does on this text; see lens.head_scores."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.head_scores(backbone, seen)

    def model_heads(self, *, model: str) -> HeadScores:
        """What each head is, measured once on repeated random tokens; see lens.model_heads."""
        backbone = self.library.get(model).backbone
        with self._slot:
            if model not in self._heads:
                self._heads[model] = lens.model_heads(backbone)
            return self._heads[model]

    def ablation_maps(self, ids: Sequence[int], index: int, *, model: str) -> Iterator[AblationMap]:
        """What the prediction of ids[index] owes to each head and MLP; see lens.ablation_map.

        The map as it fills, from the last layers, which are quick, to the first; the last is whole.
        """
        prediction.check_index(ids, index)
        self._check_explained(index)
        shape = self.catalog.config(model)
        heads = np.full((shape.n_layer, shape.n_head), np.nan, np.float32)
        mlps = heads[:, 0].copy()
        for end in range(shape.n_layer, 0, -LAYERS_AT_ONCE):
            layers = range(max(0, end - LAYERS_AT_ONCE), end)
            with self._predictions(ids, model) as (backbone, seen):
                part = lens.ablation_map(backbone, seen, index, ids[index], layers=layers)
            heads, mlps = _merged(heads, part.heads), _merged(mlps, part.mlps)
            yield replace(part, heads=heads, mlps=mlps)

    def ablate(
        self, ids: Sequence[int], index: int, scales: lens.Scales, *, model: str
    ) -> Ablation:
        """The prediction of token `index` as it is and with parts scaled; len(ids) is yet to come.

        Raises:
            ValueError: no such index, or the scales are of another model.
        """
        self._check_choice(ids, index, model)
        with self._predictions(ids, model) as (backbone, seen):
            before = lens.logits_after(backbone, seen, index - 1)
            after = prediction.next_logits(lens.ScaledModel(backbone, scales), ids[:index])
        token = ids[index] if index < len(ids) else -1
        probs = [logits.softmax(dim=-1).cpu().numpy() for logits in (before, after)]
        return Ablation(index, token, *probs)

    def attributions(
        self,
        ids: Sequence[int],
        index: int,
        answer: int,
        *,
        method: str,
        model: str,
        instead_of: int | None = None,
    ) -> Iterator[Attribution]:
        """How much each of ids[:index] counts for an answer after them.

        Occlusion comes as it fills, from the last tokens, which are quick, to the first; the last
        Attribution is whole.

        Args:
            index: 1 to len(ids).
            answer: a token, or of a classifier a class, counted from 0.
            method: one of lens.METHODS.
            model: a language model or a classifier.
            instead_of: another answer to compare with.

        Raises:
            ValueError: one of these is not there, or more tokens than the limit.
        """
        if method not in lens.METHODS:
            raise ValueError(f"no method {method!r}; there are: {', '.join(lens.METHODS)}")
        question = self._question(ids, index, answer, instead_of, model)
        if method != OCCLUSION:
            with self._predictions(ids, model) as (_, seen):
                yield lens.attribute(question, seen, index, method)
            return
        scores = np.full(index, np.nan, np.float32)
        for end in range(index, 0, -TOKENS_AT_ONCE):
            tokens = range(max(0, end - TOKENS_AT_ONCE), end)
            with self._predictions(ids, model) as (_, seen):
                part = lens.occlusion(question, seen, index, tokens=tokens)
            scores = _merged(scores, part.scores)
            yield replace(part, scores=scores, steps=index - tokens.start)

    def faithfulness(
        self,
        ids: Sequence[int],
        index: int,
        answer: int,
        *,
        model: str,
        instead_of: int | None = None,
        quick: bool = False,
    ) -> Faithfulness:
        """How well each method, and attention rollout, foretells what taking tokens away does.

        Arguments and errors as of attributions.

        Args:
            quick: only gradient x input and rollout, in a quarter of the time.
        """
        question = self._question(ids, index, answer, instead_of, model)
        with self._predictions(ids, model) as (backbone, seen):
            scores = {
                method: lens.attribute(question, seen, index, method).scores
                for method in lens.METHODS[: 1 if quick else None]
            }
            scores["attention rollout"] = lens.rollout(backbone, seen)[index - 1, :index]
            seeds = 0 if quick else lens.SEEDS
            return lens.faithfulness(question, ids[:index], scores, seeds=seeds)

    def _question(
        self, ids: Sequence[int], index: int, answer: int, instead_of: int | None, model: str
    ) -> lens.Question:
        self._check_choice(ids, index, model)
        self._check_explained(index)
        loaded = self.library.get(model)
        return lens.Question(loaded.classifier or loaded.backbone, answer, instead_of=instead_of)

    def _check_explained(self, count: int) -> None:
        limit = self.limits.explained_tokens
        if count > limit:
            raise ValueError(
                f"{count} tokens stand before this one; a prediction is explained by at most "
                f"{limit}; choose an earlier token or shorten the text"
            )


def _merged(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Numbers of the new array, of the old where that has none (NaN)."""
    return np.where(np.isnan(new), old, new)
