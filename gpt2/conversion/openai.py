"""OpenAI's TensorFlow variables, as released or fine-tuned.

Names and shapes: github.com/openai/gpt-2, src/model.py. TensorFlow is not needed here: the
variables come as shapes and a function that reads one.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.weights import Read, Shapes, Source

HEAD_DIM = 64  # of all four published sizes; the rule where a checkpoint does not say n_head
EPSILON = 1e-5  # of norm() in src/model.py; no file says it
HPARAMS_FILE = "hparams.json"
HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_ctx",
    "n_embd": "n_embd",
    "n_head": "n_head",
    "n_layer": "n_layer",
}

_LAYER = re.compile(r"model/h(\d{1,6})/")


def from_variables(prefix: Path, shapes: Shapes, read: Read) -> Source:
    """The model among a checkpoint's variables; training state is left out by name.

    Args:
        prefix: path of the checkpoint; an hparams.json beside it says the sizes.
        shapes: of all its variables.
        read: gives one.

    Raises:
        ValueError: a variable is missing, left over or of the wrong shape.
    """
    for name in ("model/wte", "model/wpe", "model/h0/attn/c_attn/w"):
        if name not in shapes:
            raise ValueError(f"{prefix}: variable {name} is missing, so this is no GPT-2 of OpenAI")
    found = {int(match[1]) for name in shapes if (match := _LAYER.match(name))}
    if max(found) >= len(shapes):
        raise ValueError(f"{prefix}: variables of the layers before h{max(found)} are missing")
    known = weights.tf_names(max(found) + 1)
    skipped = {name: _why_skipped(prefix, name, known) for name in sorted(shapes - known.keys())}
    config = _config(prefix, shapes, max(found) + 1)
    names = weights.tf_names(config.n_layer)
    if spare := sorted((known.keys() & shapes.keys()) - names.keys()):
        raise ValueError(
            f"{prefix}: variable {spare[0]} has no place in a model of {config.n_layer} layers"
        )
    return Source(
        kind="TensorFlow checkpoint",
        path=prefix,
        config=config,
        names={ours: theirs for theirs, ours in names.items()},
        shapes=shapes,
        read=read,
        layout="openai",
        skipped=skipped,
        notes=() if (prefix.parent / HPARAMS_FILE).is_file() else (_inferred(config),),
    )


def _why_skipped(prefix: Path, name: str, known: Mapping[str, str]) -> str:
    owner = name.rpartition("/")[0]
    if owner in known:
        return f"the optimizer's state of {owner}"
    if not name.startswith("model/"):
        return "training state, no part of the model"
    raise ValueError(f"{prefix}: variable {name} has no place in GPT-2")


def _config(prefix: Path, shapes: Shapes, n_layer: int) -> GPT2Config:
    for name in ("model/wte", "model/wpe"):
        if len(shapes[name]) != 2:
            raise ValueError(f"{prefix}: variable {name} has shape {shapes[name]}; it is no matrix")
    path = prefix.parent / HPARAMS_FILE
    if not path.is_file():
        (vocab_size, n_embd), n_ctx = shapes["model/wte"], shapes["model/wpe"][0]
        if not n_embd or n_embd % HEAD_DIM:
            raise ValueError(
                f"{prefix}: there is no {HPARAMS_FILE} beside it and n_embd is {n_embd}, no "
                f"multiple of {HEAD_DIM}, so the number of heads is unknown; put an "
                f"{HPARAMS_FILE} there"
            )
        return GPT2Config(vocab_size, n_ctx, n_embd, n_layer, n_embd // HEAD_DIM)
    hparams = weights.read_json(path)
    if lacking := sorted(HPARAMS.keys() - hparams.keys()):
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    try:
        config = GPT2Config(**{ours: hparams[theirs] for theirs, ours in HPARAMS.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if config.n_layer > n_layer:
        raise ValueError(f"{prefix}: variables of layer h{n_layer} are missing")
    return config


def _inferred(config: GPT2Config) -> str:
    return (
        f"no {HPARAMS_FILE}: the sizes are the variables', and n_head is n_embd / {HEAD_DIM} = "
        f"{config.n_head}"
    )


def hparams(config: GPT2Config) -> dict[str, int]:
    """hparams.json of a model.

    Raises:
        ValueError: OpenAI's code would compute something else than the model.
    """
    if config.labels:
        raise ValueError("it is a classifier; OpenAI's format has no place for its head")
    if not math.isclose(config.layer_norm_epsilon, EPSILON, rel_tol=1e-6):
        raise ValueError(
            f"layer_norm_epsilon is {config.layer_norm_epsilon:g}; OpenAI's code has {EPSILON:g} "
            "built in, and its format no place for another"
        )
    return {theirs: getattr(config, ours) for theirs, ours in HPARAMS.items()}
