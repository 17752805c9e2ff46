"""Model directories: reading, checking and writing them.

A model directory is Hugging Face's GPT-2 layout: config.json, model.safetensors (or shards with
model.safetensors.index.json, or pytorch_model.bin in either form), vocab.json, merges.txt. Which
tensor is which stands in `tensors`, which file it is read from in `files`, and both are what every
program goes by.
"""

from gpt2.weights.atomic import check_space, sole_writer, whole_directory
from gpt2.weights.configuration import config_json, read_config
from gpt2.weights.files import (
    CONFIG_FILE,
    INDEX_FILE,
    RECEIPT_FILE,
    TF_STATE_FILE,
    WEIGHTS_FILE,
    hash_file,
    hash_weights,
    read_json,
)
from gpt2.weights.loading import (
    check_receipt,
    fill,
    load_classifier,
    load_language_model,
    open_directory,
)
from gpt2.weights.pickles import open_pickle, plain
from gpt2.weights.saving import save, write_json, write_model, write_safetensors
from gpt2.weights.source import Read, Shapes, Source
from gpt2.weights.tensors import EMBEDDING, TRANSPOSED, place, stored_shapes, tf_names

__all__ = [
    "CONFIG_FILE",
    "EMBEDDING",
    "INDEX_FILE",
    "RECEIPT_FILE",
    "TF_STATE_FILE",
    "TRANSPOSED",
    "WEIGHTS_FILE",
    "Read",
    "Shapes",
    "Source",
    "check_receipt",
    "check_space",
    "config_json",
    "fill",
    "hash_file",
    "hash_weights",
    "load_classifier",
    "load_language_model",
    "open_directory",
    "open_pickle",
    "place",
    "plain",
    "read_config",
    "read_json",
    "save",
    "sole_writer",
    "stored_shapes",
    "tf_names",
    "whole_directory",
    "write_json",
    "write_model",
    "write_safetensors",
]
