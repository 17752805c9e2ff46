"""The files of a model directory: their names, which of them are read, their tensors and hashes."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpt2.checks import refuse_pointer
from gpt2.vocabulary import FILES as VOCABULARY_FILES
from gpt2.weights.pickles import open_pickle
from gpt2.weights.source import Read, Shapes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
RECEIPT_FILE = "receipt.json"  # what convert.py says of the weights beside it
TF_STATE_FILE = "checkpoint"  # names the TensorFlow checkpoint of a directory

_BIN_FILE, _BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# One file, else an index of several: in the order of transformers' from_pretrained.
_FORMS = ((WEIGHTS_FILE, INDEX_FILE), (_BIN_FILE, _BIN_INDEX))
# All that describes one model, by this project or by transformers: what a new model replaces.
MODEL_FILES = (
    *(CONFIG_FILE, RECEIPT_FILE, INDEX_FILE, _BIN_INDEX, "model*.safetensors"),
    *("pytorch_model*.bin", "tf_model.h5", "flax_model.msgpack", "generation_config.json"),
    *VOCABULARY_FILES,
)


@dataclass(frozen=True)
class WeightFiles:
    """Where a directory's weights are.

    Args:
        paths: the files that are read, in order of name.
        placed: the tensors that an index names -> their files; empty without one.
    """

    paths: tuple[Path, ...]
    placed: Mapping[str, Path]


def weight_files(directory: str | Path) -> WeightFiles:
    """The files that a directory's weights are read from, those that transformers reads.

    Raises:
        FileNotFoundError, ValueError: there are none; an index is damaged or names a lost file.
    """
    directory = Path(directory)
    for whole, index in _FORMS:
        if (directory / whole).is_file():
            found = WeightFiles((directory / whole,), {})
        elif (directory / index).is_file():
            placed = _placed(directory, directory / index)
            found = WeightFiles(tuple(sorted(set(placed.values()))), placed)
        else:
            continue
        for path in found.paths:
            refuse_pointer(path)
        return found
    others = ", ".join(name for form in _FORMS for name in form if name != WEIGHTS_FILE)
    raise FileNotFoundError(
        f"{directory} is no model directory: {WEIGHTS_FILE} is missing, and so are {others}"
    )


def _placed(directory: Path, index: Path) -> dict[str, Path]:
    """An index's weight_map, with paths."""
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(n, str) for n in placed.values()):
        raise ValueError(f"{index} has no weight_map from tensor names to file names")
    for name in set(placed.values()):
        if not name or Path(name).is_absolute() or ".." in re.split(r"[/\\]", name):
            raise ValueError(f"{index} names {name!r}, which is no file of its directory")
        if not (directory / name).is_file():
            raise FileNotFoundError(f"{directory} is no model directory: {name} is missing")
    return {tensor: directory / name for tensor, name in placed.items()}


def open_tensors(directory: str | Path) -> tuple[Shapes, Read]:
    """Shapes of a directory's tensors, and a function that reads one.

    A tensor is in the file that the index says; one that it does not name, in any that has it.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged, or the index is wrong.
    """
    files = weight_files(directory)
    opened = {
        path: open_pickle(path)[:2] if path.suffix == ".bin" else _open_safetensors(path)
        for path in files.paths
    }
    for name, path in files.placed.items():
        if name not in opened[path][0]:
            raise ValueError(f"{path} has no tensor {name}, which the index says is there")
    home = {name: path for path in files.paths for name in opened[path][0]} | dict(files.placed)
    shapes = {name: opened[path][0][name] for name, path in home.items()}
    return shapes, lambda name: opened[home[name]][1](name)


def _open_safetensors(path: Path) -> tuple[Shapes, Read]:
    """Shapes of a file's tensors, and a function that reads one.

    It gives a copy, and the file is mapped for that long only, so no model is held twice.
    """

    def read(name: str) -> Tensor:
        with _opened(path) as file:
            return file.get_tensor(name).clone()

    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    return shapes, read


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises:
        ValueError: it does not.
    """
    refuse_pointer(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is not a JSON object")
    return raw


def hash_file(path: Path) -> str:
    """sha256 of a file; a large one is read once, until it changes."""
    status = path.stat()
    return _hash(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def hash_weights(directory: str | Path) -> str:
    """sha256 of the file that a directory's weights are read from; of several, sha256 of theirs.

    Raises:
        FileNotFoundError, ValueError: as weight_files.
    """
    sums = [hash_file(path) for path in weight_files(directory).paths]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
