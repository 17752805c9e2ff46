"""gpt2.weights: directories that transformers wrote load here, ours load there, and what does not
fit is refused in one sentence."""

import copy
import glob
import hashlib
import itertools
import json
import math
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import openai_files
import pytest
import torch
from safetensors.torch import _SIZE, load_file, save_file, save_model

from gpt2 import weights
from gpt2.config import GPT2Config

TOLERANCE = 1e-4  # float32, logits of size about 5
LABELS = ("World", "Sports", "Business", "Sci/Tech")


@pytest.fixture
def directory(tiny_model, tmp_path, vocabulary):
    """A language model of tiny_model's weights, to be broken by a test."""
    path = tmp_path / "tiny"
    weights.save(tiny_model, path, vocabulary=vocabulary)
    return path


@pytest.fixture
def ids():
    return torch.tensor([[5, 17, 0, 96, 17, 3, 42], [1, 2, 3, 4, 5, 6, 7]])


def edit_tensors(directory, change):
    """Let change(tensors) alter a directory's tensors, in place or by what it returns."""
    path = directory / weights.WEIGHTS_FILE
    tensors = load_file(path)
    tensors = change(tensors) or tensors
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def edit_config(directory, **values):
    path = directory / weights.CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def same_parameters(one, two):
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def assert_one_sentence(error, *mentions):
    text = str(error.value)
    assert "\n" not in text
    for mention in mentions:
        assert str(mention) in text, text


# --- transformers reads ours -----------------------------------------------------------------


@torch.no_grad()
def test_transformers_loads_what_is_saved_here_and_gives_the_same_logits(directory, ids):
    from transformers import GPT2LMHeadModel

    theirs, report = GPT2LMHeadModel.from_pretrained(directory, output_loading_info=True)
    assert not any(report.values()), report
    ours = weights.load_language_model(directory)
    torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, atol=TOLERANCE, rtol=0)


def test_transformers_reads_the_labels_of_a_classifier_in_order(classifier_directory):
    from transformers import GPT2ForSequenceClassification

    _, report = GPT2ForSequenceClassification.from_pretrained(
        classifier_directory, output_loading_info=True
    )
    assert not any(report.values()), report


@torch.no_grad()
def test_the_shipped_model_gives_transformers_logits(vocabulary, tokenizer):
    if not (vocabulary / weights.WEIGHTS_FILE).is_file():
        pytest.skip("checkpoints/mini has no model.safetensors yet")
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(vocabulary, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer.encode("She opened the door, and there it was:\n\n“You again!”")])
    ours = weights.load_language_model(vocabulary)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=TOLERANCE, rtol=0)


# --- ours reads transformers' ----------------------------------------------------------------


@pytest.fixture
def theirs(tiny_config):
    """transformers' model of tiny_config's shape, no parameter of which is zero or one."""
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2LMHeadModel

    shape = {name: getattr(tiny_config, name) for name in ("vocab_size", "n_embd", "n_head")}
    config = TheirConfig(
        **shape,
        n_layer=tiny_config.n_layer,
        n_positions=tiny_config.n_ctx,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@torch.no_grad()
def assert_loads_as(directory, theirs, ids):
    ours = weights.load_language_model(directory)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=TOLERANCE, rtol=0)


def test_a_directory_that_transformers_saved_loads_here(theirs, tmp_path, ids):
    theirs.save_pretrained(tmp_path)
    assert_loads_as(tmp_path, theirs, ids)


def test_a_directory_in_shards_loads_here(theirs, tmp_path, ids):
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / weights.INDEX_FILE).is_file()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_loads_as(tmp_path, theirs, ids)


def test_openais_upload_without_prefix_with_masks_and_a_tied_head_loads_here(theirs, tmp_path, ids):
    theirs.save_pretrained(tmp_path)

    def as_uploaded(tensors):
        tensors = {name.removeprefix("transformer."): value for name, value in tensors.items()}
        for layer in range(3):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
            tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()
        return tensors

    edit_tensors(tmp_path, as_uploaded)
    assert_loads_as(tmp_path, theirs, ids)


def save_state(state, directory, *, index=False, **how):
    """pytorch_model.bin as torch.save writes it, or two of them with an index."""
    if not index:
        torch.save(state, directory / "pytorch_model.bin", **how)
        return
    names = sorted(state)
    placed = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(names)}
    for file in set(placed.values()):
        torch.save({name: state[name] for name in names if placed[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))


def compiled_blocks(model):
    for i, block in enumerate(model.transformer.h):
        model.transformer.h[i] = torch.compile(block)
    return model


FORMS = {
    "state_dict": lambda model, path: save_state(model.state_dict(), path),
    "in two files": lambda model, path: save_state(model.state_dict(), path, index=True),
    "of before torch 1.6": lambda model, path: save_state(
        model.state_dict(), path, _use_new_zipfile_serialization=False
    ),
    "parameters": lambda model, path: save_state(dict(model.named_parameters()), path),
    "compiled": lambda model, path: save_state(torch.compile(model).state_dict(), path),
    "compiled and parallel": lambda model, path: save_state(
        torch.nn.DataParallel(torch.compile(model)).state_dict(), path
    ),
    "compiled by block": lambda model, path: save_state(compiled_blocks(model).state_dict(), path),
    "Lightning": lambda model, path: save_state(
        {"state_dict": {f"model.{name}": v for name, v in model.state_dict().items()}}, path
    ),
    "save_model": lambda model, path: save_model(model, str(path / "model.safetensors")),
    "float64": lambda model, path: save_file(
        {name: v.double() for name, v in model.transformer.state_dict().items()},
        path / "model.safetensors",
    ),
}


# torch.compile imports a part of torch that torch itself calls deprecated
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_which_people_keep_a_model_loads_here(theirs, tmp_path, ids, form):
    """Only convert.py read pickles, and only some of the names were known, by reader."""
    theirs.config.architectures = ["GPT2LMHeadModel"]
    theirs.config.save_pretrained(tmp_path)
    wanted = copy.deepcopy(theirs)
    FORMS[form](theirs, tmp_path)
    assert_loads_as(tmp_path, wanted, ids)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_that_transformers_saved_loads_here(theirs, tmp_path, ids, dtype):
    theirs.to(dtype).save_pretrained(tmp_path, max_shard_size="40KB")
    assert_loads_as(tmp_path, theirs.float(), ids)


@torch.no_grad()
@pytest.mark.parametrize("count", [2, 3, 12])
def test_a_classifier_whose_labels_have_no_names_has_transformers_defaults(tmp_path, ids, count):
    """Of two labels transformers writes nothing at all: the directory was no classifier."""
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2ForSequenceClassification

    config = TheirConfig(
        vocab_size=97, n_positions=24, n_embd=32, n_layer=2, n_head=4, num_labels=count
    )
    theirs = GPT2ForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    assert ("id2label" in json.loads((tmp_path / "config.json").read_text())) is (count != 2)
    ours = weights.load_classifier(tmp_path)
    assert ours.transformer.config.labels == tuple(theirs.config.id2label.values())
    found = ours(ids[:1], torch.tensor([ids.size(1)]))
    torch.testing.assert_close(found, theirs(ids[:1]).logits, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_a_classifier_that_transformers_saved_loads_here(tmp_path, ids):
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2ForSequenceClassification

    config = TheirConfig(
        vocab_size=97, n_positions=24, n_embd=32, n_layer=2, n_head=4, pad_token_id=0
    )
    config.id2label = dict(enumerate(LABELS))
    theirs = GPT2ForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = weights.load_classifier(tmp_path)
    assert ours.transformer.config.labels == LABELS
    lengths = torch.tensor([ids.size(1)] * 2)
    ids = ids.masked_fill(ids == 0, 9)  # 0 is their padding
    torch.testing.assert_close(ours(ids, lengths), theirs(ids).logits, atol=TOLERANCE, rtol=0)


def test_eleven_labels_keep_their_order(tiny_config, make_classifier, tmp_path, vocabulary):
    """JSON keys sort as text, where "10" comes before "2"."""
    config = replace(tiny_config, labels=tuple("abcdefghijk"))
    weights.save(make_classifier(config), tmp_path / "many", vocabulary=vocabulary)
    assert weights.read_config(tmp_path / "many").labels == config.labels


# --- whose tensor is whose ---------------------------------------------------------------------

PREFIXES = ["_orig_mod.", "module.", "model.", "transformer.", ""]


def renamed(prefix):
    return lambda tensors: {
        f"{prefix}{name.removeprefix('transformer.')}": value for name, value in tensors.items()
    }


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("pair", [*itertools.product(PREFIXES, PREFIXES)], ids="".join)
def test_prefixes_alone_and_stacked_are_no_part_of_a_name(directory, tiny_model, pair, kind):
    edit_tensors(directory, renamed("".join(pair)))
    as_kind(directory, kind)
    assert same_parameters(weights.load_language_model(directory), tiny_model)


def as_kind(directory, kind):
    """Let a directory's weights stand in a pickle instead."""
    if kind == "bin":
        save_state(load_file(directory / weights.WEIGHTS_FILE), directory)
        (directory / weights.WEIGHTS_FILE).unlink()


@pytest.fixture(params=["language model", "classifier"])
def headed(request, directory, classifier_directory, tmp_path):
    """A directory of each kind, and how it is loaded."""
    if request.param == "classifier":
        return shutil.copytree(classifier_directory, tmp_path / "news"), weights.load_classifier
    return directory, weights.load_language_model


def with_head(change, *, prefix=""):
    """The embedding under the head's name too, or instead."""

    def edit(tensors):
        tensors |= {f"{prefix}lm_head.weight": change(tensors[WTE].clone())}
        return renamed(prefix)(tensors) if prefix else tensors

    return edit


WTE = "transformer.wte.weight"


@pytest.mark.parametrize("prefix", ["", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("alone", [True, False])
def test_the_head_may_stand_for_the_embedding(headed, prefix, alone):
    """save_model of safetensors keeps one name of a tied pair, and it may be the head's."""
    directory, load = headed
    wanted = load(directory)

    def edit(tensors):
        tensors = with_head(lambda wte: wte, prefix=prefix)(tensors)
        if alone:
            del tensors[f"{prefix}wte.weight" if prefix else WTE]
        return tensors

    edit_tensors(directory, edit)
    assert same_parameters(load(directory), wanted)


@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
def test_a_head_that_is_not_the_embedding_is_refused_in_every_file(headed, prefix):
    """A head of its own is another model; with a prefix it was left out in silence."""
    directory, load = headed
    edit_tensors(directory, with_head(lambda wte: wte + 0.01, prefix=prefix))
    with pytest.raises(ValueError) as error:
        load(directory)
    assert_one_sentence(error, directory, f"{prefix}lm_head.weight differs", "wte.weight")


@torch.no_grad()
def test_an_untied_head_loads_if_it_equals_the_embedding(theirs, tmp_path, ids):
    """transformers reads two tensors then; their logits are a tied model's if the two are equal."""
    theirs.save_pretrained(tmp_path)
    edit_config(tmp_path, tie_word_embeddings=False)
    with pytest.raises(ValueError) as error:  # its head would be random numbers
        weights.load_language_model(tmp_path)
    assert_one_sentence(error, tmp_path, "tie_word_embeddings is false", "lm_head.weight")
    edit_tensors(tmp_path, with_head(lambda wte: wte))
    assert_loads_as(tmp_path, theirs, ids)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("twin", ["module.h.1.ln_2.bias", "lm_head.weight"])
def test_two_tensors_of_one_name_are_refused_by_both_names(directory, twin, kind):
    """The last one read was taken."""

    def doubled(tensors):
        name = WTE if twin == "lm_head.weight" else "transformer.h.1.ln_2.bias"
        more = {twin: tensors[name].clone(), f"_orig_mod.{twin}": tensors[name].clone()}
        return tensors | more

    edit_tensors(directory, doubled)
    as_kind(directory, kind)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, "are both", twin, f"_orig_mod.{twin}")


def test_a_classifiers_head_in_a_language_models_file_is_left_out_by_name(directory, tiny_model):
    edit_tensors(directory, lambda tensors: tensors | {"score.weight": torch.ones(3, 32)})
    assert same_parameters(weights.load_language_model(directory), tiny_model)
    assert list(weights.open_directory(directory).skipped) == ["score.weight"]


def test_a_language_models_file_is_no_classifiers(directory):
    edit_config(directory, architectures=["GPT2ForSequenceClassification"])
    with pytest.raises(ValueError) as error:
        weights.load_classifier(directory)
    assert_one_sentence(error, directory, "score.weight", "missing")


TYPES = [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn]
TYPES = [dtype for dtype in TYPES if dtype in _SIZE]  # older safetensors have no complex numbers


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("name", ["transformer.h.0.mlp.c_fc.weight", "lm_head.weight"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_numbers_that_are_no_floats_are_refused_by_name_and_type(directory, dtype, name, kind):
    """int8 matrices were loaded as if their scale were one."""

    def edit(tensors):
        tensors[name] = tensors.get(name, tensors[WTE]).clone().to(dtype)

    edit_tensors(directory, edit)
    as_kind(directory, kind)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, name, str(dtype).removeprefix("torch."))


def test_a_number_that_float16_does_not_hold_is_refused_when_it_is_loaded(directory):
    edit_tensors(directory, replaced(with_number(1e6)))
    assert weights.load_language_model(directory)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory, dtype=torch.float16)
    assert_one_sentence(error, directory, NAME, "too large for torch.float16")


# --- which file is read ------------------------------------------------------------------------


@pytest.fixture
def sharded(theirs, tmp_path):
    """A directory in shards, its index's weight_map, and a function that writes the map anew."""
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    placed = json.loads((tmp_path / weights.INDEX_FILE).read_text())["weight_map"]

    def write(placed):
        (tmp_path / weights.INDEX_FILE).write_text(json.dumps({"weight_map": placed}))

    return tmp_path, placed, write


@torch.no_grad()
@pytest.mark.parametrize("shards", ["gone", "there", "pickles"])
def test_one_file_comes_before_a_left_over_index(theirs, sharded, ids, tmp_path, shards):
    """As in transformers; the shards' old weights were loaded, and converted with a receipt."""
    from transformers import GPT2LMHeadModel

    for parameter in theirs.parameters():
        parameter += 0.1
    if shards == "pickles":
        save_state(theirs.state_dict(), tmp_path)
    else:
        theirs.save_pretrained(tmp_path / "new")
        shutil.copy(tmp_path / "new" / weights.WEIGHTS_FILE, tmp_path)
    if shards != "there":
        for path in tmp_path.glob("model-*"):
            path.unlink()
    if shards == "pickles":
        (tmp_path / weights.INDEX_FILE).unlink()
    assert_loads_as(tmp_path, theirs, ids)
    if shards != "pickles":
        assert_loads_as(tmp_path, GPT2LMHeadModel.from_pretrained(tmp_path).eval(), ids)
        assert weights.hash_weights(tmp_path) == weights.hash_file(tmp_path / weights.WEIGHTS_FILE)


def test_the_index_says_which_file_a_tensor_is_read_from(theirs, sharded, ids):
    """The last file that held a tensor of the name was read."""
    directory, placed, _ = sharded
    name, last = min(placed), max(placed.values())
    assert placed[name] != last
    old = load_file(directory / last) | {name: torch.zeros_like(theirs.state_dict()[name])}
    save_file(old, directory / last)
    assert_loads_as(directory, theirs, ids)


def test_a_tensor_that_the_index_does_not_name_is_read_as_transformers_does(theirs, sharded, ids):
    directory, placed, write = sharded
    write({name: file for name, file in placed.items() if name != NAME})
    assert_loads_as(directory, theirs, ids)


def test_a_tensor_that_is_not_where_the_index_says_is_named(sharded):
    directory, placed, write = sharded
    other = next(file for file in placed.values() if file != placed[NAME])
    write(placed | {NAME: other})
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory / other, NAME, "index")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../b", "..", ""])
def test_an_index_does_not_lead_out_of_its_directory(sharded, name):
    directory, placed, write = sharded
    write(placed | {NAME: name})
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory / weights.INDEX_FILE, repr(name))


POINTER = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 497774208\n"
)


def check_and_load(directory):
    weights.check_receipt(directory)
    return weights.load_language_model(directory)


@pytest.mark.parametrize("form", ["whole", "shards", "index", "bin", "config", "receipt"])
def test_a_git_lfs_pointer_is_named_with_the_way_out(theirs, tmp_path, form):
    """A clone without git-lfs has 130 bytes of text in place of each large file: "damaged"."""
    theirs.save_pretrained(
        tmp_path, max_shard_size="40KB" if form in ("shards", "index") else "1GB"
    )
    if form == "bin":
        as_kind(tmp_path, "bin")
    files = {"config": "config.json", "receipt": "receipt.json", "index": "*.index.json"}
    paths = list(tmp_path.glob(files.get(form, "*model*"))) or [tmp_path / files[form]]
    if form == "shards":
        paths = sorted(tmp_path.glob("model-*"))[1:]
    for path in paths:
        path.write_text(POINTER)
    with pytest.raises(ValueError) as error:
        check_and_load(tmp_path)
    assert_one_sentence(error, paths[0], "git-lfs pointer", "git lfs pull")


# --- round trips -----------------------------------------------------------------------------


def test_saving_and_loading_gives_back_every_bit(tiny_model, directory):
    loaded = weights.load_language_model(directory)
    assert same_parameters(loaded, tiny_model)
    assert loaded.config == tiny_model.config
    assert not loaded.training


def test_saving_and_loading_a_classifier_gives_back_every_bit(
    tiny_config, make_classifier, tmp_path, vocabulary
):
    model = make_classifier(replace(tiny_config, labels=LABELS))
    weights.save(model, tmp_path / "news", vocabulary=vocabulary)
    loaded = weights.load_classifier(tmp_path / "news")
    assert same_parameters(loaded, model)
    assert loaded.transformer.config == model.transformer.config
    backbone = weights.load_language_model(tmp_path / "news")
    assert same_parameters(backbone, model.transformer)
    assert backbone.config.labels == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_the_rounded_model(tiny_model, tmp_path, vocabulary, dtype):
    weights.save(tiny_model, tmp_path / "half", vocabulary=vocabulary, dtype=dtype)
    stored = load_file(tmp_path / "half" / weights.WEIGHTS_FILE)
    assert {value.dtype for value in stored.values()} == {dtype}
    full = weights.load_language_model(tmp_path / "half")
    for name, value in full.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tiny_model.state_dict()[name].to(dtype).float()), name
    half = weights.load_language_model(tmp_path / "half", dtype=dtype)
    assert half.dtype == dtype
    assert same_parameters(half.float(), full)


def test_a_saved_directory_holds_gpt2s_own_vocabulary(directory, vocabulary):
    for name in ("vocab.json", "merges.txt"):
        assert (directory / name).read_bytes() == (vocabulary / name).read_bytes()


def test_projections_are_stored_in_by_out_as_openai_and_hugging_face_do(directory):
    stored = load_file(directory / weights.WEIGHTS_FILE)
    assert stored["transformer.h.0.attn.c_attn.weight"].shape == (32, 96)
    assert stored["transformer.h.0.mlp.c_fc.weight"].shape == (32, 128)
    assert stored["transformer.h.0.mlp.c_proj.weight"].shape == (128, 32)


# --- OpenAI's variables ----------------------------------------------------------------------


def test_openais_variables_give_back_every_bit(tiny_model):
    variables = openai_files.variables_of(tiny_model)
    assert same_parameters(openai_files.model_of(variables, tiny_model.config), tiny_model)


def test_openais_variables_have_openais_names_and_shapes(tiny_model):
    variables = openai_files.variables_of(tiny_model)
    assert set(variables) == set(weights.tf_names(3))
    assert {value.dtype for value in variables.values()} == {np.dtype(np.float32)}
    assert variables["model/wte"].shape == (97, 32)
    assert variables["model/h1/attn/c_attn/w"].shape == (1, 32, 96)
    assert variables["model/h1/mlp/c_proj/w"].shape == (1, 128, 32)
    assert variables["model/h2/ln_1/g"].shape == (32,)


def test_a_layer_of_one_neuron_is_not_squeezed_away(make_model):
    """np.squeeze on [1, in, out] would also drop an `in` or `out` of 1."""
    model = make_model(GPT2Config(vocab_size=7, n_ctx=5, n_embd=1, n_layer=1, n_head=1))
    variables = openai_files.variables_of(model)
    assert variables["model/h0/attn/c_proj/w"].shape == (1, 1, 1)
    assert same_parameters(openai_files.model_of(variables, model.config), model)


# --- config.json that can't be used ----------------------------------------------------------


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        weights.load_language_model(tmp_path / "nowhere")
    assert_one_sentence(error, tmp_path / "nowhere", "no such directory")


def test_a_directory_without_config_is_named(directory):
    (directory / "config.json").unlink()
    with pytest.raises(FileNotFoundError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, "config.json")


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"{}", "lacks vocab_size, n_embd, n_layer, n_head"),
    ],
)
def test_a_broken_config_file_is_named(directory, content, mention):
    (directory / "config.json").write_bytes(content)
    with pytest.raises(ValueError) as error:
        weights.read_config(directory)
    assert_one_sentence(error, directory / "config.json", mention)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "gelu"),
        ("activation_function", "quick_gelu"),
        ("activation_function", None),
        ("activation_function", ["gelu_new"]),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("per_layer_config", {"0": {"n_head": 1}}),
        ("pruned_heads", {"0": [1]}),
        ("architectures", ["GPT2DoubleHeadsModel"]),
        ("architectures", ["GPT2ForTokenClassification"]),
        ("architectures", ["GPT2LMHeadModel", "GPT2ForQuestionAnswering"]),
        ("architectures", "GPT2LMHeadModel"),
        ("hidden_size", 64),
        ("tie_word_embeddings", None),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("n_inner", 99),
        ("n_head", 5),
        ("n_layer", "three"),
        ("n_embd", None),
        ("vocab_size", 0),
        ("layer_norm_epsilon", "small"),
        ("layer_norm_epsilon", math.inf),
        ("layer_norm_epsilon", math.nan),
        ("layer_norm_epsilon", True),
    ],
)
def test_a_config_of_another_kind_is_refused_by_key_and_value(directory, key, value):
    edit_config(directory, **{key: value})
    with pytest.raises(ValueError) as error:
        weights.read_config(directory)
    assert_one_sentence(error, directory / "config.json", key)


@torch.no_grad()
def test_every_name_of_the_tanh_gelu_is_read_and_no_other(directory):
    """A fine-tune of today says gelu_pytorch_tanh, and was refused."""
    from transformers.activations import ACT2FN

    x = torch.linspace(-8, 8, 2001)
    wanted = torch.nn.functional.gelu(x, approximate="tanh")
    for name in set(ACT2FN) - {"xielu"}:  # which wants CUDA
        edit_config(directory, activation_function=name)
        if torch.allclose(ACT2FN[name](x), wanted, atol=1e-5):
            assert weights.load_language_model(directory)
        else:
            with pytest.raises(ValueError, match=f"activation_function is '{name}'"):
                weights.read_config(directory)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"])
def test_a_model_of_either_name_of_the_tanh_gelu_gives_transformers_logits(
    theirs, tmp_path, ids, name
):
    from transformers import GPT2LMHeadModel

    theirs.config.activation_function = name
    theirs.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["activation_function"] == name
    assert_loads_as(tmp_path, GPT2LMHeadModel.from_pretrained(tmp_path).eval(), ids)
    assert_loads_as(tmp_path, theirs, ids)  # which was made with gelu_new


def test_what_leaves_the_arithmetic_alone_is_read(directory):
    harmless = {"reorder_and_upcast_attn": True, "n_inner": 128, "rope_theta": 1e4, "n_ctx": 7}
    before = weights.read_config(directory)
    edit_config(directory, **harmless, problem_type="regression", num_labels=1, attn_pdrop=0.5)
    assert weights.read_config(directory) == before


def test_sizes_by_the_names_of_other_models_and_a_byte_order_mark_are_read(directory):
    path = directory / "config.json"
    raw, before = json.loads(path.read_text()), weights.read_config(directory)
    for alias, name in (("hidden_size", "n_embd"), ("num_hidden_layers", "n_layer")):
        raw[alias] = raw.pop(name)
    path.write_text(json.dumps(raw), encoding="utf-8-sig")
    assert weights.read_config(directory) == before


@pytest.mark.parametrize(
    ("values", "mention"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "0, 2"),
        ({"id2label": {"1": "a", "2": "b"}}, "1, 2"),
        ({"id2label": {"0": "a", "one": "b"}}, "0, one"),
        ({"id2label": {"0": "a", "1": None}}, "None"),
        ({"id2label": {"0": "a", "1": "a"}}, "two labels are 'a'"),
        ({"id2label": {"0": "a"}}, "at least 2"),
        ({"id2label": {}}, "at least 2"),
        ({"id2label": None, "num_labels": 1}, "num_labels is 1"),
        ({"id2label": None, "num_labels": "two"}, "num_labels is 'two'"),
        ({"problem_type": "regression"}, "problem_type is 'regression'"),
        ({"problem_type": "multi_label_classification"}, "problem_type"),
    ],
)
def test_labels_that_do_not_name_each_class_are_refused(
    classifier_directory, tmp_path, values, mention
):
    broken = shutil.copytree(classifier_directory, tmp_path / "broken")
    edit_config(broken, **values)
    with pytest.raises(ValueError) as error:
        weights.load_classifier(broken)
    assert_one_sentence(error, broken / "config.json", mention)


def test_labels_are_in_the_order_of_their_ids(classifier_directory, tmp_path):
    mixed = shutil.copytree(classifier_directory, tmp_path / "mixed")
    edit_config(mixed, id2label={"3": "d", "0": "a", "2": "c", "1": "b"})
    assert weights.read_config(mixed).labels == ("a", "b", "c", "d")


@pytest.mark.parametrize("labels", [["World", "Sports"], {"first": "World"}, "World", {"0": "W"}])
def test_labels_that_are_no_numbered_names_are_refused(classifier_directory, tmp_path, labels):
    broken = tmp_path / "broken"
    shutil.copytree(classifier_directory, broken)
    edit_config(broken, id2label=labels)
    with pytest.raises(ValueError) as error:
        weights.load_classifier(broken)
    assert_one_sentence(error, broken)


def test_a_language_model_is_refused_as_a_classifier(directory):
    with pytest.raises(ValueError) as error:
        weights.load_classifier(directory)
    assert_one_sentence(error, directory, "no classifier")


def test_the_old_key_n_ctx_is_read(directory):
    path = directory / "config.json"
    raw = json.loads(path.read_text())
    del raw["n_positions"]
    path.write_text(json.dumps(raw))
    assert weights.read_config(directory).n_ctx == 24


# --- weights that can't be used --------------------------------------------------------------

NAME = "transformer.h.1.attn.c_attn.weight"


def replaced(value):
    def change(tensors):
        tensors[NAME] = value(tensors[NAME])

    return change


def with_number(number):
    def change(tensor):
        tensor[3, 4] = number
        return tensor

    return change


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        pytest.param(
            lambda tensors: {k: v for k, v in tensors.items() if k != NAME},
            ["1 ", "missing", "h.1.attn.c_attn.weight"],
            id="missing",
        ),
        pytest.param(
            lambda tensors: tensors | {"transformer.h.3.ln_1.bias": torch.zeros(32)},
            ["transformer.h.3.ln_1.bias", "no place"],
            id="extra",
        ),
        pytest.param(replaced(lambda t: t.t()), [NAME, "(96, 32)"], id="transposed"),
        pytest.param(replaced(lambda t: t[:, :-1]), [NAME, "(32, 95)"], id="narrow"),
        pytest.param(replaced(lambda t: t[None]), [NAME, "(1, 32, 96)"], id="3 dimensions"),
        pytest.param(replaced(lambda t: t[0]), [NAME, "(96,)"], id="1 dimension"),
        pytest.param(replaced(with_number(float("nan"))), [NAME, "NaN"], id="NaN"),
        pytest.param(replaced(with_number(float("-inf"))), [NAME, "infinite"], id="infinite"),
        pytest.param(
            lambda tensors: tensors | {"lm_head.weight": torch.zeros(97, 32)},
            ["lm_head.weight", "wte.weight", "tied"],
            id="untied",
        ),
        pytest.param(
            lambda tensors: tensors | {"lm_head.weight": torch.zeros(96, 32)},
            ["lm_head.weight", "wte.weight"],
            id="untied and short",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(directory, change, mentions):
    edit_tensors(directory, change)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, *mentions)


def test_a_config_of_more_layers_than_the_file_has_is_refused(directory):
    edit_config(directory, n_layer=4)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, "12 tensors are missing", "h.3.")


@pytest.mark.parametrize("size", [0, 4, 300, -1])
def test_a_truncated_file_is_called_damaged(directory, size):
    path = directory / weights.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, path, "damaged")


def test_a_missing_weights_file_is_named(directory):
    (directory / weights.WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory, weights.WEIGHTS_FILE)


def test_a_missing_shard_is_named(theirs, tmp_path):
    theirs.save_pretrained(tmp_path, max_shard_size="40KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(FileNotFoundError) as error:
        weights.load_language_model(tmp_path)
    assert_one_sentence(error, tmp_path, shard.name)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": ["model.safetensors"]}'])
def test_a_broken_index_of_shards_is_named(directory, content):
    (directory / weights.WEIGHTS_FILE).unlink()
    (directory / weights.INDEX_FILE).write_text(content)
    with pytest.raises(ValueError) as error:
        weights.load_language_model(directory)
    assert_one_sentence(error, directory / weights.INDEX_FILE)


# --- saving is whole or not at all -----------------------------------------------------------


@pytest.fixture
def other(tiny_config, make_model):
    """A model that is not the one in `directory`."""
    return make_model(tiny_config, seed=99)


def disk_full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("failure", [disk_full, interrupted])
@pytest.mark.parametrize(
    "place",
    [
        "saving.write_safetensors",
        "saving.config_json",
        "saving.copy_vocabulary",
        "atomic.os.fsync",
    ],
)
def test_a_failed_save_leaves_the_old_model_and_no_scratch(
    monkeypatch, directory, tiny_model, other, vocabulary, place, failure
):
    with monkeypatch.context() as patch:
        patch.setattr(f"gpt2.weights.{place}", failure)
        with pytest.raises((OSError, KeyboardInterrupt)):
            weights.save(other, directory, vocabulary=vocabulary)
    assert same_parameters(weights.load_language_model(directory), tiny_model)
    assert list(directory.parent.iterdir()) == [directory]
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "merges.txt",
        "model.safetensors",
        "vocab.json",
    ]


def test_a_failed_first_save_leaves_nothing(monkeypatch, tiny_model, tmp_path, vocabulary):
    monkeypatch.setattr("gpt2.weights.saving.write_safetensors", disk_full)
    with pytest.raises(OSError):
        weights.save(tiny_model, tmp_path / "new", vocabulary=vocabulary)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_dies_while_files_move_leaves_no_directory_that_looks_whole(
    monkeypatch, directory, other, vocabulary
):
    real, moved = os.replace, []

    def second_move_fails(source, target):
        if moved:
            disk_full()
        moved.append(target)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second_move_fails)
        with pytest.raises(OSError):
            weights.save(other, directory, vocabulary=vocabulary)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        weights.load_language_model(directory)
    weights.save(other, directory, vocabulary=vocabulary)
    assert same_parameters(weights.load_language_model(directory), other)


def test_saving_again_replaces_the_model_and_keeps_other_files(directory, other, vocabulary):
    (directory / "metrics.json").write_text("{}")
    weights.save(other, directory, vocabulary=vocabulary)
    assert same_parameters(weights.load_language_model(directory), other)
    assert (directory / "metrics.json").read_text() == "{}"


def test_saving_over_a_directory_in_shards_does_not_leave_the_old_model_there(
    theirs, tmp_path, other, vocabulary
):
    """The old index named the old shards, so the weights just saved were never read."""
    theirs.save_pretrained(tmp_path / "model", max_shard_size="40KB")
    weights.save(other, tmp_path / "model", vocabulary=vocabulary)
    assert same_parameters(weights.load_language_model(tmp_path / "model"), other)


def test_saving_a_model_where_its_own_vocabulary_stands(directory, other):
    weights.save(other, directory, vocabulary=directory)
    assert same_parameters(weights.load_language_model(directory), other)


def test_a_vocabulary_that_is_missing_is_named(tiny_model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.json"):
        weights.save(tiny_model, tmp_path / "new", vocabulary=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_a_saved_directory_can_be_read_by_others(directory):
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o644}


# --- fingerprints and what a killed run leaves -------------------------------------------------


def test_the_fingerprint_is_that_of_the_files_that_are_read(tmp_path):
    """All of the directory's safetensors were hashed, a left-over shard too."""
    for name in ("model-1", "model-2", "model-3"):
        (tmp_path / f"{name}.safetensors").write_text(name)
    placed = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    (tmp_path / weights.INDEX_FILE).write_text(json.dumps({"weight_map": placed}))
    both = "".join(hashlib.sha256(name).hexdigest() for name in (b"model-1", b"model-2"))
    assert weights.hash_weights(tmp_path) == hashlib.sha256(both.encode()).hexdigest()
    (tmp_path / weights.WEIGHTS_FILE).write_text("whole")
    assert weights.hash_weights(tmp_path) == hashlib.sha256(b"whole").hexdigest()


def test_a_hash_follows_the_file(tmp_path):
    path = tmp_path / "file"
    for content in (b"one", b"three"):
        path.write_bytes(content)
        assert weights.hash_file(path) == hashlib.sha256(content).hexdigest()


def test_a_language_model_saved_from_a_classifiers_backbone_is_a_language_model(
    tiny_config, make_model, tmp_path, vocabulary
):
    backbone = make_model(replace(tiny_config, labels=LABELS), seed=3)
    weights.save(backbone, tmp_path / "model", vocabulary=vocabulary)
    assert weights.read_config(tmp_path / "model").labels == ()
    assert same_parameters(weights.load_language_model(tmp_path / "model"), backbone)


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from gpt2 import weights
with weights.whole_directory(sys.argv[2]) as work:
    (work / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_left_is_removed_by_the_next_and_by_no_neighbour(tmp_path, root, starter):
    """A scratch directory of many gigabytes stayed there for ever."""
    command = [sys.executable, "-c", KILLED, str(root), str(tmp_path / "model")]
    assert starter.run(command).returncode == -9
    assert len(glob.glob(f"{tmp_path}/.model-*")) == 1
    with weights.whole_directory(tmp_path / "model") as work:
        assert glob.glob(f"{tmp_path}/.model-*") == [str(work)]
        with weights.whole_directory(tmp_path / "model"):
            assert work.is_dir()
