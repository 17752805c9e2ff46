"""gpt2.receipt, gpt2.logit_check and gpt2.numpy_forward: what a receipt says, and that it would
notice a tensor in the wrong place."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import openai_files
import pytest
import reference
import torch
from safetensors.torch import load_file, save_file

from gpt2 import conversion, logit_check, numpy_forward, receipt, weights
from gpt2.config import SIZES, GPT2Config
from gpt2.numpy_forward import Layout
from gpt2.vocabulary import BYTES, pick_vocabulary


@pytest.fixture
def made(model_directory, tmp_path):
    """A converted directory and its receipt."""
    return convert(weights.open_directory(model_directory), tmp_path / "out"), tmp_path / "out"


def convert(source, out, *, dtype=torch.float32):
    vocabulary = pick_vocabulary(source.path, given=None, shipped=source.path)
    return conversion.to_directory(source, out, vocabulary=vocabulary, dtype=dtype)


def test_a_receipt_names_every_tensor_with_its_hash(made, model_directory):
    result, out = made
    saved = receipt.read(out)
    tensors = load_file(model_directory / weights.WEIGHTS_FILE)
    assert {row["name"] for row in saved["variables"]} == set(tensors)
    for row in saved["variables"]:
        value = tensors[row["name"]]
        assert row["shape"] == list(value.shape)
        assert row["dtype"] == "float32"
        assert row["sha256"] == row["written_sha256"] == conversion.fingerprint(value)
    assert saved["parameters"] == sum(value.numel() for value in tensors.values())
    assert saved["config"] == {
        "vocab_size": 50257,
        "n_ctx": 64,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "layer_norm_epsilon": 1e-5,
    }
    assert saved["weights_sha256"] == weights.hash_file(out / weights.WEIGHTS_FILE)
    assert saved["exact"] == len(result.variables) == 28
    assert saved["max_logit_difference"] < 1e-4 < saved["max_logit"]


def test_the_receipt_in_short(made, tmp_path):
    assert receipt.short(made[1]).startswith("28 of 28 tensors, max difference ")
    assert receipt.short(tmp_path) == ""
    (tmp_path / weights.RECEIPT_FILE).write_text('{"config": 3}')
    assert receipt.short(tmp_path) == ""


@pytest.mark.parametrize(("size", "count"), [("124M", 148), ("355M", 292), ("774M", 436)])
def test_the_published_sizes_have_12_tensors_a_layer_and_4(size, count):
    assert len(weights.stored_shapes(SIZES[size])) == count
    assert len(weights.tf_names(SIZES[size].n_layer)) == count


def test_the_largest_published_size_has_580_tensors():
    assert len(weights.tf_names(SIZES["1558M"].n_layer)) == 580


def test_the_check_texts_ids_are_what_the_tokenizer_makes_of_it(tokenizer):
    assert tokenizer.encode(logit_check.TEXT) == list(logit_check.TEXT_IDS)


def test_a_tensor_in_the_wrong_place_is_noticed_and_nothing_is_written(model_directory, tmp_path):
    """Two tensors of one shape swapped: every check of names and shapes passes."""
    source = weights.open_directory(model_directory)
    one, two = "transformer.h.0.ln_1.weight", "transformer.h.1.ln_1.weight"
    swapped = {**source.names, one: source.names[two], two: source.names[one]}
    with pytest.raises(ValueError, match="differ from the source's"):
        convert(replace(source, names=swapped), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_changed_since_the_receipt_are_not_converted_again(made, tmp_path):
    out = made[1]
    path = out / weights.WEIGHTS_FILE
    tensors = load_file(path)
    tensors["transformer.ln_f.bias"][3] += 1
    save_file(tensors, path)
    with pytest.raises(ValueError, match="delete receipt.json if that was intended"):
        weights.check_receipt(out)
    (out / weights.RECEIPT_FILE).unlink()
    weights.check_receipt(out)


def test_saving_another_model_there_takes_the_receipt_away(made, tiny_model, vocabulary):
    weights.save(tiny_model, made[1], vocabulary=vocabulary)
    assert receipt.read(made[1]) is None


# --- the independent forward pass -------------------------------------------------------------


def test_numpy_forward_is_the_reference(tiny_model):
    variables = openai_files.variables_of(tiny_model)
    ids = [5, 17, 0, 96, 17, 3, 42]
    found = numpy_forward.logits(
        variables.__getitem__, ids, n_layer=3, n_head=4, layout=Layout(openai=True)
    )
    wanted = reference.forward(variables, ids, n_head=4).logits
    np.testing.assert_allclose(found, wanted, atol=1e-12, rtol=0)


def test_the_exact_gelu_is_torchs():
    x = np.linspace(-6, 6, 101)
    wanted = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(numpy_forward.exact_gelu(x), wanted, atol=1e-15, rtol=0)


def test_half_precision_logits_are_computed_in_float32(tiny_model):
    half = tiny_model.bfloat16()
    ids = [5, 17, 0, 96]
    found = logit_check.model_logits(half, ids)
    assert half.dtype == torch.bfloat16
    with torch.no_grad():
        wanted = half.float()(torch.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


# --- memory -----------------------------------------------------------------------------------

# What the interpreter and the libraries take before the first tensor is read.
LIBRARIES = {"torch": 300e6, "tensorflow": 1000e6}
CONVERT = "import convert; code = convert.main(sys.argv[2:])"
LOAD = "from gpt2 import weights; model = weights.load_language_model(sys.argv[2]); code = 0"
MEASURE = """
import sys
sys.path.insert(0, sys.argv[1])
{work}
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) * 1024)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model of 210 MB in many layers, as the large ones are. Not to be changed."""
    path = tmp_path_factory.mktemp("large") / "model"
    path.mkdir()
    config = GPT2Config(vocab_size=5000, n_ctx=64, n_embd=640, n_layer=10, n_head=10)
    tensors = {name: torch.empty(shape) for name, shape in weights.stored_shapes(config).items()}
    for seed, value in enumerate(tensors.values()):
        value.normal_(0.0, 0.02, generator=torch.Generator().manual_seed(seed))
    save_file(tensors, path / weights.WEIGHTS_FILE, metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(weights.config_json(config, torch.float32)))
    (path / "vocab.json").write_text(json.dumps(BYTES), encoding="utf-8")  # and not a merge
    (path / "merges.txt").write_text("#version: 0.2\n")
    return path


def measure(root, *words, work=CONVERT):
    """Most memory that a conversion or other work holds, in bytes."""
    command = [sys.executable, "-c", MEASURE.format(work=work), str(root), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["bfloat16", "tf"])
def test_a_conversion_holds_no_more_than_the_model_it_writes(large, tmp_path, root, form):
    out = tmp_path / "out"
    options = ["--to", "tf"] if form == "tf" else ["--dtype", form]
    if form == "tf":
        openai_files.tensorflow()
    peak = measure(root, large, "--out", out, *options)
    written = sum(path.stat().st_size for path in out.iterdir())
    assert peak < 1.25 * written + LIBRARIES["tensorflow" if form == "tf" else "torch"]
    if form == "tf":
        peak = measure(root, out, "--out", tmp_path / "back")
        assert peak < 1.25 * written + LIBRARIES["tensorflow"]
        back = load_file(tmp_path / "back" / weights.WEIGHTS_FILE)
        for name, value in load_file(large / weights.WEIGHTS_FILE).items():
            assert torch.equal(back[name], value), name


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_never_holds_a_second_copy(large, root):
    size = (large / weights.WEIGHTS_FILE).stat().st_size
    assert size > 200e6
    assert measure(root, large, work=LOAD) < 1.25 * size + LIBRARIES["torch"]
