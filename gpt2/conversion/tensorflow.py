"""TensorFlow checkpoints: their variables read and written, and nothing of TensorFlow beside.

The only file that imports TensorFlow, and only when such a checkpoint is read or written.
"""

import errno
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from gpt2.checks import refuse_pointer


def tensorflow() -> ModuleType:
    """TensorFlow, without the lines it writes to standard error while it starts.

    Raises:
        ValueError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet():
            import tensorflow as tf

            with suppress(RuntimeError):  # it was in use before
                tf.config.set_visible_devices([], "GPU")  # main memory will do
    except ImportError as error:
        raise ValueError(
            "TensorFlow checkpoints need tensorflow: pip install tensorflow"
        ) from error
    return tf


@contextmanager
def _quiet() -> Iterator[None]:
    """Standard error goes nowhere, that of C++ code too."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _named(prefix: Path, *, work: str) -> Iterator[None]:
    """TensorFlow's errors as ours, in one sentence.

    Its reader raises OpError and, where a file is too short, plain Python errors.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        tf = tensorflow()
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(prefix)) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{prefix} can't be {work} as a TensorFlow checkpoint: {reason}"
        ) from error


def read_variables(prefix: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], Tensor]]:
    """Shapes of a checkpoint's variables, and a function that reads one.

    Raises:
        ValueError: damaged, as far as its index tells.
    """
    for path in prefix.parent.glob(f"{glob.escape(prefix.name)}.*"):
        refuse_pointer(path)
    tf = tensorflow()
    with _named(prefix, work="read"):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {k: tuple(shape) for k, shape in reader.get_variable_to_shape_map().items()}

    def read(name: str) -> Tensor:
        with _named(prefix, work="read"):
            value = np.asarray(reader.get_tensor(name))
            if value.dtype.name == "bfloat16":  # which NumPy knows only through TensorFlow
                return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(value)

    return shapes, read


def save_variables(prefix: Path, variables: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write a checkpoint of one shard.

    Raises:
        OSError, ValueError: it can't be written.
    """
    tf = tensorflow()
    names, tensors = [], []
    for name, value in variables:
        names.append(name)
        tensors.append(tf.identity(tf.constant(value)))  # a constant would hold two copies
    with _named(prefix, work="written"):
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=tensors,
        )
