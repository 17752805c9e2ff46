"""config.json: Hugging Face's description of a model, read into GPT2Config and written from it.

Imports: torch (for the name of a number type).
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from gpt2.config import GPT2Config
from gpt2.weights.files import CONFIG_FILE, read_json

_SUPPORTED = {  # what this code computes; a file that says otherwise is refused
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def read_config(directory: str | Path) -> GPT2Config:
    """The shape written in a model directory's config.json.

    Raises:
        FileNotFoundError: no directory or no config.json.
        ValueError: not JSON, not a GPT-2, or a variant of it that this code does not compute.
    """
    directory = Path(directory)
    path = directory / CONFIG_FILE
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is no model directory: there is no such directory")
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is no model directory: it has no {CONFIG_FILE}")
    raw = read_json(path)
    if raw.get("model_type", "gpt2") != "gpt2":
        raise ValueError(f"{path}: model_type is {raw['model_type']!r}; only gpt2 can be loaded")
    for key, wanted in _SUPPORTED.items():
        if raw.get(key, wanted) != wanted:
            raise ValueError(f"{path}: {key} is {raw[key]!r}; only {wanted!r} can be loaded")
    names = ("vocab_size", "n_embd", "n_layer", "n_head")
    missing = [name for name in names if name not in raw]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    try:
        config = GPT2Config(
            **{name: raw[name] for name in names},
            n_ctx=raw.get("n_positions", raw.get("n_ctx", 1024)),
            layer_norm_epsilon=raw.get("layer_norm_epsilon", 1e-5),
            labels=_labels(raw),
            **{name: _token_id(raw[name]) for name in _TOKEN_IDS if name in raw},
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


def _labels(raw: Mapping) -> tuple[str, ...]:
    if "ForSequenceClassification" not in str(raw.get("architectures")):
        return ()
    names = raw.get("id2label") or {}
    return tuple(str(names[key]) for key in sorted(names, key=int))


def config_json(config: GPT2Config, dtype: torch.dtype) -> dict:
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
        raw["architectures"] = ["GPT2ForSequenceClassification"]
        raw["id2label"] = {str(i): name for i, name in enumerate(config.labels)}
        raw["label2id"] = {name: i for i, name in enumerate(config.labels)}
        raw["pad_token_id"] = config.pad_token_id
    return raw
