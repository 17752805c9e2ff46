"""Model directories as sources of tensors, and models from them.

Every parameter gets its tensor, every tensor has its parameter.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.weights.configuration import is_tied, read_config
from gpt2.weights.files import (
    CONFIG_FILE,
    RECEIPT_FILE,
    hash_weights,
    open_tensors,
    read_json,
    weight_files,
)
from gpt2.weights.source import Source
from gpt2.weights.tensors import TRANSPOSED, place, stored_name


def open_directory(directory: str | Path, *, config: GPT2Config | None = None) -> Source:
    """A model directory's tensors, in whatever form transformers or torch.save wrote them.

    Args:
        config: of the model wanted, where it is not all of the directory's.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or of another kind of model.
    """
    config = config or read_config(directory)
    shapes, read = open_tensors(directory)
    names, skipped = place(Path(directory), config, shapes, read, tied=is_tied(directory))
    return Source("model directory", Path(directory), config, names, shapes, read, skipped=skipped)


def load_language_model(
    directory: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> GPT2:
    """Load a language model; a classifier's backbone is one too.

    Raises:
        FileNotFoundError, ValueError: as read_config; or the weights don't fit it, or are damaged.
    """
    source = open_directory(directory, config=replace(read_config(directory), labels=()))
    with torch.device("meta"):
        model = GPT2(source.config)
    fill(model, source, dtype=dtype)
    return model.to(device).eval()


def load_classifier(
    directory: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> GPT2Classifier:
    """Load a classifier.

    Raises:
        FileNotFoundError, ValueError: as load_language_model; or the directory has no labels.
    """
    config = read_config(directory)
    if not config.labels:
        raise ValueError(f"{directory} is a language model, no classifier: it names no labels")
    source = open_directory(directory, config=config)
    with torch.device("meta"):
        model = GPT2Classifier(GPT2(config))
    fill(model, source, dtype=dtype)
    return model.to(device).eval()


def fill(model: nn.Module, source: Source, *, dtype: torch.dtype = torch.float32) -> None:
    """Give every parameter its tensor, one at a time.

    Args:
        model: GPT2 or GPT2Classifier of the source's config, perhaps without memory of its own.

    Raises:
        ValueError: a tensor holds no floats, or not only finite ones, or is damaged.
    """
    state = {}
    for name in model.state_dict():
        ours = stored_name(name, source.config)
        value = source.as_ours(ours, source.read(source.names[ours]), dtype)
        state[name] = (value.t() if name.endswith(TRANSPOSED) else value).contiguous()
    model.load_state_dict(state, strict=True, assign=True)


def check_receipt(directory: str | Path) -> None:
    """Refuse a model that is not the one of the receipt beside it; without one all is well.

    Raises:
        FileNotFoundError, ValueError: it is not, or the receipt or the model can't be read.
    """
    directory = Path(directory)
    if not (directory / RECEIPT_FILE).is_file():
        return
    receipt = read_json(directory / RECEIPT_FILE)
    wanted, found = receipt.get("weights_sha256"), hash_weights(directory)
    if found != wanted:
        files = weight_files(directory).paths
        raise ValueError(
            f"{files[0] if len(files) == 1 else directory} is damaged or was changed: its sha256 "
            f"is {found[:12]}…, and {RECEIPT_FILE} says {str(wanted)[:12]}…; delete {RECEIPT_FILE} "
            "if that was intended"
        )
    sizes, said = asdict(read_config(directory)), receipt.get("config")
    for name, value in said.items() if isinstance(said, dict) else ():
        if sizes.get(name) != value:
            raise ValueError(
                f"{directory}: {name} is {sizes.get(name)} in {CONFIG_FILE} and {value} in "
                f"{RECEIPT_FILE}; delete {RECEIPT_FILE} if that was intended"
            )
