"""Models into model directories, one tensor in memory at a time.

The file format is safetensors (github.com/huggingface/safetensors, README, "Format"); its own
library writes only what is in memory all at once.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2.classifier import GPT2Classifier
from gpt2.model import GPT2
from gpt2.weights.atomic import check_space, whole_directory
from gpt2.weights.configuration import config_json
from gpt2.weights.files import CONFIG_FILE, WEIGHTS_FILE
from gpt2.weights.tensors import TRANSPOSED, stored_name, stored_shapes
from gpt2.weights.vocabulary_files import copy_vocabulary

_SAFETENSORS_TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def save(
    model: GPT2 | GPT2Classifier,
    directory: str | Path,
    *,
    vocabulary: str | Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model directory, whole or not at all; other files that stand there stay.

    Args:
        model: a language model or a classifier.
        directory: made if missing.
        vocabulary: a directory whose vocabulary is copied.
        dtype: number type on disk.

    Raises:
        OSError, ValueError: the disk is full, or the vocabulary is missing; nothing has changed.
    """
    with whole_directory(directory) as work:
        write_model(model, work, vocabulary=vocabulary, dtype=dtype)


def write_model(
    model: GPT2 | GPT2Classifier,
    work: Path,
    *,
    vocabulary: str | Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """The files of a model directory, into one of whole_directory; the rest as for save."""
    if isinstance(model, GPT2Classifier):
        config = model.transformer.config
    else:
        config = replace(model.config, labels=())
    state = {stored_name(name, config): tensor for name, tensor in model.state_dict().items()}

    def tensor(name: str) -> Tensor:
        value = state[name].t() if name.endswith(TRANSPOSED) else state[name]
        return value.detach().to("cpu", dtype)

    write_safetensors(work / WEIGHTS_FILE, stored_shapes(config), tensor, dtype=dtype)
    write_json(work / CONFIG_FILE, config_json(config, dtype))
    copy_vocabulary(vocabulary, work)


def write_safetensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], Tensor],
    *,
    dtype: torch.dtype,
) -> None:
    """Write one file of tensors, each asked for when its turn comes.

    Args:
        shapes: of all tensors, by name, in the order in which they are written.
        tensor: gives one of them, on the CPU.
        dtype: of all of them.

    Raises:
        ValueError: the disk has no room for it.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        kind = _SAFETENSORS_TYPES[dtype]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    check_space(path.parent, end)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in shapes:
            file.write(tensor(name).contiguous().reshape(-1).view(torch.uint8).numpy().data)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, for people to read too."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
