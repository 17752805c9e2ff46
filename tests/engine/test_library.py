"""gpt2.engine.library: models by name, what is kept in memory, and what a broken directory says."""

import hashlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from gpt2 import weights
from gpt2.config import GPT2Config
from gpt2.engine.catalog import Catalog
from gpt2.engine.library import Library
from gpt2.engine.request import Limits
from gpt2.model import parameter_count
from gpt2.weights import hub
from gpt2.weights.hub import find_directory

pytestmark = pytest.mark.slow  # loads models over and over

CPU = torch.device("cpu")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch, model_directory, classifier_directory):
    """A checkpoints/ of three language models and a classifier, which tests may damage."""
    path = tmp_path / "checkpoints"
    for name in ("a", "b", "c"):
        shutil.copytree(model_directory, path / name)
    shutil.copytree(classifier_directory, path / "news")
    monkeypatch.setattr(hub, "CHECKPOINTS", path)
    return path


def make_library(model="a", classifier="news", *, keep=2, dtype=torch.float32):
    catalog = Catalog(model, classifier, Limits())
    return Library(catalog, device=CPU, dtype=dtype, keep=keep)


# --- names -----------------------------------------------------------------------------------


def test_it_lists_the_defaults_first_and_then_the_others(checkpoints):
    made = make_library("b")
    assert made.catalog.models == ["b", "a", "c"]
    assert made.catalog.classifiers == ["news"]


def test_a_directory_elsewhere_gets_its_own_name(checkpoints, model_directory, tmp_path):
    shutil.copytree(model_directory, tmp_path / "elsewhere" / "c")
    made = make_library(str(tmp_path / "elsewhere" / "c"))
    assert made.catalog.models == ["c", "a", "b", "c'"]
    assert made.catalog.directory("c") == tmp_path / "elsewhere" / "c"
    assert made.catalog.directory("c'") == checkpoints / "c"


def test_a_path_to_a_shipped_model_is_that_model(checkpoints):
    assert make_library(str(checkpoints / "a")).catalog.models == ["a", "b", "c"]


def test_an_unknown_name_is_told_with_those_there_are(checkpoints):
    with pytest.raises(ValueError, match="no model 'x'; there are: a, news, b, c"):
        make_library().get("x")


def test_find_directory_prefers_a_name_and_takes_a_path(checkpoints, tmp_path):
    assert find_directory("a") == checkpoints / "a"
    assert find_directory(str(checkpoints / "b")) == checkpoints / "b"


@pytest.mark.parametrize("name", ["nowhere", "", "/", "a/config.json"])
def test_no_model_directory_is_told_with_the_names_there_are(checkpoints, name, monkeypatch):
    monkeypatch.chdir(checkpoints)
    with pytest.raises(FileNotFoundError, match=r"is no model directory.*a, b, c, news") as error:
        find_directory(name)
    assert "\n" not in str(error.value)


# --- memory ----------------------------------------------------------------------------------


def test_a_model_is_loaded_once_and_the_one_used_longest_ago_is_forgotten(checkpoints, monkeypatch):
    read = []
    load = weights.load_language_model

    def counted(directory, **place):
        read.append(directory.name)
        return load(directory, **place)

    monkeypatch.setattr(weights, "load_language_model", counted)
    made = make_library("a", keep=2)
    first = made.get("a")
    assert made.get("a") is first
    assert read == ["a"]
    made.get("b")
    made.get("a")  # b is now the one used longest ago
    made.get("c")
    assert read == ["a", "b", "c"]
    assert made.get("a") is first
    made.get("b")
    assert read == ["a", "b", "c", "b"]
    assert made.get("news").classifier is not None  # the other kind was left alone


def test_a_forgotten_model_still_serves_who_holds_it(checkpoints):
    made = make_library("a", keep=1)
    held = made.get("a")
    made.get("b")
    assert held.backbone(torch.tensor([[1, 2]])).shape == (1, 2, 50257)
    assert made.get("a") is not held


def test_a_model_in_memory_can_be_had_while_another_is_read(checkpoints, monkeypatch):
    """A large model took half a minute to load, and every page stood still for it."""
    made = make_library("a")
    reading, go_on = threading.Event(), threading.Event()
    load = weights.load_language_model

    def slow(*args, **place):
        reading.set()
        assert go_on.wait(30)
        return load(*args, **place)

    monkeypatch.setattr(weights, "load_language_model", slow)
    with ThreadPoolExecutor() as pool:
        wanted = [pool.submit(made.get, "b") for _ in range(2)]
        assert reading.wait(30)
        assert pool.submit(made.get, "a").result(timeout=30).name == "a"
        go_on.set()
        assert wanted[0].result(timeout=30) is wanted[1].result(timeout=30)


def test_weights_that_are_not_those_of_their_receipt_are_refused(checkpoints):
    path = checkpoints / "b" / weights.WEIGHTS_FILE
    receipt = {"weights_sha256": weights.hash_file(path)}
    (checkpoints / "b" / weights.RECEIPT_FILE).write_text(json.dumps(receipt))
    assert make_library().get("b").name == "b"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1  # still a number, and a wrong one
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"b/model.safetensors is damaged or was changed"):
        make_library().get("b")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_models_are_loaded_in_the_number_type_asked_for(checkpoints, dtype):
    """On a CPU bfloat16 and int8 are what the matrices are stored in."""
    made = make_library(dtype=dtype)
    for name in ("a", "news"):
        loaded = made.get(name)
        matrix, table = loaded.backbone.h[0].mlp.c_fc, loaded.backbone.wte
        if dtype == torch.float16:
            found, computed = (matrix.weight, table.weight), dtype
        else:
            found, computed = (matrix.stored, table.stored), torch.float32
        assert {tensor.dtype for tensor in found} == {dtype}
        assert loaded.backbone.dtype == computed
        assert loaded.classifier is None or loaded.classifier.score.weight.dtype == computed
        assert made.describe(name)["dtype"] == str(dtype).removeprefix("torch.")


# --- what it says of them --------------------------------------------------------------------


def test_describe_gives_shape_and_fingerprint(checkpoints):
    raw = (checkpoints / "b" / "model.safetensors").read_bytes()
    config = GPT2Config(n_ctx=64, n_embd=16, n_layer=2, n_head=2)
    assert make_library().describe("b") == {
        "name": "b",
        "parameters": parameter_count(config),
        "layers": 2,
        "heads": 2,
        "context": 64,
        "dtype": "float32",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "receipt": "",
    }


# --- refusals --------------------------------------------------------------------------------


def test_a_classifier_as_model_and_a_model_as_classifier_are_refused(checkpoints):
    with pytest.raises(ValueError, match="news is a classifier; --model takes a language model"):
        make_library("news", "news")
    with pytest.raises(ValueError, match=r"b is a language model.*--classifier takes a classifier"):
        make_library("a", "b")


def test_a_much_smaller_model_of_the_same_vocabulary_guesses(
    checkpoints, make_model, vocabulary, caplog
):
    """The smallest one; none where all are about as large, and none that can't be loaded."""
    wide = GPT2Config(n_ctx=64, n_embd=160, n_layer=2, n_head=4)
    weights.save(make_model(wide), checkpoints / "large", vocabulary=vocabulary)
    library = make_library("large", keep=4)
    assert library.catalog.smaller("large", times=4) == "a"
    assert library.catalog.smaller("a", times=4) is None
    assert library.catalog.smaller("large", times=1000) is None
    assert library.smaller("a") is None
    if not library.get("large").decoder.in_parts:
        assert library.smaller("large") is None  # where guesses can't be checked at once
        return
    assert library.smaller("large") is library.get("a").decoder
    again = make_library("large", keep=4)
    cut_weights(checkpoints / "a")
    assert again.smaller("large") is None
    assert "large is not guessed by a" in caplog.text


def change_config(path, **changes):
    raw = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(raw | changes))


def cut_weights(path):
    raw = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(raw[: len(raw) // 2])


BREAKS = {
    "weights cut short": (cut_weights, "model.safetensors is damaged"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), "is missing"),
    "no vocabulary": (lambda path: (path / "merges.txt").unlink(), "merges.txt is missing"),
    "other vocabulary": (lambda path: (path / "vocab.json").write_text("{}"), "no entry"),
    "config is no JSON": (lambda path: (path / "config.json").write_text("{"), "is not JSON"),
    "another model": (lambda path: change_config(path, model_type="bert"), "only gpt2"),
    "wrong shape": (lambda path: change_config(path, n_embd=32), "has shape"),
    "one layer more": (lambda path: change_config(path, n_layer=3), "tensors are missing"),
    "one layer less": (lambda path: change_config(path, n_layer=1), "no place in a model"),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("kind", ["a", "news"])
def test_a_broken_default_is_told_in_one_sentence(checkpoints, name, kind):
    damage, words = BREAKS[name]
    damage(checkpoints / kind)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        make_library()
    assert str(checkpoints / kind) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_with_another_vocabulary_is_refused(checkpoints, make_model, vocabulary):
    config = GPT2Config(vocab_size=97, n_ctx=8, n_embd=8, n_layer=1, n_head=1)
    weights.save(make_model(config), checkpoints / "odd", vocabulary=vocabulary)
    with pytest.raises(ValueError, match="50,257 tokens for a model with embeddings of 97"):
        make_library("odd")


def test_a_broken_neighbour_does_not_keep_the_others_from_starting(checkpoints, caplog):
    change_config(checkpoints / "b", model_type="bert")
    cut_weights(checkpoints / "c")
    made = make_library()
    assert made.catalog.models == ["a", "c"]
    assert "left out" in caplog.text
    assert "bert" in caplog.text
    with pytest.raises(ValueError, match="damaged"):
        made.get("c")
    assert made.get("a").name == "a"


def test_loaded_says_where_it_came_from(checkpoints):
    library = make_library()
    loaded = library.get("news")
    assert (loaded.name, library.catalog.directory("news")) == ("news", checkpoints / "news")
    assert loaded.backbone is loaded.classifier.transformer
    assert replace(loaded, name="x").name == "x"  # a record, not a handle
