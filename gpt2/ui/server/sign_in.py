"""With --auth: who has not signed in gets a form that asks for it, and nothing else.

Gradio asks on some of its routes and not on others (its page, its list of functions, the tools of
--mcp). Here all ask, and take Gradio's own cookie and HTTP Basic credentials alike, so that a
browser, gradio_client, curl and a tool's client use the same password.
"""

import base64
import binascii
import hmac
import math
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from gradio.routes import App
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.ui.server.incoming import Refused, once_more
from gpt2.ui.server.routes import path_of
from gpt2.ui.server.sign_in_page import sign_in_page
from gpt2.ui.server.tries import Tries

SIGN_IN = (
    "sign in first: POST a form with username and password to /login and keep its cookies, or "
    "send both as HTTP Basic credentials"
)
WRONG = "the name or the password is wrong"
BASIC = {"www-authenticate": 'Basic realm="GPT-2", charset="UTF-8"'}
# In a frame of another site most browsers keep a cookie for frames of that site alone.
SECURE, PARTITIONED = b"; Secure", b"; Partitioned"
IN_A_FRAME = b"signed-in"  # the query of a page in a frame that has just been signed in to
NO_COOKIE = (
    "the password is right, but your browser keeps no cookie of this page in a frame; open the "
    "page in a window of its own"
)
HEALTH = "/health"  # tells a stranger only whether the page is well
SIGNED_IN = "gpt2.signed_in"  # in the scope of a request: whether somebody who may asks
# Asked by Gradio itself before it serves, and by nobody later.
STARTING = "/gradio_api/startup-events"


class SignIn:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tries = Tries()
        self._token = ""  # the cookie of those who send their password with a request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_of(scope).rstrip("/") or "/"
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app: App = scope["app"]
        if not app.auth:
            if path in ("/login", "/logout"):
                raise Refused("nobody has to sign in here; the page is at /", 404)
        elif path == "/login":
            await self._sign_in(app, scope, receive, send)
            return
        elif not (path == STARTING and not app.startup_events_triggered):
            signed_in = _has_cookie(app, scope)
            given = _basic(dict(scope["headers"]).get(b"authorization", b""))
            if not signed_in and given is not None:
                await self._check(app, scope, *given)
                signed_in = True
                scope, send = self._with_cookie(app, scope, send, given[0])
            if not signed_in and path != HEALTH:
                await _form(scope, path)(scope, receive, send)
                return
            scope = {**scope, SIGNED_IN: signed_in}
        await self._app(scope, receive, send)

    def _with_cookie(self, app: App, scope: Scope, send: Send, name: str) -> tuple[Scope, Send]:
        """A request with a right password as one that Gradio knows too; who asked gets a cookie.

        Who keeps it is not asked for the password again, however often others try wrong ones.
        """
        if self._token not in app.tokens:  # or who has signed out would be in again
            self._token = secrets.token_urlsafe(32)
            app.tokens[self._token] = name
        cookie = f"access-token-unsecure-{app.cookie_id}={self._token}"
        kept = [pair for pair in scope["headers"] if pair[0] != b"cookie"]

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = (b"set-cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Lax".encode())
                message = {**message, "headers": [*message.get("headers", ()), given]}
            await send(message)

        return {**scope, "headers": [*kept, (b"cookie", cookie.encode())]}, with_cookie

    async def _check(self, app: App, scope: Scope, name: str, password: str) -> None:
        """Look at a name and a password, not too often.

        Raises:
            Refused: they are wrong, or too many were.
        """
        address = (scope.get("client") or ("", 0))[0]
        if wait := math.ceil(await self._tries.begin(address, name)):
            raise Refused(
                "too many wrong passwords came from your address for this name, and wait to be "
                f"looked at; try again in {wait} s",
                429,
                {"retry-after": str(wait)},
            )
        wanted = app.auth.get(name, "")
        if hmac.compare_digest(_bytes(password), _bytes(wanted)) and name in app.auth:
            self._tries.right(address, name)
        else:
            by_script = b"sec-fetch-mode" in dict(scope["headers"])  # a browser would ask by itself
            raise Refused(WRONG, 401, {} if by_script else BASIC)

    async def _sign_in(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """As Gradio, if the password is right; a browser that sent the form goes to the page."""
        if scope["method"] != "POST":
            await RedirectResponse("./", 303)(scope, receive, send)
            return
        sent = await receive()  # the whole body, see guard.py
        try:
            await self._check(app, scope, *_fields(sent.get("body", b"")))
        except Refused as error:
            if not _shows_pages(scope):
                raise
            await sign_in_page(str(error), error.status)(scope, receive, send)
            return

        framed = dict(scope["headers"]).get(b"sec-fetch-dest") == b"iframe"
        place = b"./?" + IN_A_FRAME if framed else b"./"

        async def to_the_page(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                kept = [pair for pair in message["headers"] if pair[0] == b"set-cookie"]
                kept += [(name, cookie + PARTITIONED) for name, cookie in kept if SECURE in cookie]
                message = {**message, "status": 303, "headers": [*kept, (b"location", place)]}
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        answer = to_the_page if _shows_pages(scope) else send
        await self._app(scope, once_more(sent, receive), answer)


def _form(scope: Scope, path: str) -> Response:
    """What a stranger gets.

    Raises:
        Refused: this is no page.
    """
    if path == "/":
        lost = scope.get("query_string") == IN_A_FRAME
        lost = lost and b"access-token" not in dict(scope["headers"]).get(b"cookie", b"")
        return sign_in_page(NO_COOKIE if lost else "")
    raise Refused(SIGN_IN, 401, {} if b"sec-fetch-mode" in dict(scope["headers"]) else BASIC)


def _shows_pages(scope: Scope) -> bool:
    return b"text/html" in dict(scope["headers"]).get(b"accept", b"")


def _has_cookie(app: App, scope: Scope) -> bool:
    """Whether a request has the cookie of somebody who has signed in."""
    headers = dict(scope["headers"])
    # Another site's script would ask in a visitor's name; a frame or a link may open the page.
    foreign = headers.get(b"sec-fetch-site") == b"cross-site"
    if foreign and headers.get(b"sec-fetch-mode") != b"navigate":
        return False
    cookies = _cookies(headers.get(b"cookie", b""))
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)


def _cookies(header: bytes) -> dict[str, str]:
    try:
        found = SimpleCookie(header.decode("latin-1"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in found.items()}


def _basic(header: bytes) -> tuple[str, str] | None:
    """The name and password of an Authorization header (RFC 7617), None if it has none."""
    kind, _, rest = header.partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def _fields(body: bytes) -> tuple[str, str]:
    """The name and password of a form.

    Raises:
        Refused: it is none.
    """
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        return found["username"][0].strip(), found["password"][0]
    except (ValueError, KeyError):
        raise Refused("send username and password as a form (urlencoded)", 400) from None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
