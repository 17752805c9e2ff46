"""The tools over the Model Context Protocol, at /gradio_api/mcp, with its official library.

The only module that sees mcp, which --mcp needs. Gradio's own server answers Python's repr in the
place of JSON, knows no default that is 0 or empty, and calls this page over HTTP in its turn.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from gpt2.ui.api.tools import Tool, Tools
from gpt2.ui.server.served import UNFORESEEN, log_error

PATH = "/gradio_api/mcp"
FOR_PROGRAMS = (
    "This is the address of the page's tools, for a client of the Model Context Protocol "
    "(streamable HTTP); the page is at /."
)
HOW = "GPT-2 writes on, and shows what it saw: it is small, and no source of facts."


class McpServer:
    """Without sessions: each call stands for itself."""

    def __init__(self, tools: Tools, name: str) -> None:
        """Serve tools under a name."""
        self._tools = tools
        server: Server[Any, Request] = Server(name, instructions=HOW)

        @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
        async def listed() -> list[types.Tool]:
            request = server.request_context.request
            return [
                types.Tool(name=tool.name, description=tool.description, inputSchema=tool.schema())
                for tool in self._wanted(request)
            ]

        @server.call_tool(validate_input=False)
        async def called(tool: str, given: dict[str, Any]) -> types.CallToolResult:
            request = server.request_context.request
            address = request.client.host if request and request.client else ""
            return await self._call(tool, given, address)

        logging.getLogger("mcp.server").setLevel(logging.ERROR)  # it tells of tools by wrong names
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    @property
    def routes(self) -> list[BaseRoute]:
        """Where it is served: at its address itself, since not all follow where they are sent."""
        return [Route(PATH, self), Mount(PATH, self)]

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """It serves within."""
        async with self._manager.run():
            yield

    def _wanted(self, request: Request | None) -> list[Tool]:
        """All tools, or those that the address names: ?tools=generate,score."""
        named = request.query_params.get("tools") if request else None
        tools = self._tools.by_name.values()
        return [tool for tool in tools if not named or tool.name in named.split(",")]

    async def _call(self, name: str, given: dict[str, Any], address: str) -> types.CallToolResult:
        try:
            said = json.dumps(await self._tools.call(name, given, address=address))
            failed = False
        except ValueError as error:
            said, failed = str(error), True
        except Exception as error:
            log_error(error, f"the tool {name}" if name in self._tools.by_name else "a tool")
            said, failed = UNFORESEEN, True
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=said)], isError=failed
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._manager.handle_request(scope, receive, send)
        elif scope["path"].rstrip("/").endswith(f"{PATH}/schema"):
            await self._schema(Request(scope))(scope, receive, send)
        else:  # there is nothing to wait for: a client that asks for news is told so, and goes on
            refusal = PlainTextResponse(FOR_PROGRAMS, HTTPStatus.METHOD_NOT_ALLOWED)
            refusal.headers["allow"] = "POST"
            await refusal(scope, receive, send)

    def _schema(self, request: Request) -> JSONResponse:
        """As Gradio answers, for those who look for tools in Spaces."""
        meta = {"file_data_present": False, "mcp_type": "tool"}
        return JSONResponse([
            {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": tool.schema(),
                "meta": {**meta, "endpoint_name": tool.name},
            }
            for tool in self._wanted(request)
        ])  # fmt: skip
