"""gpt2.hub: which files a size means, that they are checked, and what is said without a network."""

import re
import shutil
import time

import pytest

import convert
from gpt2 import hub, weights
from gpt2.config import SIZES
from gpt2.hub import Pin


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
    with pytest.raises(ValueError, match="no GPT-2 of size '1B'.*124M, 355M, 774M, 1558M"):
        hub.fetch("1B")
