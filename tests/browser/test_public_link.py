"""`app.py --share` through a real tunnel: frp's server and client, as Gradio's link uses them.

pytest -n 0 -m soak tests/browser/test_public_link.py: a minute. It needs frps and frpc, 0.52 or
later, on the path or in the directory that FRP names (github.com/fatedier/frp has them). Gradio's
own client is a frp that was changed: it is given a host and a port in one, has the server choose
the name, and says the whole address. A few lines of shell around frpc make up for these three. What
stands before Gradio's own server, and ends https there, has not been seen.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import steps
from playwright.sync_api import expect
from programs import free_port
from test_app import APP

from gpt2.ui.server.tries import FREE, PAUSE

pytestmark = [pytest.mark.soak, pytest.mark.browser]

USER, PASSWORD = "ann", "open sesame"
SERVER = """
bindAddr = "127.0.0.1"
bindPort = {port}
proxyBindAddr = "127.0.0.1"
vhostHTTPPort = {public}
subDomainHost = "localhost"
"""
CLIENT = """#!/usr/bin/env bash
words=()
while [ $# -gt 0 ]; do
    case $1 in
        --server_addr) words+=(--server-addr "${{2%:*}}" --server-port "${{2##*:}}"); shift;;
        --sd) words+=(--sd {name}); shift;;
        *) words+=("$1");;
    esac
    shift
done
said="start proxy success"
exec {frpc} "${{words[@]}}" > >(exec sed -u "s#$said#$said: http://{name}.localhost:{public}#")
"""


def of_frp(name):
    """A program of frp's."""
    found = shutil.which(name, path=os.environ.get("FRP") or os.environ["PATH"])
    if not found:
        pytest.skip(f"{name} is not on the path, nor in FRP")
    return found


class Silent:
    """One that hears out whoever comes, and says nothing."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.public = self._socket.getsockname()[1], 0

    def stop(self):
        self._socket.close()


class Server:
    """A server of links."""

    def __init__(self, directory):
        self.port, self.public = free_port(), free_port()
        self._program, self._settings = of_frp("frps"), directory / "frps.toml"
        self._settings.write_text(SERVER.format(port=self.port, public=self.public))
        self._process = None

    def start(self):
        command = [self._program, "-c", str(self._settings)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)


class Link:
    """A page with --share, and what it has said."""

    def __init__(self, server, directory, *flags):
        name, self.port = f"n{free_port()}", free_port()
        self.host, self.directory = f"{name}.localhost:{server.public}", directory
        self.url, self.server = f"http://{self.host}", server
        client = directory / "gradio" / "frpc" / _client_name()
        client.parent.mkdir(parents=True)
        client.write_text(CLIENT.format(name=name, public=server.public, frpc=of_frp("frpc")))
        client.chmod(0o755)
        own = {"HF_HOME": str(directory), "GRADIO_SHARE_SERVER_ADDRESS": f"127.0.0.1:{server.port}"}
        command = [sys.executable, APP, "--share", "--port", self.port, *flags]
        with (directory / "said").open("w") as said:
            self.process = subprocess.Popen(
                list(map(str, command)), env=os.environ | own, stdout=said, stderr=said
            )

    def until_said(self, words, *, seconds=60):
        end = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def said(self):
        return (self.directory / "said").read_text()

    def tunnels(self):
        """Programs that hold a tunnel to this page."""
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = place.read_bytes().split(b"\0")
                if words[0].endswith(b"frpc") and str(self.port).encode() in words:
                    found.append(int(place.parent.name))
        return found

    def asks(self, path, *, visitor="127.0.0.1", **options):
        """The answer to somebody who comes by the public link from an address."""
        address = f"http://127.0.0.1:{self.server.public}{path}"
        headers = {"host": self.host, **options.pop("headers", {})}
        transport = httpx.HTTPTransport(local_address=visitor)
        with httpx.Client(transport=transport, timeout=20) as client:
            return client.request(options.pop("method", "GET"), address, headers=headers, **options)


def _client_name():
    from gradio.tunneling import BINARY_FILENAME

    return BINARY_FILENAME


@pytest.fixture(scope="module")
def open_link(tmp_path_factory):
    """open_link(*flags): a page of the shipped models, and its public link."""
    links = []

    def opened(*flags, server=None):
        directory = tmp_path_factory.mktemp("link")
        if server is None:
            server = Server(directory)
            server.start()
        link = Link(server, directory, *flags)
        links.append(link)
        link.until_said("Public link" if server.public else "Open")
        return link

    yield opened
    for link in links:
        link.process.kill()
        link.process.wait()
        link.server.stop()
        for pid in link.tunnels():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def link(open_link):
    """One that asks for a password and believes the tunnel whom it serves."""
    return open_link("--auth", f"{USER}:{PASSWORD}", "--trusted-proxy", "127.0.0.1")


@pytest.fixture
def page(browser):
    """A visitor's page."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def sign_in(page, link):
    page.goto(link.url)
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.get_by_role("button", name="Generate", exact=True).wait_for()


def test_a_visitor_of_the_link_signs_in_writes_looks_and_passes_it_on(page, link):
    """Nothing is asked of anybody else for it, not of Gradio's store of scripts either."""
    wrong = []
    page.on("request", lambda asked: wrong.append(asked.url) if link.url not in asked.url else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    sign_in(page, link)
    steps.generate(page, "The rain", settings={"New tokens": 8})
    assert steps.completion(page)
    steps.show(page, "Layers")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.get_by_role("button", name="Copy link", exact=True).click()
    page.wait_for_function("window.copied")
    assert page.evaluate("window.copied").startswith(f"{link.url}/#v=1.generate.")
    page.get_by_text("Copy as", exact=True).click()
    page.get_by_role("button", name="curl", exact=True).click()
    page.wait_for_function("window.copied.includes('gradio_api')")
    assert link.url in page.evaluate("window.copied")
    assert [said for said in wrong if not said.startswith(("data:", "blob:"))] == []


def test_each_visitor_of_the_link_has_an_address_that_none_can_make_up(link):
    """Whoever guesses passwords makes nobody else wait, and can't become another."""

    def tries(password, visitor, **headers):
        """The answer, and the seconds that it took."""
        begun = time.monotonic()
        form = {"username": USER, "password": password}
        answer = link.asks("/login", method="POST", data=form, visitor=visitor, headers=headers)
        return answer.status_code, time.monotonic() - begun

    for _ in range(FREE):
        assert tries("wrong", "127.0.0.2")[0] == 401
    status, seconds = tries(PASSWORD, "127.0.0.3")
    assert (status, seconds < PAUSE * 0.8) == (200, True)
    status, seconds = tries("wrong", "127.0.0.2", **{"x-forwarded-for": "127.0.0.9"})
    assert (status, seconds > PAUSE * 0.8) == (401, True)


def test_a_text_outlives_the_loss_of_the_link_and_the_operator_is_told(page, link):
    sign_in(page, link)
    steps.generate(page, "The rain", settings={"New tokens": 500, "Seed": 5}, wait=False)
    page.wait_for_function("gpt2.stages.generate.text.drawn.length > 10")
    link.server.stop()
    link.until_said("The public link is lost for now")
    assert page.evaluate("gpt2.stages.generate.writing")
    link.server.start()
    link.until_said(f"The public link is there again: {link.url}")
    expect(steps.status(page)).to_contain_text("stopped:")
    assert page.evaluate("gpt2.stages.generate.text.drawn.length") > 50


def test_at_the_end_the_tunnel_is_closed_and_one_sentence_said(open_link):
    link = open_link()
    assert link.asks("/").status_code == 200
    assert len(link.tunnels()) == 1
    begun = time.monotonic()
    link.process.send_signal(signal.SIGINT)
    assert link.process.wait(timeout=10) == 0
    assert time.monotonic() - begun < 5
    time.sleep(0.5)
    assert link.tunnels() == []
    said = link.said().splitlines()
    assert said == [
        f"Open http://127.0.0.1:{link.port}/",
        f"Public link, for up to a week: {link.url}",
        "Closing.",
    ]


def test_a_page_ends_at_once_while_its_tunnel_is_being_opened(open_link):
    link = open_link(server=Silent())
    end = time.monotonic() + 20
    while not link.tunnels():
        assert time.monotonic() < end
        time.sleep(0.05)
    link.process.send_signal(signal.SIGINT)
    assert link.process.wait(timeout=10) == 0
    time.sleep(0.5)
    assert link.tunnels() == []
    assert link.said().splitlines() == [f"Open http://127.0.0.1:{link.port}/", "Closing."]


def test_the_tunnel_of_a_page_that_was_killed_ends_when_somebody_comes(open_link):
    """It would lead to whatever listens on that port next."""
    link = open_link()
    link.process.kill()
    link.process.wait()
    end = time.monotonic() + 10
    while link.tunnels():
        assert time.monotonic() < end
        assert link.asks("/").status_code == 404
        time.sleep(0.1)
