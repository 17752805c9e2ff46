"""Putting the page on the network, and saying in one sentence what could not be done.

Imports: gradio.
"""

import importlib.util
import io
from contextlib import redirect_stdout

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
        OSError: the port is taken, or the address is not this machine's.
        ValueError: MCP was asked for and is not installed.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError("--mcp needs one more package: pip install 'gradio[mcp]'")
    app = build_app(engine)
    try:
        with redirect_stdout(io.StringIO()):  # a tunnel that fails is told in many lines
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
                f"port {port} on {host} is taken or can't be opened; choose another one with "
                "--port or --host"
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
