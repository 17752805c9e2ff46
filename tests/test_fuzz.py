"""Damaged checkpoints, by the thousand: each is refused by an error of ours or read correctly.

Seeded, so that a failure repeats. A change of numbers may go unnoticed in a lone safetensors
file, which has no checksum; with a receipt beside it, none does.
"""

import json
import resource
import struct

import numpy as np
import openai_files
import pytest
import torch

from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.conversion import openai, tensorflow
from gpt2.conversion.convert import convert_tensor

CONFIG = GPT2Config(vocab_size=61, n_ctx=12, n_embd=16, n_layer=2, n_head=2)
OURS = (ValueError, FileNotFoundError)  # which every program turns into one sentence
SAFETENSORS, RECEIPTED, TENSORFLOW = 1100, 400, 1000  # mutations


def mutate(raw: bytes, random: np.random.Generator, *, hot: int) -> bytes:
    """Cut, flip, repeat, remove or overwrite something, often among the first `hot` bytes."""
    changed = bytearray(raw)
    end = hot if random.random() < 0.6 else len(raw)
    at = int(random.integers(0, end))
    length = int(random.integers(1, 64))
    match random.integers(0, 6):
        case 0:
            return bytes(changed[:at])
        case 1:
            changed[at] ^= 1 << int(random.integers(0, 8))
        case 2:
            changed[at : at + length] = random.bytes(length)
        case 3:
            del changed[at : at + length]
        case 4:
            changed[at:at] = changed[at : at + length]
        case 5:
            extreme = (0, 2**63 - 1, 2**64 - 1, 2**31, len(raw))[int(random.integers(0, 5))]
            changed[at : at + 8] = struct.pack("<Q", extreme)
    return bytes(changed)


def mutate_header(raw: bytes, random: np.random.Generator) -> bytes:
    """A safetensors file whose header is well-formed and says something else of one tensor."""
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    name = sorted(header)[int(random.integers(0, len(header)))]
    huge = (0, 1, -1, 2**31, 2**62, 1.5, None, "F32", [])[int(random.integers(0, 9))]
    entry = header[name]
    match random.integers(0, 5):
        case 0:
            entry["shape"] = [huge, 16]
        case 1:
            entry["data_offsets"] = [0, huge]
        case 2:
            types = ("I64", "BOOL", "F64", "F8_E4M3", "F4", "U8", "C64", "X")
            entry["dtype"] = types[int(random.integers(0, 8))]
        case 3:
            header[f"{name}.extra"] = header.pop(name)
        case 4:
            header[name] = huge
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


def peak() -> int:
    """Most memory this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def model(make_model):
    return make_model(CONFIG)


@pytest.fixture
def directory(model, tmp_path, vocabulary):
    weights.save(model, tmp_path / "tiny", vocabulary=vocabulary)
    return tmp_path / "tiny"


@pytest.mark.slow
def test_mutated_safetensors_are_refused_or_loaded_whole(directory, model):
    path = directory / weights.WEIGHTS_FILE
    raw, random, before = path.read_bytes(), np.random.default_rng(0), peak()
    wanted, header = model.state_dict(), int.from_bytes(raw[:8], "little")
    refused: list[str] = []
    for number in range(SAFETENSORS):
        changed = mutate(raw, random, hot=8 + header) if number % 2 else mutate_header(raw, random)
        path.write_bytes(changed)
        try:
            loaded = weights.load_language_model(directory)
        except OURS as error:
            refused.append(str(error))
            continue
        found = loaded.state_dict()
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in wanted.items()}
        assert all(bool(torch.isfinite(value).all()) for value in found.values())
    assert len(refused) > SAFETENSORS // 2
    assert not any("\n" in words for words in refused)
    assert peak() - before < 50e6  # the file has 40 kB; this is what the allocator keeps


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", None, 10**9, 10**12, 10**30])
@pytest.mark.parametrize("key", ["n_layer", "n_embd", "vocab_size", "n_positions", "n_head"])
def test_absurd_sizes_are_refused_at_once_and_take_no_memory(directory, key, size):
    """A billion layers were built until the memory was full."""
    path, before = directory / weights.CONFIG_FILE, peak()
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: size}))
    for load in (weights.load_language_model, weights.open_directory):
        with pytest.raises(OURS) as error:
            load(directory)
        assert "\n" not in str(error.value)
    assert peak() - before < 50e6


def test_with_a_receipt_no_change_of_the_numbers_goes_unnoticed(directory, model):
    path = directory / weights.WEIGHTS_FILE
    raw, random = path.read_bytes(), np.random.default_rng(1)
    receipt = {"weights_sha256": weights.hash_file(path)}
    (directory / weights.RECEIPT_FILE).write_text(json.dumps(receipt))
    weights.check_receipt(directory)
    for _ in range(RECEIPTED):
        changed = mutate(raw, random, hot=len(raw))
        path.write_bytes(changed)
        if changed != raw:
            with pytest.raises(OURS):
                weights.check_receipt(directory)


@pytest.mark.slow
def test_mutated_tensorflow_files_are_refused_or_read_without_a_difference(tmp_path, model):
    """Every block of the index and every tensor carries a checksum."""
    variables = openai_files.variables_of(model)
    openai_files.write(tmp_path, variables, CONFIG, None)
    prefix, random, before = tmp_path / openai_files.NAME, np.random.default_rng(2), peak()
    files = [prefix.with_name(f"{prefix.name}.{end}") for end in ("index", "data-00000-of-00001")]
    originals = [path.read_bytes() for path in files]
    refused: list[str] = []
    for number in range(TENSORFLOW):
        path, raw = files[number % 2], originals[number % 2]
        path.write_bytes(mutate(raw, random, hot=len(raw)))
        try:
            found = read_all(prefix)
        except OURS as error:
            refused.append(str(error))
        else:
            for name, value in variables.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)
        path.write_bytes(raw)
    assert len(refused) > TENSORFLOW // 2
    assert not any("\n" in words for words in refused)
    assert peak() - before < 50e6


def read_all(prefix):
    """All variables, by the way that convert.py takes, in OpenAI's layout."""
    source = openai.from_variables(prefix, *tensorflow.read_variables(prefix))
    found = {}
    for ours, theirs in source.names.items():
        value = convert_tensor(source, ours, torch.float32)[1].numpy()
        found[theirs] = value[None] if ours.endswith(weights.TRANSPOSED) else value
    return found
