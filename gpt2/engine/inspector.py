"""What explains, behind the engine's border: ids or text in, records and arrays out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from gpt2 import lens
from gpt2.classifier import reading_length
from gpt2.engine.observer import Observer
from gpt2.lens import Reading
from gpt2.records import (
    METHODS,
    Ablation,
    AblationMap,
    Attribution,
    Faithfulness,
    Score,
    Step,
    Verdict,
    Waterfall,
)
from gpt2.sampling import Sampling


class Inspector(Observer):
    """Reads texts, and explains what was predicted. Arguments as of Observer."""

    # --- what was predicted ----------------------------------------------------------------------

    def step(self, ids: Sequence[int], index: int, sampling: Sampling, *, model: str) -> Step:
        """The choice of one token of a text, recomputed from the tokens before it."""
        return self._ask(ids, model, lambda reading: reading.step(index, sampling))

    def waterfall(
        self, ids: Sequence[int], index: int, sampling: Sampling, *, model: str
    ) -> Waterfall:
        """How token `index` is drawn after those before it; index len(ids) is yet to come.

        Its `token` is ids[index] wherever the model drew that one with this sampling; a token of
        the prompt, or one that was chosen by hand, is another.

        Raises:
            ValueError: no such index.
        """
        return self._ask(ids, model, lambda reading: lens.how_drawn(reading, index, sampling))

    def score_tokens(self, ids: Sequence[int], *, model: str) -> Score:
        """How each token after the first was predicted from those before it."""
        return self._ask(
            ids, model, lambda reading: Score(model, tuple(ids[1:]), *reading.scores())
        )

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

    def classify(self, text: str, *, classifier: str = "", bulk: bool = False) -> Verdict:
        """The topic of a text, of its first tokens if the classifier was trained on shorter ones.

        Args:
            bulk: it is one of many, which others need not wait for.

        Raises:
            ValueError: the text is empty or too long.
        """
        loaded = self.library.get(classifier or self.catalog.classifiers[0])
        reader = loaded.classifier
        if reader is None:
            raise ValueError(f"{loaded.name} is no classifier")
        # As typed, but for blanks around it: the answer is read at the last token.
        tokenizer = self.catalog.tokenizer(loaded.name)
        ids = tokenizer.encode(self.catalog.check_text(text, what="news text").strip())
        if not ids:
            raise ValueError("the news text is empty; paste a headline or an article")
        length = reading_length(tokenizer, loaded.backbone.config)
        truncated, ids = max(0, len(ids) - length), ids[:length]

        @torch.inference_mode()
        def read() -> np.ndarray:
            logits = reader.per_token(torch.tensor([ids], device=self.library.device))
            return logits[0].float().softmax(dim=-1).cpu().numpy()

        per_token = self._scheduler.run(read, bulk=bulk)
        labels = loaded.backbone.config.labels
        return Verdict(loaded.name, labels, per_token[-1], tuple(ids), truncated, per_token)

    # --- what that owes to each part and each token ----------------------------------------------

    def ablation_maps(self, ids: Sequence[int], index: int, *, model: str) -> Iterator[AblationMap]:
        """What the prediction of ids[index] owes to each head and MLP; see lens.ablation_maps."""
        reading, token = self._ask(ids, model, lambda reading: (reading, reading.token(index)))
        self._check_explained(index)
        yield from self._scheduler.parts(lens.ablation_maps(reading, index, token))

    def ablate(
        self, ids: Sequence[int], index: int, scales: lens.Scales, *, model: str
    ) -> Ablation:
        """The prediction of token `index` as it is and with parts scaled; len(ids) is yet to come.

        Raises:
            ValueError: no such index, or the scales are of another model.
        """

        def compare(reading: Reading) -> Ablation:
            before = reading.logits_before(index)
            scaled = lens.scaled_model(reading.model, scales)
            after = Reading.of(scaled, ids[:index]).logits_before(index)
            token = ids[index] if index < len(ids) else -1
            probs = [logits.softmax(dim=-1).cpu().numpy() for logits in (before, after)]
            return Ablation(index, token, *probs)

        return self._ask(ids, model, compare)

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
        """How much each of ids[:index] counts for an answer after them; the last one is whole.

        Args:
            index: 1 to len(ids).
            answer: a token, or of a classifier a class, counted from 0.
            method: one of METHODS.
            model: a language model or a classifier.
            instead_of: another answer to compare with.

        Raises:
            ValueError: one of these is not there, or more tokens than the limit.
        """
        if method not in METHODS:
            raise ValueError(f"no method {method!r}; there are: {', '.join(METHODS)}")
        reading, target = self._asked(ids, index, answer, instead_of, model)
        yield from self._scheduler.parts(lens.attribute(target, reading, index, method))

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
        reading, target = self._asked(ids, index, answer, instead_of, model)
        shares = {}
        for method in METHODS[: 1 if quick else None]:
            *_, whole = self._scheduler.parts(lens.attribute(target, reading, index, method))
            shares[method] = whole.scores
        rollout = self._scheduler.run(reading.rollout)
        shares["attention rollout"] = rollout[index - 1, :index]
        seeds = 0 if quick else lens.SEEDS
        tested = lens.faithfulness(target, ids[:index], shares, seeds=seeds)
        *_, found = self._scheduler.parts(tested)
        return found

    def _asked(
        self, ids: Sequence[int], index: int, answer: int, instead_of: int | None, model: str
    ) -> tuple[Reading, lens.Target]:
        """What the model saw of a text, and the answer after ids[:index] to explain."""
        loaded = self.library.get(model)
        target = lens.Target(loaded.classifier or loaded.backbone, answer, instead_of=instead_of)

        def checked(reading: Reading) -> Reading:
            reading.check_prediction(index)
            return reading

        reading = self._ask(ids, model, checked)
        self._check_explained(index)
        return reading, target

    def _check_explained(self, count: int) -> None:
        limit = self.limits.explained_tokens
        if count > limit:
            raise ValueError(
                f"{count} tokens stand before this one; a prediction is explained by at most "
                f"{limit}; choose an earlier token or shorten the text"
            )
