""".pt files of nanoGPT and its forks: github.com/karpathy/nanoGPT, model.py and train.py."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt2.config import GPT2Config
from gpt2.weights import EMBEDDING, Source, open_pickle, place, plain, stored_shapes

VOCAB_SIZE = 50257

_MOST_PADDED = 51200  # 50,257 rounded up to a multiple of 1,024
_SIZES = {
    "vocab_size": ("vocab_size",),
    "n_ctx": ("block_size", "n_ctx", "n_positions"),
    "n_layer": ("n_layer",),
    "n_head": ("n_head",),
    "n_embd": ("n_embd",),
}


def from_nanogpt(path: Path) -> Source:
    """A checkpoint of nanoGPT's train.py: {"model": tensors, "model_args": sizes, ...}.

    Raises:
        ValueError: damaged, no such checkpoint, or its tensors do not fit its sizes.
    """
    shapes, read, rest = open_pickle(path)
    args = _model_args(path, rest)
    try:
        config = GPT2Config(**{ours: _pick(args, theirs) for ours, theirs in _SIZES.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    biased = bool(args.get("bias", any(name.endswith("attn.c_attn.bias") for name in shapes)))
    names, skipped = place(path, config, shapes, read, may_lack="" if biased else ".bias")
    rows = shapes.get(names[EMBEDDING], (0,))[0]
    padded = rows if VOCAB_SIZE < rows == config.vocab_size <= _MOST_PADDED else 0
    if padded:
        config = replace(config, vocab_size=VOCAB_SIZE)
    filled = tuple(ours for ours in stored_shapes(config) if ours not in names)
    notes = ["trained with the exact GELU; this model computes GPT-2's tanh form"]
    if padded:
        notes.append(f"wte has {padded} rows; the {padded - VOCAB_SIZE} of padding are cut off")
    if filled:
        notes.append(f"trained without biases; {len(filled)} are zeros")
    return Source(
        "nanoGPT checkpoint",
        path,
        config,
        names,
        shapes,
        read,
        "out-in",
        skipped,
        filled,
        padded,
        exact_gelu=True,
        notes=tuple(notes),
    )


def _model_args(path: Path, rest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sizes beside a file's tensors: model_args, or whatever else a fork calls them."""
    held = [plain(value) for value in (rest.get("model_args"), *rest.values(), rest)]
    held += [plain(value) for one in held for value in one.values()]
    for args in held:
        if all(any(name in args for name in theirs) for theirs in _SIZES.values()):
            return args
    if args := plain(rest.get("model_args")):
        lacking = [theirs[0] for theirs in _SIZES.values() if not any(n in args for n in theirs)]
        raise ValueError(f"{path}: model_args lacks {', '.join(lacking)}")
    raise ValueError(
        f"{path} is no nanoGPT checkpoint: it has no model_args with "
        f"{', '.join(theirs[0] for theirs in _SIZES.values())}; add them, or name a directory with "
        "config.json and pytorch_model.bin if the tensors are Hugging Face's"
    )


def _pick(args: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next(args[name] for name in names if name in args)
