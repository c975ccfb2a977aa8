"""The commands around the tools: ``healthseg settings | sync | mcp | alerts``."""

from __future__ import annotations

import argparse
import json
from typing import Any

COMMANDS = ("settings",)


def add_parsers(commands: Any) -> None:
    """These commands, among the others."""
    _settings_parser(commands)


def _portfolio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio", default="", metavar="P", help="the book (default: $HEALTHSEG_PORTFOLIO, else the demo book)"
    )


def _settings_parser(commands: Any) -> None:
    settings = commands.add_parser("settings", help="which settings are in force, and where each comes from")
    _portfolio(settings)
    settings.add_argument("--changed", action="store_true", help="only what is no default")
    settings.add_argument("--json", action="store_true", help="as JSON")
    settings.add_argument("--schema", action="store_true", help="the JSON Schema of healthseg.toml")
    settings.set_defaults(command=_settings)


def _settings(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.errors import DataRetrievalError
    from healthseg.faces import books, settings

    if given.schema:
        print(json.dumps(settings.schema(), indent=2))
        return 0
    try:
        address = books.address(given.portfolio)
    except DataRetrievalError:  # no book is named, and there is no demo book: the environment's settings still are
        address = ""
    rows = [row for row in settings.in_force(address).rows() if not given.changed or row[2] != settings.DEFAULT]
    if given.json:
        told = {name: {"value": value, "from": origin} for name, value, origin in rows}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n".join(f"{name} = {_short(value)}  ({origin})" for name, value, origin in rows))
    return 0


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."
