"""The public link of --share: a program of Gradio's (frpc) holds a tunnel to a server of theirs.

Gradio itself opens it before anybody is told where the page is, has whoever comes through it load
scripts from a third place, waits for ever for a program that says nothing, and reads nothing of it
later, so that one with much to say stands still in the end. Here the page is open first, and the
program is listened to as long as it runs.
"""

import logging
import re
import secrets
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

import httpx
from gradio import networking, tunneling
from gradio.exceptions import ChecksumMismatchError

log = logging.getLogger(__name__)

SECONDS = 30.0  # that the tunnel may take to open, once its program is there
ENDING = 1.0  # its program's end is no news if this one ends within so many seconds
# What its program says, in any version of it.
OPEN = re.compile(rb"start proxy success: (\S+)")
LOST = b"connect to server"  # "try to reconnect to server...", "reconnect to server error: ..."


class Tunnel(tunneling.Tunnel):
    """As Gradio's, listened to, and without a word of its own."""

    def __init__(self, *where: object) -> None:
        """As Gradio's."""
        super().__init__(*where)
        self._ended = Event()

    @staticmethod
    def download_binary() -> None:
        """As Gradio's; a program that arrived damaged is not left there for the next start."""
        place = Path(tunneling.BINARY_PATH)
        was_there = place.exists()
        try:
            tunneling.Tunnel.download_binary()
        except BaseException:
            if not was_there:
                with suppress(OSError):
                    place.unlink()
            raise

    def kill(self) -> None:
        """End the program; called at the end of this one too."""
        self._ended.set()
        if self.proc is not None:
            self.proc.terminate()

    def _read_url_from_tunnel_stream(self) -> str:
        said: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._listen, args=(said,), daemon=True).start()
        Thread(target=deque, args=(self.proc.stderr, 0), daemon=True).start()  # read, not kept
        try:
            url = said.get(timeout=SECONDS)
        except Empty:
            url = ""
        if not url and not self._ended.wait(ENDING):
            self.kill()
            raise ConnectionError("the tunnel's server does not answer")
        return url

    def _listen(self, said: SimpleQueue[str]) -> None:
        """Put the link's address there, nothing if there is none; then log what becomes of it."""
        url, lost = "", False
        for line in self.proc.stdout:
            if found := OPEN.search(line):
                url = found[1].decode("ascii", "replace")
                said.put(url)
                if lost:
                    log.warning("The public link is there again: %s", url)
                lost = False
            elif url and not lost and LOST in line:
                lost = True
                log.warning("The public link is lost for now; its tunnel is being opened again.")
        said.put("")
        if url and not self._ended.wait(ENDING):
            log.warning(
                "The public link is gone, as its tunnel has ended; start again for another."
            )


def open_link(host: str, port: int) -> str:
    """Open a tunnel to the page, until this program ends; the address of the public link.

    It is empty if the program has ended meanwhile.

    GRADIO_SHARE_SERVER_ADDRESS names another server than Gradio's, HOST:PORT.

    Args:
        host: that the page listens on.

    Raises:
        OSError: there is none, in words that go into a sentence.
    """
    networking.Tunnel = Tunnel
    # Beside the program, and not in the directory that somebody happens to be in.
    networking.CERTIFICATE_PATH = str(tunneling.BINARY_FOLDER / "certificate.pem")
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        return networking.setup_tunnel(local, port, secrets.token_urlsafe(32), None, None)
    except ConnectionError:
        raise
    except (RuntimeError, httpx.HTTPError):
        raise ConnectionError("the tunnel's server can't be reached") from None
    except ChecksumMismatchError:
        raise OSError("the tunnel's program arrived damaged; try again") from None
    except ValueError:
        address = networking.GRADIO_SHARE_SERVER_ADDRESS
        raise OSError(f"GRADIO_SHARE_SERVER_ADDRESS is {address!r}, not HOST:PORT") from None
    except OSError as error:
        words = f"its program can't be kept or run: {error.strerror} ({error.filename})"
        raise OSError(words) from None
