"""What the page serves when it is told to, with packages that it does not need else."""

from typing import TYPE_CHECKING

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gpt2.ui.api.tools import Tools
from gpt2.ui.server.served import Served

if TYPE_CHECKING:
    from gpt2.ui.api.mcp_server import McpServer


def metrics_route(app: Served) -> BaseRoute:
    """/metrics, of a page that counts from now on.

    Raises:
        ValueError: prometheus-client is missing.
    """
    try:
        from gpt2.ui.server.metrics import Meter
    except ImportError as error:
        raise ValueError(
            "--metrics: the package prometheus-client is missing here; "
            "pip install prometheus-client"
        ) from error
    return APIRoute("/metrics", Meter(app).answer)


def mcp_server(app: Served) -> "McpServer":
    """The API as tools of an assistant.

    Raises:
        ValueError: mcp is missing, or too old.
    """
    try:
        from gpt2.ui.api.mcp_server import McpServer
    except ImportError as error:
        raise ValueError(
            f"--mcp: the package mcp is missing here or does not fit ({error}); "
            "pip install --upgrade 'gradio[mcp]'"
        ) from error
    app.tools = Tools(app.engine, app._queue.lines)
    app.mcp_server = True  # Gradio's page then shows how to connect
    return McpServer(app.tools, app.title)
