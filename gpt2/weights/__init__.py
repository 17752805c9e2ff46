"""Model directories: reading, checking and writing them.

A model directory is Hugging Face's GPT-2 layout: config.json, model.safetensors (or shards with
model.safetensors.index.json), vocab.json, merges.txt. Names and the [in, out] layout of the four
projection matrices are OpenAI's; torch keeps them as [out, in], so those four are transposed.
Imports: torch, safetensors.
"""

from gpt2.weights.configuration import config_json, read_config
from gpt2.weights.directories import check_space, sole_writer, whole_directory
from gpt2.weights.files import (
    CONFIG_FILE,
    INDEX_FILE,
    MASKS,
    RECEIPT_FILE,
    TF_STATE_FILE,
    TIED_HEAD,
    TRANSPOSED,
    WEIGHTS_FILE,
    all_finite,
    check_receipt,
    hash_file,
    hash_weights,
    read_json,
    read_tensor,
    read_tensors,
    stored_shape,
    stored_tensors,
)
from gpt2.weights.loading import load_classifier, load_language_model
from gpt2.weights.openai_names import from_tf, tf_names, to_tf
from gpt2.weights.saving import save, stored_shapes, write_json, write_safetensors

__all__ = [
    "CONFIG_FILE",
    "INDEX_FILE",
    "MASKS",
    "RECEIPT_FILE",
    "TF_STATE_FILE",
    "TIED_HEAD",
    "TRANSPOSED",
    "WEIGHTS_FILE",
    "all_finite",
    "check_receipt",
    "check_space",
    "config_json",
    "from_tf",
    "hash_file",
    "hash_weights",
    "load_classifier",
    "load_language_model",
    "read_config",
    "read_json",
    "read_tensor",
    "read_tensors",
    "save",
    "stored_shape",
    "stored_shapes",
    "stored_tensors",
    "tf_names",
    "to_tf",
    "sole_writer",
    "whole_directory",
    "write_json",
    "write_safetensors",
]
