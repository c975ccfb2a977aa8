"""``healthseg mcp``: serve the tools to MCP clients."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import sys
from typing import TYPE_CHECKING

from healthseg.cli.options import OK, Commands, add_command, missing_extra, portfolio_option, whole

if TYPE_CHECKING:
    from healthseg.integrations.mcp.server import Desk


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
        help="over HTTP, with the bearer tokens of HEALTHSEG_MCP_TOKEN",
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
    if arguments.http:
        return _over_http(arguments)
    with contextlib.closing(server.Desk(arguments.portfolio, cache=not arguments.no_cache)) as desk:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, functools.partial(_end, desk))
        anyio.run(server.over_stdio, desk)
    return OK


def _end(desk: Desk, number: int, _frame: object) -> None:
    """Ends the process: a thread that reads standard input cannot be interrupted."""
    try:
        desk.close()
    finally:
        os._exit(128 + number)


def _over_http(arguments: argparse.Namespace) -> int:
    import uvicorn

    from healthseg.integrations.mcp import server
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    settings = in_force(portfolios.address(arguments.portfolio))
    tokens = server.tokens(settings.secret("mcp.token") or "")
    host = arguments.host or settings.mcp.host
    port = settings.mcp.port if arguments.port is None else arguments.port
    desk = server.Desk(arguments.portfolio, cache=not arguments.no_cache, callers=len(tokens))
    with contextlib.closing(desk):
        print(f"http://{host}:{port}/mcp", file=sys.stderr, flush=True)
        app = server.http_app(desk, tokens, host)
        uvicorn.run(app, host=host, port=port, log_level="warning")
    return OK
