"""gpt2.ui.server.connections: who sends half a request, or none, or does not read, is let go."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, suppress

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from gpt2.ui.server import connections
from gpt2.ui.server.connections import Bounded, Heartbeats
from gpt2.ui.server.guard import Guard

MUCH = 64 * 2**20  # bytes


async def answered(scope, receive, send):
    """Says who asked, and how much; /gradio_api/heartbeat/ goes on until its listener is gone."""
    request = Request(scope, receive)
    if request.url.path == "/much":
        answer = StreamingResponse(iter([b"x" * 2**20] * (MUCH // 2**20)))
    elif request.url.path.startswith("/gradio_api/heartbeat/"):
        answer = StreamingResponse(alive())
    else:
        answer = PlainTextResponse(f"{request.client.host} {len(await request.body())}")
    await answer(scope, receive, send)


async def alive():
    while True:
        yield "ALIVE"
        await asyncio.sleep(5)


class Served:
    """That, on a port of its own."""

    def __init__(self, trusted_proxies=""):
        config = uvicorn.Config(
            Guard(Heartbeats(answered)), port=0, lifespan="off", log_level="critical"
        )
        self.server = Bounded(config, trusted_proxies=trusted_proxies)
        self.server.run_in_thread()
        (self.port,) = [one.getsockname()[1] for one in self.server.servers[0].sockets]

    def get(self, path="/", **options):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", **options)

    def connection(self, sent=b"", source="127.0.0.1"):
        made = socket.create_connection(
            ("127.0.0.1", self.port), timeout=10, source_address=(source, 0)
        )
        made.sendall(sent)
        return made


@pytest.fixture(scope="module")
def served():
    made = Served()
    yield made
    made.server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(connections, "READ_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SHARE", 8)


def rest(connection):
    """All that comes until the server closes it."""
    with connection:
        parts = []
        while part := connection.recv(2**16):
            parts.append(part)
        return b"".join(parts).decode()


pytestmark = pytest.mark.slow

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"


def test_a_connection_that_asks_nothing_is_closed_without_a_word(served):
    assert rest(served.connection()) == ""


@pytest.mark.parametrize("half", [GET[:1], GET[:-2], POST, POST + b"12345678"])
def test_half_a_request_is_told_that_it_is_late(served, half):
    """200 of them were held for as long as they liked."""
    answer = rest(served.connection(half))
    assert answer.startswith("HTTP/1.1 408")
    assert connections.LATE in answer


def test_who_sends_a_byte_at_a_time_gets_no_longer(served):
    connection, begun = served.connection(), time.monotonic()

    def trickle():
        for byte in GET:
            time.sleep(0.1)
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return

    threading.Thread(target=trickle, daemon=True).start()
    assert "408" in rest(connection)
    assert time.monotonic() - begun < 1.5


def test_a_second_request_of_a_connection_has_a_clock_too(served):
    answers = rest(served.connection(GET + GET[:5]))
    assert answers.startswith("HTTP/1.1 200")
    assert "408" in answers


def test_a_whole_request_is_answered_and_its_connection_serves_again(served):
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}") as client:
        assert client.post("/gradio_api/queue/join", content="123456789").text == "127.0.0.1 9"
        time.sleep(0.1)
        assert client.get("/").text == "127.0.0.1 0"


def test_who_does_not_read_the_answer_is_let_go(served):
    connection, size = served.connection(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n"), 0
    time.sleep(0.8)
    with connection, suppress(ConnectionResetError):
        while part := connection.recv(2**20):
            size += len(part)
    assert size < MUCH


def test_one_address_holds_no_more_connections_than_its_share(served):
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(served.connection())
        answer = rest(served.connection())
        assert answer.startswith("HTTP/1.1 429")
        assert connections.CROWDED in answer
        with served.connection(GET, source="127.0.0.9") as other:
            assert b"200" in other.recv(2**16)


def test_open_pages_of_one_address_are_bounded(served, monkeypatch):
    """600 heartbeats were held."""
    monkeypatch.setattr(connections, "SHARE", 1000)
    beat = b"GET /gradio_api/heartbeat/a HTTP/1.1\r\nhost: x\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(connections.PAGES // 2):
            page = stack.enter_context(served.connection(beat))
            assert b"200" in page.recv(2**10)
        refused = served.get("/gradio_api/heartbeat/b")
        assert refused.status_code == 429
        assert "200 open pages of your address" in refused.json()["detail"]
        with served.connection(beat, source="127.0.0.9") as other:
            assert b"200" in other.recv(2**10)
    time.sleep(0.2)
    with served.connection(beat) as again:
        assert b"200" in again.recv(2**10)


@pytest.mark.parametrize(
    ("trusted_proxies", "address"),
    [("", "127.0.0.1"), ("10.0.0.1", "127.0.0.1"), ("127.0.0.0/8", "10.1.2.3")],
)
def test_a_forwarded_address_is_believed_of_trusted_proxies_alone(trusted_proxies, address):
    server = Served(trusted_proxies)
    headers = {"x-forwarded-for": "6.6.6.6, 10.1.2.3"}
    assert server.get(headers=headers).text == f"{address} 0"
    server.server.close()
