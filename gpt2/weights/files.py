"""The files of a model directory: their names, their tensors, their hashes.

Imports: torch, safetensors.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
RECEIPT_FILE = "receipt.json"  # what convert.py says of the weights beside it
TF_STATE_FILE = "checkpoint"  # names the TensorFlow checkpoint of a directory

# The four matrices that torch's Linear holds transposed.
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
# Tensors of other programs' files that hold nothing we need: causal masks, and the tied head.
MASKS = (".attn.bias", ".attn.masked_bias")
TIED_HEAD = "lm_head.weight"


def read_tensors(directory: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a directory's safetensors files, one at a time.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged.
    """
    for name, path in stored_tensors(directory).items():
        yield name, read_tensor(path, name)


def stored_tensors(directory: str | Path) -> dict[str, Path]:
    """The names of a directory's tensors and the file that each is in.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged.
    """
    directory = Path(directory)
    index, names = directory / INDEX_FILE, [WEIGHTS_FILE]
    if index.is_file():
        placed = read_json(index).get("weight_map")
        if not isinstance(placed, dict) or not all(isinstance(n, str) for n in placed.values()):
            raise ValueError(f"{index} has no weight_map from tensor names to file names")
        names = sorted(set(placed.values()))
    found = {}
    for name in names:
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{directory} is no model directory: {name} is missing")
        with _opened(path) as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def read_tensor(path: Path, name: str) -> Tensor:
    """A copy of one tensor; the file is mapped for that long only, so no model is held twice.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        return file.get_tensor(name).clone()


def stored_shape(path: Path, name: str) -> tuple[int, ...]:
    """The shape of one tensor, from the file's header.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        return tuple(file.get_slice(name).get_shape())


def all_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity in it.

    A sum is finite only of finite numbers, and is far quicker and smaller to tell; if not, each
    number is looked at.
    """
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def read_json(path: Path) -> dict:
    """A file that holds one JSON object.

    Raises:
        ValueError: it does not.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is not a JSON object")
    return raw


def check_receipt(directory: str | Path) -> None:
    """Refuse weights that are not those of the receipt beside them; without one all is well.

    Raises:
        ValueError: they are not, or the receipt can't be read.
    """
    receipt, file = Path(directory) / RECEIPT_FILE, Path(directory) / WEIGHTS_FILE
    if not receipt.is_file() or not file.is_file():
        return
    wanted, found = read_json(receipt).get("weights_sha256"), hash_file(file)
    if found != wanted:
        raise ValueError(
            f"{file} is damaged or was changed: its sha256 is {found[:12]}…, and {RECEIPT_FILE} "
            f"says {str(wanted)[:12]}…; delete {RECEIPT_FILE} if that was intended"
        )


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
    """sha256 of a directory's safetensors file; of shards, sha256 of theirs in order of name."""
    sums = [hash_file(path) for path in sorted(Path(directory).glob("*.safetensors"))]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
