"""The MCP server: the registry's tools over stdio or HTTP, errors as the reference's objects, reports as resources."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp.types as types
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

import healthseg
from healthseg.data.storage import cache_folder
from healthseg.errors import CalculationError, HealthsegError
from healthseg.integrations.mcp import reports as mcp_reports
from healthseg.integrations.mcp import tools as mcp_tools
from healthseg.integrations.mcp.limits import Limits
from healthseg.reports import registry
from healthseg.reports.responses import Responses
from healthseg.settings.in_force import InForce, in_force

BEAT_SECONDS = 1.0  # how often a call that takes long says so
INSTRUCTIONS = (
    "Health, usage, adoption and segments of a portfolio of subscription customers. Every figure is as of the response's "
    "`as_of`; what could not be measured is null, with its reason in `not_measured`."
)
Context = ServerRequestContext[Any]


class Desk:
    """Serves requests from one portfolio's responses, within the limits, and from the folder of reports."""

    def __init__(
        self, portfolio: str = "", *, cache: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self.responses = Responses(portfolio, cache=cache)
        self.settings: InForce = in_force(self.responses.address)
        self.limits = Limits(cache_folder(), self.settings.limits, clock)
        self.reports = Path(self.settings.mcp.reports)

    async def list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(await anyio.to_thread.run_sync(mcp_tools.listed)))

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """A tool's response, or the error object; only an unknown tool is an error of the protocol."""
        if params.name not in registry.served():
            raise _unknown(params.name)
        body = await self._respond(context, params.name, params.arguments or {})
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=json.dumps(body, ensure_ascii=False))],
            structured_content=body,
            is_error=body.get("status") == "error" and "error_code" in body,
        )

    async def _respond(
        self, context: Context, name: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The response, computed in a thread while the caller gets progress."""
        caller = _caller(context)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat, context, name)
            body = await anyio.to_thread.run_sync(self._compute, caller, name, arguments)
            tasks.cancel_scope.cancel()
        return body

    def _compute(self, caller: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self.limits.take(caller)
            return self.responses.response(name, registry.signed(name, arguments, caller)).body
        except HealthsegError as problem:
            return problem.to_dict()
        except Exception as problem:
            return CalculationError(
                f"unexpected {type(problem).__name__}: {str(problem)[:500]}"
            ).to_dict()

    async def list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        cursor = params.cursor if params is not None else None
        if cursor is not None and not cursor.isdigit():
            raise MCPError(types.INVALID_PARAMS, f"{cursor!r} is not a cursor of this server")
        resources, following = mcp_reports.listed(self.reports, int(cursor or 0))
        return types.ListResourcesResult(
            resources=resources, next_cursor=str(following) if following else None
        )

    async def read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        markup = mcp_reports.read(self.reports, str(params.uri))
        if markup is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no report {str(params.uri)[:200]!r}")
        contents = types.TextResourceContents(
            uri=str(params.uri), mime_type="text/html", text=markup
        )
        return types.ReadResourceResult(contents=[contents])


def server(desk: Desk) -> Server[Any]:
    """The server for a desk; it is run by ``over_stdio`` or served by ``http_app``."""
    return Server(
        "healthseg",
        version=healthseg.__version__,
        title="healthseg",
        instructions=INSTRUCTIONS,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_read_resource=desk.read_resource,
    )


async def over_stdio(desk: Desk) -> None:
    """Serve the one client that started this process, until it leaves."""
    from mcp.server.stdio import stdio_server

    served = server(desk)
    async with stdio_server() as (incoming, outgoing):
        await served.run(incoming, outgoing, served.create_initialization_options())


def http_app(desk: Desk, token: str, host: str = "127.0.0.1") -> Any:
    """The ASGI application: ``/mcp``, for those who present the token."""
    from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
    from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
    from starlette.middleware.authentication import AuthenticationMiddleware

    verifier = _OneToken(token)
    app = server(desk).streamable_http_app(host=host, token_verifier=verifier)
    app.add_middleware(AuthContextMiddleware)
    app.add_middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier))
    return app


class _OneToken:
    """Accepts one bearer token, compared in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> Any:
        from mcp.server.auth.provider import AccessToken

        same = hmac.compare_digest(token.encode(), self._token)
        return AccessToken(token="(hidden)", client_id="bearer", scopes=[]) if same else None


def _unknown(name: str) -> MCPError:
    try:
        registry.tool(name)
    except registry.UnknownTool as problem:
        return MCPError(types.INVALID_PARAMS, problem.message, data=problem.to_dict())
    raise AssertionError(name)


def _caller(context: Context) -> str:
    """The caller: over HTTP the token and the client's name, else this machine's user and the client's name."""
    client = context.session.client_params
    name = client.client_info.name if client is not None else "unnamed"
    token = get_access_token()
    return f"{token.client_id if token else registry.user()}:{name}"


async def _beat(context: Context, name: str) -> None:
    """Progress: at once, then each second, how long the call has taken."""
    began = time.monotonic()
    while True:
        seconds = time.monotonic() - began
        await context.session.report_progress(seconds, None, f"{name}: {seconds:.0f} s")
        await anyio.sleep(BEAT_SECONDS)
