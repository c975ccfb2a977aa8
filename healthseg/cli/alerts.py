"""``healthseg alerts run``: evaluate the alerts of the portfolio, deliver them, and write their page."""

from __future__ import annotations

import argparse
from typing import Any

from healthseg.cli.options import OK, Commands, add_command, json_option, portfolio_option, show


def add(commands: Commands) -> None:
    purpose = "evaluate the alerts of the whole portfolio, and deliver the new ones"
    examples = ("alerts run", "alerts run --portfolio trial --no-deliver --out pages")
    alerts = add_command(commands, "alerts", purpose, run, examples=examples)
    kinds = alerts.add_subparsers(dest="alerts_command", metavar="COMMAND", required=True)
    purpose = "evaluate, record, deliver, and write the digest page"
    parser = add_command(kinds, "run", purpose, run, examples=examples)
    portfolio_option(parser)
    parser.add_argument(
        "--out", default="reports", help="the folder of the digest page (default: reports)"
    )
    parser.add_argument(
        "--no-deliver", action="store_true", help="leave the messages in the outbox"
    )
    json_option(parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.integrations.alerts import digest
    from healthseg.integrations.alerts import run as alerts
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    address = portfolios.address(arguments.portfolio)
    portfolio = portfolios.open_portfolio(address)
    run = alerts.run(portfolio, in_force(address), delivers=not arguments.no_deliver)
    path = digest.write(run, arguments.out, portfolios.now(), portfolios.manager_names(portfolio))
    value = {**run.to_dict(), "page": str(path)}
    show(arguments, value, _lines(value))
    return OK


def _lines(value: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {status}" for status, count in value["counts"].items())
    alerts = [
        f"  {alert['client_id']}: {alert['rule']}, {alert['status']} since {alert['since']}"
        for alert in value["alerts"]
    ]
    return [f"alerts as of {value['as_of']}: {counts}", *alerts, f"the page: {value['page']}"]
