"""Turn any GPT-2 checkpoint into a model directory or into OpenAI's TensorFlow files.

The only file that imports TensorFlow, and only when a TensorFlow checkpoint is read or written.
"""

import argparse
import ctypes
import errno
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from gpt2 import hub, receipt, sources, weights
from gpt2.checks import refuse_pointer
from gpt2.command import add_debug_flag, run_command
from gpt2.config import SIZES
from gpt2.conversion import to_directory, to_openai
from gpt2.library import CHECKPOINTS, DTYPES
from gpt2.sources import nanogpt, openai
from gpt2.tokenizer import load_tokenizer
from gpt2.vocabulary import pick_vocabulary
from gpt2.weights import Source

# --- TensorFlow -------------------------------------------------------------------------------


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


# --- the work ---------------------------------------------------------------------------------


def open_source(name: str) -> Source:
    """The checkpoint that a command line names, fetched first if it is a size and not here.

    Raises:
        FileNotFoundError, ValueError: there is none, or it can't be read.
    """
    kind, path = sources.recognise(hub.find(name))
    if kind == "directory":
        weights.check_receipt(path)
        return weights.open_directory(path)
    if kind == "torch":
        return nanogpt.from_nanogpt(path)
    return openai.from_variables(path, *read_variables(path))


def run(args: argparse.Namespace) -> receipt.Receipt:
    """Do what the command line asks for."""
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a directory")
    source = open_source(args.source)
    if source.path.resolve() == out.resolve():
        raise ValueError(f"--out {out} is the source itself; name another directory")
    vocabulary = pick_vocabulary(source.path, given=args.vocab, shipped=CHECKPOINTS / "mini")
    tokenizer = load_tokenizer(vocabulary.directory, rows=source.config.vocab_size)
    if source.layout.openai or source.layout.transposed:  # formats that don't say what ends a text
        ends = {"bos_token_id": tokenizer.start_id, "eos_token_id": tokenizer.end_id}
        source = replace(source, config=replace(source.config, **ends))
    if args.to == "hf":
        dtype = getattr(torch, args.dtype)
        return to_directory(source, out, vocabulary=vocabulary, dtype=dtype)
    if (out / weights.CONFIG_FILE).exists():
        raise ValueError(f"--out {out} is a model directory; name another for TensorFlow's files")
    return to_openai(
        source,
        out,
        vocabulary=vocabulary,
        save=save_variables,
        read=lambda prefix: read_variables(prefix)[1],
    )


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument(
        "source",
        metavar="SOURCE",
        help=f"{', '.join(SIZES)} (downloaded); a TensorFlow checkpoint's directory, prefix or "
        ".index file; a model directory; a nanoGPT .pt file",
    )
    made.add_argument("--out", required=True, metavar="DIR", help="directory to write")
    made.add_argument(
        "--to", choices=("hf", "tf"), default="hf", help="model directory or TensorFlow (hf)"
    )
    made.add_argument(
        "--dtype", choices=DTYPES[1:-1], default="float32", help="numbers on disk (float32)"
    )
    made.add_argument("--vocab", metavar="DIR", help="take the vocabulary from there")
    add_debug_flag(made)
    return made


def release_early() -> None:
    """Have glibc hand each large block back when it is freed.

    It would keep those of up to 32 MB, and a conversion frees hundreds of tensors of that size: a
    third of the model's size more at the peak. Elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    made = parser()
    args = made.parse_args(argv)
    release_early()
    if args.to == "tf" and args.dtype != "float32":
        made.error("--to tf writes float32, as OpenAI's checkpoints are; leave --dtype out")

    def work() -> int:
        with weights.sole_writer(args.out):
            done = run(args)
        print(*receipt.lines(done), f"{args.out} is written", sep="\n")
        return 0

    room = f"free some for {args.out}, or choose another --out"
    return run_command("convert.py", work, debug=args.debug, room=room)


if __name__ == "__main__":
    sys.exit(main())
