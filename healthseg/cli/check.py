"""``healthseg check``: what each table holds, what was dropped and why."""

from __future__ import annotations

import argparse

from healthseg.cli.options import (
    ERROR,
    OK,
    Commands,
    add_command,
    json_option,
    print_json,
    printable,
)


def add(commands: Commands) -> None:
    check = add_command(
        commands,
        "check",
        "what each table holds, what was dropped and why",
        run,
        examples=(
            "check data/demo",
            "check data/demo --strict",
            "check portfolio.toml --json",
            "check 'postgresql://…/crm'",
        ),
        notes="exit status: 0 the portfolio is usable, 1 it is not or (--strict) lost too much, 2 wrong usage",
    )
    check.add_argument(
        "portfolio",
        metavar="PORTFOLIO",
        help="a folder, a portfolio.toml, a DuckDB file or a database address",
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="fail if a table is refused, or lost more than a share of its rows or of a column's values",
    )
    check.add_argument(
        "--max-loss",
        type=float,
        metavar="SHARE",
        help="that share (default: the setting strict_loss_share)",
    )
    json_option(check)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    portfolio = portfolios.open_portfolio(arguments.portfolio)
    check = portfolio.check()
    share = (
        portfolio.settings.strict_loss_share if arguments.max_loss is None else arguments.max_loss
    )
    losses = check.losses_above(share) if arguments.strict or arguments.max_loss is not None else []
    if arguments.json:
        print_json(check.to_dict() | {"losses": losses})
    else:
        lines = [check.to_text(), *(f"lost too much: {loss}" for loss in losses)]
        print(printable("\n".join(lines)))
    return OK if check.usable and not losses else ERROR
