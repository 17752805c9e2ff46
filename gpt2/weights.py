"""Model directories: reading, checking and writing them.

A model directory is Hugging Face's GPT-2 layout: config.json, model.safetensors (or shards with
model.safetensors.index.json), vocab.json, merges.txt. Names and the [in, out] layout of the four
projection matrices are OpenAI's; torch keeps them as [out, in], so those four are transposed.
Imports: torch, safetensors.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.tokenizer import ENDOFTEXT_ID, VOCAB_SHA256

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
RECEIPT_FILE = "receipt.json"  # what convert.py says of the weights beside it
TF_STATE_FILE = "checkpoint"  # names the TensorFlow checkpoint of a directory
_LAST = (CONFIG_FILE, TF_STATE_FILE)  # by these a directory is taken for a model

# The four matrices that torch's Linear holds transposed.
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
# Tensors of other programs' files that hold nothing we need: causal masks, and the tied head.
MASKS = (".attn.bias", ".attn.masked_bias")
TIED_HEAD = "lm_head.weight"

_SUPPORTED = {  # what this code computes; a file that says otherwise is refused
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


# --- configuration ---------------------------------------------------------------------------


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
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    inner = raw.get("n_inner")
    if inner not in (None, 4 * config.n_embd):
        raise ValueError(f"{path}: n_inner is {inner}; only 4 x n_embd can be loaded")
    return config


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
        "bos_token_id": ENDOFTEXT_ID,
        "eos_token_id": ENDOFTEXT_ID,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    if config.labels:
        raw["architectures"] = ["GPT2ForSequenceClassification"]
        raw["id2label"] = {str(i): name for i, name in enumerate(config.labels)}
        raw["label2id"] = {name: i for i, name in enumerate(config.labels)}
        raw["pad_token_id"] = ENDOFTEXT_ID
    return raw


# --- loading ---------------------------------------------------------------------------------


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


def read_tensors(directory: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a directory's safetensors files, one at a time.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged.
    """
    for name, path in stored_tensors(directory).items():
        yield name, read_tensor(path, name)


def stored_tensors(directory: str | Path) -> dict[str, Path]:
    """The names of a directory's tensors and the file that each is in.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged.
    """
    directory = Path(directory)
    index, names = directory / INDEX_FILE, [WEIGHTS_FILE]
    if index.is_file():
        placed = read_json(index).get("weight_map")
        if not isinstance(placed, dict) or not all(isinstance(n, str) for n in placed.values()):
            raise ValueError(f"{index} has no weight_map from tensor names to file names")
        names = sorted(set(placed.values()))
    found = {}
    for name in names:
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{directory} is no model directory: {name} is missing")
        with _opened(path) as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def read_tensor(path: Path, name: str) -> Tensor:
    """A copy of one tensor; the file is mapped for that long only, so no model is held twice.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        return file.get_tensor(name).clone()


def stored_shape(path: Path, name: str) -> tuple[int, ...]:
    """The shape of one tensor, from the file's header.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        return tuple(file.get_slice(name).get_shape())


def all_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity in it.

    A sum is finite only of finite numbers, and is far quicker and smaller to tell; if not, each
    number is looked at.
    """
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def read_json(path: Path) -> dict:
    """A file that holds one JSON object.

    Raises:
        ValueError: it does not.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is not a JSON object")
    return raw


def check_receipt(directory: Path) -> None:
    """Refuse weights that are not those of the receipt beside them; without one all is well.

    Raises:
        ValueError: they are not, or the receipt can't be read.
    """
    receipt, file = directory / RECEIPT_FILE, directory / WEIGHTS_FILE
    if not receipt.is_file() or not file.is_file():
        return
    wanted, found = read_json(receipt).get("weights_sha256"), hash_file(file)
    if found != wanted:
        raise ValueError(
            f"{file} is damaged or was changed: its sha256 is {found[:12]}…, and {RECEIPT_FILE} "
            f"says {str(wanted)[:12]}…; delete {RECEIPT_FILE} if that was intended"
        )


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


# --- saving ----------------------------------------------------------------------------------


def save(
    model: GPT2 | GPT2Classifier,
    directory: str | Path,
    *,
    vocabulary: str | Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model directory, whole or not at all; other files that stand there stay.

    Args:
        model: a language model or a classifier.
        directory: made if missing.
        vocabulary: a directory whose vocab.json and merges.txt are copied.
        dtype: number type on disk.
    """
    backbone = model.transformer if isinstance(model, GPT2Classifier) else model
    tensors = {}
    for name, tensor in model.state_dict().items():
        name = name if name.startswith(("transformer.", "score.")) else f"transformer.{name}"
        value = tensor.t() if name.endswith(TRANSPOSED) else tensor
        tensors[name] = value.detach().to("cpu", dtype).contiguous()
    with whole_directory(directory) as work:
        save_file(tensors, work / WEIGHTS_FILE, metadata={"format": "pt"})
        text = json.dumps(config_json(backbone.config, dtype), indent=2)
        (work / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        for name in VOCAB_SHA256:
            shutil.copyfile(Path(vocabulary) / name, work / name)


def stored_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a model's file, matrices as [in, out].

    Raises:
        ValueError: a size is past all memory.
    """
    try:
        with torch.device("meta"):
            model = GPT2Classifier(GPT2(config)) if config.labels else GPT2(config)
    except (RuntimeError, TypeError, OverflowError) as error:  # torch counts in 64 bits
        raise ValueError(f"no memory holds a model of {config}") from error
    shapes = {}
    for name, tensor in model.state_dict().items():
        stored = name if config.labels else f"transformer.{name}"
        shape = tuple(tensor.shape)
        shapes[stored] = shape[::-1] if name.endswith(TRANSPOSED) else shape
    return shapes


@contextmanager
def whole_directory(directory: str | Path) -> Iterator[Path]:
    """A scratch directory whose files move to `directory` only if the block succeeds.

    They replace a model that stands there, shards, receipt and all. config.json goes first
    and comes last, so a directory that a crash left half-written is not taken for a model.
    """
    directory = Path(directory)
    new_parents = [path for path in directory.parents if not path.exists()]
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield work
        for path in work.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        directory.mkdir(exist_ok=True)
        for name in (CONFIG_FILE, INDEX_FILE, RECEIPT_FILE, "model*.safetensors"):
            for old in directory.glob(name):
                old.unlink()
        for path in sorted(work.iterdir(), key=lambda path: path.name in _LAST):
            path.chmod(0o644)
            os.replace(path, directory / path.name)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        for path in new_parents:
            with suppress(OSError):  # not empty
                path.rmdir()
        raise
    work.rmdir()


# --- OpenAI's TensorFlow names ---------------------------------------------------------------

_TF_NAMES = {
    "wte": "wte.weight",
    "wpe": "wpe.weight",
    "ln_f/g": "ln_f.weight",
    "ln_f/b": "ln_f.bias",
}
_TF_BLOCK_NAMES = {
    "ln_1/g": "ln_1.weight",
    "ln_1/b": "ln_1.bias",
    "attn/c_attn/w": "attn.c_attn.weight",
    "attn/c_attn/b": "attn.c_attn.bias",
    "attn/c_proj/w": "attn.c_proj.weight",
    "attn/c_proj/b": "attn.c_proj.bias",
    "ln_2/g": "ln_2.weight",
    "ln_2/b": "ln_2.bias",
    "mlp/c_fc/w": "mlp.c_fc.weight",
    "mlp/c_fc/b": "mlp.c_fc.bias",
    "mlp/c_proj/w": "mlp.c_proj.weight",
    "mlp/c_proj/b": "mlp.c_proj.bias",
}


def tf_names(n_layer: int) -> dict[str, str]:
    """OpenAI's variable names and ours, for a model of n_layer blocks: 12 n_layer + 4 of them."""
    names = {f"model/{theirs}": ours for theirs, ours in _TF_NAMES.items()}
    for layer in range(n_layer):
        for theirs, ours in _TF_BLOCK_NAMES.items():
            names[f"model/h{layer}/{theirs}"] = f"h.{layer}.{ours}"
    return names


def from_tf(variables: Mapping[str, np.ndarray], config: GPT2Config) -> GPT2:
    """Build a model from OpenAI's variables; the projections are [1, in, out] there.

    Raises:
        ValueError: a variable is missing, left over or of the wrong shape.
    """
    names = tf_names(config.n_layer)
    missing, extra = names.keys() - variables.keys(), variables.keys() - names.keys()
    if missing or extra:
        what = "is missing" if missing else "has no place in this model"
        raise ValueError(f"variable {sorted(missing or extra)[0]} {what}")
    with torch.device("meta"):
        model = GPT2(config)
    wanted = model.state_dict()
    state = {}
    for theirs, ours in names.items():
        value = variables[theirs]
        if ours.endswith(TRANSPOSED):
            value = value[0].T if value.ndim == 3 and len(value) == 1 else value[None]
        if value.shape != wanted[ours].shape:
            raise ValueError(
                f"variable {theirs} has shape {variables[theirs].shape}, which does not fit the "
                f"model (it needs {tuple(wanted[ours].shape)} as [out, in])"
            )
        state[ours] = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32).copy())
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def to_tf(model: GPT2) -> dict[str, np.ndarray]:
    """OpenAI's variables of a model, in float32."""
    state = model.state_dict()
    variables = {}
    for theirs, ours in tf_names(model.config.n_layer).items():
        value = state[ours].detach().float().cpu()
        value = value.t()[None] if ours.endswith(TRANSPOSED) else value
        variables[theirs] = np.ascontiguousarray(value.numpy())
    return variables
