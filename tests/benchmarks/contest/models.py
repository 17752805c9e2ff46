"""The models that are run: by name, or random weights in the shape of OpenAI's smallest."""

from pathlib import Path

from gpt2 import weights
from gpt2.config import SIZES
from gpt2.model import GPT2, init_weights, parameter_count
from gpt2.weights.hub import CHECKPOINTS, find_directory

RANDOM = "random-124M"
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


def directory_of(name: str, work: Path) -> Path:
    """A model's directory; the random one is written when it is first asked for."""
    if name != RANDOM:
        return find_directory(name)
    if not (work / RANDOM).is_dir():
        model = GPT2(SIZES["124M"])
        init_weights(model, seed=0)
        weights.save(model, work / RANDOM, vocabulary=CHECKPOINTS / "mini")
    return work / RANDOM


def bytes_read(directory: Path, numbers: str) -> int:
    """Bytes of weights that one token needs: all but the positions, the tied embedding once."""
    config = weights.read_config(directory)
    return BYTES[numbers] * (parameter_count(config) - config.n_ctx * config.n_embd)
