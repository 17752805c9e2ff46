"""A shield before the web server: what is no request is refused in words, two headers added.

GPT-2 needs no upload, so nothing larger than a long prompt has business here, and no route but
those of routes.py.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.routes import API, Refused, check_route, fixed_part, path_of
from gpt2.ui.served import UNFORESEEN, check_names, log_error, parameters, shortened

MAX_BODY = 256 * 1024  # bytes; a prompt of 20,000 characters, escaped as JSON, is under half of it
TOO_LARGE = f"The request is too large: the limit is {MAX_BODY} bytes. Shorten the text."
GONE = (
    "no answer waits under this id: it was fetched already, or nobody came for it in time; call "
    "again, and fetch the answer while it is written"
)
BARE = {
    404: "there is nothing at this address",
    405: "this address takes requests of another kind; the README shows which",
}

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
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
        try:
            check_call(scope, body)
        except ValueError as error:
            raise Refused(str(error), 400) from None
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, again, send)


def check_call(scope: Scope, body: bytes) -> None:
    """Refuse what Gradio would answer with a bare error, before it sees it.

    Raises:
        ValueError: the body is no call.
        Refused: there is no such function, or no such answer.
    """
    path, method = path_of(scope), scope.get("method")
    if not path.startswith(API) or "app" not in scope:
        return
    app: gr.Blocks = scope["app"].get_blocks()
    way, *rest = path.removeprefix(API).strip("/").split("/")
    if method == "POST" and way == "call" and rest:
        named = rest[0] == "v2" and len(rest) > 1
        _check_call(app, rest[1] if named else rest[0], _json(body), named=named)
    elif method == "POST" and (way, *rest) in (("queue", "join"), ("run", "predict")):
        _check_event(app, _json(body), queued=way == "queue")
    elif method == "GET" and way == "call" and len(rest) > 1:
        queue = app._queue
        waiting = (*queue.event_ids_to_events, *queue.pending_messages_per_session)
        if rest[-1] not in waiting and not any(
            rest[-1] in ids for ids in queue.pending_event_ids_session.values()
        ):
            raise Refused(GONE, 404)


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


def _check_call(app: gr.Blocks, name: str, body: dict, *, named: bool) -> None:
    found = {fn.api_name: fn for fn in app.fns.values() if fn.api_visibility == "public"}
    if name not in found:
        names = ", ".join(map(str, found))
        raise Refused(f"there is no function {shortened(name)}; there are: {names}", 404)
    wanted = parameters(found[name])
    if named:
        check_names(name, wanted, body)
    elif not isinstance(body.get("data"), list):
        order = ", ".join(wanted) or "none"
        raise ValueError(f'send {{"data": [...]}} with the values in this order: {order}')


def _check_event(app: gr.Blocks, body: dict, *, queued: bool) -> None:
    index = body.get("fn_index")
    if isinstance(index, bool) or not isinstance(index, int) or index not in app.fns:
        raise ValueError(
            f"fn_index is {shortened(index)}; it must be the id of a function in /config"
        )
    if app.fns[index].fn is None:
        raise ValueError(f"fn_index is {index}; that function is the browser's own")
    if app.fns[index].queue and not queued:
        raise Refused(f"fn_index is {index}; that function is asked by joining the queue", 404)
    if not isinstance(body.get("session_hash"), str):
        raise ValueError("send a session_hash: a string of your own that /queue/data repeats")
    if not isinstance(body.get("data"), list):
        raise ValueError('send the values in order as a list, "data"')


def _json(body: bytes) -> dict:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("the body is no JSON object; send one, as the README's examples do")
    return found


def refusal(words: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """In the form of FastAPI, and in that which Gradio's page shows of an event without a queue."""
    return JSONResponse({"detail": words, "error": words}, status, headers)
