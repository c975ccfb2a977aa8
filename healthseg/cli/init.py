"""``healthseg init``: look at exports and write a commented ``portfolio.toml``."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands, add_command, json_option, print_json, printable

DESCRIPTION = """Looks at files and folders (CSV, Parquet, JSON lines, …), recognises the exports of common systems and tables of
your own by their columns, and writes portfolio.toml: a query per table, the reason for each guess, and what is left for
you to decide. Nothing is sent anywhere, nothing is downloaded, and the files stay as they are."""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "init",
        "look at exports, write a commented portfolio.toml",
        run,
        examples=(
            "init exports/",
            "init salesforce/ stripe/ segment/tracks.csv --out trial",
            "init '$CRM'                     # an environment variable with a database's address",
        ),
        description=DESCRIPTION,
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="files, folders of files, or a database"
    )
    parser.add_argument(
        "--out", default=".", metavar="DIR", help="where portfolio.toml goes (default: this folder)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the portfolio.toml that is there"
    )
    json_option(parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.data.exports.portfolio_file import write_portfolio

    outline = write_portfolio(arguments.sources, arguments.out, force=arguments.force)
    if arguments.json:
        print_json(outline.to_dict())
    else:
        print(printable(outline.to_text()))
    return OK
