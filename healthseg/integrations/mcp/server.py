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
from urllib.parse import quote, unquote

import anyio
import jinja2
import mcp.types as types
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import GetPromptResult, Prompt, PromptArgument, PromptMessage, Resource, TextContent

import healthseg
from healthseg.data.storage import cache_folder
from healthseg.errors import HealthsegError, InvalidParameters, hint
from healthseg.integrations.mcp import tools as mcp_tools
from healthseg.integrations.mcp.calls import Calls, Limits
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
        resources, following = listed_reports(self.reports, int(cursor or 0))
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
        return types.ListPromptsResult(prompts=listed_prompts())

    async def get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        try:
            return prompt(params.name, params.arguments or {})
        except InvalidParameters as problem:
            raise MCPError(types.INVALID_PARAMS, problem.message, data=problem.to_dict()) from None

    async def read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Any:
        if str(params.uri).startswith(SCHEMAS):
            return _schema(str(params.uri))
        markup = read(self.reports, str(params.uri))
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


# -- prompts ---------------------------------------------------------------------------------------


READING = (
    "State every figure as it stands in the response, with its as_of. A null was not measured: give its reason from "
    "not_measured, and never fill it in. Keep warnings and data_quality in view. Call a tool with detail=full only "
    "where the summary leaves out what you need."
)
# names and ids are shorter; a text of several lines would read as one of the prompt's own
_LONGEST_VALUE = 200
CSM = PromptArgument(name="csm_id", description="Only this manager's customers", required=False)
CLIENT = PromptArgument(name="client_id", description="Customer identifier", required=True)
FIGURE = PromptArgument(
    name="figure", description="Path, as health_metrics.weekly_active_users", required=True
)
PROMPTS: dict[str, tuple[str, tuple[PromptArgument, ...], str]] = {
    "weekly_review": (
        "Which customers need attention this week, and what is to be done?",
        (CSM,),
        """Review the portfolio for this week{% if csm_id %}, the customers of manager {{ csm_id }}{% endif %}.
{%- set mine = " and csm_id == " ~ quoted_csm_id if csm_id else "" %}
1. next_actions{% if csm_id %} with csm_id={{ csm_id }}{% endif %}: what is due, by when, how much ARR depends on it.
2. find_customers with where="score < 60{{ mine }}", order_by="arr", descending=true.
3. find_customers with where="days_to_renewal <= 90{{ mine }}", order_by="days_to_renewal".
4. calculate_health_score of the three customers with the most ARR in 2: what moved their scores?
Write at most one page: the five actions that matter most (customer, what, who, by when, why), the renewals within
90 days with score and ARR, and what cannot be said for lack of data.""",
    ),
    "customer_review": (
        "What is to be known before a meeting with a customer?",
        (CLIENT,),
        """Prepare a meeting with customer {{ client_id }}.
1. calculate_health_score: the score, what moves it, what changed.
2. track_usage_engagement and track_feature_adoption: who uses what, and what is not used.
3. track_adoption_milestones, and manage_lifecycle_stages with action=get_stage: what is open or overdue.
4. trace_figure of the two figures on which your conclusion rests.
Write: the state in three sentences, what went well, which ARR depends on what, three questions for the meeting.""",
    ),
    "why_this_figure": (
        "Where does a figure of a customer's health score come from?",
        (CLIENT, FIGURE),
        """Explain {{ figure }} of customer {{ client_id }}.
1. trace_figure with tool=calculate_health_score, figure={{ figure }}, parameters={"client_id": "{{ client_id }}"}.
2. describe_metric of the metric behind it.
Say what is counted, over which days and from which rows, and check the value against the rows listed.""",
    ),
}


def listed_prompts() -> list[Prompt]:
    """The prompts with their arguments."""
    return [
        Prompt(name=name, description=question, arguments=list(arguments))
        for name, (question, arguments, _) in PROMPTS.items()
    ]


def prompt(name: str, values: Mapping[str, str]) -> GetPromptResult:
    """A prompt with its values. Raises InvalidParameters for an unknown name, and where a value is missing."""
    if name not in PROMPTS:
        raise _refused("name", f"there is no prompt {name!r}{hint(name, PROMPTS)}", list(PROMPTS))
    question, arguments, text = PROMPTS[name]
    names = [argument.name for argument in arguments]
    for value in values:
        if value not in names:
            raise _refused(
                value, f"the prompt {name} takes no {value!r}{hint(value, names)}", names
            )
        if len(values[value]) > _LONGEST_VALUE or not values[value].isprintable():
            rule = f"one line of at most {_LONGEST_VALUE} characters"
            raise InvalidParameters(
                f"{value} of the prompt {name} must be {rule}",
                parameter=value,
                validation_rule=rule,
            )
    for argument in arguments:
        if argument.required and not values.get(argument.name):
            raise _refused(argument.name, f"the prompt {name} needs {argument.name}", names)
    quoted = {f"quoted_{name}": repr(value) for name, value in values.items()}
    words = jinja2.Template(text).render(values, **quoted) + "\n\n" + READING
    message = PromptMessage(role="user", content=TextContent(type="text", text=words))
    return GetPromptResult(description=question, messages=[message])


def _refused(parameter: str, message: str, known: list[str]) -> InvalidParameters:
    rule = "one of " + ", ".join(known)
    return InvalidParameters(message, parameter=parameter, validation_rule=rule)


# -- reports as resources --------------------------------------------------------------------------


SCHEME = "healthseg://reports/"
PAGE = 200  # resources listed at once


def pages(folder: Path) -> list[Path]:
    """The reports in a folder, the index first, those of the portfolio before those of customers."""
    paths = [path for path in folder.rglob("*.html") if _is_report(path, folder)]
    return sorted(
        paths,
        key=lambda path: (
            len(_within(path, folder)),
            "overview" not in _within(path, folder),
            path,
        ),
    )


def listed_reports(folder: Path, start: int) -> tuple[list[Resource], int | None]:
    """A page of resources from ``start``, and where the next page begins."""
    paths = pages(folder)
    resources = [_resource(path, folder) for path in paths[start : start + PAGE]]
    return resources, start + PAGE if start + PAGE < len(paths) else None


def read(folder: Path, uri: str) -> str | None:
    """A report's markup, or None where there is no such report in the folder."""
    if not uri.startswith(SCHEME):
        return None
    try:
        path = folder / unquote(uri.removeprefix(SCHEME))
        return path.read_text(encoding="utf-8") if _is_report(path, folder) else None
    except (OSError, ValueError):
        return None


def _is_report(path: Path, folder: Path) -> bool:
    """Whether this is a page within the folder, by its name and by where its links lead; no part of it is hidden."""
    names = (path, folder), (path.resolve(), folder.resolve())
    return (
        all(
            file.is_relative_to(root)
            and file.suffix == ".html"
            and not any(part.startswith(".") for part in _within(file, root))
            for file, root in names
        )
        and path.is_file()
    )


def _within(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _resource(path: Path, folder: Path) -> Resource:
    parts = _within(path, folder)
    names = [part for part in (parts[-1], *parts[:-1][::-1]) if part != "customers"]
    words = " of ".join(name.removesuffix(".html").replace("_", " ") for name in names)
    return Resource(
        uri=SCHEME + quote("/".join(parts)),
        name="/".join(parts),
        title=f"Report: {words}",
        mime_type="text/html",
        size=path.stat().st_size,
    )
