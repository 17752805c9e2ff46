"""Which kind of checkpoint a path holds, and each kind as a Source."""

import re
from pathlib import Path

from gpt2 import weights
from gpt2.checks import refuse_pointer
from gpt2.config import SIZES
from gpt2.conversion import nanogpt, openai, tensorflow
from gpt2.weights import Source, hub


def open_source(name: str) -> Source:
    """The checkpoint that a command line names, fetched first if it is a size and not here.

    Raises:
        FileNotFoundError, ValueError: there is none, or it can't be read.
    """
    kind, path = recognise(hub.find(name))
    if kind == "directory":
        weights.check_receipt(path)
        return weights.open_directory(path)
    if kind == "torch":
        return nanogpt.from_nanogpt(path)
    return openai.from_variables(path, *tensorflow.read_variables(path))


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
        if path.suffix in (".safetensors", ".bin"):
            raise ValueError(f"{path} is a file of a model directory; name {path.parent} instead")
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
    refuse_pointer(state)
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
