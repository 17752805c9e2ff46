"""Models from model directories: every parameter gets its tensor, every tensor has its parameter.

Imports: torch.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.weights.configuration import read_config
from gpt2.weights.files import (
    CONFIG_FILE,
    MASKS,
    TIED_HEAD,
    TRANSPOSED,
    all_finite,
    read_tensors,
    stored_shape,
    stored_tensors,
)


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
    config = replace(read_config(directory), labels=())
    _check_size(directory, config)
    with torch.device("meta"):
        model = GPT2(config)
    _fill(model, directory, prefix="transformer.", skip=("score.weight",), dtype=dtype)
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
    if len(config.labels) < 2:
        raise ValueError(f"{directory} is a language model, no classifier: it names no labels")
    _check_size(directory, config)
    with torch.device("meta"):
        model = GPT2Classifier(GPT2(config))
    _fill(model, directory, prefix="", skip=(), dtype=dtype)
    return model.to(device).eval()


def _check_size(directory: str | Path, config: GPT2Config) -> None:
    """Refuse sizes that the files contradict, before a model of them is built.

    Without this a config.json of a billion layers, or of a size past all memory, would be tried.
    """
    files = stored_tensors(directory)
    if config.n_layer > len(files):
        raise ValueError(
            f"{directory}: {CONFIG_FILE} says {config.n_layer} layers; there are {len(files)} "
            "tensors in all"
        )
    rows = {"wte.weight": config.vocab_size, "wpe.weight": config.n_ctx}
    for name, path in files.items():
        wanted = (rows.get(name.removeprefix("transformer.")), config.n_embd)
        if wanted[0] is not None and (found := stored_shape(path, name)) != wanted:
            raise ValueError(
                f"{directory}: tensor {name} has shape {found}; {CONFIG_FILE} says {wanted}"
            )


def _fill(
    model: nn.Module,
    directory: str | Path,
    *,
    prefix: str,
    skip: tuple[str, ...],
    dtype: torch.dtype,
) -> None:
    """Give every parameter its tensor, and every tensor of the files its parameter."""
    wanted = dict(model.state_dict())
    found: dict[str, Tensor] = {}
    tied: Tensor | None = None
    for name, tensor in read_tensors(directory):
        if name == TIED_HEAD:
            tied = tensor
        if name == TIED_HEAD or name in skip or name.endswith(MASKS):
            continue
        key = name.removeprefix(prefix)
        if key not in wanted and f"transformer.{key}" in wanted:  # OpenAI's upload has no prefix
            key = f"transformer.{key}"
        if key not in wanted:
            raise ValueError(f"{directory}: tensor {name} has no place in a model of this config")
        value = tensor.t() if key.endswith(TRANSPOSED) and tensor.dim() == 2 else tensor
        if value.shape != wanted[key].shape:
            raise ValueError(
                f"{directory}: tensor {name} has shape {tuple(tensor.shape)}, which does not fit "
                f"{CONFIG_FILE} (the model needs {tuple(wanted[key].shape)} as [out, in])"
            )
        value = value.to(dtype).contiguous()
        if not all_finite(value):
            raise ValueError(f"{directory}: tensor {name} holds NaN or infinite numbers")
        found[key] = value
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise ValueError(
            f"{directory}: {len(missing)} tensors are missing, the first is {missing[0]}"
        )
    embedding = found.get("wte.weight", found.get("transformer.wte.weight"))
    if tied is not None and not torch.equal(tied.to(dtype), embedding):
        raise ValueError(
            f"{directory}: {TIED_HEAD} differs from wte.weight; GPT-2's head is tied to it"
        )
    model.load_state_dict(found, strict=True, assign=True)
