"""A shield before the web server: what is no request is refused in words, two headers added.

GPT-2 needs no upload, so nothing larger than a long prompt has business here.
"""

import json
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.served import UNFORESEEN, check_names, log_error, parameters, shortened

MAX_BODY = 256 * 1024  # bytes; a prompt of 20,000 characters, escaped as JSON, is under half of it
TOO_LARGE = f"The request is too large: the limit is {MAX_BODY} bytes. Shorten the text."
API = "/gradio_api/"
GONE = (
    "no answer waits under this id: it was fetched already, or nobody came for it in time; call "
    "again, and fetch the answer while it is written"
)

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)


class _Missing(Exception):
    """What was asked for is not there; its words are for the visitor."""


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
        except Exception as error:
            log_error(error, _route(scope))
            if not started:
                await _refusal(UNFORESEEN, 500)(scope, receive, with_headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > MAX_BODY:
            await _refusal(TOO_LARGE, 413)(scope, receive, send)
            return
        body, more = b"", scope.get("method") in ("POST", "PUT", "PATCH")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > MAX_BODY:  # a body that did not declare its length
                await _refusal(TOO_LARGE, 413)(scope, receive, send)
                return
        try:
            check_request(scope, body)
        except _Missing as error:
            await _refusal(str(error), 404)(scope, receive, send)
            return
        except ValueError as error:
            await _refusal(str(error), 400)(scope, receive, send)
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, again, send)


def check_request(scope: Scope, body: bytes) -> None:
    """Refuse what Gradio would answer with a bare error, before it sees it.

    Raises:
        ValueError: the body is no call.
        _Missing: there is no such function, or no such answer.
    """
    path, method = _path(scope), scope.get("method")
    if not path.startswith(API) or "app" not in scope:
        return
    app: gr.Blocks = scope["app"].get_blocks()
    way, *rest = path.removeprefix(API).strip("/").split("/")
    if way == "upload":
        raise _Missing("this page takes no files; send texts")
    if method == "POST" and way == "call" and rest:
        named = rest[0] == "v2" and len(rest) > 1
        _check_call(app, rest[1] if named else rest[0], _json(body), named=named)
    elif method == "POST" and (way, rest) == ("queue", ["join"]):
        _check_join(app, _json(body))
    elif method == "POST" and way in ("run", "api") and rest:
        index = _json(body).get("fn_index")
        named = {fn.api_name for fn in app.fns.values()} if index is None else ()
        if rest[0] not in named and index not in list(app.fns):
            raise _Missing("there is no such function of the page; load the page again")
    elif method == "GET" and way == "call" and len(rest) > 1:
        queue = app._queue
        waiting = (*queue.event_ids_to_events, *queue.pending_messages_per_session)
        if rest[-1] not in waiting and not any(
            rest[-1] in ids for ids in queue.pending_event_ids_session.values()
        ):
            raise _Missing(GONE)


async def refuse_form(_: Request, error: RequestValidationError) -> JSONResponse:
    """What one of Gradio's other routes can't use, in words instead of FastAPI's list."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return _refusal(f"{place} is not as it must be: {first['msg']}", 422)


def _check_call(app: gr.Blocks, name: str, body: dict, *, named: bool) -> None:
    found = {fn.api_name: fn for fn in app.fns.values() if fn.api_visibility == "public"}
    if name not in found:
        names = ", ".join(map(str, found))
        raise _Missing(f"there is no function {shortened(name)}; there are: {names}")
    wanted = parameters(found[name])
    if named:
        check_names(name, wanted, body)
    elif not isinstance(body.get("data"), list):
        order = ", ".join(wanted) or "none"
        raise ValueError(f'send {{"data": [...]}} with the values in this order: {order}')


def _check_join(app: gr.Blocks, body: dict) -> None:
    index = body.get("fn_index")
    if isinstance(index, bool) or not isinstance(index, int) or index not in app.fns:
        raise ValueError(
            f"fn_index is {shortened(index)}; it must be the id of a function in /config"
        )
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


def _path(scope: Scope) -> str:
    return scope.get("path", "").removeprefix(scope.get("root_path", ""))


def _route(scope: Scope) -> str:
    """The fixed part of an address; the rest of it may be a visitor's text."""
    return "/".join(_path(scope).split("/")[:3]) if _path(scope).startswith(API) else "a page"


def _refusal(words: str, status: int) -> JSONResponse:
    """In the form of FastAPI, and in that which Gradio's page shows of an event without a queue."""
    return JSONResponse({"detail": words, "error": words}, status)
