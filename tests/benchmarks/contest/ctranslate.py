"""CTranslate2: its own conversion of the model, then Generator.generate_batch."""

from collections.abc import Sequence

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter

from contest.contender import Entry, Unsupported
from gpt2.tokenizer import ENDOFTEXT_ID
from gpt2.weights.files import read_json

TYPES = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8_float32"}


class CTranslate:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        kind = TYPES[entry.numbers]
        if kind not in ctranslate2.get_supported_compute_types(entry.device):
            raise Unsupported(f"no {entry.numbers} on this {entry.device}")
        made = entry.work / f"{entry.directory.name}-ctranslate2"
        if not made.is_dir():
            TransformersConverter(str(entry.directory)).convert(str(made))
        self._generator = ctranslate2.Generator(
            str(made), device=entry.device, compute_type=kind, intra_threads=entry.threads
        )
        words = read_json(entry.directory / "vocab.json")
        self._words = {number: word for word, number in words.items()}

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        # A StorageView of the CPU is an array to NumPy.
        return np.array(self._generator.forward_batch([list(ids)]))[0, -1]

    def read(self, ids: Sequence[int]) -> None:
        self.write([ids], 1, greedy=True)

    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        found = self._generator.generate_batch(
            [[self._words[token] for token in ids] for ids in texts],
            max_length=count,
            min_length=count,
            end_token=[self._words[ENDOFTEXT_ID]],
            include_prompt_in_result=False,
            sampling_topk=1 if greedy else 50,
            sampling_temperature=1.0 if greedy else 0.8,
        )
        return [one.sequences_ids[0] for one in found]
