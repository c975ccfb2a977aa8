"""The commands around the tools: ``healthseg settings | sync | mcp | alerts``."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SHORTEST_TOKEN = 16
COMMANDS = ("settings", "sync", "mcp", "alerts")


def add_parsers(commands: Any) -> None:
    """These commands, among the others."""
    _settings_parser(commands)
    _sync_parser(commands)
    _mcp_parser(commands)
    _alerts_parser(commands)


def _portfolio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio",
        default="",
        metavar="P",
        help="the portfolio (default: $HEALTHSEG_PORTFOLIO, else the demo portfolio)",
    )


def _settings_parser(commands: Any) -> None:
    settings = commands.add_parser(
        "settings", help="which settings are in force, and where each comes from"
    )
    _portfolio(settings)
    settings.add_argument("--changed", action="store_true", help="only what is no default")
    settings.add_argument("--json", action="store_true", help="as JSON")
    settings.add_argument("--schema", action="store_true", help="the JSON Schema of healthseg.toml")
    settings.set_defaults(command=_settings)


def _settings(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.errors import DataRetrievalError
    from healthseg.reports import portfolios
    from healthseg.settings import in_force as settings

    if given.schema:
        print(json.dumps(settings.schema(), indent=2))
        return 0
    try:
        address = portfolios.address(given.portfolio)
    except DataRetrievalError:  # no portfolio is named, and there is no demo portfolio: the environment's settings still are
        address = ""
    rows = [
        row
        for row in settings.in_force(address).rows()
        if not given.changed or row[2] != settings.DEFAULT
    ]
    if given.json:
        told = {name: {"value": value, "from": origin} for name, value, origin in rows}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n".join(f"{name} = {_short(value)}  ({origin})" for name, value, origin in rows))
    return 0


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."


def _mcp_parser(commands: Any) -> None:
    mcp = commands.add_parser("mcp", help="serve the tools to MCP clients, over stdio or HTTP")
    _portfolio(mcp)
    mcp.add_argument(
        "--http",
        action="store_true",
        help="over HTTP, with the bearer token of HEALTHSEG_MCP_TOKEN",
    )
    mcp.add_argument("--host", help="the address to listen on (default: this machine only)")
    mcp.add_argument("--port", type=int, help="the port (default: 8765)")
    mcp.add_argument("--no-cache", action="store_true", help="make every response anew")
    mcp.set_defaults(command=_mcp)


def _mcp(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.errors import CalculationError

    if not given.http and (given.host or given.port is not None):
        parser.error("--host and --port go with --http")
    try:
        import anyio

        from healthseg.integrations.mcp import server as mcp_server
    except ImportError as problem:
        raise CalculationError(
            f"{problem.name} is not installed: pip install 'healthseg[mcp]'"
        ) from None
    desk = mcp_server.Desk(given.portfolio, cache=not given.no_cache)
    if given.http:
        return _mcp_http(desk, given)
    anyio.run(mcp_server.over_stdio, desk)
    return 0


def _mcp_http(desk: Any, given: argparse.Namespace) -> int:
    import uvicorn

    from healthseg.errors import InvalidParameters
    from healthseg.integrations.mcp import server as mcp_server

    token = desk.settings.secret("mcp.token")
    if not token or len(token) < SHORTEST_TOKEN:
        raise InvalidParameters(
            f"over HTTP callers present a bearer token: set HEALTHSEG_MCP_TOKEN, {SHORTEST_TOKEN} characters or more",
            parameter="mcp.token",
            validation_rule=f"at least {SHORTEST_TOKEN} characters",
        )
    host = given.host or desk.settings.mcp.host
    port = desk.settings.mcp.port if given.port is None else given.port
    app = mcp_server.http_app(desk, token, host)
    print(f"http://{host}:{port}/mcp", file=sys.stderr, flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
    return 0


def _sync_parser(commands: Any) -> None:
    sync = commands.add_parser(
        "sync", help="fetch events from an outside source into the portfolio"
    )
    sync.add_argument("source", choices=("mixpanel",), help="where from")
    _portfolio(sync)
    sync.add_argument(
        "--from",
        dest="first",
        type=_day,
        metavar="DATE",
        help="the first day (default: the earliest that is there, else 30 days before the last)",
    )
    sync.add_argument(
        "--to", dest="last", type=_day, metavar="DATE", help="the last day (default: yesterday)"
    )
    sync.set_defaults(command=_sync)


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def _sync(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.errors import CalculationError
    from healthseg.reports import portfolios
    from healthseg.settings import in_force as settings

    try:
        from healthseg.integrations.mixpanel.sync import Sync
    except ImportError as problem:
        raise CalculationError(
            f"{problem.name} is not installed: pip install 'healthseg[mixpanel]'"
        ) from None
    address = given.portfolio or os.environ.get(portfolios.VARIABLE, "")
    if not address:
        parser.error(f"sync into which portfolio? give --portfolio, or set {portfolios.VARIABLE}")
    known = settings.in_force(address)
    secrets = {
        name: known.secret(f"mixpanel.{name}")
        for name in ("api_secret", "service_account_secret", "project_token")
    }
    if secrets["api_secret"] and not known.mixpanel.service_account:
        print("MIXPANEL_API_SECRET ends in March 2027: make a service account", file=sys.stderr)
    sync = Sync(
        Path(address),
        known.mixpanel,
        secrets,
        now=portfolios.now,
        sleep=time.sleep,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    outcome = sync.run(given.first, given.last)
    print(json.dumps(outcome.to_dict(), indent=2))
    return 1 if outcome.incomplete else 0


def _alerts_parser(commands: Any) -> None:
    alerts = commands.add_parser(
        "alerts", help="evaluate the alerts of the whole portfolio, and tell what is new"
    )
    doing = alerts.add_subparsers(dest="doing", metavar="WHAT", required=True)
    run = doing.add_parser("run", help="evaluate, note, deliver, and write the digest page")
    _portfolio(run)
    run.add_argument(
        "--out", default="reports", help="the folder of the digest page (default: reports)"
    )
    run.add_argument("--no-deliver", action="store_true", help="leave the messages in the outbox")
    run.set_defaults(command=_alerts)


def _alerts(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.integrations.alerts import digest as alerts_page
    from healthseg.integrations.alerts import run as alerts
    from healthseg.reports import portfolios
    from healthseg.settings import in_force as settings

    address = portfolios.address(given.portfolio)
    portfolio = portfolios.open_portfolio(address)
    run = alerts.run(portfolio, settings.in_force(address), delivers=not given.no_deliver)
    path = alerts_page.write(run, given.out, portfolios.now())
    print(
        json.dumps({**run.to_dict(), "page": str(path)}, indent=2, ensure_ascii=False, default=str)
    )
    return 0
