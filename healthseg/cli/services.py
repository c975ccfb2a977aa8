"""``healthseg mcp``, ``alerts``: serve the tools to MCP clients; evaluate and deliver the alerts."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from healthseg.cli.options import (
    OK,
    Commands,
    add_command,
    json_option,
    missing_extra,
    portfolio_option,
    show,
    whole,
)

if TYPE_CHECKING:
    from healthseg.integrations.mcp.server import Desk


def add_mcp(commands: Commands) -> None:
    mcp = add_command(
        commands,
        "mcp",
        "serve the tools to MCP clients, over stdio or HTTP",
        run_mcp,
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


def run_mcp(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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


def add_alerts(commands: Commands) -> None:
    purpose = "evaluate the alerts of the whole portfolio, and deliver the new ones"
    examples = ("alerts run", "alerts run --portfolio trial --no-deliver --out pages")
    alerts = add_command(commands, "alerts", purpose, run_alerts, examples=examples)
    kinds = alerts.add_subparsers(dest="alerts_command", metavar="COMMAND", required=True)
    purpose = "evaluate, record, deliver, and write the digest page"
    parser = add_command(kinds, "run", purpose, run_alerts, examples=examples)
    portfolio_option(parser)
    parser.add_argument(
        "--out", default="reports", help="the folder of the digest page (default: reports)"
    )
    parser.add_argument(
        "--no-deliver", action="store_true", help="leave the messages in the outbox"
    )
    json_option(parser)


def run_alerts(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.integrations.alerts import digest
    from healthseg.integrations.alerts import run as alerts
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    address = portfolios.address(arguments.portfolio)
    portfolio = portfolios.open_portfolio(address)
    evaluated = alerts.run(portfolio, in_force(address), delivers=not arguments.no_deliver)
    path = digest.write(
        evaluated, arguments.out, portfolios.now(), portfolios.manager_names(portfolio)
    )
    value = {**evaluated.to_dict(), "page": str(path)}
    show(arguments, value, _lines(value))
    return OK


def _lines(value: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {status}" for status, count in value["counts"].items())
    alerts = [
        f"  {alert['client_id']}: {alert['rule']}, {alert['status']} since {alert['since']}"
        for alert in value["alerts"]
    ]
    return [f"alerts as of {value['as_of']}: {counts}", *alerts, f"the page: {value['page']}"]
