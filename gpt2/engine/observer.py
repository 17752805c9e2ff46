"""What a model saw of a text, behind the engine's border: ids in, arrays and records out.

A text is read once: the views of a selection share what a model saw of it.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from gpt2 import lens
from gpt2.engine.library import Library
from gpt2.engine.memory import Memory
from gpt2.engine.request import Limits
from gpt2.lens import Reading
from gpt2.records import HeadScores, LogitLens, Pooled

Result = TypeVar("Result")


class Observer:
    """Reads texts, and tells what went on inside.

    `ids` are the tokens of a text, `model` a name in the library. A text that filled the context
    may have one token more, which was predicted and is not read.
    """

    def __init__(self, library: Library, limits: Limits) -> None:
        """Read with a library's models."""
        self.library, self.catalog = library, library.catalog
        self.limits, self._scheduler = limits, library.scheduler
        # What models saw of texts (Reading.streams), by model and tokens.
        self.streams: Memory[tuple[str, tuple[int, ...]], Tensor] = Memory(limits.observed_bytes)
        self._heads: dict[str, HeadScores] = {}  # by model; a few hundred bytes each

    def _ask(self, ids: Sequence[int], model: str, question: Callable[[Reading], Result]) -> Result:
        """An answer from what the model saw of a text: read now, or kept from the last view."""
        backbone = self.library.get(model).backbone
        key = model, lens.tokens_read(ids, backbone.config)

        def answer() -> Result:
            streams = self.streams.get(key)
            if streams is None:
                streams = Reading.of(backbone, ids).streams
                self.streams.keep(key, streams)
            return question(Reading(backbone, tuple(ids), streams))

        return self._scheduler.run(answer)

    def tokens_read(self, ids: Sequence[int], *, model: str) -> tuple[int, ...]:
        """Those of a text's tokens that the model reads, and attention is between."""
        return lens.tokens_read(ids, self.catalog.config(model))

    def attention(
        self, ids: Sequence[int], layer: int, *, model: str, weighted: bool = False
    ) -> np.ndarray:
        """Attention of all heads of a layer, [H, T, T]; see Reading."""
        return self._ask(ids, model, lambda reading: reading.attention(layer, weighted=weighted))

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
        """A part of it, [H, rows, columns]."""
        return self._ask(
            ids,
            model,
            lambda reading: reading.attention(layer, rows=rows, columns=columns, weighted=weighted),
        )

    def overview(
        self, ids: Sequence[int], layer: int, cells: int, *, model: str, weighted: bool = False
    ) -> Pooled:
        """Attention of all heads of a layer in at most `cells` a side."""
        return self._ask(
            ids, model, lambda reading: reading.overview(layer, cells, weighted=weighted)
        )

    def tiles(
        self, ids: Sequence[int], cells: int, *, model: str, weighted: bool = False
    ) -> Pooled:
        """Attention of all heads of all layers in at most `cells` a side."""
        return self._ask(ids, model, lambda reading: reading.tiles(cells, weighted=weighted))

    def rollout(self, ids: Sequence[int], *, model: str) -> np.ndarray:
        """Attention followed through all layers, [T, T]."""
        return self._ask(ids, model, lambda reading: reading.rollout())

    def logit_lens(
        self, ids: Sequence[int], positions: Sequence[int], *, model: str, top: int = 5
    ) -> LogitLens:
        """What each layer would predict after some tokens; see lens.logit_lens."""
        return self._ask(ids, model, lambda reading: lens.logit_lens(reading, positions, top=top))

    def heads(self, ids: Sequence[int], *, model: str) -> HeadScores:
        """What each head does on this text; see lens.head_scores."""
        return self._ask(ids, model, lambda reading: lens.head_scores(reading))

    def model_heads(self, *, model: str) -> HeadScores:
        """What each head is, measured once on repeated random tokens; see lens.model_heads."""
        backbone = self.library.get(model).backbone

        def measured() -> HeadScores:
            if model not in self._heads:
                self._heads[model] = lens.model_heads(backbone)
            return self._heads[model]

        return self._scheduler.run(measured)
