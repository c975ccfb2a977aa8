"""``healthseg lifecycle advance``: the moves that follow from the criteria of the stages."""

from __future__ import annotations

import argparse
from typing import Any

from healthseg.cli.options import ERROR, OK, Commands, portfolio_option, print_json


def add(commands: Commands) -> None:
    lifecycle = commands.add_parser(
        "lifecycle", help="moves that follow from the criteria of the stages"
    )
    kinds = lifecycle.add_subparsers(dest="lifecycle_command", metavar="COMMAND", required=True)
    advance = kinds.add_parser(
        "advance", help="which customers meet all criteria of another stage; move them with --apply"
    )
    portfolio_option(advance)
    advance.add_argument(
        "--apply", action="store_true", help="record the moves (default: only print them)"
    )
    advance.add_argument(
        "--client", action="append", default=[], metavar="ID", help="a customer; may be repeated"
    )
    advance.add_argument(
        "--as-of", dest="as_of", metavar="DATE", help="the day whose figures count, YYYY-MM-DD"
    )
    advance.add_argument("--no-notify", action="store_true", help="do not notify managers")
    advance.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print the plan as JSON; with ``--apply`` the outcome of each move."""
    from healthseg.reports import portfolios
    from healthseg.tools.lifecycle import criteria

    portfolio = portfolios.open_portfolio(given.portfolio)
    clients = [portfolio.client(client)["client_id"] for client in given.client] or None
    as_of = portfolio.as_of(given.as_of)
    steps = criteria.plan(portfolio, as_of, clients, present=given.as_of is None)
    head: dict[str, Any] = {"as_of": as_of.isoformat(), "applied": given.apply}
    if not given.apply:
        print_json({**head, "moves": [step.to_dict() for step in steps]})
        return OK
    moves = criteria.apply(portfolio, steps, notify_team=not given.no_notify)
    manual = [
        {**step.to_dict(), "outcome": "left to a person"} for step in steps if not step.automatic
    ]
    print_json({**head, "moves": [*moves, *manual]})
    return ERROR if any(move["outcome"] == "refused" for move in moves) else OK
