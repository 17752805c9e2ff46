"""vLLM: its engine in this process, asked for whole texts."""

from collections.abc import Sequence

import numpy as np
from vllm import LLM, SamplingParams

from contest.contender import Entry, Unsupported

MEMORY = 0.3  # of the GPU: others hold their models too


class VLLM:
    """A Contender."""

    def __init__(self, entry: Entry) -> None:
        if entry.numbers == "int8":
            raise Unsupported("no int8 of these weights")
        self._engine = LLM(
            str(entry.directory),
            dtype=entry.numbers,
            gpu_memory_utilization=MEMORY,
            enable_prefix_caching=False,  # each round reads the prompt again
            max_logprobs=-1,
            logprobs_mode="raw_logits",
            disable_log_stats=True,
        )

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        asked = SamplingParams(max_tokens=1, temperature=0, logprobs=-1)
        found = self._generate([ids], asked)[0].outputs[0].logprobs[0]
        return np.array([found[token].logprob for token in range(len(found))], dtype=np.float32)

    def read(self, ids: Sequence[int]) -> None:
        self.write([ids], 1, greedy=True)

    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        chosen = {"temperature": 0.0} if greedy else {"temperature": 0.8, "top_k": 50}
        asked = SamplingParams(max_tokens=count, ignore_eos=True, detokenize=False, **chosen)
        return [list(one.outputs[0].token_ids) for one in self._generate(texts, asked)]

    def _generate(self, texts: Sequence[Sequence[int]], asked: SamplingParams) -> list:
        prompts = [{"prompt_token_ids": list(ids)} for ids in texts]
        return self._engine.generate(prompts, asked, use_tqdm=False)
