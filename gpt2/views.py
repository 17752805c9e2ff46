"""What Engine answers about a text that is already there: ids in, records and arrays out.

A text is read once: the views of a selection share one Observation. Imports: torch.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from gpt2 import lens
from gpt2.config import GPT2Config
from gpt2.library import Library
from gpt2.limits import Limits
from gpt2.memory import Memory
from gpt2.model import GPT2
from gpt2.sampling import Sampling
from gpt2.trace import (
    Ablation,
    AblationMap,
    Attribution,
    Faithfulness,
    HeadScores,
    LogitLens,
    Pooled,
    Score,
    Step,
    Waterfall,
)


class Views:
    """The half of Engine that explains. `ids` are the tokens of a text, `model` a loaded name."""

    def __init__(self, library: Library, limits: Limits) -> None:
        self.library, self.limits = library, limits
        self._slot = threading.Lock()
        self._heads: dict[str, HeadScores] = {}  # by model; a few hundred bytes each
        self._observed: Memory[lens.Observation] = Memory(limits.observed_bytes)

    @contextmanager
    def _observation(
        self, ids: Sequence[int], model: str
    ) -> Iterator[tuple[GPT2, lens.Observation]]:
        """The model's turn, and what it saw of a text: read now, or kept from the last view."""
        backbone, key = self.library.get(model).backbone, (model, tuple(ids))
        with self._slot:
            seen = self._observed.get(key)
            if seen is None:
                seen = lens.observe(backbone, ids)
                self._observed.keep(key, seen)
            yield backbone, seen

    def _predictions(
        self, ids: Sequence[int], model: str
    ) -> AbstractContextManager[tuple[GPT2, lens.Observation]]:
        """The same for views of what was predicted: the last token, which predicts nothing there,
        may stand behind the end of the context, as after a completion that filled it."""
        full = len(ids) == self.shape(model).n_ctx + 1
        return self._observation(ids[:-1] if full else ids, model)

    def attention(
        self, ids: Sequence[int], layer: int, *, model: str, weighted: bool = False
    ) -> np.ndarray:
        """Attention of all heads of a layer, [H, T, T]; see lens.attention."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.attention(backbone, seen, layer, weighted=weighted)

    def attention_window(
        self,
        ids: Sequence[int],
        layer: int,
        *,
        rows: tuple[int, int],
        columns: tuple[int, int],
        model: str,
        weighted: bool = False,
    ) -> np.ndarray:
        """A part of it, [H, rows, columns]; see lens.attention_window."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.attention_window(
                backbone, seen, layer, rows=rows, columns=columns, weighted=weighted
            )

    def overview(
        self, ids: Sequence[int], layer: int, cells: int, *, model: str, weighted: bool = False
    ) -> Pooled:
        """Attention of all heads of a layer in at most `cells` a side; see lens.overview."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.overview(backbone, seen, layer, cells, weighted=weighted)

    def tiles(
        self, ids: Sequence[int], cells: int, *, model: str, weighted: bool = False
    ) -> Pooled:
        """Attention of all heads of all layers in at most `cells` a side; see lens.tiles."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.tiles(backbone, seen, cells, weighted=weighted)

    def rollout(self, ids: Sequence[int], *, model: str) -> np.ndarray:
        """Attention followed through all layers, [T, T]; see lens.rollout."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.rollout(backbone, seen)

    def logit_lens(
        self, ids: Sequence[int], positions: Sequence[int], *, model: str, top: int = 5
    ) -> LogitLens:
        """What each layer would predict after some tokens; see lens.logit_lens."""
        with self._observation(ids, model) as (backbone, seen):
            return lens.logit_lens(backbone, seen, positions, top=top)

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

    def step(self, ids: Sequence[int], index: int, sampling: Sampling, *, model: str) -> Step:
        """The choice of one token of a text, recomputed from the tokens before it."""
        lens.check_index(ids, index)
        with self._predictions(ids, model) as (backbone, seen):
            logits = lens.logits_after(backbone, seen, index - 1)
            return lens.observed_step(logits, ids, index, sampling)

    def waterfall(
        self, ids: Sequence[int], index: int, sampling: Sampling, *, model: str
    ) -> Waterfall:
        """How token `index` is drawn after those before it; index len(ids) is yet to come.

        Its `token` is ids[index] wherever the model drew that one with this sampling; a token of
        the prompt, or one that was chosen by hand, is another.

        Raises:
            ValueError: no such index.
        """
        self._check_choice(ids, index, model)
        with self._predictions(ids, model) as (backbone, seen):
            logits = lens.logits_after(backbone, seen, index - 1)
            return lens.waterfall(logits, ids[:index], sampling)

    def ablation_map(self, ids: Sequence[int], index: int, *, model: str) -> AblationMap:
        """What the prediction of ids[index] owes to each head and MLP; see lens.ablation_map."""
        lens.check_index(ids, index)
        self._check_explained(index)
        with self._predictions(ids, model) as (backbone, seen):
            return lens.ablation_map(backbone, seen, index, ids[index])

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
            after = lens.next_logits(lens.ScaledModel(backbone, scales), ids[:index])
        token = ids[index] if index < len(ids) else -1
        probs = [logits.softmax(dim=-1).cpu().numpy() for logits in (before, after)]
        return Ablation(index, token, *probs)

    def attribute(
        self,
        ids: Sequence[int],
        index: int,
        answer: int,
        *,
        method: str,
        model: str,
        instead_of: int | None = None,
    ) -> Attribution:
        """How much each of ids[:index] counts for an answer after them.

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
        with self._predictions(ids, model) as (_, seen):
            return lens.attribute(question, seen, index, method)

    def faithfulness(
        self,
        ids: Sequence[int],
        index: int,
        answer: int,
        *,
        model: str,
        instead_of: int | None = None,
    ) -> Faithfulness:
        """How well each method, and attention rollout, foretells what taking tokens away does.

        Arguments and errors as of attribute.
        """
        question = self._question(ids, index, answer, instead_of, model)
        with self._predictions(ids, model) as (backbone, seen):
            scores = {
                method: lens.attribute(question, seen, index, method).scores
                for method in lens.METHODS
            }
            scores["attention rollout"] = lens.rollout(backbone, seen)[index - 1, :index]
            return lens.faithfulness(question, ids[:index], scores)

    def _question(
        self, ids: Sequence[int], index: int, answer: int, instead_of: int | None, model: str
    ) -> lens.Question:
        self._check_choice(ids, index, model)
        self._check_explained(index)
        loaded = self.library.get(model)
        return lens.Question(loaded.classifier or loaded.backbone, answer, instead_of=instead_of)

    def _check_choice(self, ids: Sequence[int], index: int, model: str) -> None:
        """Refuse a place that no token stands before, or that the context ends before; the one
        after the last token is still to be chosen."""
        last = min(len(ids), self.shape(model).n_ctx)
        if not 1 <= index <= last:
            raise ValueError(f"token {index} has no prediction; choose 1 to {last}")

    def _check_explained(self, count: int) -> None:
        limit = self.limits.explained_tokens
        if count > limit:
            raise ValueError(
                f"{count} tokens stand before this one; a prediction is explained by at most "
                f"{limit}; choose an earlier token or shorten the text"
            )

    def score_tokens(self, ids: Sequence[int], *, model: str) -> Score:
        """How each token after the first was predicted from those before it."""
        with self._predictions(ids, model) as (backbone, seen):
            hidden = backbone.ln_f(seen.streams[-1, : len(ids) - 1])
            logprobs, ranks, entropies = lens.score_hidden(backbone, hidden, ids[1:])
        return Score(model, tuple(ids[1:]), logprobs, ranks, entropies)

    def shape(self, model: str) -> GPT2Config:
        """A model's configuration."""
        return self.library.get(model).backbone.config

    def pieces(self, ids: Sequence[int], *, model: str) -> list[str]:
        """The visible forms of tokens."""
        tokenizer = self.library.get(model).tokenizer
        return [tokenizer.piece(token) for token in ids]
