"""transformers: generate() as it comes, and two ways to classify many texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    pipeline,
)

from contest.contender import Entry, Unsupported
from gpt2.tokenizer import ENDOFTEXT_ID

MAX_LENGTH = 256  # tokens of a news text, more than any has
BATCH = 64


class HuggingFace:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        if entry.numbers == "int8":
            raise Unsupported("no int8 of GPT-2's layers without another package")
        dtype = getattr(torch, entry.numbers)
        model = GPT2LMHeadModel.from_pretrained(entry.directory, dtype=dtype)
        self._model, self._device = model.to(entry.device).eval(), entry.device

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> np.ndarray:
        batch = torch.tensor([list(ids)], device=self._device)
        found = self._model(batch, use_cache=True, logits_to_keep=1)
        return found.logits[0, -1].float().cpu().numpy()

    def read(self, ids: Sequence[int]) -> None:
        self.logits(ids)

    @torch.inference_mode()
    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        batch = torch.tensor([list(ids) for ids in texts], device=self._device)
        chosen: dict[str, Any] = {"do_sample": False}
        if not greedy:
            chosen = {"do_sample": True, "temperature": 0.8, "top_k": 50}
        out = self._model.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=count,
            eos_token_id=None,
            pad_token_id=ENDOFTEXT_ID,
            **chosen,
        )
        return out[:, batch.size(1) :].tolist()


class Pipeline:
    """A Classifier: the text-classification pipeline, in batches of 8 in the order of the texts."""

    def __init__(self, entry: Entry) -> None:
        model, tokenizer = _load(entry)
        self._labels = model.config.label2id
        self._pipeline = pipeline("text-classification", model=model, tokenizer=tokenizer)

    def classify(self, texts: Sequence[str]) -> list[int]:
        found = self._pipeline(list(texts), batch_size=8, truncation=True, max_length=MAX_LENGTH)
        return [self._labels[one["label"]] for one in found]


class SortedBatches:
    """A Classifier: the model alone, in batches of texts of like length."""

    def __init__(self, entry: Entry) -> None:
        (self._model, self._tokenizer), self._device = _load(entry), entry.device

    @torch.inference_mode()
    def classify(self, texts: Sequence[str]) -> list[int]:
        ids = self._tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        labels = [0] * len(ids)
        for start in range(0, len(ids), BATCH):
            rows = order[start : start + BATCH]
            batch = self._tokenizer.pad(
                {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
            ).to(self._device)
            found = self._model(**batch, use_cache=False).logits.argmax(dim=-1).tolist()
            for row, label in zip(rows, found, strict=True):
                labels[row] = label
        return labels


def _load(entry: Entry) -> tuple[Any, Any]:
    model = GPT2ForSequenceClassification.from_pretrained(entry.directory, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(entry.directory)
    tokenizer.pad_token_id, tokenizer.padding_side = model.config.pad_token_id, "right"
    return model.to(entry.device).eval(), tokenizer
