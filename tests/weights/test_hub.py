"""Which files a size means, that they are checked, and what is said without a network."""

import re
import shutil
import time

import openai_files
import pytest
import torch

import convert
from gpt2 import weights
from gpt2.config import SIZES, GPT2Config
from gpt2.conversion import receipt
from gpt2.weights import hub
from gpt2.weights.hub import Pin, find_directory


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub; the network is off."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def cached(cache, model_directory, monkeypatch):
    """A tiny model in the cache as the hub puts one there, in place of 124M: its blob's path."""
    pin = hub.PINS["124M"]
    digest = weights.hash_file(model_directory / weights.WEIGHTS_FILE)
    monkeypatch.setitem(hub.PINS, "124M", Pin(pin.repository, pin.revision, digest))
    place = cache / f"models--{pin.repository.replace('/', '--')}"
    snapshot, blobs = place / "snapshots" / pin.revision, place / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in hub.FILES:
        blob = blobs / weights.hash_file(model_directory / name)
        shutil.copy(model_directory / name, blob)
        (snapshot / name).symlink_to(blob)
    return blobs / digest


def test_every_size_has_a_pinned_commit():
    assert hub.PINS.keys() == SIZES.keys()
    for pin in hub.PINS.values():
        assert re.fullmatch("[0-9a-f]{40}", pin.revision)
        assert re.fullmatch("([0-9a-f]{64})?", pin.sha256)


def test_a_size_in_the_cache_is_used_without_a_network(cached):
    directory = hub.fetch("124M")
    assert {path.name for path in directory.iterdir()} == set(hub.FILES)
    assert weights.load_language_model(directory)


def test_a_size_can_be_converted(cached, tmp_path):
    assert convert.main(["124M", "--out", str(tmp_path / "out")]) == 0
    assert weights.load_language_model(tmp_path / "out")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    path = tmp_path / "folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.mark.parametrize("downloaded", [True, False])
@pytest.mark.parametrize("form", ["model directory", "TensorFlow", "nanoGPT"])
@pytest.mark.slow
def test_a_size_that_stands_here_is_read_from_here(
    request, here, model_directory, make_model, capsys, form, downloaded
):
    """`convert.py 124M` where ./124M is OpenAI's own folder went to the network."""
    request.getfixturevalue("cached" if downloaded else "cache")
    config = GPT2Config(n_ctx=48, n_embd=64, n_layer=2, n_head=1)
    model = make_model(config, seed=8)
    if form == "model directory":
        weights.save(model, here / "124M", vocabulary=model_directory)
    elif form == "TensorFlow":
        variables = openai_files.variables_of(model)
        openai_files.write(here / "124M", variables, config, model_directory)
    else:
        (here / "124M").mkdir()
        args = {"n_layer": 2, "n_head": 1, "n_embd": 64, "block_size": 48, "vocab_size": 50257}
        torch.save({"model": model.state_dict(), "model_args": args}, here / "124M" / "ckpt.pt")
    assert convert.main(["124M", "--out", "out", "--vocab", str(model_directory)]) == 0
    found = weights.load_language_model(here / "out").state_dict()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    source = {"TensorFlow": "124M/model.ckpt", "nanoGPT": "124M/ckpt.pt"}.get(form, "folder/124M")
    assert f" {source}: vocab_size" in capsys.readouterr().out
    assert receipt.read("out")["source"] == source


def test_model_124M_means_the_folder_that_stands_here_and_else_the_download(
    here, cached, model_directory
):
    assert find_directory("124M").parent.name == "snapshots"
    shutil.copytree(model_directory, here / "124M")
    assert find_directory("124M") == here / "124M"


def test_what_stands_here_by_a_sizes_name_and_holds_no_model_is_refused_by_its_path(
    here, cached, tmp_path, capsys
):
    """Not fetched in silence: the folder may be a copy that went wrong."""
    (here / "124M").mkdir()
    with pytest.raises(FileNotFoundError, match="124M is no model directory"):
        find_directory("124M")
    assert convert.main(["124M", "--out", "out"]) == 1
    assert f"{here / '124M'} holds no checkpoint" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_size_that_is_not_here_is_asked_of_the_hub(here, cache):
    (here / "355M").mkdir()  # another
    with pytest.raises(FileNotFoundError, match="124M is not here and could not be downloaded"):
        find_directory("124M")


@pytest.mark.parametrize("pinned", [True, False])
def test_a_damaged_download_is_refused_by_its_path(cached, monkeypatch, pinned):
    """With no sha256 pinned, the blob's name is the one that the hub stated."""
    if not pinned:
        pin = hub.PINS["124M"]
        monkeypatch.setitem(hub.PINS, "124M", Pin(pin.repository, pin.revision))
    raw = bytearray(cached.read_bytes())
    raw[70_000] ^= 1
    cached.write_bytes(raw)
    with pytest.raises(ValueError, match="is not the file that was published") as error:
        hub.fetch("124M")
    assert str(cached) in str(error.value)


def test_without_a_network_one_sentence_says_which_files_to_get(cache, tmp_path, capsys):
    start = time.monotonic()
    assert convert.main(["355M", "--out", str(tmp_path / "out")]) == 1
    assert time.monotonic() - start < 15  # it took half a minute of vain attempts
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    for word in ("355M", "huggingface.co/openai-community/gpt2-medium", *hub.FILES):
        assert word in text
    assert not (tmp_path / "out").exists()


def test_another_size_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no GPT-2 of size '1B'.*124M, 355M, 774M, 1558M"):
        hub.fetch("1B")
