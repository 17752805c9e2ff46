"""The routes that this page, its API and its tools need; what else Gradio has is not there.

Gradio comes with a good deal more: uploads, links that write what was typed to the disk, files,
proxies, direct calls that go past the queue, recordings, a page that edits the program.
"""

import re

from starlette.routing import compile_path
from starlette.types import Scope

from gpt2.ui.server.incoming import Refused

API = "/gradio_api/"
# By method. HEAD is GET without its body.
OPEN = {
    "GET": (
        "/",
        "/assets/{path:path}",
        "/static/{path:path}",
        "/config",
        "/theme.css",
        "/manifest.json",
        "/favicon.ico",
        "/robots.txt",
        "/login",
        "/logout",
        "/health",
        "/metrics",
        "/gradio_api/info",
        "/gradio_api/app_id",  # a page whose connection was lost asks whether the server is another
        "/gradio_api/startup-events",  # asked by Gradio itself, once, while it starts
        "/gradio_api/heartbeat/{session}",
        "/gradio_api/queue/data",
        "/gradio_api/call/{name}/{event}",
        "/gradio_api/call/v2/{name}/{event}",
        "/gradio_api/mcp",
        "/gradio_api/mcp/{path:path}",
    ),
    "POST": (
        "/login",
        "/gradio_api/queue/join",
        "/gradio_api/call/{name}",
        "/gradio_api/call/v2/{name}",
        "/gradio_api/run/predict",  # of the page, for what needs no queue: Stop, two lines of text
        "/gradio_api/cancel",
        "/gradio_api/reset",  # does nothing; Gradio's page calls it after each cancelling
        "/gradio_api/mcp",
        "/gradio_api/mcp/{path:path}",
    ),
    "DELETE": ("/gradio_api/mcp",),  # ends a session of the tools
}
_PATTERNS = {method: [compile_path(path)[0] for path in paths] for method, paths in OPEN.items()}
# Gradio's own page has these; the first finds no page, the second one that was written to disk.
_QUERY = re.compile(rb"(?:^|&)(page|deep_link)=[^&]")

# A name, or an address of IPv4 or, in brackets, IPv6; with a port or without.
_HOST = re.compile(rb"(?:[\w.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?", re.ASCII)


def path_of(scope: Scope) -> str:
    """The path of a request below the address that the page is served under."""
    return scope.get("path", "").removeprefix(scope.get("root_path", ""))


def check_route(scope: Scope) -> None:
    """Let the open routes through.

    Raises:
        Refused: there is no such address, or not for this method.
    """
    path, method = path_of(scope), scope.get("method", "GET")
    path = path.rstrip("/") or "/"
    open_for = [name for name, found in _PATTERNS.items() if any(p.fullmatch(path) for p in found)]
    if not open_for or not path.isprintable():
        words = "there is nothing at this address; the page is at /, and its foot shows the API"
        raise Refused(words, 404)
    if method not in open_for and (method, open_for[0]) != ("HEAD", "GET"):
        words = f"this address takes {' and '.join(open_for)} alone"
        raise Refused(words, 405, {"allow": ", ".join(open_for)})
    if path in ("/", "/config") and _QUERY.search(scope.get("query_string", b"")):
        words = "there is one page, without stored states; leave page= and deep_link= out"
        raise Refused(words, 404)


def route_of(scope: Scope) -> str:
    """The open route of a request as it is written here, or "other"; nothing that a visitor wrote.

    The name of a function stands in it if the page has one of that name.
    """
    path = path_of(scope).rstrip("/") or "/"
    for route in OPEN.get(scope.get("method", "GET").replace("HEAD", "GET"), ()):
        if found := compile_path(route)[0].fullmatch(path):
            name = found.groupdict().get("name")
            known = {fn.api_name for fn in scope["app"].get_blocks().fns.values()}
            return route.replace("{name}", name) if name in known else route
    return "other"


def check_host(scope: Scope) -> None:
    """Refuse a request that does not say where this page is: Gradio makes addresses of it.

    Raises:
        Refused: a header that names the host names none.
    """
    for name, value in scope["headers"]:
        if name == b"x-gradio-server":  # Gradio's second server, which is not in use here
            raise Refused("the header x-gradio-server is for nobody here; leave it out", 400)
        first = value.partition(b",")[0].strip()
        if name in (b"host", b"x-forwarded-host") and first and not _HOST.fullmatch(first):
            raise Refused(
                f"the header {name.decode()} names no host; leave it to your browser", 400
            )


def fixed_part(scope: Scope) -> str:
    """The fixed part of an address; the rest of it may be a visitor's text."""
    path = path_of(scope)
    return "/".join(path.split("/")[:3]) if path.startswith(API) else "a page"
