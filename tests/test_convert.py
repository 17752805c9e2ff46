"""convert.py: TensorFlow writes, convert.py converts, transformers and the reference read; and what
is broken ends in one sentence with no output directory."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import openai_files
import pytest
import reference
import torch
from safetensors.torch import load_file

import convert
from gpt2 import weights
from gpt2.config import GPT2Config

pytestmark = pytest.mark.slow  # most of it needs TensorFlow

CONFIG = GPT2Config(n_ctx=48, n_embd=16, n_layer=2, n_head=2)
IDS = [50256, 15496, 995, 0, 464, 1110]
TOLERANCE = 1e-4  # float32, logits of size about 5


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(CONFIG)


@pytest.fixture(scope="module")
def variables(model):
    return openai_files.variables_of(model)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, variables, vocabulary):
    """OpenAI's files. Not to be changed."""
    return openai_files.write(tmp_path_factory.mktemp("tf") / "tiny", variables, CONFIG, vocabulary)


@pytest.fixture
def broken(checkpoint, tmp_path):
    """OpenAI's files, to be broken by a test."""
    return shutil.copytree(checkpoint, tmp_path / "broken")


def run(*words):
    return convert.main([str(word) for word in words])


def read_receipt(directory):
    return json.loads((directory / "receipt.json").read_text(encoding="utf-8"))


@torch.no_grad()
def their_logits(directory, ids=IDS):
    from transformers import GPT2LMHeadModel

    model, report = GPT2LMHeadModel.from_pretrained(directory, output_loading_info=True)
    assert not any(report.values()), report
    return model.float().eval()(torch.tensor([ids])).logits[0].numpy()


def edit_config(directory, **values):
    path = directory / weights.CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_same_model(directory, variables, config=CONFIG):
    wanted = reference.forward(variables, IDS, n_head=config.n_head).logits
    np.testing.assert_allclose(their_logits(directory), wanted, atol=TOLERANCE, rtol=0)
    model = weights.load_language_model(directory)
    assert model.config == config
    found = openai_files.variables_of(model)
    for name, value in variables.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# --- TensorFlow in ----------------------------------------------------------------------------


def test_openais_files_become_a_model_directory_that_transformers_reads(
    checkpoint, variables, tmp_path, vocabulary, root
):
    """Through the command line, as people run it."""
    command = [sys.executable, "convert.py", str(checkpoint), "--out", str(tmp_path / "a" / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    out = tmp_path / "a" / "out"
    assert_same_model(out, variables)
    for name in ("vocab.json", "merges.txt"):
        assert (out / name).read_bytes() == (vocabulary / name).read_bytes()
    assert "28 of 28 tensors written as float32, 28 exactly, 0 skipped" in done.stdout
    for name in variables:
        assert f"{name} -> transformer." in done.stdout
    assert list((tmp_path / "a").iterdir()) == [out]


@pytest.mark.parametrize("form", ["prefix", "index", "data"])
def test_a_prefix_or_a_file_of_a_checkpoint_names_it(checkpoint, variables, tmp_path, form):
    ends = {"prefix": "", "index": ".index", "data": ".data-00000-of-00001"}
    assert run(checkpoint / f"model.ckpt{ends[form]}", "--out", tmp_path / "out") == 0
    assert_same_model(tmp_path / "out", variables)


def test_a_fine_tune_loses_its_adam_slots_and_its_step_and_says_so(
    tmp_path, variables, vocabulary, checkpoint, capsys
):
    for name in ("hparams.json", "encoder.json", "vocab.bpe"):
        tuned = tmp_path / "run1"
        tuned.mkdir(exist_ok=True)
        shutil.copy(checkpoint / name, tuned)
    openai_files.write_fine_tune(tuned / "model", variables)
    assert run(tuned, "--out", tmp_path / "out") == 0
    assert_same_model(tmp_path / "out", variables)
    receipt = read_receipt(tmp_path / "out")
    skipped = {item["name"]: item["reason"] for item in receipt["skipped"]}
    assert len(skipped) == 2 * len(variables) + 3
    assert skipped["model/wte/Adam"] == "the optimizer's state of model/wte"
    assert skipped["global_step"] == skipped["beta1_power"]
    assert receipt["source"] == "run1/model-7"
    assert "skipped global_step: training state" in capsys.readouterr().out


def test_a_checkpoint_in_shards(tmp_path, variables, vocabulary):
    source = openai_files.write(tmp_path / "tf", variables, CONFIG, vocabulary, shards=3)
    assert len(list(source.glob("*.data-*-of-00003"))) == 3
    assert run(source, "--out", tmp_path / "out") == 0
    assert_same_model(tmp_path / "out", variables)


def test_without_hparams_the_sizes_are_those_of_the_variables(tmp_path, make_model, vocabulary):
    config = replace(CONFIG, n_embd=128, n_layer=1)
    variables = openai_files.variables_of(make_model(config))
    source = openai_files.write(tmp_path / "tf", variables, None, vocabulary)
    assert run(source, "--out", tmp_path / "out") == 0
    assert_same_model(tmp_path / "out", variables, config)
    assert "n_embd / 64 = 2" in read_receipt(tmp_path / "out")["notes"][0]


def test_a_checkpoint_file_that_was_written_elsewhere_is_followed(broken, variables, tmp_path):
    text = 'model_checkpoint_path: "/content/checkpoint/run1/model.ckpt"\n'
    (broken / "checkpoint").write_text(text)
    (broken / "old.index").write_bytes(b"")
    assert run(broken, "--out", tmp_path / "out") == 0
    assert_same_model(tmp_path / "out", variables)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_variables_are_widened_exactly(tmp_path, variables, vocabulary, kind):
    cast = openai_files.tensorflow().cast
    half = {name: cast(value, kind).numpy() for name, value in variables.items()}
    source = openai_files.write(tmp_path / "tf", half, CONFIG, vocabulary)
    assert run(source, "--out", tmp_path / "out") == 0
    wide = {name: value.astype(np.float32) for name, value in half.items()}
    assert_same_model(tmp_path / "out", wide)
    assert read_receipt(tmp_path / "out")["exact"] == 28


# --- TensorFlow out ---------------------------------------------------------------------------


def test_the_way_to_a_directory_and_back_changes_no_bit(checkpoint, variables, tmp_path):
    assert run(checkpoint, "--out", tmp_path / "hf") == 0
    assert run(tmp_path / "hf", "--to", "tf", "--out", tmp_path / "tf") == 0
    back = openai_files.restore_as_openai(tmp_path / "tf", CONFIG)
    assert back.keys() == variables.keys()
    for name, value in variables.items():
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], value, err_msg=name)
    for name in ("encoder.json", "vocab.bpe", "checkpoint"):
        assert (tmp_path / "tf" / name).read_bytes() == (checkpoint / name).read_bytes()
    sizes = json.loads((tmp_path / "tf" / "hparams.json").read_text())
    assert sizes == json.loads((checkpoint / "hparams.json").read_text())
    forth, back = read_receipt(tmp_path / "hf"), read_receipt(tmp_path / "tf")
    assert {row["written_sha256"] for row in forth["variables"]} == {
        row["sha256"] for row in back["variables"]
    }
    assert back["max_logit_difference"] == 0


def test_the_way_to_tensorflow_and_back_changes_no_bit_and_no_logit(model_directory, tmp_path):
    assert run(model_directory, "--to", "tf", "--out", tmp_path / "tf") == 0
    assert run(tmp_path / "tf", "--out", tmp_path / "back") == 0
    before, after = (
        load_file(directory / weights.WEIGHTS_FILE)
        for directory in (model_directory, tmp_path / "back")
    )
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    assert weights.read_config(tmp_path / "back") == weights.read_config(model_directory)
    np.testing.assert_array_equal(their_logits(tmp_path / "back"), their_logits(model_directory))
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "back" / name).read_bytes() == (model_directory / name).read_bytes()


@pytest.mark.parametrize("epsilon", [1e-6, 1e-12, 1.1e-5, 1e-3])
def test_an_epsilon_that_openais_code_does_not_have_is_refused_by_name(
    model_directory, tmp_path, capsys, epsilon
):
    """It was dropped: OpenAI's code computed another model, and the receipt vouched for it."""
    source, out = shutil.copytree(model_directory, tmp_path / "model"), tmp_path / "out"
    edit_config(source, layer_norm_epsilon=epsilon)
    text = f"layer_norm_epsilon is {epsilon:g}"
    assert_refused(capsys, out, run(source, "--to", "tf", "--out", out), source, text, "1e-05")
    assert run(source, "--out", out) == 0  # a model directory has a place for it
    assert weights.read_config(out).layer_norm_epsilon == epsilon


def test_an_epsilon_refused_leaves_the_tensorflow_files_that_stand_there(
    checkpoint, model_directory, tmp_path, capsys
):
    source, out = shutil.copytree(model_directory, tmp_path / "m"), tmp_path / "tf"
    shutil.copytree(checkpoint, out)
    edit_config(source, layer_norm_epsilon=1e-6)
    assert run(source, "--to", "tf", "--out", out) == 1
    assert "layer_norm_epsilon" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in checkpoint.iterdir()
    }


def test_tensorflow_out_refuses_what_it_would_lose(
    classifier_directory, model_directory, tmp_path, capsys
):
    out = tmp_path / "out"
    code = run(classifier_directory, "--to", "tf", "--out", out)
    assert_refused(capsys, out, code, classifier_directory, "is a classifier")
    shutil.copytree(model_directory, tmp_path / "model")
    assert run(model_directory, "--to", "tf", "--out", tmp_path / "model") == 1
    assert "is a model directory" in capsys.readouterr().err
    assert weights.load_language_model(tmp_path / "model")
    with pytest.raises(SystemExit) as stop:
        run(model_directory, "--to", "tf", "--dtype", "float16", "--out", tmp_path / "out")
    assert stop.value.code == 2


# --- Hugging Face and nanoGPT in --------------------------------------------------------------


def test_a_directory_with_a_pickle_of_tensors(model_directory, tmp_path):
    source = shutil.copytree(model_directory, tmp_path / "bin")
    tensors = load_file(source / weights.WEIGHTS_FILE)
    (source / weights.WEIGHTS_FILE).unlink()
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"]
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril().bool()
    torch.save(tensors, source / "pytorch_model.bin")
    assert run(source, "--out", tmp_path / "out") == 0
    np.testing.assert_array_equal(their_logits(tmp_path / "out"), their_logits(model_directory))
    reasons = {item["name"]: item["reason"] for item in read_receipt(tmp_path / "out")["skipped"]}
    assert reasons == {
        "lm_head.weight": "tied to wte",
        "transformer.h.0.attn.bias": "causal mask, no weight",
    }


def test_pickles_in_shards_and_of_the_old_format(model_directory, tmp_path):
    source = shutil.copytree(model_directory, tmp_path / "bin")
    tensors = load_file(source / weights.WEIGHTS_FILE)
    (source / weights.WEIGHTS_FILE).unlink()
    names = sorted(tensors)
    placed = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(names)}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))
    for i, zipped in enumerate((True, False)):
        part = {name: tensors[name] for name in names[i::2]}
        path = source / f"pytorch_model-{i}.bin"
        torch.save(part, path, _use_new_zipfile_serialization=zipped)
    assert run(source, "--out", tmp_path / "out") == 0
    np.testing.assert_array_equal(their_logits(tmp_path / "out"), their_logits(model_directory))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_out_is_the_rounded_model(model_directory, tmp_path, dtype):
    assert run(model_directory, "--out", tmp_path / "out", "--dtype", dtype) == 0
    stored = load_file(tmp_path / "out" / weights.WEIGHTS_FILE)
    for name, value in load_file(model_directory / weights.WEIGHTS_FILE).items():
        assert torch.equal(stored[name], value.to(getattr(torch, dtype))), name
    receipt = read_receipt(tmp_path / "out")
    assert receipt["exact"] == 0
    assert 0 < receipt["max_logit_difference"] < 0.5


def test_a_classifier_stays_one(classifier_directory, tmp_path):
    assert run(classifier_directory, "--out", tmp_path / "out") == 0
    ours, theirs = (weights.load_classifier(d) for d in (tmp_path / "out", classifier_directory))
    assert ours.transformer.config == theirs.transformer.config
    assert torch.equal(ours.score.weight, theirs.score.weight)


def nanogpt(model, *, bias, rows):
    """What nanoGPT's train.py saves of a compiled model."""
    tensors = {}
    for name, value in model.state_dict().items():
        if bias or not name.endswith(".bias"):
            tensors[f"_orig_mod.transformer.{name}"] = value
    wte = torch.cat([model.wte.weight.detach(), torch.randn(rows - 50257, CONFIG.n_embd)])
    tensors["_orig_mod.transformer.wte.weight"] = wte
    tensors["_orig_mod.lm_head.weight"] = wte
    args = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 48, "bias": bias}
    args |= {"vocab_size": rows, "dropout": 0.0}
    return {"model": tensors, "model_args": args, "iter_num": 7, "optimizer": {"state": {}}}


@pytest.mark.parametrize("bias", [True, False])
def test_a_nanogpt_checkpoint_padded_compiled_with_and_without_biases(
    model, tmp_path, variables, bias
):
    torch.save(nanogpt(model, bias=bias, rows=50304), tmp_path / "ckpt.pt")
    assert run(tmp_path / "ckpt.pt", "--out", tmp_path / "out") == 0
    bare = {
        n: v if bias or not n.endswith("/b") else np.zeros_like(v) for n, v in variables.items()
    }
    assert_same_model(tmp_path / "out", bare)
    receipt = read_receipt(tmp_path / "out")
    notes = " ".join(receipt["notes"])
    assert "47 of padding are cut off" in notes
    assert ("13 are zeros" in notes) is not bias
    assert "vocabulary copied from checkpoints/mini" in notes
    assert 0 < receipt["exact_gelu_difference"] < 0.1


# --- what can't be converted ------------------------------------------------------------------


def assert_refused(capsys, out, code, *mentions):
    """One sentence on standard error, and nothing left behind."""
    text = capsys.readouterr().err
    assert code == 1
    assert text.startswith("convert.py: "), text
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    for mention in mentions:
        assert str(mention) in text, text
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]


def with_variables(**changes):
    """A breakage: the checkpoint saved anew with some variables changed or, by None, left out."""

    def change(directory, variables):
        changed = variables | {name: make(variables) for name, make in changes.items()}
        kept = {name: value for name, value in changed.items() if value is not None}
        openai_files.save(directory / openai_files.NAME, kept)

    return change


def without(name):
    return with_variables(**{name: lambda variables: None})


def with_layer_2(variables):
    return {
        name.replace("/h1/", "/h2/"): value for name, value in variables.items() if "/h1/" in name
    }


def extra_layer(directory, variables):
    openai_files.save(directory / openai_files.NAME, variables | with_layer_2(variables))


def truncated(name, size):
    def change(directory, variables):
        path = directory / f"{openai_files.NAME}.{name}"
        path.write_bytes(path.read_bytes()[:size])

    return change


def flipped(name, place):
    def change(directory, variables):
        path = directory / f"{openai_files.NAME}.{name}"
        raw = bytearray(path.read_bytes())
        raw[place] ^= 0x10
        path.write_bytes(raw)

    return change


def hparams(text="", **values):
    def change(directory, variables):
        path = directory / "hparams.json"
        path.write_text(text or json.dumps(json.loads(path.read_text()) | values))

    return change


def gone(*names):
    def change(directory, variables):
        for name in names:
            (directory / name).unlink()

    return change


def nan(variables):
    value = variables["model/h1/mlp/c_fc/w"].copy()
    value[0, 3, 4] = np.nan
    return value


def rewritten(name, content):
    return lambda directory, variables: (directory / name).write_bytes(content)


DATA, INDEX = "data-00000-of-00001", "index"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 497774208\n"
BREAKAGES = {
    "missing variable": (without("model/h1/ln_2/b"), ["model/h1/ln_2/b"]),
    "missing layer": (hparams(n_layer=3), ["layer h2"]),
    "no wte": (without("model/wte"), ["model/wte is missing"]),
    "extra layer": (extra_layer, ["model/h2/", "no place in a model of 2 layers"]),
    "far layer": (
        with_variables(**{"model/h999999/ln_1/b": lambda v: v["model/ln_f/b"]}),
        ["before h999999"],
    ),
    "unknown variable": (
        with_variables(**{"model/h0/attn/rotary": lambda v: v["model/wpe"]}),
        ["model/h0/attn/rotary", "no place"],
    ),
    "wrong shape": (
        with_variables(**{"model/h0/ln_1/g": lambda v: v["model/h0/attn/c_attn/b"]}),
        ["model/h0/ln_1/g", "(48,)", "(16,)"],
    ),
    "transposed": (
        with_variables(**{"model/h0/mlp/c_fc/w": lambda v: v["model/h0/mlp/c_proj/w"]}),
        ["model/h0/mlp/c_fc/w", "(1, 64, 16)"],
    ),
    "wte no matrix": (
        with_variables(**{"model/wte": lambda v: v["model/ln_f/b"]}),
        ["model/wte", "(16,)"],
    ),
    "NaN": (with_variables(**{"model/h1/mlp/c_fc/w": nan}), ["model/h1/mlp/c_fc/w", "NaN"]),
    "integers": (
        with_variables(**{"model/ln_f/b": lambda v: v["model/ln_f/b"].astype(np.int32)}),
        ["model/ln_f/b", "int32"],
    ),
    "truncated data": (truncated(DATA, 1_000_000), ["model.ckpt", "read"]),
    "empty data": (truncated(DATA, 0), ["model.ckpt", "read"]),
    "no data": (gone(f"model.ckpt.{DATA}"), ["model.ckpt", "read"]),
    "truncated index": (truncated(INDEX, 300), ["model.ckpt", "read"]),
    "empty index": (truncated(INDEX, 0), ["model.ckpt", "read"]),
    "flipped byte of data": (flipped(DATA, 54_321), ["model.ckpt", "hecksum"]),
    "flipped byte of index": (flipped(INDEX, 200), ["model.ckpt", "read"]),
    "pointer as data": (rewritten(f"model.ckpt.{DATA}", POINTER), [f"{DATA} is a git-lfs pointer"]),
    "pointer as index": (rewritten("model.ckpt.index", POINTER), [".index is a git-lfs pointer"]),
    "pointer as checkpoint": (
        rewritten("checkpoint", POINTER),
        ["checkpoint is a git-lfs pointer"],
    ),
    "pointer as hparams": (
        rewritten("hparams.json", POINTER),
        ["hparams.json is a git-lfs pointer"],
    ),
    "pointer as vocabulary": (
        rewritten("encoder.json", POINTER),
        ["encoder.json is a git-lfs pointer", "git lfs pull"],
    ),
    "pointer as merges": (rewritten("vocab.bpe", POINTER), ["vocab.bpe is a git-lfs pointer"]),
    "index gone": (gone("model.ckpt.index"), ["model.ckpt.index is not beside it"]),
    "n_head": (hparams(n_head=3), ["hparams.json", "n_head is 3"]),
    "n_head of 0": (hparams(n_head=0), ["hparams.json", "n_head is 0"]),
    "n_embd": (hparams(n_embd=32), ["(50257, 16)", "(50257, 32)"]),
    "n_embd past all memory": (hparams(n_embd=10**12), ["no memory holds"]),
    "hparams cut off": (hparams("{"), ["hparams.json", "not JSON"]),
    "hparams empty": (hparams("{}"), ["hparams.json", "lacks n_ctx, n_embd"]),
    "hparams of many layers": (hparams(n_layer=10**9), ["layer h2"]),
    "no hparams": (gone("hparams.json"), ["hparams.json", "16", "heads"]),
    "no vocabulary": (
        gone("encoder.json", "vocab.bpe"),
        ["vocabulary", "--vocab checkpoints/mini"],
    ),
    "half a vocabulary": (gone("vocab.bpe"), ["vocab.bpe", "missing"]),
    "another vocabulary": (rewritten("encoder.json", b"{}"), ["encoder.json", "no entry"]),
    "several and no word": (
        lambda d, v: [gone("checkpoint")(d, v), rewritten("b.index", b"")(d, v)],
        ["2 TensorFlow .index files"],
    ),
}


@pytest.mark.parametrize("case", BREAKAGES)
def test_a_broken_checkpoint_ends_in_one_sentence_and_no_directory(
    broken, variables, tmp_path, capsys, case
):
    change, mentions = BREAKAGES[case]
    change(broken, variables)
    assert_refused(capsys, tmp_path / "out", run(broken, "--out", tmp_path / "out"), *mentions)


def test_no_directory_above_the_output_is_left_behind_either(broken, tmp_path):
    truncated(DATA, 0)(broken, {})
    assert run(broken, "--out", tmp_path / "a" / "b" / "out") == 1
    assert not (tmp_path / "a").exists()


def test_an_empty_or_missing_directory_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    assert_refused(capsys, out, run(tmp_path / "empty", "--out", out), "holds no checkpoint")
    assert_refused(capsys, out, run(tmp_path / "none", "--out", out), "does not exist", "124M")


class Touch:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["ckpt.pt", "pytorch_model.bin"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(model_directory, tmp_path, capsys, name):
    source = shutil.copytree(model_directory, tmp_path / "bad")
    (source / weights.WEIGHTS_FILE).unlink()
    torch.save({"model": Touch(tmp_path / "ran"), "model_args": {}}, source / name)
    path = source / name if name.endswith(".pt") else source
    out = tmp_path / "out"
    assert_refused(capsys, out, run(path, "--out", out), name, "code, which is never run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (lambda c: c.pop("model_args"), "no nanoGPT checkpoint"),
        (lambda c: c["model_args"].pop("n_head"), "model_args lacks"),
        (lambda c: c["model_args"].update(n_head=3), "n_head is 3"),
        (lambda c: c["model_args"].update(n_layer=10**9), "layers cannot be in"),
        (lambda c: c["model_args"].update(vocab_size=50257), "(50304, 16)"),
        (lambda c: c["model"].pop("_orig_mod.transformer.ln_f.bias"), "transformer.ln_f.bias"),
        (lambda c: c["model"].update({"transformer.rotary": torch.ones(2)}), "no place"),
        (lambda c: c["model"].update({"_orig_mod.lm_head.weight": torch.ones(50304, 16)}), "tied"),
        (lambda c: c.update(model=[1, 2]), "stands where tensors"),
        (lambda c: c["model"].update(step=3), "step is no tensor"),
    ],
)
def test_a_broken_nanogpt_checkpoint_is_refused(model, tmp_path, capsys, change, mention):
    made = nanogpt(model, bias=True, rows=50304)
    change(made)
    torch.save(made, tmp_path / "ckpt.pt")
    out = tmp_path / "out"
    assert_refused(capsys, out, run(tmp_path / "ckpt.pt", "--out", out), "ckpt.pt", mention)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "gelu"),
        ("activation_function", "relu"),
        ("add_cross_attention", True),
        ("scale_attn_by_inverse_layer_idx", True),
        ("n_inner", 24),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("problem_type", "regression"),
        ("id2label", {"0": "a", "1": "b", "3": "c", "4": "d"}),
    ],
)
@pytest.mark.parametrize("to", ["hf", "tf"])
def test_a_model_that_computes_something_else_is_refused_by_the_name_of_the_key(
    classifier_directory, tmp_path, capsys, key, value, to
):
    """It became a GPT-2 of other logits."""
    source, out = shutil.copytree(classifier_directory, tmp_path / "other"), tmp_path / "out"
    edit_config(source, **{key: value})
    code = run(source, "--to", to, "--out", out)
    assert_refused(capsys, out, code, source / "config.json", key)


def test_the_source_itself_or_a_file_is_no_place_to_write_to(model_directory, tmp_path, capsys):
    assert run(model_directory, "--out", model_directory) == 1
    assert "is the source itself" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert run(model_directory, "--out", tmp_path / "file") == 1
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_numbers_too_large_for_float16_are_refused(tmp_path, variables, vocabulary, capsys):
    large = variables | {"model/ln_f/b": np.full(16, 1e5, np.float32)}
    source = openai_files.write(tmp_path / "tf", large, CONFIG, vocabulary)
    out = tmp_path / "out"
    code = run(source, "--out", out, "--dtype", "float16")
    assert_refused(capsys, out, code, "model/ln_f/b", "too large for torch.float16")


# --- a full disk, a kill ----------------------------------------------------------------------


def test_a_disk_without_room_is_refused_before_anything_is_written(
    model_directory, tmp_path, capsys, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    out = tmp_path / "out"
    assert_refused(capsys, out, run(model_directory, "--out", out), "1 MB free", "needs 3 MB")


PRELUDE = "import os, resource, sys; sys.path.insert(0, {root!r}); import convert\n"
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
KILLED = """
def killed(*args, **kwargs): os.kill(os.getpid(), 9)
def killed_later(*args, real=os.replace):
    os.replace = killed
    return real(*args)
{place}
"""
PLACES = {
    "writing": "convert.receipt.write = killed",
    "moving": "os.replace = killed_later",
}


def in_a_process(starter, root, code, *words):
    code = PRELUDE.format(root=str(root)) + code + "sys.exit(convert.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, words)]
    return starter.run(command)


def test_a_file_that_cannot_grow_leaves_nothing(model_directory, tmp_path, root, starter):
    done = in_a_process(starter, root, FULL, model_directory, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "choose another --out" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_conversion_leaves_nothing_that_is_taken_for_a_model(
    model_directory, tmp_path, root, starter, capsys, place
):
    out = tmp_path / "out"
    code = KILLED.format(place=PLACES[place])
    assert in_a_process(starter, root, code, model_directory, "--out", out).returncode == -9
    with pytest.raises(FileNotFoundError):
        weights.load_language_model(out)
    assert run(out, "--out", tmp_path / "again") == 1
    assert run(model_directory, "--out", out) == 0
    assert weights.load_language_model(out)
