"""A line in the log for each request, once it is answered: what for, and how; never its words."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.server.routes import route_of

log = logging.getLogger("gpt2.requests")


class Watch:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0  # 0: the client has gone before an answer

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            told = {
                "method": scope["method"],
                "route": route_of(scope),
                "status": status,
                "seconds": round(time.perf_counter() - start, 4),
            }
            log.info("%(method)s %(route)s %(status)d", told, extra=told)
