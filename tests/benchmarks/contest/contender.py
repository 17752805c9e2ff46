"""What each that takes part can do, and who they are."""

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

OURS = "ours"


@dataclass(frozen=True)
class Entry:
    """One model to be run.

    Args:
        directory: in Hugging Face's layout.
        numbers: float32, bfloat16 or int8, of the weights.
        device: cpu or cuda.
        threads: of the CPU.
        work: a directory for what a peer makes of the model.
    """

    directory: Path
    numbers: str
    device: str
    threads: int
    work: Path


class Unsupported(ValueError):
    """A contender has no such numbers, or none on this device."""


class Contender(Protocol):
    """A model loaded by one program; it is made of an Entry and may raise Unsupported.

    The calls return when the work is done, also on a GPU.
    """

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """The logits after the last of some tokens, [V]."""

    def read(self, ids: Sequence[int]) -> None:
        """Read a prompt as far as its first new token needs."""

    def write(
        self, texts: Sequence[Sequence[int]], count: int, *, greedy: bool = False
    ) -> list[list[int]]:
        """Continue texts of equal length side by side, by `count` tokens each.

        Greedily, or drawn at temperature 0.8 from the 50 likeliest; no token ends a text.
        """


class Classifier(Protocol):
    """A classifier loaded by one program."""

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The likeliest class of each text, whose tokens it makes itself."""


@dataclass(frozen=True)
class Program:
    """Who takes part.

    Args:
        name: of its column.
        package: that must be installed for it, empty for none.
        made_by: its class here.
        way: what it does, where it takes part in more than one way.
    """

    name: str
    package: str
    made_by: str
    devices: tuple[str, ...] = ("cpu", "cuda")
    way: str = ""

    @property
    def installed(self) -> bool:
        return not self.package or importlib.util.find_spec(self.package) is not None


WRITERS = (
    Program(OURS, "", "contest.ours.Ours"),
    Program("transformers", "transformers", "contest.hugging_face.HuggingFace"),
    Program("CTranslate2", "ctranslate2", "contest.ctranslate.CTranslate", ("cpu",)),
    Program("llama.cpp", "llama_cpp", "contest.llama.LlamaCpp", ("cpu",)),
    Program("torch.compile", "", "contest.compiled.Compiled", ("cuda",)),
    Program("vLLM", "vllm", "contest.vllm_engine.VLLM", ("cuda",)),
)
CLASSIFIERS = (
    Program(OURS, "", "contest.ours.OurClassifier"),
    Program("transformers", "transformers", "contest.hugging_face.Pipeline", way="pipeline"),
    Program("transformers", "transformers", "contest.hugging_face.SortedBatches", way="sorted"),
)


def load(program: Program, entry: Entry) -> Any:
    """A Contender or Classifier."""
    module, _, name = program.made_by.rpartition(".")
    return getattr(importlib.import_module(module), name)(entry)
