"""From a checkpoint to a directory, tensor by tensor: never more than a few tensors in memory."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gpt2 import weights
from gpt2.conversion import logit_check, receipt, sources, tensorflow
from gpt2.conversion.openai import HPARAMS_FILE, hparams
from gpt2.conversion.receipt import Row
from gpt2.tokenizer import load_tokenizer
from gpt2.weights import Source, hub
from gpt2.weights.vocabulary_files import VocabularyPlace, copy_vocabulary, pick_vocabulary

TF_PREFIX = "model.ckpt"


@dataclass(frozen=True)
class ConvertSettings:
    """What is to become of which checkpoint.

    Args:
        source: 124M, 355M, 774M or 1558M (downloaded); a TensorFlow checkpoint's directory, prefix
            or .index file; a model directory; a nanoGPT .pt file.
        out: directory to write.
        to: hf, a model directory, or tf, OpenAI's TensorFlow files.
        dtype: of the numbers on disk.
        vocab: directory to take the vocabulary from, in place of the source's own.
    """

    source: str
    out: str
    to: Literal["hf", "tf"] = "hf"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    vocab: str | None = None


def convert(settings: ConvertSettings) -> receipt.Receipt:
    """Do what is asked for, while nobody else writes there.

    Raises:
        OSError, ValueError: a path is none, the source can't be read, or as to_directory.
    """
    with weights.sole_writer(settings.out):
        out = Path(settings.out)
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file; name a directory")
        source = sources.open_source(settings.source)
        if source.path.resolve() == out.resolve():
            raise ValueError(f"--out {out} is the source itself; name another directory")
        shipped = hub.CHECKPOINTS / "mini"
        vocabulary = pick_vocabulary(source.path, given=settings.vocab, shipped=shipped)
        tokenizer = load_tokenizer(vocabulary.directory, rows=source.config.vocab_size)
        if source.layout != "in-out":  # formats that don't say what ends a text
            first, last = tokenizer.start_id, tokenizer.end_id
            config = replace(source.config, bos_token_id=first, eos_token_id=last)
            source = replace(source, config=config)
        if settings.to == "hf":
            dtype = getattr(torch, settings.dtype)
            return to_directory(source, out, vocabulary=vocabulary, dtype=dtype)
        if (out / weights.CONFIG_FILE).exists():
            raise ValueError(
                f"--out {out} is a model directory; name another for TensorFlow's files"
            )
        return to_openai(source, out, vocabulary=vocabulary)


def convert_tensor(source: Source, ours: str, dtype: torch.dtype) -> tuple[Row, Tensor]:
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
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


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
        row, value = convert_tensor(source, name, dtype)
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
) -> receipt.Receipt:
    """Write a TensorFlow checkpoint with OpenAI's names and files beside it, whole or not at all.

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
        tensorflow.save_variables(work / TF_PREFIX, _openai_variables(source, rows))
        copy_vocabulary(vocabulary.directory, work, openai=True)
        weights.write_json(work / HPARAMS_FILE, sizes)
        state = f'model_checkpoint_path: "{TF_PREFIX}"\nall_model_checkpoint_paths: "{TF_PREFIX}"\n'
        (work / weights.TF_STATE_FILE).write_text(state, encoding="utf-8")
        ids = logit_check.check_ids(source.config)
        read = tensorflow.read_variables(work / TF_PREFIX)[1]
        made = receipt.build(
            source,
            rows,
            dtype=torch.float32,
            vocabulary_note=vocabulary.note,
            readings=(logit_check.openai_logits(work, read, ids),),
            ids=ids,
            weights_sha256=weights.hash_file(work / f"{TF_PREFIX}.data-00000-of-00001"),
        )
        receipt.write(made, work)
    return made


def _openai_variables(source: Source, rows: list[Row]) -> Iterator[tuple[str, np.ndarray]]:
    for theirs, ours in weights.tf_names(source.config.n_layer).items():
        row, value = convert_tensor(source, ours, torch.float32)
        rows.append(row.replaced(target=theirs))
        array = value.numpy()
        yield theirs, array[None] if ours.endswith(weights.TRANSPOSED) else array
