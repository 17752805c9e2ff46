"""TensorFlow checkpoints as OpenAI and its fine-tunes write them, for the tests to read.

TensorFlow writes them; nothing of convert.py takes part.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.model import GPT2

NAME = "model.ckpt"


def tensorflow() -> ModuleType:
    """TensorFlow; a test that needs it is skipped where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow", reason="tensorflow is not installed")


def variables_of(model: GPT2) -> dict[str, np.ndarray]:
    """OpenAI's variables of a model, in float32."""
    state = model.state_dict()
    variables = {}
    for theirs, ours in weights.tf_names(model.config.n_layer).items():
        value = state[ours.removeprefix("transformer.")].detach().float().cpu()
        value = value.t()[None] if ours.endswith(weights.TRANSPOSED) else value
        variables[theirs] = np.ascontiguousarray(value.numpy())
    return variables


def model_of(variables: Mapping[str, np.ndarray], config: GPT2Config) -> GPT2:
    """A model of OpenAI's variables, by the way that every loader takes."""
    source = weights.Source(
        kind="variables",
        path=Path("variables"),
        config=config,
        names={ours: theirs for theirs, ours in weights.tf_names(config.n_layer).items()},
        shapes={name: value.shape for name, value in variables.items()},
        read=lambda name: torch.from_numpy(variables[name].copy()),
        layout="openai",
    )
    model = GPT2(config)
    weights.fill(model, source)
    return model.eval()


def write(
    directory: Path,
    variables: Mapping[str, np.ndarray],
    config: GPT2Config | None,
    vocabulary: Path | None,
    *,
    name: str = NAME,
    shards: int = 1,
) -> Path:
    """One checkpoint with its `checkpoint` file, hparams.json, encoder.json and vocab.bpe.

    Args:
        config: None for no hparams.json.
        vocabulary: None for no vocabulary.
        shards: files of data.
    """
    directory.mkdir(parents=True, exist_ok=True)
    save(directory / name, variables, shards=shards)
    state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    (directory / "checkpoint").write_text(state)
    if config:
        sizes = {"n_vocab": config.vocab_size, "n_ctx": config.n_ctx, "n_embd": config.n_embd}
        sizes |= {"n_head": config.n_head, "n_layer": config.n_layer}
        (directory / "hparams.json").write_text(json.dumps(sizes))
    if vocabulary:
        (directory / "encoder.json").write_bytes((vocabulary / "vocab.json").read_bytes())
        (directory / "vocab.bpe").write_bytes((vocabulary / "merges.txt").read_bytes())
    return directory


def save(prefix: Path, variables: Mapping[str, np.ndarray], *, shards: int = 1) -> None:
    """Save variables, in several files if need be."""
    names = sorted(variables)
    if shards == 1:
        _save(prefix, names, variables)
        return
    parts = [f"{prefix}_part{i}" for i in range(shards)]
    for i, part in enumerate(parts):
        _save(Path(part), names[i::shards], variables)
    tensorflow().raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False
    )


def _save(prefix: Path, names: list[str], variables: Mapping[str, np.ndarray]) -> None:
    tf = tensorflow()
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )


def write_fine_tune(prefix: Path, variables: Mapping[str, np.ndarray]) -> None:
    """What a fine-tune in TensorFlow 1 saves: variables, Adam's slots and a step, by its Saver."""
    tf = tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        held = [v1.get_variable(name, initializer=value) for name, value in variables.items()]
        loss = tf.add_n([tf.reduce_sum(one * one) for one in held])
        step = v1.train.get_or_create_global_step()
        train = v1.train.AdamOptimizer(0.0).minimize(loss, global_step=step)
        session.run(v1.global_variables_initializer())
        session.run(train)
        v1.train.Saver().save(session, str(prefix), global_step=7)


def restore_as_openai(directory: Path, config: GPT2Config) -> dict[str, np.ndarray]:
    """What OpenAI's own code gets: variables of src/model.py, restored by TensorFlow's Saver."""
    tf = tensorflow()
    v1 = tf.compat.v1
    wide = config.n_embd
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("model"):
            v1.get_variable("wpe", [config.n_ctx, wide])
            v1.get_variable("wte", [config.vocab_size, wide])
            for layer in range(config.n_layer):
                with v1.variable_scope(f"h{layer}"):
                    _norms(wide, "ln_1", "ln_2")
                    _linear("attn/c_attn", wide, 3 * wide)
                    _linear("attn/c_proj", wide, wide)
                    _linear("mlp/c_fc", wide, 4 * wide)
                    _linear("mlp/c_proj", 4 * wide, wide)
            _norms(wide, "ln_f")
        saver = v1.train.Saver()
        saver.restore(session, tf.train.latest_checkpoint(str(directory)))
        return {one.op.name: session.run(one) for one in v1.global_variables()}


def _norms(wide: int, *names: str) -> None:
    for name in names:
        for kind in ("g", "b"):
            tensorflow().compat.v1.get_variable(f"{name}/{kind}", [wide])


def _linear(name: str, wide: int, to: int) -> None:
    tensorflow().compat.v1.get_variable(f"{name}/w", [1, wide, to])
    tensorflow().compat.v1.get_variable(f"{name}/b", [to])
