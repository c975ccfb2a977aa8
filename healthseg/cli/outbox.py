"""``healthseg outbox run``: deliver the messages that are due."""

from __future__ import annotations

import argparse

from healthseg.cli.options import ERROR, OK, Commands, portfolio_option, print_json


def add(commands: Commands) -> None:
    outbox = commands.add_parser("outbox", help="messages that moves of customers cause")
    kinds = outbox.add_subparsers(dest="outbox_command", metavar="COMMAND", required=True)
    parser = kinds.add_parser(
        "run", help="deliver what is due; what fails is tried again by a later run"
    )
    portfolio_option(parser)
    parser.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print what happened; status 1 where messages are given up."""
    from healthseg.data.outbox import delivery
    from healthseg.reports import portfolios

    portfolio = portfolios.open_portfolio(given.portfolio)
    outcome = delivery.run(portfolio.ledger(), portfolio.settings.outbox, portfolio.folder)
    print_json(outcome)
    return ERROR if outcome["given_up"] else OK
