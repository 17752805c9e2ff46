"""This project: a decoder with all statistics of each token, a classifier in sorted batches."""

from collections.abc import Sequence

import numpy as np

from contest.contender import Entry, Unsupported
from gpt2 import fast, weights
from gpt2.agnews.news import News
from gpt2.agnews.rows import Rows, predict
from gpt2.classifier import reading_length
from gpt2.devices import pick_device, pick_dtype
from gpt2.fast import Decoder, Draw, Feed, PlainDecoder
from gpt2.sampling import Sampling
from gpt2.tokenizer import load_tokenizer


def load_decoder(entry: Entry) -> Decoder:
    """The one place that says how a model is made ready to write in some numbers."""
    device = pick_device(entry.device)
    try:
        dtype = pick_dtype(entry.numbers, device)
    except ValueError as error:
        raise Unsupported(str(error)) from error
    read_in = fast.computed_in(dtype, device)
    model = weights.load_language_model(entry.directory, device=device, dtype=read_in)
    return fast.decoder(fast.stored(model, dtype))


class Ours:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        self._decoder = load_decoder(entry)

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        feed = Feed(self._decoder.cache(len(ids)), ids)
        return self._decoder.read([feed])[0].cpu().numpy()

    def read(self, ids: Sequence[int]) -> None:
        self.logits(ids)

    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        decoder = self._decoder
        samplings = [
            Sampling(temperature=0) if greedy else Sampling(seed=row) for row in range(len(texts))
        ]
        seen = [list(ids) for ids in texts]
        caches = [decoder.cache(len(ids) + count) for ids in texts]
        fed: list[Sequence[int]] = list(texts)
        for _ in range(count):
            logits = decoder.read([Feed(*one) for one in zip(caches, fed, strict=True)])
            draws = [Draw(*one) for one in zip(samplings, seen, strict=True)]
            steps = decoder.choose(logits, draws)
            for ids, step in zip(seen, steps, strict=True):
                ids.append(step.id)
            fed = [(step.id,) for step in steps]
        return [ids[-count:] for ids in seen]


class Reference(Ours):
    """What all are compared with: the plain model in float32."""

    def __init__(self, entry: Entry) -> None:
        self._decoder = PlainDecoder(
            weights.load_language_model(entry.directory, device=entry.device)
        )


class OurClassifier:
    """A Classifier, as python -m gpt2.evaluate classifies many texts."""

    def __init__(self, entry: Entry) -> None:
        model = weights.load_classifier(entry.directory, device=entry.device)
        model.transformer = fast.reader(model.transformer)
        config = model.transformer.config
        self._tokenizer = load_tokenizer(entry.directory, rows=config.vocab_size)
        self._length = reading_length(self._tokenizer, config)
        self._model = model

    def classify(self, texts: Sequence[str]) -> list[int]:
        news = News(tuple(texts), np.zeros(len(texts), dtype=int))
        rows = Rows(news, self._tokenizer, max_length=self._length)
        return predict(self._model, rows).argmax(axis=1).tolist()
