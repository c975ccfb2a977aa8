"""``healthseg mcp``: serve the tools to MCP clients."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from healthseg.cli.options import OK, Commands, add_command, missing_extra, portfolio_option, whole

if TYPE_CHECKING:
    from healthseg.integrations.mcp.server import Desk

SHORTEST_TOKEN = 16


def add(commands: Commands) -> None:
    mcp = add_command(
        commands,
        "mcp",
        "serve the tools to MCP clients, over stdio or HTTP",
        run,
        examples=("mcp --portfolio trial", "mcp --portfolio trial --http --port 8765"),
    )
    portfolio_option(mcp)
    mcp.add_argument(
        "--http",
        action="store_true",
        help="over HTTP, with the bearer token of HEALTHSEG_MCP_TOKEN",
    )
    mcp.add_argument("--host", help="the address to listen on (default: this machine only)")
    mcp.add_argument("--port", type=whole(1, 65_535), help="the port (default: 8765)")
    mcp.add_argument("--no-cache", action="store_true", help="compute every response anew")


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if not arguments.http and (arguments.host or arguments.port is not None):
        parser.error("--host and --port go with --http")
    try:
        import anyio

        from healthseg.integrations.mcp import server
    except ImportError as problem:
        raise missing_extra(problem, "mcp") from None
    desk = server.Desk(arguments.portfolio, cache=not arguments.no_cache)
    if arguments.http:
        return _over_http(desk, arguments)
    anyio.run(server.over_stdio, desk)
    return OK


def _over_http(desk: Desk, arguments: argparse.Namespace) -> int:
    import uvicorn

    from healthseg.errors import InvalidParameters
    from healthseg.integrations.mcp import server

    token = desk.settings.secret("mcp.token")
    if not token or len(token) < SHORTEST_TOKEN:
        raise InvalidParameters(
            f"over HTTP callers present a bearer token: set HEALTHSEG_MCP_TOKEN, {SHORTEST_TOKEN} characters or more",
            parameter="mcp.token",
            validation_rule=f"at least {SHORTEST_TOKEN} characters",
        )
    host = arguments.host or desk.settings.mcp.host
    port = desk.settings.mcp.port if arguments.port is None else arguments.port
    print(f"http://{host}:{port}/mcp", file=sys.stderr, flush=True)
    uvicorn.run(server.http_app(desk, token, host), host=host, port=port, log_level="warning")
    return OK
