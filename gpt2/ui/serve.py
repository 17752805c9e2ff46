"""Putting the page on the network, and saying in one sentence what could not be done.

Imports: gradio.
"""

import importlib.util

from gpt2.engine import Engine
from gpt2.ui import build_app, launch_options


def serve(
    engine: Engine,
    *,
    host: str,
    port: int,
    share: bool,
    auth: tuple[str, str] | None,
    mcp: bool,
) -> int:
    """Serve the page until interrupted; the exit status.

    Raises:
        OSError: the port is taken.
        ValueError: MCP was asked for and is not installed.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError("--mcp needs one more package: pip install 'gradio[mcp]'")
    app = build_app(engine)
    try:
        app.launch(
            server_name=host,
            server_port=port,
            share=share,
            auth=auth,
            mcp_server=mcp,
            prevent_thread_lock=True,
            **launch_options(),
        )
    except OSError as error:
        if "port" in str(error).lower():
            raise OSError(
                f"port {port} on {host} is taken; choose another one with --port"
            ) from error
        raise
    print(f"Open {app.local_url}", flush=True)
    if share and app.share_url:
        print(f"Public link, for up to a week: {app.share_url}", flush=True)
    elif share:
        print(
            "The public link could not be had (the tunnel's server can't be reached); "
            "the page above keeps running.",
            flush=True,
        )
    app.block_thread()
    return 0
