"""Files of torch.save: their tensors, and what else they hold, with no code of theirs run.

torch's own reader of weights alone (weights_only) does the work; classes that it does not know are
read as what they hold (stand_ins).
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2.checks import refuse_pointer
from gpt2.weights.source import Read, Shapes
from gpt2.weights.stand_ins import (
    PROTOCOL,
    Code,
    OtherProtocol,
    allowed,
    full_name,
    is_zip,
    stand_ins_for,
)

# Under which key training programs keep a model's tensors: nanoGPT, Lightning, others, DeepSpeed.
_STATES = ("model", "state_dict", "model_state_dict", "module")
_MAPPED = 1 << 26  # bytes read before a file is mapped anew
_KNOWN = ("torch.", "collections.OrderedDict", "_codecs.")  # by torch's reader


def open_pickle(path: Path) -> tuple[Shapes, Read, Mapping[str, Any]]:
    """Shapes of the tensors in a file of torch.save, a function that reads one, and the rest of it.

    The file is mapped anew now and then, so that no more than a few tensors are in memory; one of
    before torch 1.6 can't be mapped and is held.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, holds code, or no tensors by name.
    """
    load = _loader(path)
    tensors, rest = _split(path, load())
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    touched = 0  # bytes of the mapped file that count as this process's memory

    def read(name: str) -> Tensor:
        nonlocal tensors, touched
        if touched > _MAPPED:
            tensors, touched = _split(path, load())[0], 0
        touched += tensors[name].numel() * tensors[name].element_size()
        return tensors[name].clone()

    return shapes, read if is_zip(path) else tensors.__getitem__, rest


def _split(path: Path, found: Any) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors by name in what a file holds, and what is beside them."""
    rest: Mapping[str, Any] = {}
    if isinstance(found, dict) and (key := next((key for key in _STATES if key in found), None)):
        rest = {name: value for name, value in found.items() if name != key}
        found = found[key]
    if not isinstance(found, dict) or hasattr(found, "stands_for"):
        kind = getattr(found, "stands_for", type(found).__name__)
        raise ValueError(
            f"{path}: a {kind} stands where tensors by name should; save a model's state_dict()"
        )
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{path}: {name} is no tensor")
    return {name: tensor.detach() for name, tensor in found.items()}, rest


def plain(value: Any) -> Mapping[str, Any]:
    """A dict, or the attributes of an object that was in a file, by name; empty for others."""
    if not isinstance(value, dict):
        return {}
    return {str(key): item for key, item in {**value, **getattr(value, "__dict__", {})}.items()}


def _loader(path: Path) -> Callable[[], Any]:
    """A function that reads what torch.save wrote, mapped where the format allows it.

    Raises:
        FileNotFoundError, ValueError: as open_pickle.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    refuse_pointer(path)
    mapped = is_zip(path)
    with _sentences(path):
        stand_ins = stand_ins_for(path)
    names = sorted(set(map(full_name, stand_ins)))
    asked = ", ".join(name for name in names if not name.startswith(_KNOWN))

    def load() -> Any:
        with _sentences(path, asked), allowed(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)

    return load


@contextmanager
def _sentences(path: Path, asked: str = "") -> Iterator[None]:
    """Whatever a reader of bytes raises, as one sentence; `asked` says what may be in its way."""
    try:
        yield
    except OtherProtocol as error:
        raise ValueError(
            f"{path} is pickled by protocol {error}; torch.save it again with its own, {PROTOCOL}"
        ) from error
    except Exception as error:  # the unpickler raises whatever the bytes provoke
        refused = isinstance(error, pickle.UnpicklingError)
        refused &= "file might be corrupted" not in str(error)  # which torch 2.4 calls by that name
        if isinstance(error, Code) or (asked and refused):
            code = error if isinstance(error, Code) else asked
            raise ValueError(
                f"{path} can't be read without {code}, which is code, which is never run; load it "
                "where it was made, and save tensors, numbers and names alone"
            ) from error
        raise ValueError(
            f"{path} is damaged, or no file of torch.save ({type(error).__name__})"
        ) from error
