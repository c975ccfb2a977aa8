"""``healthseg lifecycle advance``: the stage changes whose criteria are met."""

from __future__ import annotations

import argparse
from typing import Any

from healthseg.cli.options import (
    ERROR,
    OK,
    Commands,
    add_command,
    day,
    json_option,
    portfolio_option,
    show,
)


def add(commands: Commands) -> None:
    purpose = "stage changes whose criteria are met"
    examples = ("lifecycle advance", "lifecycle advance --client cs_client_123 --apply")
    lifecycle = add_command(commands, "lifecycle", purpose, run, examples=examples)
    kinds = lifecycle.add_subparsers(dest="lifecycle_command", metavar="COMMAND", required=True)
    purpose = "which customers meet all criteria of another stage; move them with --apply"
    advance = add_command(kinds, "advance", purpose, run, examples=examples)
    portfolio_option(advance)
    advance.add_argument(
        "--apply", action="store_true", help="record the moves (default: only print them)"
    )
    advance.add_argument(
        "--client", action="append", default=[], metavar="ID", help="a customer; may be repeated"
    )
    advance.add_argument(
        "--as-of",
        dest="as_of",
        metavar="DATE",
        type=day,
        help="the day whose figures count, YYYY-MM-DD",
    )
    advance.add_argument(
        "--lifecycle", default="", metavar="NAME", help="one of the setting lifecycles"
    )
    advance.add_argument("--no-notify", action="store_true", help="do not notify managers")
    json_option(advance)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print the plan; with ``--apply`` the outcome of each move."""
    from healthseg.metrics.stages import of_lifecycle
    from healthseg.reports import portfolios
    from healthseg.tools.lifecycle.moves import apply, plan

    opened = portfolios.open_portfolio(arguments.portfolio)
    portfolio = of_lifecycle(opened, arguments.lifecycle)
    clients = [portfolio.client(client)["client_id"] for client in arguments.client] or None
    as_of = portfolio.as_of(arguments.as_of)
    steps = plan(portfolio, as_of, clients, present=arguments.as_of is None)
    head: dict[str, Any] = {"as_of": as_of.isoformat(), "applied": arguments.apply}
    if not arguments.apply:
        return _show(arguments, {**head, "moves": [step.to_dict() for step in steps]})
    moves = apply(portfolio, steps, notify_team=not arguments.no_notify)
    manual = [
        {**step.to_dict(), "outcome": "left to a person"} for step in steps if not step.automatic
    ]
    return _show(arguments, {**head, "moves": [*moves, *manual]})


def _show(arguments: argparse.Namespace, value: dict[str, Any]) -> int:
    """Prints the moves; status 1 where one was refused."""
    count = len(value["moves"])
    words = f"{count} move{'' if count == 1 else 's'} as of {value['as_of']}"
    lines = [words if value["applied"] else f"{words}; --apply records them"]
    for move in value["moves"]:
        outcome = f": {move['outcome']}" if "outcome" in move else ""
        stages = f"{move.get('from_stage', '?')} → {move.get('to_stage', '?')}"
        lines.append(f"  {move['client_id']}: {stages}{outcome}")
    show(arguments, value, lines)
    refused = any(move.get("outcome") == "refused" for move in value["moves"])
    return ERROR if refused else OK
