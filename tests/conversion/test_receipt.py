"""What a receipt says, and that it would
notice a tensor in the wrong place."""

import json
import sys
from dataclasses import replace

import numpy as np
import openai_files
import pytest
import reference
import torch
from safetensors.torch import load_file, save_file

from gpt2 import weights
from gpt2.config import SIZES, GPT2Config
from gpt2.conversion import logit_check, numpy_forward, receipt
from gpt2.conversion.convert import fingerprint, to_directory
from gpt2.conversion.numpy_forward import Layout
from gpt2.vocabulary import BYTES
from gpt2.weights.vocabulary_files import pick_vocabulary

pytestmark = pytest.mark.slow  # whole conversions


@pytest.fixture
def made(model_directory, tmp_path):
    """A converted directory and its receipt."""
    return convert(weights.open_directory(model_directory), tmp_path / "out"), tmp_path / "out"


def convert(source, out, *, dtype=torch.float32):
    vocabulary = pick_vocabulary(source.path, given=None, shipped=source.path)
    return to_directory(source, out, vocabulary=vocabulary, dtype=dtype)


def test_a_receipt_names_every_tensor_with_its_hash(made, model_directory):
    result, out = made
    saved = receipt.read(out)
    tensors = load_file(model_directory / weights.WEIGHTS_FILE)
    assert {row["name"] for row in saved["variables"]} == set(tensors)
    for row in saved["variables"]:
        value = tensors[row["name"]]
        assert row["shape"] == list(value.shape)
        assert row["dtype"] == "float32"
        assert row["sha256"] == row["written_sha256"] == fingerprint(value)
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
    with pytest.raises(ValueError, match=r"delete receipt.json if that was intended"):
        weights.check_receipt(out)
    (out / weights.RECEIPT_FILE).unlink()
    weights.check_receipt(out)


def test_saving_another_model_there_takes_the_receipt_away(made, tiny_model, vocabulary):
    weights.save(tiny_model, made[1], vocabulary=vocabulary)
    assert receipt.read(made[1]) is None


@pytest.mark.parametrize(
    ("key", "value", "mention"),
    [
        ("layer_norm_epsilon", 1e-3, "layer_norm_epsilon is 0.001"),
        ("n_head", 4, "n_head is 4"),
        ("n_positions", 32, "n_ctx is 32"),
        ("n_layer", 1, "n_layer is 1"),
    ],
)
def test_a_configuration_that_changed_since_the_receipt_is_noticed(made, key, value, mention):
    """Other heads over the same weights are another model, and the receipt was shown with it."""
    edit_config(made[1], **{key: value})
    with pytest.raises(ValueError) as error:
        weights.check_receipt(made[1])
    for word in (mention, "config.json", weights.RECEIPT_FILE, "if that was intended"):
        assert word in str(error.value)


def test_what_is_no_part_of_the_arithmetic_may_change_beside_a_receipt(made):
    edit_config(made[1], pad_token_id=3, torch_dtype="float16", task="none")
    weights.check_receipt(made[1])


def edit_config(directory, **values):
    path = directory / weights.CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# --- what the reader of the target will compute -------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["language model", "classifier"])
def test_every_number_type_and_a_classifier_have_a_receipt(
    model_directory, classifier_directory, tmp_path, kind, dtype
):
    """In half precision the two readers of the written file must agree to float32's last digits."""
    directory = classifier_directory if kind == "classifier" else model_directory
    result = convert(weights.open_directory(directory), tmp_path / "out", dtype=dtype)
    saved = receipt.read(tmp_path / "out")
    half = dtype != torch.float32
    assert saved["dtype"] == str(dtype).removeprefix("torch.")
    assert saved["exact"] == (0 if half else len(result.variables))
    assert (saved["max_logit_difference"] > 1e-4) is half
    names = {row["target"] for row in saved["variables"]}
    assert names == set(load_file(tmp_path / "out" / weights.WEIGHTS_FILE))
    assert ("score.weight" in names) is (kind == "classifier")
    ids = logit_check.check_ids(weights.read_config(directory))
    np.testing.assert_allclose(
        logit_check.directory_logits(tmp_path / "out", ids),
        loaded_logits(tmp_path / "out", ids, dtype=dtype),
        atol=1e-4,
        rtol=0,
    )
    weights.check_receipt(tmp_path / "out")


def loaded_logits(directory, ids, **how):
    labels = weights.read_config(directory).labels
    load = weights.load_classifier if labels else weights.load_language_model
    return logit_check.model_logits(load(directory, **how), ids)


def leave_old_model(directory, model, vocabulary):
    """All that an old model leaves in a directory: shards and pickles, each with an index."""
    weights.save(model, directory, vocabulary=vocabulary)
    state = load_file(directory / weights.WEIGHTS_FILE)
    (directory / weights.WEIGHTS_FILE).unlink()
    names = sorted(state)
    for ending, index in (("safetensors", "model.safetensors"), ("bin", "pytorch_model.bin")):
        stem = index.partition(".")[0]
        placed = {name: f"{stem}-0000{i % 2 + 1}-of-00002.{ending}" for i, name in enumerate(names)}
        for file in set(placed.values()):
            part = {name: state[name].contiguous() for name in names if placed[name] == file}
            if ending == "bin":
                torch.save(part, directory / file)
            else:
                save_file(part, directory / file)
        (directory / f"{index}.index.json").write_text(json.dumps({"weight_map": placed}))
    torch.save(state, directory / "pytorch_model.bin")


@pytest.fixture
def old(make_model):
    """Another model of model_directory's shape."""
    return make_model(GPT2Config(n_ctx=64, n_embd=16, n_layer=2, n_head=2), seed=7)


@torch.no_grad()
def test_all_readers_of_a_directory_agree_on_which_files_are_the_model(
    model_directory, tmp_path, old
):
    """The old index was followed by the loader, and by the receipt that was to check it."""
    from transformers import GPT2LMHeadModel

    directory = tmp_path / "mixed"
    leave_old_model(directory, old, model_directory)
    for path in model_directory.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    ids = logit_check.check_ids(weights.read_config(directory))
    wanted = loaded_logits(model_directory, ids)
    theirs = GPT2LMHeadModel.from_pretrained(directory).eval()(torch.tensor([ids])).logits[0]
    for found in (
        theirs.numpy(),
        loaded_logits(directory, ids),
        logit_check.directory_logits(directory, ids),
        logit_check.source_logits(weights.open_directory(directory), ids),
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_conversion_leaves_nothing_of_the_old_model_in_its_place(model_directory, tmp_path, old):
    """Programs that look for pickles, shards or tokenizer.json first went on with the old one."""
    out = tmp_path / "out"
    leave_old_model(out, old, model_directory)
    gone = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "tf_model.h5")
    for name in (*gone, "generation_config.json", "flax_model.msgpack"):
        (out / name).write_text("{}")
    (out / "README.md").write_text("mine")
    convert(weights.open_directory(model_directory), out)
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "config.json", "merges.txt", "model.safetensors", "receipt.json"),
        "vocab.json",
    ]
    assert (out / "README.md").read_text() == "mine"
    ids = logit_check.check_ids(weights.read_config(out))
    wanted = loaded_logits(model_directory, ids)
    np.testing.assert_allclose(loaded_logits(out, ids), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_receipt_does_not_vouch_for_a_loader_that_reads_other_tensors(
    model_directory, tmp_path, old, monkeypatch, dtype
):
    """Old shards were loaded, and the receipt said that they were the model."""
    leave_old_model(tmp_path / "stale", old, model_directory)
    source = weights.open_directory(model_directory)
    real = weights.files.weight_files
    monkeypatch.setattr(
        "gpt2.weights.files.weight_files", lambda directory: real(tmp_path / "stale")
    )
    with pytest.raises(ValueError, match="differ from the source's"):
        convert(source, tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out").exists()


def test_a_receipt_does_not_vouch_for_a_file_that_only_its_own_loader_reads_rightly(
    model_directory, tmp_path, monkeypatch
):
    """A fault of writing that the loader repeats backwards: other programs read another model."""
    source = weights.open_directory(model_directory)
    real = weights.write_safetensors

    def write(path, shapes, tensor, *, dtype):
        real(path, shapes, lambda name: tensor(name) * -1.0, dtype=dtype)

    monkeypatch.setattr("gpt2.weights.write_safetensors", write)
    load = weights.load_language_model
    monkeypatch.setattr(
        "gpt2.weights.load_language_model", lambda directory, **how: load(model_directory, **how)
    )
    with pytest.raises(ValueError, match="differ from the source's"):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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

SLACK = 80e6  # what is not the model's; a second copy of it is more
TENSORFLOW = "from gpt2.conversion.tensorflow import tensorflow\ntensorflow()\n"
IMPORTS = {"torch": "", "tensorflow": TENSORFLOW}
CONVERT = "code = convert.main(words)"
LOAD = "model = weights.load_language_model(words[0]); code = 0"
MEASURE = """
import contextlib, sys
sys.path.insert(0, sys.argv[1])
import convert
from gpt2 import weights
{imports}
def held(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024

words = sys.argv[2:]
with contextlib.suppress(OSError):  # what was held while it imported does not count
    open("/proc/self/clear_refs", "w").write("5")
before = held("VmRSS")
{work}
print(held("VmHWM") - before)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model of 120 MB in many layers, as the large ones are. Not to be changed."""
    path = tmp_path_factory.mktemp("large") / "model"
    path.mkdir()
    config = GPT2Config(vocab_size=5000, n_ctx=64, n_embd=480, n_layer=10, n_head=10)
    tensors = {name: torch.empty(shape) for name, shape in weights.stored_shapes(config).items()}
    for seed, value in enumerate(tensors.values()):
        value.normal_(0.0, 0.02, generator=torch.Generator().manual_seed(seed))
    save_file(tensors, path / weights.WEIGHTS_FILE, metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(weights.config_json(config, torch.float32)))
    (path / "vocab.json").write_text(json.dumps(BYTES), encoding="utf-8")  # and not a merge
    (path / "merges.txt").write_text("#version: 0.2\n")
    return path


@pytest.fixture
def measure(starter, root):
    """measure(*words): most memory that a conversion or other work holds, in bytes."""

    def run(*words, work=CONVERT, libraries="torch"):
        code = MEASURE.format(work=work, imports=IMPORTS[libraries])
        done = starter.run([sys.executable, "-c", code, root, *words])
        assert done.returncode == 0, done.stderr
        return int(done.stdout.splitlines()[-1])

    return run


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_conversion_holds_no_more_than_the_model_it_writes(large, tmp_path, measure):
    """pytest -n 0 -m soak tests/conversion"""
    peak = measure(large, "--out", tmp_path / "out", "--dtype", "bfloat16")
    assert peak < 1.25 * size_of(tmp_path / "out") + SLACK


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nor_does_one_to_tensorflow_or_back(large, tmp_path, measure):
    """pytest -n 0 -m soak tests/conversion"""
    openai_files.tensorflow()
    tf, back = tmp_path / "tf", tmp_path / "back"
    for words in ((large, "--out", tf, "--to", "tf"), (tf, "--out", back)):
        peak = measure(*words, libraries="tensorflow")
        assert peak < 1.25 * size_of(words[2]) + SLACK
    found = load_file(back / weights.WEIGHTS_FILE)
    for name, value in load_file(large / weights.WEIGHTS_FILE).items():
        assert torch.equal(found[name], value), name


def size_of(directory):
    return sum(path.stat().st_size for path in directory.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_never_holds_a_second_copy(large, measure):
    size = (large / weights.WEIGHTS_FILE).stat().st_size
    assert 0.75 * size > SLACK  # else a second copy would not be seen
    assert measure(large, work=LOAD) < 1.25 * size + SLACK
