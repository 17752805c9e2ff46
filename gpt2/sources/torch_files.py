"""Hugging Face directories and nanoGPT's .pt files.

Pickles are read with weights_only, which runs no code of theirs. nanoGPT: github.com/karpathy/
nanoGPT, model.py and train.py. Imports: torch.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.numpy_forward import Layout
from gpt2.sources import VOCAB_SIZE, Read, Shapes, Source

_BIN_FILE, _BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_COMPILED = "_orig_mod."  # what torch.compile puts before the names
_MOST_PADDED = 51200  # 50,257 rounded up to a multiple of 1,024

# --- Hugging Face -----------------------------------------------------------------------------


def from_directory(directory: Path) -> Source:
    """A model directory: safetensors or pytorch_model.bin, whole or in shards.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or of another kind of model.
    """
    config = weights.read_config(directory)
    if any((directory / name).is_file() for name in (weights.WEIGHTS_FILE, weights.INDEX_FILE)):
        weights.check_receipt(directory)
        files = weights.stored_tensors(directory)
        shapes = {name: weights.stored_shape(path, name) for name, path in files.items()}
        kind, read = "model directory", lambda name: weights.read_tensor(files[name], name)
    else:
        kind = "model directory with .bin files"
        shapes, read = _pickled(_bin_files(directory))
    names, skipped = _assign(directory, config, shapes, read)
    prefix = "transformer" if "transformer.wte.weight" in shapes else ""
    layout = Layout(prefix=prefix)
    return Source(kind, directory, config, names, shapes, read, layout, skipped)


def _bin_files(directory: Path) -> list[Path]:
    if (directory / _BIN_FILE).is_file():
        return [directory / _BIN_FILE]
    index = directory / _BIN_INDEX
    if not index.is_file():
        raise FileNotFoundError(
            f"{directory} has no weights: neither {weights.WEIGHTS_FILE} nor {_BIN_FILE}"
        )
    placed = weights.read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(n, str) for n in placed.values()):
        raise ValueError(f"{index} has no weight_map from tensor names to file names")
    return [directory / name for name in sorted(set(placed.values()))]


def _assign(
    path: Path, config: GPT2Config, shapes: Shapes, read: Read, *, may_lack: str = ""
) -> tuple[dict[str, str], dict[str, str]]:
    """Our names -> theirs, and the names left out -> why."""
    if config.n_layer > len(shapes):
        raise ValueError(f"{path}: {config.n_layer} layers cannot be in {len(shapes)} tensors")
    names = {}
    for ours in weights.stored_shapes(config):
        bare = ours.removeprefix("transformer.")
        if bare in shapes and ours not in shapes:  # OpenAI's upload has no prefix
            names[ours] = bare
        elif ours in shapes or not (may_lack and ours.endswith(may_lack)):
            names[ours] = ours
    skipped = {}
    for name in sorted(shapes.keys() - set(names.values())):
        if name.endswith(weights.MASKS):
            skipped[name] = "causal mask, no weight"
        elif name == weights.TIED_HEAD:
            skipped[name] = "tied to wte"
        else:
            raise ValueError(f"{path}: tensor {name} has no place in a model of this configuration")
    embedding = names["transformer.wte.weight"]
    tied = weights.TIED_HEAD in skipped and embedding in shapes
    if tied and not torch.equal(read(weights.TIED_HEAD), read(embedding)):
        raise ValueError(
            f"{path}: {weights.TIED_HEAD} differs from wte.weight; GPT-2's head is tied to it"
        )
    return names, skipped


# --- nanoGPT ----------------------------------------------------------------------------------


def from_nanogpt(path: Path) -> Source:
    """A checkpoint of nanoGPT's train.py: {"model": tensors, "model_args": sizes, ...}.

    Raises:
        ValueError: damaged, no such checkpoint, or its tensors do not fit its sizes.
    """
    raw = _load(path)
    if not isinstance(raw, dict) or not {"model", "model_args"} <= raw.keys():
        raise ValueError(
            f"{path} is no nanoGPT checkpoint: it has no model and model_args; give a directory "
            f"with {weights.CONFIG_FILE} for Hugging Face's files"
        )
    config, biased = _nanogpt_config(path, raw["model_args"])
    shapes, read = _pickled([path], key="model")
    rows = shapes.get("transformer.wte.weight", (0,))[0]
    padded = rows if VOCAB_SIZE < rows == config.vocab_size <= _MOST_PADDED else 0
    if padded:
        config = replace(config, vocab_size=VOCAB_SIZE)
    names, skipped = _assign(path, config, shapes, read, may_lack="" if biased else ".bias")
    filled = tuple(ours for ours in weights.stored_shapes(config) if ours not in names)
    notes = ["trained with the exact GELU; this model computes GPT-2's tanh form"]
    if padded:
        notes.append(f"wte has {padded} rows; the {padded - VOCAB_SIZE} of padding are cut off")
    if filled:
        notes.append(f"trained without biases; {len(filled)} are zeros")
    layout = Layout(prefix="transformer", transposed=True, biases=biased)
    return Source(
        "nanoGPT checkpoint",
        path,
        config,
        names,
        shapes,
        read,
        layout,
        skipped,
        filled,
        padded,
        exact_gelu=True,
        notes=tuple(notes),
    )


def _nanogpt_config(path: Path, args: Any) -> tuple[GPT2Config, bool]:
    keys = {"vocab_size": "vocab_size", "block_size": "n_ctx"}
    keys |= {key: key for key in ("n_layer", "n_head", "n_embd")}
    if not isinstance(args, dict) or not keys.keys() <= args.keys():
        raise ValueError(f"{path}: model_args lacks one of {', '.join(keys)}")
    try:
        config = GPT2Config(**{ours: args[theirs] for theirs, ours in keys.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config, bool(args.get("bias", True))


# --- pickles ----------------------------------------------------------------------------------


def _load(path: Path) -> Any:
    """What torch.save wrote, mapped where the format allows it, with no code run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except Exception as error:  # the unpickler raises whatever the bytes provoke
        raise ValueError(
            f"{path} is damaged, or no file of torch.save, or it holds code, which is never run "
            f"({type(error).__name__})"
        ) from error


def _can_be_mapped(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PK\3\4"  # a zip file, torch.save's format since 1.6


def _tensors(path: Path, found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a {type(found).__name__} stands where tensors by name should")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{path}: {name} is no tensor")
    return {name.removeprefix(_COMPILED): tensor.detach() for name, tensor in found.items()}


def _pickled(files: list[Path], *, key: str = "") -> tuple[Shapes, Read]:
    """Shapes of the tensors in files of torch.save, and a function that reads one.

    Each reading maps the file anew, so that no more than one tensor is in memory; files of before
    torch 1.6 can't be mapped and are held.
    """

    def load(path: Path) -> dict[str, Tensor]:
        return _tensors(path, _load(path)[key] if key else _load(path))

    shapes, place, held = {}, {}, {}
    for path in files:
        tensors = load(path)
        shapes |= {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        place |= dict.fromkeys(tensors, path)
        if not _can_be_mapped(path):
            held |= tensors

    def read(name: str) -> Tensor:
        return held[name] if name in held else load(place[name])[name].clone()

    return shapes, read
