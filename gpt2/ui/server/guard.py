"""A shield before the web server: what is no request is refused in words, headers added.

GPT-2 needs no upload, so nothing larger than a long prompt has business here, and no route but
those of routes.py.
"""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.server.incoming import Refused, once_more
from gpt2.ui.server.policy import with_policy
from gpt2.ui.server.routes import check_host, check_route, fixed_part
from gpt2.ui.server.served import UNFORESEEN, log_error

MAX_BODY = 256 * 1024  # bytes; a prompt of 20,000 characters, escaped as JSON, is under half of it
TOO_LARGE = f"The request is too large: the limit is {MAX_BODY} bytes. Shorten the text."
BARE = {
    404: "there is nothing at this address",
    405: "this address takes requests of another kind; the README shows which",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = with_policy(message.get("headers", ()))
                if scope["state"].get("refused"):  # Gradio answers 500 whoever's fault it was
                    message["status"] = 400
            await send(message)

        try:
            await self._answer(scope, receive, with_headers)
        except Refused as error:
            answer = refusal(str(error), error.status, error.headers)
            await answer(scope, receive, with_headers)
        except Exception as error:
            log_error(error, fixed_part(scope))
            if not started:
                await refusal(UNFORESEEN, 500)(scope, receive, with_headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_route(scope)
        check_host(scope)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 18 or int(declared) > MAX_BODY:
            raise Refused(TOO_LARGE, 413)
        body, more = b"", scope.get("method") == "POST"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > MAX_BODY:  # a body that did not declare its length
                raise Refused(TOO_LARGE, 413)
        whole = {"type": "http.request", "body": body, "more_body": False}
        await self._app(scope, once_more(whole, receive), send)


async def refuse_plainly(_: Request, error: HTTPException) -> JSONResponse:
    """A refusal of Gradio's or FastAPI's, in a sentence where it was two words."""
    words = str(error.detail)
    if words == HTTPStatus(error.status_code).phrase:
        words = BARE.get(error.status_code, f"this can't be answered ({words})")
    return refusal(words, error.status_code, error.headers)


async def refuse_form(_: Request, error: RequestValidationError) -> JSONResponse:
    """What one of Gradio's other routes can't use, in words instead of FastAPI's list."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return refusal(f"{place} is not as it must be: {first['msg']}", 422)


def refusal(words: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """In the form of FastAPI, and in that which Gradio's page shows of an event without a queue."""
    return JSONResponse({"detail": words, "error": words}, status, headers)
