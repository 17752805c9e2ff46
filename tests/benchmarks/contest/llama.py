"""llama.cpp, by its C functions: llama_decode on a batch of texts, then its own samplers."""

from collections.abc import Sequence
from typing import Any

import llama_cpp as c
import numpy as np

from contest.contender import Entry
from contest.gguf_file import write_gguf
from gpt2.weights import read_config

SEED = 1


class LlamaCpp:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        path = entry.work / f"{entry.directory.name}-{entry.numbers}.gguf"
        if not path.is_file():
            write_gguf(entry.directory, path, entry.numbers)
        c.llama_log_set(_SILENT, None)
        c.llama_backend_init()
        parameters = c.llama_model_default_params()
        self._model = c.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise ValueError(f"llama.cpp does not load {path}")
        self._vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self._model))
        self._threads, self._n_ctx = entry.threads, read_config(entry.directory).n_ctx
        self._contexts: dict[int, Any] = {}  # by how many texts they hold
        self._batch = c.llama_batch_init(self._n_ctx, 0, 1)

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        context = self._empty(1)
        self._decode(context, [ids], 0)
        row = c.llama_get_logits_ith(context, -1)
        return np.ctypeslib.as_array(row, shape=(self._vocab,)).copy()

    def read(self, ids: Sequence[int]) -> None:
        self.logits(ids)

    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        context, chains = (
            self._empty(len(texts)),
            [_chain(greedy, row) for row, _ in enumerate(texts)],
        )
        written: list[list[int]] = [[] for _ in texts]
        fed: list[Sequence[int]] = list(texts)
        for step in range(count):
            ends = self._decode(context, fed, 0 if step == 0 else len(texts[0]) + step - 1)
            fed = [
                (c.llama_sampler_sample(chain, context, end),)
                for chain, end in zip(chains, ends, strict=True)
            ]
            for row, ids in zip(written, fed, strict=True):
                row.extend(ids)
        for chain in chains:
            c.llama_sampler_free(chain)
        return written

    def _empty(self, texts: int) -> Any:
        """A context that holds nothing yet."""
        if texts not in self._contexts:
            parameters = c.llama_context_default_params()
            parameters.n_ctx, parameters.n_seq_max = texts * self._n_ctx, texts
            parameters.n_threads = parameters.n_threads_batch = self._threads
            self._contexts[texts] = c.llama_init_from_model(self._model, parameters)
        c.llama_memory_clear(c.llama_get_memory(self._contexts[texts]), True)
        return self._contexts[texts]

    def _decode(self, context: Any, rows: Sequence[Sequence[int]], start: int) -> list[int]:
        """Read the next tokens of each text; where in the batch each one's last token stands."""
        batch, place, ends = self._batch, 0, []
        for row, ids in enumerate(rows):
            for position, token in enumerate(ids, start):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, row
                batch.logits[place] = False
                place += 1
            ends.append(place - 1)
            batch.logits[place - 1] = True
        batch.n_tokens = place
        if status := c.llama_decode(context, batch):
            raise ValueError(f"llama_decode returns {status}")
        return ends


@c.llama_log_callback
def _SILENT(level: int, text: bytes, data: Any) -> None:
    pass


def _chain(greedy: bool, row: int) -> Any:
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    if greedy:
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
        return chain
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(50))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(0.8))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(SEED + row))
    return chain
