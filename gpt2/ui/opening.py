"""The page's own scripts and style, and what a visitor sees before Gradio has built the page.

Gradio's page is empty until its scripts are there; a picture in it shows after a second and more in
a cold browser. What is written into the HTML itself shows at once: the example, on what looks like
the page (ui/skeleton.py). static/opening.js hands it to the page, and then takes that away.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.server.policy import CSP

PAGE = b"window.gradio_config = "  # in every page of Gradio's
HEAD, BODY, END = b"</head>", re.compile(rb"<body[^>]*>"), b"</body>"
# Gradio's own rule, which it follows once its scripts are there.
THEME = """<script>{
    const named = new URLSearchParams(location.search).get("__theme");
    const system = matchMedia("(prefers-color-scheme: dark)").matches;
    document.body.classList.toggle("dark", named === "dark" || (named !== "light" && system));
}</script>"""


def snapshot(skeleton: str, example: dict[str, Any] | None, container: str) -> str:
    """What shows the example before the page does, as HTML; nothing if there is no example.

    Args:
        skeleton: what looks like the page.
        example: see example.py.
        container: the class that Gradio's style is for.
    """
    if example is None:
        return ""
    written = json.dumps(example, ensure_ascii=False, separators=(",", ":"))
    return (
        f'<div id="opening" class="gradio-container {container}" aria-hidden="true" inert>'
        f'{skeleton}</div><script type="application/json" id="example">{in_script(written)}'
        "</script><script>gpt2.opening.paint()</script>"
    )


def in_script(text: str) -> str:
    """JSON that nothing in it ends the element it stands in."""
    return text.replace("<", "\\u003c")


class Opening:
    """ASGI middleware: what `head` and `body` give goes into the page as it is opened.

    Its Content-Security-Policy is what `policy` gives for the whole of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        head: Callable[[Scope], str],
        body: Callable[[Scope], str],
        policy: Callable[[bytes], bytes],
    ) -> None:
        self._app, self._head, self._body, self._policy = app, head, body, policy
        # A page, the same packed, its tag and policy: seldom another one.
        self._last = (b"", b"", b"", b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("method") not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def collected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
                return
            if not start or message["type"] != "http.response.body":
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._answer(scope, start, b"".join(parts), send)

        await self._app(scope, receive, collected)

    async def _answer(self, scope: Scope, start: Message, html: bytes, send: Send) -> None:
        """A page with what goes into it, packed if the browser can unpack it."""
        asked = dict(scope["headers"])
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        if is_page := PAGE in html:
            html = self._filled(scope, html)
        packed, tag, policy = self._packed(html)
        headers += [(CSP, policy)] if is_page else []
        headers += [(b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", b"accept-encoding")]
        if start["status"] == 200 and asked.get(b"if-none-match") == tag:
            await send({**start, "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if b"gzip" in asked.get(b"accept-encoding", b""):
            html = packed
            headers.append((b"content-encoding", b"gzip"))
        if scope["method"] == "HEAD":
            html = b""  # and no length: it would have to be that of what it stands for
        else:
            headers.append((b"content-length", str(len(html)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": html})

    def _filled(self, scope: Scope, html: bytes) -> bytes:
        html = html.replace(HEAD, self._head(scope).encode() + HEAD, 1)
        html = BODY.sub(lambda found: found[0] + THEME.encode(), html, count=1)
        before, end, after = html.rpartition(END)
        return before + self._body(scope).encode() + end + after

    def _packed(self, html: bytes) -> tuple[bytes, bytes, bytes]:
        last, packed, tag, policy = self._last
        if html != last:
            packed = gzip.compress(html, 5, mtime=0)
            tag = b'W/"' + hashlib.sha256(html).hexdigest()[:16].encode() + b'"'
            policy = self._policy(html)
            self._last = (html, packed, tag, policy)
        return packed, tag, policy


def _is_html(start: Message) -> bool:
    return dict(start.get("headers", ())).get(b"content-type", b"").startswith(b"text/html")
