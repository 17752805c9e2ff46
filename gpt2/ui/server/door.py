"""Whether the page takes new requests: it does not while it closes, and says so."""

from http import HTTPStatus

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

CLOSING = "This page is closing, and takes no new requests. Try again in a minute."
RETRY = {"retry-after": "60"}  # seconds


class Door:
    """Open until somebody closes it."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Take no new requests; those that were taken are answered."""
        self.closed = True


class Porter:
    """ASGI middleware that stands at the door of the Blocks behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["app"].get_blocks().door.closed and is_new(scope):
            await _refusal(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_new(scope: Scope) -> bool:
    """Whether something is asked that was not asked before; an answer may still be fetched."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if scope["method"] == "POST":
        return path not in ("/gradio_api/cancel", "/gradio_api/reset")
    return path in ("", "/")


def _refusal(scope: Scope) -> Response:
    busy = HTTPStatus.SERVICE_UNAVAILABLE
    if scope["method"] == "POST":  # in the form of FastAPI, and in that of Gradio's page
        return JSONResponse({"detail": CLOSING, "error": CLOSING}, busy, RETRY)
    return PlainTextResponse(CLOSING, busy, RETRY)
