"""The page's own scripts and style, and what a visitor sees before Gradio has built the page.

Gradio's page is empty until its scripts are there; a picture in it shows after 1.7 s in a cold
browser. What is written into the HTML itself shows at once.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD, BODY = b"</head>", b"</body>"


class Opening:
    """ASGI middleware: what `head` and `body` give goes into every HTML page that is opened."""

    def __init__(self, app: ASGIApp, head: Callable[[], str], body: Callable[[], str]) -> None:
        self._app, self._head, self._body = app, head, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("method") != "GET":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def collected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                if kind.startswith(b"text/html"):
                    start = message
                    return
            if not start:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            html = b"".join(parts)
            html = html.replace(HEAD, self._head().encode() + HEAD, 1)
            html = html.replace(BODY, self._body().encode() + BODY, 1)
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            headers.append((b"content-length", str(len(html)).encode()))
            await send({**start, "headers": headers})
            await send({**message, "body": html})

        await self._app(scope, receive, collected)
