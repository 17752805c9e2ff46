"""What becomes of --share when the program that holds the tunnel does what it should not.

tests/browser/test_public_link.py goes through a real tunnel.
"""

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from gradio import networking, tunneling

from gpt2.ui.server import tunnel
from gpt2.ui.server.tunnel import open_link

OPEN = "echo '[I] [control.go:1] [n] start proxy success: https://n.example'"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """program(*lines): what Gradio starts as the tunnel's program, a script of the shell."""

    def put(*lines):
        place = tmp_path / "frpc"
        place.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        place.chmod(0o755)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(place))
        return place

    monkeypatch.setattr(tunnel, "ENDING", 0.01)
    monkeypatch.setattr(tunneling, "CURRENT_TUNNELS", [])
    monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", "127.0.0.1:1")
    yield put
    for opened in tunneling.CURRENT_TUNNELS:
        opened.kill()
        if opened.proc is None:
            continue
        opened.proc.wait(timeout=5)
        for stream in (opened.proc.stdout, opened.proc.stderr):
            stream.close()


def until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_program_that_ends_without_a_word_is_told_at_once(program):
    """Gradio asked it for half a minute, and kept a core busy with it."""
    program("exit 1")
    begun = time.monotonic()
    with pytest.raises(OSError, match="does not answer"):
        open_link("127.0.0.1", 1)
    assert time.monotonic() - begun < 5


def test_a_program_that_stays_silent_is_ended(program, monkeypatch):
    monkeypatch.setattr(tunnel, "SECONDS", 0.1)
    program("exec sleep 60")
    with pytest.raises(OSError, match="does not answer"):
        open_link("127.0.0.1", 1)
    assert tunneling.CURRENT_TUNNELS[0].proc.wait(timeout=5)


def test_a_program_that_has_much_to_say_is_never_held_up(program, tmp_path):
    """It stood still once its first 64 kB had not been read, and the link with it."""
    much = "head -c 300000 /dev/zero | tr '\\0' x"
    program(OPEN, f"{much} >&2", f"{much}", f"touch {tmp_path}/through", "exec sleep 60")
    assert open_link("127.0.0.1", 1) == "https://n.example"
    until((tmp_path / "through").exists)


def test_a_lost_link_one_that_is_back_and_its_end_are_in_the_log(program, caplog):
    lost = "echo '[I] [service.go:1] try to reconnect to server...'"
    program(OPEN, lost, lost, OPEN)
    with caplog.at_level(logging.WARNING):
        open_link("127.0.0.1", 1)
        until(lambda: len(caplog.messages) == 3)
    assert "lost for now" in caplog.messages[0]
    assert caplog.messages[1] == "The public link is there again: https://n.example"
    assert "gone" in caplog.messages[2]


@pytest.mark.parametrize("address", ["somewhere", "somewhere:x", "a:1:2"])
def test_a_servers_address_that_is_none_is_named(program, monkeypatch, address):
    monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", address)
    with pytest.raises(OSError, match=f"'{address}', not HOST:PORT"):
        open_link("127.0.0.1", 1)


def test_a_program_that_can_not_be_run_is_named(program):
    place = program()
    place.chmod(0o644)
    with pytest.raises(OSError, match=f"Permission denied .{place}"):
        open_link("127.0.0.1", 1)


class Damaged(BaseHTTPRequestHandler):
    """Whoever asks for the program gets another one."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"#!/bin/sh\n")

    def log_message(self, *_):
        pass


def test_a_program_that_arrives_damaged_is_not_kept(program, monkeypatch):
    """The next start ran it, as nobody looks at a program that is there."""
    place = program()
    place.unlink()
    with HTTPServer(("127.0.0.1", 0), Damaged) as server:
        url = f"http://127.0.0.1:{server.server_port}/frpc"
        monkeypatch.setattr(tunneling, "BINARY_URL", url)
        monkeypatch.setitem(tunneling.CHECKSUMS, url, "0" * 64)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(OSError, match="damaged; try again"):
            open_link("127.0.0.1", 1)
        thread.join()
    assert not place.exists()
