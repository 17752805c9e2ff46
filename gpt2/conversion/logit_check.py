"""One text, and what a model makes of it: the logits that a receipt compares.

The source's side is numpy_forward over its own arrays; the other is the written files, read as
their users read them: with the format's own defaults, and by none of our tables.
"""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.conversion import numpy_forward
from gpt2.conversion.numpy_forward import Layout
from gpt2.conversion.openai import HPARAMS_FILE
from gpt2.model import GPT2
from gpt2.tokenizer import ENDOFTEXT
from gpt2.weights import Source

TEXT = (
    f"{ENDOFTEXT}Alan Turing theorized that computers would one day become the most powerful "
    "machines on the planet. 3.14159 — “naïve” café, 東京!"
)
# As GPT-2's tokenizer splits it; written out so that a check needs no vocabulary.
TEXT_IDS = (
    *(50256, 36235, 39141, 18765, 1143, 326, 9061, 561, 530, 1110, 1716, 262, 749, 3665, 8217),
    *(319, 262, 5440, 13, 513, 13, 1415, 19707, 851, 564, 250, 2616, 38776, 447, 251, 40304, 11),
    *(10545, 251, 109, 12859, 105, 0),
)

_GELUS = {"gelu_new": numpy_forward.tanh_gelu, "gelu": numpy_forward.exact_gelu}
_ROWS = 8192  # of the embedding matrix, turned to float32 at a time


def check_ids(config: GPT2Config) -> list[int]:
    """The tokens of TEXT, brought into a smaller vocabulary and context where need be."""
    return [token % config.vocab_size for token in TEXT_IDS][: config.n_ctx]


def source_logits(
    source: Source,
    ids: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    gelu: Callable[[np.ndarray], np.ndarray] = numpy_forward.tanh_gelu,
) -> np.ndarray:
    """Logits of a source's own arrays, each rounded to a number type; in float64, as all here.

    Returns:
        [T, V], with a classifier's scores behind.
    """
    config = source.config
    layout = Layout(openai=source.layout == "openai", transposed=source.layout == "out-in")

    def read(name: str) -> np.ndarray | None:
        theirs = name if layout.openai else _find(name, source.shapes)
        return None if theirs is None else source.read(theirs).to(dtype).float().numpy()

    return numpy_forward.logits(
        read,
        ids,
        n_layer=config.n_layer,
        n_head=config.n_head,
        layout=layout,
        epsilon=config.layer_norm_epsilon,
        gelu=gelu,
        heads=("wte", "score") if config.labels else ("wte",),
    )[:, : config.vocab_size + len(config.labels)]


def _find(name: str, names: Iterable[str]) -> str | None:
    """The tensor whose name has the same words in the same order, whatever stands between them.

    Not the table by which the tensors were converted, so that it can't repeat a fault of it.
    """
    found = []
    for theirs in names:
        words = iter(theirs.split("."))
        if theirs.endswith(name.rpartition(".")[2]) and all(w in words for w in name.split(".")):
            found.append(theirs)
    if not found and name == "wte.weight":
        return _find("lm_head.weight", names)
    if len(found) > 1:
        raise ValueError(f"tensors {' and '.join(found)} may both be {name}")
    return found[0] if found else None


def directory_logits(directory: Path, ids: Sequence[int]) -> np.ndarray:
    """Logits of a written model directory, as a program reads it that is none of ours.

    It goes by the files alone: transformers' keys and defaults in config.json, and the layout of
    safetensors (github.com/huggingface/safetensors, README, "Format").
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    path = directory / "model.safetensors"
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))

    def read(name: str) -> np.ndarray | None:
        theirs = _find(name, header)
        if theirs is None:
            return None
        entry = header[theirs]
        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry["dtype"]]
        begin, end = entry["data_offsets"]
        count = (end - begin) // np.dtype(kind).itemsize
        values = np.fromfile(path, kind, count, offset=start + begin)
        if kind == "<u2":  # the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        return values.reshape(entry["shape"]).astype(np.float32)

    return numpy_forward.logits(
        read,
        ids,
        n_layer=config.get("n_layer", 12),
        n_head=config.get("n_head", 12),
        layout=Layout(),
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        gelu=_GELUS[config.get("activation_function", "gelu_new")],
        heads=("wte", "score") if "score.weight" in header else ("wte",),
    )


def openai_logits(directory: Path, read: Callable[[str], Tensor], ids: Sequence[int]) -> np.ndarray:
    """Logits of a written TensorFlow checkpoint, with hparams.json and OpenAI's own constants.

    Args:
        directory: where hparams.json is.
        read: gives a variable.
    """
    hparams = json.loads((directory / HPARAMS_FILE).read_text(encoding="utf-8"))
    return numpy_forward.logits(
        lambda name: read(name).numpy(),
        ids,
        n_layer=hparams["n_layer"],
        n_head=hparams["n_head"],
        layout=Layout(openai=True),
        epsilon=1e-5,
    )


@torch.inference_mode()
def model_logits(model: GPT2 | GPT2Classifier, ids: Sequence[int]) -> np.ndarray:
    """Logits of a loaded model, computed in float32 whatever its type; a classifier's too.

    One block at a time is turned to float32, so that a half-precision model is not held twice.
    """
    backbone = model.transformer if isinstance(model, GPT2Classifier) else model
    tokens = torch.tensor([list(ids)])
    x = backbone.wte(tokens).float() + backbone.wpe.weight[: len(ids)].float()
    for block in backbone.h:
        x = (block if backbone.dtype == torch.float32 else copy.deepcopy(block).float())(x)
    x = copy.deepcopy(backbone.ln_f).float()(x)[0]
    parts = [x @ rows.float().t() for rows in backbone.wte.weight.split(_ROWS)]
    if isinstance(model, GPT2Classifier):
        parts.append(x @ model.score.weight.float().t())
    return torch.cat(parts, 1).numpy()
