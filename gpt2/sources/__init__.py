"""Checkpoints of other programs: which kind one is, and where each of our tensors is in it.

Tensors stay on disk until they are read, one by one. `openai` knows the TensorFlow variables, and
`torch_files` Hugging Face directories and nanoGPT's .pt files. Imports: torch.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from gpt2 import weights
from gpt2.config import SIZES, GPT2Config
from gpt2.numpy_forward import Layout

VOCAB_SIZE = 50257

Shapes = Mapping[str, tuple[int, ...]]
Read = Callable[[str], Tensor]


@dataclass(frozen=True)
class Source:
    """A checkpoint whose tensors can be read by name.

    Args:
        kind: what it is, in words.
        path: where it is.
        config: the model in it.
        names: our names on disk -> its names.
        shapes: shapes of its tensors.
        read: gives a tensor of it, as it stands there.
        layout: how it spells and stores them.
        skipped: its names that are left out -> why.
        filled: our names that it lacks and that become zeros.
        padded_vocab: rows of its token embedding where they are more than the vocabulary, else 0.
        exact_gelu: it was trained with the exact GELU instead of GPT-2's tanh form.
        notes: what else a reader of the receipt should know.

    Raises:
        ValueError: a tensor is missing or of the wrong shape.
    """

    kind: str
    path: Path
    config: GPT2Config
    names: Mapping[str, str]
    shapes: Shapes
    read: Read
    layout: Layout
    skipped: Mapping[str, str] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    padded_vocab: int = 0
    exact_gelu: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if missing := [theirs for theirs in self.names.values() if theirs not in self.shapes]:
            raise ValueError(
                f"{self.path}: {len(missing)} tensors are missing, the first is {missing[0]}"
            )
        for ours, shape in weights.stored_shapes(self.config).items():
            if ours in self.filled:
                continue
            theirs = self.names[ours]
            wanted, found = self._as_stored(ours, shape), tuple(self.shapes[theirs])
            if found != wanted:
                raise ValueError(
                    f"{self.path}: tensor {theirs} has shape {found}; a model of this "
                    f"configuration has {wanted} there"
                )

    def _as_stored(self, ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if ours.endswith(weights.TRANSPOSED):
            if self.layout.openai:
                return (1, *shape)
            return shape[::-1] if self.layout.transposed else shape
        if self.padded_vocab and ours == "transformer.wte.weight":
            return (self.padded_vocab, *shape[1:])
        return shape

    def as_ours(self, ours: str, stored: Tensor) -> Tensor:
        """A tensor that was read, in our layout and without padding; a view of it."""
        if ours.endswith(weights.TRANSPOSED):
            if self.layout.openai:
                return stored[0]
            return stored.t() if self.layout.transposed else stored
        if self.padded_vocab and ours == "transformer.wte.weight":
            return stored[: self.config.vocab_size]
        return stored


def recognise(path: str | Path) -> tuple[str, Path]:
    """What a path holds, judged by the files that are there.

    Returns:
        "tensorflow" and the prefix of a checkpoint, "directory" and a Hugging Face directory, or
        "torch" and a file.

    Raises:
        FileNotFoundError, ValueError: nothing that can be read.
    """
    path = Path(path)
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))
    if not path.is_dir() and prefix.with_name(f"{prefix.name}.index").is_file():
        return "tensorflow", prefix
    if path.is_file():
        return "torch", path
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path} does not exist; name a model directory, a TensorFlow checkpoint, a nanoGPT "
            f".pt file, or one of {', '.join(SIZES)}"
        )
    if (path / weights.CONFIG_FILE).is_file():
        return "directory", path
    if (path / weights.TF_STATE_FILE).is_file() or any(path.glob("*.index")):
        return "tensorflow", find_prefix(path)
    if len(files := sorted(path.glob("*.pt"))) == 1:
        return "torch", files[0]
    raise FileNotFoundError(
        f"{path} holds no checkpoint: it has neither {weights.CONFIG_FILE}, nor a TensorFlow "
        ".index file, nor one .pt file"
    )


def find_prefix(directory: Path) -> Path:
    """The checkpoint that a directory's `checkpoint` file names, or the only one there.

    The file may have been written on another machine, so only the last part of the path counts.

    Raises:
        FileNotFoundError, ValueError: none there, or several and no word on which.
    """
    state = directory / weights.TF_STATE_FILE
    text = state.read_text(encoding="utf-8", errors="replace") if state.is_file() else ""
    named = re.search(r'^model_checkpoint_path:\s*"(.+)"', text, re.MULTILINE)
    if named:
        name = re.split(r"[/\\]", named[1])[-1]
        if not (directory / f"{name}.index").is_file():
            raise FileNotFoundError(f"{state} names {name}, but {name}.index is not beside it")
        return directory / name
    found = sorted(directory.glob("*.index"))
    if len(found) != 1:
        raise ValueError(
            f"{directory} has {len(found)} TensorFlow .index files and no `checkpoint` file that "
            "names one; give the path of an .index file"
        )
    return found[0].with_suffix("")
