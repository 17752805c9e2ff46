"""From a checkpoint to a directory, tensor by tensor: never more than a few tensors in memory.

Imports: torch.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpt2 import logit_check, receipt, weights
from gpt2.receipt import Row
from gpt2.sources.openai import HPARAMS_FILE, hparams
from gpt2.vocabulary import VocabularyPlace, copy_vocabulary
from gpt2.weights import Source

TF_PREFIX = "model.ckpt"

SaveVariables = Callable[[Path, Iterable[tuple[str, np.ndarray]]], None]
ReadVariables = Callable[[Path], Callable[[str], Tensor]]


def convert(source: Source, ours: str, dtype: torch.dtype) -> tuple[Row, Tensor]:
    """One tensor as it goes to disk, with its line of the receipt.

    Args:
        ours: its name in a model directory.

    Raises:
        ValueError: not finite, no floats, or too large for dtype.
    """
    if ours in source.filled:
        shape = weights.stored_shapes(source.config)[ours]
        return Row("", ours, shape, "", "", "", exact=False), torch.zeros(shape, dtype=dtype)
    theirs = source.names[ours]
    stored = source.read(theirs)
    value = source.as_ours(ours, stored, dtype).contiguous()
    before = fingerprint(stored)
    uncopied = value.data_ptr() == stored.data_ptr() and value.nbytes == stored.nbytes
    after = before if uncopied else fingerprint(value)
    kind = str(stored.dtype).removeprefix("torch.")
    exact = torch.promote_types(dtype, stored.dtype) == dtype
    return Row(theirs, ours, tuple(stored.shape), kind, before, after, exact), value


def fingerprint(tensor: Tensor) -> str:
    """sha256 of a tensor's bytes in memory order, little-endian."""
    flat = tensor.contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy()).hexdigest()


# --- to a model directory ---------------------------------------------------------------------


def to_directory(
    source: Source, out: Path, *, vocabulary: VocabularyPlace, dtype: torch.dtype
) -> receipt.Receipt:
    """Write a model directory with its receipt, whole or not at all.

    Raises:
        OSError, ValueError: the source is damaged, or the disk is full; then nothing is written.
    """
    rows: list[Row] = []

    def tensor(name: str) -> Tensor:
        row, value = convert(source, name, dtype)
        rows.append(row)
        return value

    with weights.whole_directory(out) as work:
        shapes = weights.stored_shapes(source.config)
        weights.write_safetensors(work / weights.WEIGHTS_FILE, shapes, tensor, dtype=dtype)
        copy_vocabulary(vocabulary.directory, work)
        weights.write_json(work / weights.CONFIG_FILE, weights.config_json(source.config, dtype))
        ids = logit_check.check_ids(source.config)
        load = weights.load_classifier if source.config.labels else weights.load_language_model
        ours = logit_check.model_logits(load(work, dtype=dtype), ids)
        made = receipt.build(
            source,
            rows,
            dtype=dtype,
            vocabulary_note=vocabulary.note,
            readings=(ours, logit_check.directory_logits(work, ids)),
            ids=ids,
            weights_sha256=weights.hash_weights(work),
        )
        receipt.write(made, work)
    return made


# --- to OpenAI's TensorFlow files -------------------------------------------------------------


def to_openai(
    source: Source,
    out: Path,
    *,
    vocabulary: VocabularyPlace,
    save: SaveVariables,
    read: ReadVariables,
) -> receipt.Receipt:
    """Write a TensorFlow checkpoint with OpenAI's names and files beside it, whole or not at all.

    Args:
        save: writes variables to a checkpoint of a prefix.
        read: opens a checkpoint for reading by name.

    Raises:
        OSError, ValueError: as to_directory; or OpenAI's format can't say what the source is.
    """
    try:
        sizes = hparams(source.config)
    except ValueError as error:
        raise ValueError(f"{source.path} can't be written for TensorFlow: {error}") from error
    rows: list[Row] = []
    with weights.whole_directory(out) as work:
        counts = (math.prod(shape) for shape in weights.stored_shapes(source.config).values())
        weights.check_space(work, 4 * sum(counts))
        save(work / TF_PREFIX, _openai_variables(source, rows))
        copy_vocabulary(vocabulary.directory, work, openai=True)
        weights.write_json(work / HPARAMS_FILE, sizes)
        state = f'model_checkpoint_path: "{TF_PREFIX}"\nall_model_checkpoint_paths: "{TF_PREFIX}"\n'
        (work / weights.TF_STATE_FILE).write_text(state, encoding="utf-8")
        ids = logit_check.check_ids(source.config)
        made = receipt.build(
            source,
            rows,
            dtype=torch.float32,
            vocabulary_note=vocabulary.note,
            readings=(logit_check.openai_logits(work, read(work / TF_PREFIX), ids),),
            ids=ids,
            weights_sha256=weights.hash_file(work / f"{TF_PREFIX}.data-00000-of-00001"),
        )
        receipt.write(made, work)
    return made


def _openai_variables(source: Source, rows: list[Row]) -> Iterator[tuple[str, np.ndarray]]:
    for theirs, ours in weights.tf_names(source.config.n_layer).items():
        row, value = convert(source, ours, torch.float32)
        rows.append(row.replaced(target=theirs))
        array = value.numpy()
        yield theirs, array[None] if ours.endswith(weights.TRANSPOSED) else array
