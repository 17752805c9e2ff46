"""The ONE table of GPT-2's tensors: every name they go by, how they are laid out, what they hold.

Ours are Hugging Face's names of GPT2LMHeadModel and GPT2ForSequenceClassification, with matrices as
[in, out]. OpenAI's are those of openai/gpt-2, model.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.model import GPT2

# The four matrices that torch's Linear holds transposed.
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
EMBEDDING = "transformer.wte.weight"
# What other programs' files hold beside the weights: causal masks, and heads.
_MASKS = (".attn.bias", ".attn.masked_bias")
_TIED_HEAD, _CLASS_HEAD = "lm_head.weight", "score.weight"

_BACKBONE = "transformer"
# Words that wrappers put into a name, wherever they wrap: torch.compile, DataParallel and DDP,
# FSDP, activation checkpointing. And what a program may call the model that it holds.
_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_HOLDERS = ("model", _BACKBONE)

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

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
    names = {f"model/{theirs}": f"{_BACKBONE}.{ours}" for theirs, ours in _TF_NAMES.items()}
    for layer in range(n_layer):
        for theirs, ours in _TF_BLOCK_NAMES.items():
            names[f"model/h{layer}/{theirs}"] = f"{_BACKBONE}.h.{layer}.{ours}"
    return names


def stored_name(parameter: str, config: GPT2Config) -> str:
    """Our name in a file for a parameter of GPT2, or of GPT2Classifier if there are labels."""
    return parameter if config.labels else f"{_BACKBONE}.{parameter}"


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
        shape = tuple(tensor.shape)
        shapes[stored_name(name, config)] = shape[::-1] if name.endswith(TRANSPOSED) else shape
    return shapes


def bare_name(name: str) -> str:
    """A tensor's name without what programs put around it: h.0.ln_1.weight, lm_head.weight."""
    words = [word for word in name.split(".") if word not in _WRAPPERS]
    while len(words) > 1 and words[0] in _HOLDERS:
        del words[0]
    return ".".join(words)


def place(
    where: Path,
    config: GPT2Config,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
    *,
    tied: bool = True,
    may_lack: str = "",
) -> tuple[dict[str, str], dict[str, str]]:
    """Which tensor of a file of torch's is which of ours.

    Args:
        where: the file or directory, for errors.
        shapes: of its tensors.
        read: gives one of them.
        tied: the head is the embedding; if not, both must be there, and equal.
        may_lack: ending of those of ours that it may lack.

    Returns:
        Our names -> its names, ours where it lacks one; and its names that are left out -> why.

    Raises:
        ValueError: two are the same one, or one has no place, or the head is not tied.
    """
    if config.n_layer > len(shapes):
        raise ValueError(f"{where}: {config.n_layer} layers cannot be in {len(shapes)} tensors")
    found: dict[str, str] = {}
    skipped = {}
    for name in sorted(shapes):
        bare = bare_name(name)
        if bare.endswith(_MASKS):
            skipped[name] = "causal mask, no weight"
        elif found.setdefault(bare, name) != name:
            raise ValueError(
                f"{where}: tensors {found[bare]} and {name} are both {bare}; leave one out"
            )
    if tied_head := _tie(where, found, read, tied=tied or bool(config.labels)):
        skipped[tied_head] = "tied to wte"
    names = {}
    for ours in stored_shapes(config):
        theirs = found.pop(bare_name(ours), None)
        if theirs or not (may_lack and ours.endswith(may_lack)):
            names[ours] = theirs or ours
    if not config.labels and (head := found.pop(_CLASS_HEAD, None)):
        skipped[head] = "a classifier's head, no part of a language model"
    if found:
        name = min(found.values())
        raise ValueError(f"{where}: tensor {name} has no place in a model of this configuration")
    return names, skipped


def _tie(
    where: Path, found: dict[str, str], read: Callable[[str], Tensor], *, tied: bool
) -> str | None:
    """Make one of head and embedding in `found`, bare names -> a file's; the name left over."""
    embedding = bare_name(EMBEDDING)
    if not tied and (lacking := {embedding, _TIED_HEAD} - found.keys()):
        raise ValueError(
            f"{where}: tie_word_embeddings is false, and {min(lacking)} is missing; GPT-2's head "
            "is its embedding, so only a file that holds both, and equal, can be loaded"
        )
    head = found.pop(_TIED_HEAD, None)
    if head is None or found.setdefault(embedding, head) == head:
        return None
    one, other = (
        as_float(read(name), torch.float32, where=f"{where}: tensor {name}")
        for name in (head, found[embedding])
    )
    if not torch.equal(one, other):
        raise ValueError(
            f"{where}: {head} differs from {found[embedding]}; GPT-2's head is tied to wte.weight"
        )
    return head


def all_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity in it.

    A sum is finite only of finite numbers, and is far quicker and smaller to tell; if not, each
    number is looked at.
    """
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def as_float(tensor: Tensor, dtype: torch.dtype, *, where: str) -> Tensor:
    """A tensor of a file in a number type: the checks that every reader of weights makes.

    Raises:
        ValueError: it holds no floats, or not only finite ones, or some too large for dtype.
    """
    if tensor.dtype not in FLOATS or tensor.layout is not torch.strided or tensor.is_meta:
        kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device}".replace("torch.", "")
        raise ValueError(
            f"{where} is of type {kind.removesuffix(', strided, cpu')}; weights are float32, "
            "float16, bfloat16 or float64"
        )
    if not all_finite(tensor):
        raise ValueError(f"{where} holds NaN or infinite numbers")
    value = tensor.to(dtype)
    if dtype.itemsize < tensor.dtype.itemsize and not all_finite(value):
        raise ValueError(f"{where} holds numbers too large for {dtype}; use bfloat16 or float32")
    return value
