"""``healthseg check``: what each table holds, what was dropped and why."""

from __future__ import annotations

import argparse

from healthseg.cli.options import ERROR, OK, Commands, add_command, json_option, print_json


def add(commands: Commands) -> None:
    check = add_command(
        commands,
        "check",
        "what each table holds, what was dropped and why",
        run,
        examples=("check data/demo", "check portfolio.toml --json", "check 'postgresql://…/crm'"),
        notes="exit status: 0 the portfolio is usable, 1 it is not, 2 wrong usage",
    )
    check.add_argument(
        "portfolio",
        metavar="PORTFOLIO",
        help="a folder, a portfolio.toml, a DuckDB file or a database address",
    )
    json_option(check)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    check = portfolios.open_portfolio(given.portfolio).check()
    if given.json:
        print_json(check.to_dict())
    else:
        print(check.to_text())
    return OK if check.usable else ERROR
