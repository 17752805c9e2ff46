"""Connections to the page's web server: none is held for nothing, and no address has them all.

uvicorn waits for ever for the first byte of a request, for the rest of its head, for its body, and
for a client that does not read; and it believes whoever on this machine says for whom it asks.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import h11
from gradio import http_server
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from gpt2.ui.server.visitors import Line, Places, visitor_of

HEAD_SECONDS = 10.0  # for the line and the headers of a request
BODY_SECONDS = 30.0  # for its body: 256 kB at 70 kbit/s
READ_SECONDS = 60.0  # that a client may leave unread what is sent to it
MOST = 800  # connections; a process may hold some 1,000 files open
SHARE = MOST // 2  # of one address that is no trusted proxy
PAGES = 400  # tabs that say they are open; each holds a connection

LATE = "The request did not arrive in time; send it again, and all of it at once."
CROWDED = "Too many connections are open from your address; close some of them."


class Connection(H11Protocol):
    """As of uvicorn, with a clock for whatever the client owes."""

    _owed = ""
    _clock: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        same = sum(bool(other.client) and other.client[0] == host for other in self.connections)
        if same > SHARE and host not in trusted(self.config):
            self._refuse(429, CROWDED)
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for clock in (self._clock, self._reading):
            if clock is not None:
                clock.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def _watch(self) -> None:
        """Start a clock when something else is owed than before."""
        cycle, owed = self.cycle, ""
        if cycle is None or cycle.response_complete:
            owed = "head"
        elif cycle.more_body:
            owed = "body"
        if owed == self._owed:
            return
        if self._clock is not None:
            self._clock.cancel()
        self._owed, self._clock = owed, None
        if owed and not self.transport.is_closing():
            seconds = HEAD_SECONDS if owed == "head" else BODY_SECONDS
            self._clock = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # nothing was asked for
        else:
            self._refuse(408, LATE)

    def _refuse(self, status: int, words: str) -> None:
        body = json.dumps({"detail": words}).encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\nconnection: close\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


def trusted(config: Config) -> Any:
    """The proxies that are believed; `address in` it."""
    return ProxyHeadersMiddleware(config.app, config.forwarded_allow_ips).trusted_hosts


class Bounded(http_server.Server):
    """Gradio's server with these connections."""

    def __init__(self, config: Config, *rest: Any, trusted_proxies: str, **options: Any) -> None:
        """As of Server.

        Args:
            trusted_proxies: addresses and networks, divided by commas, that are believed when they
                say in X-Forwarded-For for whom they ask; empty for none.
        """
        config.http = Connection
        config.limit_concurrency = MOST
        config.forwarded_allow_ips = trusted_proxies
        super().__init__(config, *rest, **options)


@contextmanager
def bounded_connections(trusted_proxies: str) -> Iterator[None]:
    """Within, a server that Gradio starts is a Bounded one; there is no other way to it."""
    gradios = http_server.Server
    http_server.Server = partial(Bounded, trusted_proxies=trusted_proxies)
    try:
        yield
    finally:
        http_server.Server = gradios


class Heartbeats:
    """ASGI middleware: how many pages may say at a time that they are open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._line = app, Line(Places("open pages", running=PAGES, waiting=0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "/heartbeat/" not in scope["path"]:
            await self._app(scope, receive, send)
            return
        host, _ = scope.get("client") or ("", 0)
        turn = self._line.join(visitor_of(host, ""))
        try:
            await self._app(scope, receive, send)
        finally:
            turn.leave()
