"""config.json: Hugging Face's description of a model, read into GPT2Config and written from it.

A file says the same here as in transformers (models/gpt2/configuration_gpt2.py and
configuration_utils.py), or is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpt2.config import GPT2Config
from gpt2.weights.files import CONFIG_FILE, read_json

_CLASSIFIER = "GPT2ForSequenceClassification"
_ARCHITECTURES = ("GPT2LMHeadModel", "GPT2Model", _CLASSIFIER)
# Names in transformers' activations.py of GELU in the tanh form, the one that is computed here.
_TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
# What changes the arithmetic, and the values that can be loaded, transformers' default first.
_SUPPORTED = {
    "model_type": ("gpt2",),
    "activation_function": _TANH_GELUS,
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True, False),
    "quantization_config": (None,),
    "per_layer_config": (None,),
    "pruned_heads": (None, {}),
    "transformers_weights": (None,),
}
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
_PROBLEMS = (None, "single_label_classification")


def read_config(directory: str | Path) -> GPT2Config:
    """The shape written in a model directory's config.json.

    Raises:
        FileNotFoundError: no directory or no config.json.
        ValueError: not JSON, not a GPT-2, or a variant of it that this code does not compute.
    """
    path, raw = _read(directory)
    for key, allowed in _SUPPORTED.items():
        if (value := raw.get(key, allowed[0])) not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise ValueError(f"{path}: {key} is {value!r}; only {wanted} can be loaded")
    names = ("vocab_size", "n_embd", "n_layer", "n_head")
    missing = [name for name in names if name not in raw]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    ids: dict[str, Any] = {name: _token_id(raw[name]) for name in _TOKEN_IDS if name in raw}
    try:
        config = GPT2Config(
            **{name: raw[name] for name in names},
            n_ctx=raw.get("n_positions", raw.get("n_ctx", 1024)),
            layer_norm_epsilon=raw.get("layer_norm_epsilon", 1e-5),
            labels=_labels(raw) if _CLASSIFIER in _architectures(raw) else (),
            **ids,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    inner = raw.get("n_inner")
    if inner not in (None, 4 * config.n_embd):
        raise ValueError(f"{path}: n_inner is {inner}; only 4 x n_embd can be loaded")
    return config


def _token_id(value: object) -> int | None:
    """An id as config.json says it; of several that end a text the first."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) else None


def is_tied(directory: str | Path) -> bool:
    """The head of a language model is its embedding, by its config.json.

    Raises:
        FileNotFoundError, ValueError: as read_config.
    """
    return _read(directory)[1].get("tie_word_embeddings", True)


def _read(directory: str | Path) -> tuple[Path, dict[str, Any]]:
    """A directory's config.json: its path, and its values by GPT-2's names."""
    directory = Path(directory)
    path = directory / CONFIG_FILE
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is no model directory: there is no such directory")
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is no model directory: it has no {CONFIG_FILE}")
    raw = read_json(path)
    for alias, name in _ALIASES.items():
        if alias in raw and raw.setdefault(name, raw[alias]) != raw[alias]:
            raise ValueError(f"{path}: {alias} is {raw[alias]!r} and {name} is {raw[name]!r}")
    return path, raw


def _architectures(raw: Mapping[str, Any]) -> list[str]:
    named = raw.get("architectures") or []
    if not isinstance(named, list) or not all(name in _ARCHITECTURES for name in named):
        raise ValueError(
            f"architectures is {named!r}; only {', '.join(_ARCHITECTURES)} can be loaded"
        )
    return named


def _labels(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """A classifier's labels in the order of its head's rows, by transformers' defaults."""
    if (problem := raw.get("problem_type")) not in _PROBLEMS:
        raise ValueError(f"problem_type is {problem!r}; only one label out of several can be given")
    names = raw.get("id2label")
    if names is None:
        count = 2 if raw.get("num_labels") is None else raw["num_labels"]
        if not isinstance(count, int) or not 2 <= count <= 10**6:
            raise ValueError(f"num_labels is {count!r}; a classifier has at least 2")
        return tuple(f"LABEL_{i}" for i in range(count))
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"id2label is {names!r}; it must give each class its name")
    if len(names) < 2:
        raise ValueError(f"id2label has {len(names)} names; a classifier has at least 2")
    if names.keys() != {str(i) for i in range(len(names))}:
        raise ValueError(
            f"id2label has the ids {', '.join(names)}; a classifier's are 0, 1, and so on"
        )
    return tuple(names[str(i)] for i in range(len(names)))


def config_json(config: GPT2Config, dtype: torch.dtype) -> dict[str, Any]:
    """config.json as Hugging Face writes and reads it."""
    raw = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.n_ctx,
        "n_ctx": config.n_ctx,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "activation_function": "gelu_new",
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    if config.labels:
        raw["architectures"] = [_CLASSIFIER]
        raw["id2label"] = {str(i): name for i, name in enumerate(config.labels)}
        raw["label2id"] = {name: i for i, name in enumerate(config.labels)}
        raw["pad_token_id"] = config.pad_token_id
    return raw
