"""What stands for the classes of a file of torch.save, so that none of them is imported or run.

Forks of nanoGPT put into their checkpoints a Namespace, a dataclass, a NumPy number, a path. Each
gets a stand-in and is read as what it holds; a function that a file would call is refused by name.
"""

import pickle
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

PROTOCOL = 2  # of torch.save's pickles, the only one that torch's reader knows

# Classes of these modules are values, built by a call that does nothing else.
_VALUES = ("numpy", "pathlib", "datetime", "collections", "decimal", "fractions", "uuid", "types")
_BUILTINS = ("bytearray", "complex", "frozenset", "range", "set", "slice")


class Code(Exception):
    """A file would call this."""


class _StandIn(type):
    """Type of the classes that stand for those of a file. They are never called."""

    def __call__(cls, *args: Any) -> Any:
        raise Code(full_name(cls))


class _Callable(_StandIn):
    """Type of stand-ins for classes that are mere values, and may be called."""

    def __call__(cls, *args: Any) -> Any:
        return cls.__new__(cls, *args)  # type: ignore[arg-type]  # cls is a class made by it


class _Object(metaclass=_StandIn):
    """An object of a class that is not known: a dict whose attributes are the object's."""

    def __new__(cls, *args: Any) -> Any:
        # The one kind that torch lets a file fill with both.
        made: OrderedDict[Any, Any] = OrderedDict()
        made.__dict__["stands_for"] = full_name(cls)
        return made


class _Slotted(dict[Any, Any], metaclass=_StandIn):
    """An object whose state is no dict: what __slots__ hold by name, else nothing."""

    def __setstate__(self, state: Any) -> None:
        self.stands_for = full_name(type(self))
        for part in state if isinstance(state, tuple) else ():
            self.update(part if isinstance(part, dict) else {})


class _List(metaclass=_StandIn):
    """A deque or another kind of list."""

    def __new__(cls, *args: Any) -> Any:
        return []


class _NumpyType(metaclass=_Callable):
    """numpy.dtype("f8"), and any array: torch sets its state when it is made."""

    args: tuple[Any, ...]

    def __new__(cls, *args: Any) -> "_NumpyType":
        made = super().__new__(cls)
        made.args, made.state = args, ()
        return made

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Bytes(metaclass=_Callable):
    """Bytes, as pickles of protocol 2 spell them; torch reads them so since 2.5."""

    def __new__(cls, text: str, *encoding: str) -> Any:
        return text.encode("latin1")


class _NumpyNumber(metaclass=_Callable):
    """numpy.core.multiarray.scalar(dtype, bytes): the number."""

    def __new__(cls, kind: _NumpyType, raw: Any = b"") -> Any:
        code = str(kind.args[0])
        if code[:1] not in tuple("fiub"):
            return None
        kinds = np.dtype(code).newbyteorder(">" if ">" in kind.state[:2] else "<")
        return np.frombuffer(raw, kinds)[0].item()


def full_name(cls: type) -> str:
    return ".".join(_today(cls.__module__, cls.__name__))


def _today(module: str, name: str) -> tuple[str, str]:
    """A class's module and name of today; pickles of protocol 2 have Python 2's."""
    module, name = NAME_MAPPING.get((module, name), (module, name))
    return IMPORT_MAPPING.get(module, module), name


def _stand_in(module: str, name: str, filled: set[str]) -> type:
    """A class by the name of a file's; `filled` says in which ways the file fills its objects."""
    package = module.split(".")[0]
    value = package in _VALUES or (module == "builtins" and name in _BUILTINS)
    base: type = _Object
    if package == "numpy":
        base = _NumpyNumber if name == "scalar" else _NumpyType
    elif (module, name) == ("_codecs", "encode"):
        base, value = _Bytes, True
    elif "list" in filled:
        base = _List
    elif "slots" in filled:
        base = _Slotted
    kind = _Callable if value else _StandIn
    return kind(name, (base,), {"__module__": module, "__qualname__": name})


@contextmanager
def allowed(stand_ins: list[Any]) -> Iterator[None]:
    """torch's reader takes these for the classes of their names; what it knows it keeps.

    torch 2.4 has no context manager for it.
    """
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals(stand_ins)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


# --- what a file asks for -----------------------------------------------------------------------


class OtherProtocol(Exception):
    """Of a pickle that torch's reader does not know."""


def stand_ins_for(path: Path) -> list[type]:
    """A stand-in for each class and function that a file asks for.

    Raises:
        Code, OtherProtocol, Exception: it is TorchScript, pickled otherwise, or damaged.
    """
    return [_stand_in(*names, how) for names, how in sorted(_classes(path).items())]


def is_zip(path: Path) -> bool:
    """torch.save's format since 1.6, which can be mapped."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\3\4"


def _classes(path: Path) -> dict[tuple[str, str], set[str]]:
    """Modules and names of the classes and functions that a file asks for -> how it fills them."""
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                raise Code("TorchScript")
            with archive.open(next(name for name in names if name.endswith("/data.pkl"))) as file:
                return _asked_for(file)
    if tarfile.is_tarfile(path):  # of before torch 0.1.10; older readers of torch run its code
        raise ValueError("a tar archive")
    with open(path, "rb") as file:  # a number, a version and the system's sizes stand before it
        return [_asked_for(file) for _ in range(4)][-1]


class _Probe:
    """Any object of a file, in a trial: it takes whatever the file does to it, and notes it."""

    filled: set[str]

    def __init__(self, *args: Any) -> None:
        pass

    def __call__(self, *args: Any) -> "_Probe":
        return type(self)()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        self.filled.add("list")

    def extend(self, items: Any) -> None:
        self.filled.add("list")

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict | _Probe):
            self.filled.add("slots")


# Python's own reader, not C's, which takes memory for whatever place a damaged file names.
class _Trial(pickle._Unpickler):
    """Reads a pickle with a probe for every class and function, so that none is imported."""

    proto: int

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self.asked: dict[tuple[str, str], set[str]] = {}

    def find_class(self, module: str, name: str) -> type:
        filled = self.asked.setdefault((module, name), set())
        return type(name, (_Probe,), {"filled": filled})

    def persistent_load(self, pid: Any) -> type:  # numbers of a tensor, or the class of a module
        return type("Stored", (_Probe,), {"filled": set()})


def _asked_for(file: Any) -> dict[tuple[str, str], set[str]]:
    trial = _Trial(file)
    trial.load()
    if trial.proto != PROTOCOL:
        raise OtherProtocol(trial.proto)
    return {_today(*names): how for names, how in trial.asked.items()} | trial.asked
