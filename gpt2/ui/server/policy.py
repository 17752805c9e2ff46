"""What a browser may do with an answer: nothing that it does not need.

Of the page, its Content-Security-Policy lets run the scripts that this server wrote into it, each
known by its hash, and those in its files; it may load from and talk to this server alone. What a
visitor's text might smuggle in (a script element, an onerror) does not run, and has no way out.

What it does not forbid, and why:

- 'unsafe-eval': Gradio makes functions of texts (the js= of events, the templates and js_on_load of
  gr.HTML). So no text of a visitor may become one; a template holds none that could (ui/page.py).
- 'unsafe-inline' for styles: Gradio and figures write style attributes and elements.
- Frames: other pages may show this one. So a click may be somebody else's idea; no click here does
  more than compute.

On a Space it keeps away what Gradio adds to a page in a window of its own, not in a frame: a line
of Hugging Face's above it, which asks their server, and fonts of Google's.
"""

import base64
import hashlib
import re
from collections.abc import Iterable

CSP = b"content-security-policy"
# Of all that is no page: data, files, the form that asks for a password, which has no script.
BARE = (
    b"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
    b"base-uri 'none'"
)
# Of every answer that does not say otherwise.
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"strict-origin-when-cross-origin",
    CSP: BARE,
}
_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


def with_policy(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, and those of HEADERS that it lacks."""
    found = list(headers)
    names = {name.lower() for name, _ in found}
    return found + [pair for pair in HEADERS.items() if pair[0] not in names]


def page_policy(html: bytes) -> bytes:
    """The policy of a page of Gradio's with the scripts that are written into it."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in dict.fromkeys(_INLINE.findall(html))
    )
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'unsafe-eval' {hashes}",
            "style-src 'self' 'unsafe-inline'",
            "font-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    ).encode()
