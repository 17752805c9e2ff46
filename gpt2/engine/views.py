"""What Engine answers about a text that is already there: text or ids in, records and arrays out.

A text is read once: the views of a selection share one Observation. Imports: torch.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np
import torch

from gpt2 import lens, prediction
from gpt2.classifier import reading_length
from gpt2.engine.library import Library
from gpt2.engine.memory import Memory
from gpt2.engine.request import Limits
from gpt2.model import GPT2
from gpt2.records import LogitLens, Pooled, Score, Step, Verdict, Waterfall
from gpt2.sampling import Sampling


class Views:
    """The half of Engine that reads. `ids` are the tokens of a text, `model` a name in Library."""

    def __init__(self, library: Library, limits: Limits) -> None:
        self.library, self.catalog, self.limits = library, library.catalog, limits
        self._slot = threading.Lock()
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
        full = len(ids) == self.catalog.config(model).n_ctx + 1
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

    def step(self, ids: Sequence[int], index: int, sampling: Sampling, *, model: str) -> Step:
        """The choice of one token of a text, recomputed from the tokens before it."""
        prediction.check_index(ids, index)
        with self._predictions(ids, model) as (backbone, seen):
            logits = lens.logits_after(backbone, seen, index - 1)
            return prediction.observed_step(logits, ids, index, sampling)

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

    def score_tokens(self, ids: Sequence[int], *, model: str) -> Score:
        """How each token after the first was predicted from those before it."""
        with self._predictions(ids, model) as (backbone, seen), torch.inference_mode():
            hidden = backbone.ln_f(seen.streams[-1, : len(ids) - 1])
            logprobs, ranks, entropies = prediction.score_hidden(backbone, hidden, ids[1:])
        return Score(model, tuple(ids[1:]), logprobs, ranks, entropies)

    def _check_choice(self, ids: Sequence[int], index: int, model: str) -> None:
        """Refuse a place that no token stands before, or that the context ends before; the one
        after the last token is still to be chosen."""
        last = min(len(ids), self.catalog.config(model).n_ctx)
        if not 1 <= index <= last:
            raise ValueError(f"token {index} has no prediction; choose 1 to {last}")

    def score(self, text: str, *, model: str = "") -> Score:
        """How likely the model finds a text after <|endoftext|>, its first tokens if it is long.

        Raises:
            ValueError: the text is empty or too long.
        """
        model = model or self.catalog.models[0]
        tokenizer, start_id = self.catalog.tokenizer(model), self.catalog.start_id(model)
        ids = tokenizer.encode(self.catalog.check_text(text, what="text"))
        if not ids:
            first = tokenizer.piece(start_id)
            raise ValueError(f"the text is empty; there is nothing to score after {first}")
        n_ctx = self.catalog.config(model).n_ctx
        score = self.score_tokens([start_id, *ids[:n_ctx]], model=model)
        return replace(score, truncated=max(0, len(ids) - n_ctx))

    def classify(self, text: str, *, classifier: str = "") -> Verdict:
        """The topic of a text, of its first tokens if the classifier was trained on shorter ones.

        Raises:
            ValueError: the text is empty or too long.
        """
        loaded = self.library.get(classifier or self.catalog.classifiers[0])
        if loaded.classifier is None:
            raise ValueError(f"{loaded.name} is no classifier")
        # As typed, but for blanks around it: the answer is read at the last token.
        tokenizer = self.catalog.tokenizer(loaded.name)
        ids = tokenizer.encode(self.catalog.check_text(text, what="news text").strip())
        if not ids:
            raise ValueError("the news text is empty; paste a headline or an article")
        length = reading_length(tokenizer, loaded.backbone.config)
        truncated, ids = max(0, len(ids) - length), ids[:length]
        with self._slot, torch.inference_mode():
            logits = loaded.classifier.per_token(torch.tensor([ids], device=self.library.device))[0]
            per_token = logits.float().softmax(dim=-1).cpu().numpy()
        labels = loaded.backbone.config.labels
        return Verdict(loaded.name, labels, per_token[-1], tuple(ids), truncated, per_token)
