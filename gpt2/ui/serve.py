"""Putting the page on the network, and saying in one sentence what could not be done."""

import errno
import io
import os
import signal
import socket
from contextlib import redirect_stdout
from threading import Thread

from gradio import http_server

from gpt2.ending import end_soon, first_of, listen
from gpt2.engine import Engine
from gpt2.ui import build_app, launch_options
from gpt2.ui.extras import mcp_server, metrics_route
from gpt2.ui.server.closing import DRAIN_SECONDS, drain, shut
from gpt2.ui.server.collector import spare_what_is_here
from gpt2.ui.server.tunnel import open_link

ENGINE_SECONDS = 0.7  # that are waited for it to end; Ray goes on with that meanwhile
EXAMPLE_SECONDS = 3.0  # that a slow machine or a large model may take for it


def serve(
    engine: Engine,
    *,
    host: str,
    port: int,
    share: bool,
    auth: tuple[str, str] | None,
    mcp: bool,
    metrics: bool,
    root_path: str,
    trusted_proxies: str,
) -> int:
    """Serve the page until a signal ends it; the exit status.

    At SIGINT it is closed at once. At SIGTERM no new request is taken, and it is closed when all
    that were taken are answered, or at a second signal.

    Args:
        metrics: answer at /metrics.
        root_path: under which a proxy serves the page, empty for its own address.
        trusted_proxies: addresses or networks, with commas between them, whose word is taken for
            the address of a visitor (X-Forwarded-For).

    Raises:
        OSError: the port is taken, or the address is not this machine's.
        ValueError: MCP or metrics were asked for and can't be served.
    """
    host = host.strip("[]")  # of an IPv6 address
    check_address(host, port)
    go_past_proxy(host)
    do_not_reload()
    app = build_app(engine)
    app.trusted_proxies = trusted_proxies
    routes = [metrics_route(app)] if metrics else []
    tools = mcp_server(app) if mcp else None
    if tools is not None:
        routes += tools.routes
    with redirect_stdout(io.StringIO()):  # on a Space it tells of a reload that is off
        app.launch(
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            share=False,  # see tell_link
            auth=auth,
            root_path=root_path,
            mcp_server=False,  # a better one is among the routes
            prevent_thread_lock=True,
            **launch_options(routes, tools and tools.lifespan),
        )
    app.example.start(then=spare_what_is_here)
    app.example.wait(EXAMPLE_SECONDS)  # who follows the line below finds it there
    heard = listen()
    print(f"Open {app.local_url.replace('[::]', '[::1]')}", flush=True)
    if share:
        Thread(target=tell_link, args=(host, port), daemon=True).start()
    if first_of(heard) == signal.SIGTERM:
        print(f"Closing: what was asked has {DRAIN_SECONDS:g} seconds to be answered.", flush=True)
        drain(app, stop=heard)
    else:
        print("Closing.", flush=True)
    end_soon(0)
    app.example.stop()
    closing = Thread(target=engine.close, daemon=True)
    closing.start()  # who waits for more is told so
    closing.join(ENGINE_SECONDS)
    shut(app)
    closing.join()
    return 0


def tell_link(host: str, port: int) -> None:
    """Open the public link, and say where it is or why there is none."""
    try:
        if link := open_link(host, port):
            print(f"Public link, for up to a week: {link}", flush=True)
    except OSError as error:
        print(
            f"The public link could not be had ({error}); the page above keeps running.", flush=True
        )


def check_address(host: str, port: int) -> None:
    """Refuse what can't be listened on; Gradio would try for half a minute and not say why.

    Raises:
        OSError: no such name, no address of this machine, or the port is taken or not allowed.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: f"port {port} on {host} is taken; choose another one with --port",
            errno.EACCES: f"port {port} needs more rights than yours; take one from 1024 on",
        }.get(
            error.errno or 0,
            f"{host} can't be listened on ({error.strerror}); --host takes 127.0.0.1 for this "
            "machine alone, 0.0.0.0 for all that reach it, or an address of its own",
        )
        raise OSError(reason) from error


def do_not_reload() -> None:
    """On a Space Gradio would wait for changed files, with a package that may be missing."""
    http_server.watchfn_spaces = lambda reloader: reloader.stop_event.wait()


def go_past_proxy(host: str) -> None:
    """Keep Gradio's look at its own page off a proxy that the environment names."""
    own = [host.strip("[]"), "localhost", "127.0.0.1", "::1"]
    for name in ("no_proxy", "NO_PROXY"):
        named = [part for part in os.environ.get(name, "").split(",") if part.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*named, *own]))
