"""``healthseg check``: what each table holds, what was dropped and why."""

from __future__ import annotations

import argparse

from healthseg.cli.options import ERROR, OK, Commands, print_json


def add(commands: Commands) -> None:
    check = commands.add_parser("check", help="what each table holds, what was dropped and why")
    check.add_argument(
        "portfolio",
        metavar="PORTFOLIO",
        help="a folder, a portfolio.toml, a DuckDB file or a database address",
    )
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    check = portfolios.open_portfolio(given.portfolio).check()
    if given.json:
        print_json(check.to_dict())
    else:
        print(check.to_text())
    return OK if check.usable else ERROR
