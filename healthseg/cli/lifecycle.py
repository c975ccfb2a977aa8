"""What is recorded and delivered from the command line: ``healthseg lifecycle advance``, ``healthseg outbox run``."""

from __future__ import annotations

import argparse
import json
from typing import Any

COMMANDS = ("lifecycle", "outbox")
OK, ERROR = 0, 1


def add_parsers(commands: Any) -> None:
    """These commands, among the others."""
    lifecycle = commands.add_parser(
        "lifecycle", help="moves that follow from the criteria of the stages"
    )
    kinds = lifecycle.add_subparsers(dest="lifecycle_command", metavar="COMMAND", required=True)
    advance = kinds.add_parser(
        "advance", help="which customers meet all criteria of another stage; a plan, or done"
    )
    _portfolio(advance)
    advance.add_argument(
        "--apply", action="store_true", help="make the moves (default: only print them)"
    )
    advance.add_argument(
        "--client", action="append", default=[], metavar="ID", help="a customer; may be repeated"
    )
    advance.add_argument(
        "--as-of", dest="as_of", metavar="DATE", help="the day whose figures count, YYYY-MM-DD"
    )
    advance.add_argument("--no-notify", action="store_true", help="tell no manager of it")
    advance.set_defaults(command=_advance)
    outbox = commands.add_parser("outbox", help="messages that moves of customers set off")
    kinds = outbox.add_subparsers(dest="outbox_command", metavar="COMMAND", required=True)
    run = kinds.add_parser(
        "run", help="deliver what is due; what fails is tried again by a later run"
    )
    _portfolio(run)
    run.set_defaults(command=_run)


def _portfolio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio",
        default="",
        metavar="P",
        help="the portfolio (default: $HEALTHSEG_PORTFOLIO, else the demo portfolio)",
    )


def _advance(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Prints the plan as JSON; with ``--apply`` what became of each move."""
    from healthseg.reports import portfolios
    from healthseg.tools.lifecycle import advance

    portfolio = portfolios.open_portfolio(given.portfolio)
    clients = [portfolio.client(client)["client_id"] for client in given.client] or None
    as_of = portfolio.as_of(given.as_of)
    steps = advance.plan(portfolio, as_of, clients, present=given.as_of is None)
    told: dict[str, Any] = {"as_of": as_of.isoformat(), "applied": given.apply}
    if not given.apply:
        _print({**told, "moves": [step.to_dict() for step in steps]})
        return OK
    made = advance.apply(portfolio, steps, notify_team=not given.no_notify)
    _print({**told, "moves": [*made, *(_left(step) for step in steps if not step.automatic)]})
    return ERROR if any(one["outcome"] == "refused" for one in made) else OK


def _left(step: Any) -> dict[str, Any]:
    return {**step.to_dict(), "outcome": "left to a person"}


def _run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Delivers what is due, prints what happened; status 1 where messages were given up."""
    from healthseg.data.outbox import delivery
    from healthseg.reports import portfolios

    portfolio = portfolios.open_portfolio(given.portfolio)
    told = delivery.run(portfolio.ledger(), portfolio.settings.outbox, portfolio.folder)
    _print(told)
    return ERROR if told["given_up"] else OK


def _print(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
