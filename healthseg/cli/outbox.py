"""``healthseg outbox run``: deliver the messages that are due."""

from __future__ import annotations

import argparse

from healthseg.cli.options import (
    ERROR,
    OK,
    Commands,
    add_command,
    json_option,
    portfolio_option,
    show,
)


def add(commands: Commands) -> None:
    examples = ("outbox run", "outbox run --portfolio trial")
    purpose = "messages that stage changes triggered"
    outbox = add_command(commands, "outbox", purpose, run, examples=examples)
    kinds = outbox.add_subparsers(dest="outbox_command", metavar="COMMAND", required=True)
    purpose = "deliver what is due; what fails is tried again by a later run"
    parser = add_command(kinds, "run", purpose, run, examples=examples)
    portfolio_option(parser)
    json_option(parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print what happened; status 1 where messages are given up."""
    from healthseg.data import outbox
    from healthseg.reports import portfolios

    portfolio = portfolios.open_portfolio(arguments.portfolio)
    outcome = outbox.run(portfolio.ledger(), portfolio.settings.outbox, portfolio.folder)
    problems = [
        "  " + ", ".join(f"{key} {value}" for key, value in problem.items())
        for problem in outcome["problems"]
    ]
    counts = (
        f"{outcome['delivered']} delivered, {outcome['to_be_retried']} to be retried, "
        f"{outcome['given_up']} given up"
    )
    show(arguments, outcome, [counts, *problems])
    return ERROR if outcome["given_up"] else OK
