"""The MCP server: the registry's tools over stdio or HTTP, errors as the reference's objects, prompts, and as
resources the reports and the schemas of the responses."""

from __future__ import annotations

import hmac
import json
import re
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
from healthseg.errors import HealthsegError, InvalidParameters, hint
from healthseg.integrations.mcp import prompts as mcp_prompts
from healthseg.integrations.mcp import reports as mcp_reports
from healthseg.integrations.mcp import tools as mcp_tools
from healthseg.integrations.mcp.calls import Calls
from healthseg.integrations.mcp.limits import Limits
from healthseg.reports import registry
from healthseg.reports.responses import Response, Responses
from healthseg.settings.in_force import InForce, in_force

BEAT_SECONDS = 1.0  # how often a call that takes long says so
INSTRUCTIONS = (
    "Health, usage, adoption and segments of a portfolio of subscription customers. Every figure is as of the response's "
    "`as_of`; what could not be measured is null, with its reason in `not_measured`. Find a customer's client_id with "
    "find_customers; days are written 2025-10-10. Responses are summaries that say what they leave out; detail=full returns everything."
)
SCHEMAS = "healthseg://schemas/"
SHORTEST_TOKEN = 16
TOKENS_RULE = f"one token, or name:token for each caller, separated by commas; {SHORTEST_TOKEN} characters or more each"
UNNAMED = "mcp"  # the caller of a token without a name
Context = ServerRequestContext[Any]


class Desk:
    """Serves requests from one portfolio's responses, within the limits, and from the folder of reports."""

    def __init__(
        self,
        portfolio: str = "",
        *,
        cache: bool = True,
        clock: Callable[[], float] = time.time,
        callers: int = 1,
    ) -> None:
        self.responses = Responses(portfolio, cache=cache)
        self.settings: InForce = in_force(self.responses.address)
        self.limits = Limits(cache_folder(), self.settings.limits, clock, callers)
        self.calls = Calls(self.responses, self.settings.mcp)
        self.reports = Path(self.settings.mcp.reports)

    def close(self) -> None:
        """End what the desk started."""
        self.calls.close()
        self.responses.close()

    async def list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(await anyio.to_thread.run_sync(mcp_tools.listed)))

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """A tool's response once, as JSON text, or the error object; only an unknown tool is an error of the protocol."""
        if params.name not in registry.served():
            raise _unknown(params.name)
        body = await self._respond(context, params.name, params.arguments or {})
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=json.dumps(body, ensure_ascii=False))],
            is_error=mcp_tools.is_error(body),
        )

    async def _respond(
        self, context: Context, name: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The response, while the caller gets progress."""
        caller = _caller()
        try:
            values, detail = _requested(arguments)
            await anyio.to_thread.run_sync(self.limits.take, caller)
            values = registry.signed(name, values, caller)
        except HealthsegError as problem:
            return problem.to_dict()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat, context, name)
            response: Response = await self.calls.response(name, values)
            tasks.cancel_scope.cancel()
        return mcp_tools.body(response, detail)

    async def list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        cursor = params.cursor if params is not None else None
        if cursor is not None and not re.fullmatch(r"[0-9]{1,9}", cursor):
            raise MCPError(types.INVALID_PARAMS, f"{cursor!r} is not a cursor of this server")
        resources, following = mcp_reports.listed(self.reports, int(cursor or 0))
        return types.ListResourcesResult(
            resources=resources, next_cursor=str(following) if following else None
        )

    async def list_resource_templates(
        self, context: Context, params: Any
    ) -> types.ListResourceTemplatesResult:
        schemas = types.ResourceTemplate(
            uri_template=SCHEMAS + "{tool}",
            name="schemas",
            description="JSON Schema of a tool's full response, with the meaning of each key",
            mime_type="application/schema+json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[schemas])

    async def list_prompts(self, context: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=mcp_prompts.listed())

    async def get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        try:
            return mcp_prompts.prompt(params.name, params.arguments or {})
        except InvalidParameters as problem:
            raise MCPError(types.INVALID_PARAMS, problem.message, data=problem.to_dict()) from None

    async def read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        if str(params.uri).startswith(SCHEMAS):
            return _schema(str(params.uri))
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
        on_list_resource_templates=desk.list_resource_templates,
        on_read_resource=desk.read_resource,
        on_list_prompts=desk.list_prompts,
        on_get_prompt=desk.get_prompt,
    )


async def over_stdio(desk: Desk) -> None:
    """Serve the one client that started this process, until it leaves."""
    from mcp.server.stdio import stdio_server

    served = server(desk)
    async with stdio_server() as (incoming, outgoing):
        await served.run(incoming, outgoing, served.create_initialization_options())


def http_app(desk: Desk, tokens: Mapping[str, str], host: str = "127.0.0.1") -> Any:
    """The ASGI application: ``/mcp`` for those who present a token, ``/health`` for all."""
    from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
    from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.routing import Route

    verifier = _Tokens(tokens)
    app = server(desk).streamable_http_app(
        host=host,
        token_verifier=verifier,
        custom_starlette_routes=[Route("/health", _health, methods=["GET"])],
    )
    app.add_middleware(AuthContextMiddleware)
    app.add_middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier))
    return app


async def _health(request: Any) -> Any:
    """That the server answers, and its version: nothing of the portfolio."""
    from starlette.responses import JSONResponse

    return JSONResponse({"status": "ok", "version": healthseg.__version__})


def tokens(text: str) -> dict[str, str]:
    """The tokens by caller. Raises InvalidParameters, which never holds a token.

    >>> sorted(tokens("ann:0123456789abcdef,ben:fedcba9876543210"))
    ['ann', 'ben']
    >>> list(tokens("0123456789abcdef"))
    ['mcp']
    """
    pairs = [entry.strip().rpartition(":") for entry in text.split(",")]
    named = {name or UNNAMED: token for name, _, token in pairs}
    if (
        len(named) < len(pairs)
        or len(set(named.values())) < len(pairs)
        or not all(re.fullmatch(r"[\w.-]{1,40}", name) for name in named)
        or any(len(token) < SHORTEST_TOKEN for token in named.values())
    ):
        raise InvalidParameters(
            f"over HTTP callers present a bearer token: set HEALTHSEG_MCP_TOKEN to {TOKENS_RULE}",
            parameter="mcp.token",
            validation_rule=TOKENS_RULE,
        )
    return named


class _Tokens:
    """Accepts bearer tokens, each compared in constant time; the caller is the one whose token it is."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = {name: token.encode() for name, token in tokens.items()}

    async def verify_token(self, token: str) -> Any:
        from mcp.server.auth.provider import AccessToken

        presented = token.encode()
        names = [n for n, known in self._tokens.items() if hmac.compare_digest(presented, known)]
        return AccessToken(token="(hidden)", client_id=names[0], scopes=[]) if names else None


def _requested(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The tool's own parameters, and the detail. Raises InvalidParameters for a detail or an actor of one's own."""
    values = dict(arguments)
    detail = values.pop("detail", "summary")
    if detail not in mcp_tools.DETAIL["enum"]:
        known = ", ".join(mcp_tools.DETAIL["enum"])
        raise InvalidParameters(
            f"Invalid detail: {str(detail)[:80]!r}; it must be one of {known}{hint(str(detail), mcp_tools.DETAIL['enum'])}",
            parameter="detail",
            value_provided=str(detail)[:200],
            validation_rule=f"one of {known}",
        )
    if mcp_tools.SIGNED in values:
        raise InvalidParameters(
            "actor is whoever calls, and no parameter: leave it out",
            parameter="actor",
            value_provided=str(values["actor"])[:200],
            validation_rule="not a parameter over MCP",
        )
    return values, detail


def _schema(uri: str) -> types.ReadResourceResult:
    name = uri.removeprefix(SCHEMAS)
    if name not in registry.served():
        raise _unknown(name)
    text = json.dumps(mcp_tools.response_schema(name), ensure_ascii=False)
    contents = types.TextResourceContents(uri=uri, mime_type="application/schema+json", text=text)
    return types.ReadResourceResult(contents=[contents])


def _unknown(name: str) -> MCPError:
    try:
        registry.tool(name)
    except registry.UnknownTool as problem:
        return MCPError(types.INVALID_PARAMS, problem.message, data=problem.to_dict())
    raise AssertionError(name)


def _caller() -> str:
    """Over HTTP whoever holds the token, else this machine's user."""
    token = get_access_token()
    return token.client_id if token else registry.user()


async def _beat(context: Context, name: str) -> None:
    """Progress: at once, then each second, how long the call has taken."""
    began = time.monotonic()
    while True:
        seconds = time.monotonic() - began
        await context.session.report_progress(seconds, None, f"{name}: {seconds:.0f} s")
        await anyio.sleep(BEAT_SECONDS)
