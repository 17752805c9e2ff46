"""OpenAI's names for GPT-2's weights, as in their TensorFlow checkpoints (openai/gpt-2, model.py).

Imports: torch, numpy.
"""

from collections.abc import Mapping

import numpy as np
import torch

from gpt2.config import GPT2Config
from gpt2.model import GPT2
from gpt2.weights.files import TRANSPOSED

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
