"""``healthseg alerts run``: evaluate the alerts of the portfolio, deliver them, and write their page."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands, portfolio_option, print_json


def add(commands: Commands) -> None:
    alerts = commands.add_parser(
        "alerts", help="evaluate the alerts of the whole portfolio, and deliver the new ones"
    )
    kinds = alerts.add_subparsers(dest="alerts_command", metavar="COMMAND", required=True)
    parser = kinds.add_parser("run", help="evaluate, record, deliver, and write the digest page")
    portfolio_option(parser)
    parser.add_argument(
        "--out", default="reports", help="the folder of the digest page (default: reports)"
    )
    parser.add_argument(
        "--no-deliver", action="store_true", help="leave the messages in the outbox"
    )
    parser.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.integrations.alerts import digest
    from healthseg.integrations.alerts import run as alerts
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    address = portfolios.address(given.portfolio)
    portfolio = portfolios.open_portfolio(address)
    run = alerts.run(portfolio, in_force(address), delivers=not given.no_deliver)
    path = digest.write(run, given.out, portfolios.now())
    print_json({**run.to_dict(), "page": str(path)})
    return OK
