"""Calls are looked at before Gradio sees them: what it would answer with a bare error is told."""

import json
from typing import Any

import gradio as gr
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2.ui.server.incoming import Refused, once_more
from gpt2.ui.server.routes import API, path_of
from gpt2.ui.server.served import check_names, parameters, shortened

GONE = (
    "no answer waits under this id: it was fetched already, or nobody came for it in time; call "
    "again, and fetch the answer while it is written"
)


class Calls:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if path_of(scope).rstrip("/") == f"{API}info":
            scope["app"].api_info = None  # Gradio tells all what it told the first one: its address
        body = b""
        if scope["method"] == "POST":
            sent = await receive()  # the whole body, see guard.py
            body, receive = sent.get("body", b""), once_more(sent, receive)
        try:
            check_call(scope, body)
        except ValueError as error:
            raise Refused(str(error), 400) from None
        await self._app(scope, receive, send)


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
