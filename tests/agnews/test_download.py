"""A real download from a server here, checked, and offline in one sentence."""

import functools
import hashlib
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

import finetune_agnews
from gpt2.agnews import download as agnews_files
from gpt2.agnews.download import SHA256, find_or_download

FILES = {"train.csv": b'"1","a","b"\n"2","c","d"\n', "test.csv": b'"3","e","f"\n'}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves FILES in the place of GitHub; the requests it has answered."""
    site, asked = tmp_path / "site", []
    site.mkdir()
    for name, content in FILES.items():
        (site / name).write_bytes(content)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(agnews_files, "URL", f"http://127.0.0.1:{served.server_port}/")
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
        monkeypatch.setattr(agnews_files, "SHA256", sums)
        yield asked
        served.shutdown()
        thread.join()


def test_missing_files_are_downloaded_once(server, tmp_path):
    place = tmp_path / "data" / "agnews"
    assert find_or_download(place) == place
    assert {path.name: path.read_bytes() for path in place.iterdir()} == FILES
    find_or_download(place)
    assert server == ["/train.csv", "/test.csv"]


def test_a_file_that_stands_there_is_left_alone(server, tmp_path):
    (tmp_path / "train.csv").write_text("mine")
    find_or_download(tmp_path)
    assert (tmp_path / "train.csv").read_text() == "mine"
    assert server == ["/test.csv"]


def test_a_file_that_is_not_the_published_one_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(agnews_files, "SHA256", SHA256)
    with pytest.raises(ValueError) as error:
        find_or_download(tmp_path / "data")
    assert "train.csv is not the file that was published" in str(error.value)
    assert SHA256["train.csv"] in str(error.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_the_server_does_not_have_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(agnews_files, "URL", agnews_files.URL + "gone/")
    with pytest.raises(FileNotFoundError, match=r"train\.csv could not be downloaded .*404"):
        find_or_download(tmp_path / "data")


def test_offline_the_program_says_where_to_put_the_files(tmp_path, monkeypatch, capsys):
    """A port that nobody listens on; the error comes at once and leaves nothing but the place."""
    monkeypatch.setattr(agnews_files, "URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(agnews_files, "DIRECTORY", tmp_path / "data")
    start = time.monotonic()
    assert finetune_agnews.main(["--out", str(tmp_path / "out")]) == 1
    assert time.monotonic() - start < agnews_files.TIMEOUT
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert f"put train.csv and test.csv into {tmp_path / 'data'}" in error
    assert "--data" in error
    assert not (tmp_path / "out").exists()


def test_a_server_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(agnews_files, "TIMEOUT", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(agnews_files, "URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        start = time.monotonic()
        with pytest.raises(FileNotFoundError, match="timed out"):
            find_or_download(tmp_path)
    assert time.monotonic() - start < 5
    assert socket.getdefaulttimeout() is None
    assert list(tmp_path.iterdir()) == []
