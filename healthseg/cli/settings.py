"""``healthseg settings``: which settings are in force, and where each comes from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from healthseg.cli.options import (
    OK,
    Commands,
    add_command,
    existing,
    json_option,
    portfolio_option,
    print_json,
)

LONGEST = 100  # characters of a value on its line


def add(commands: Commands) -> None:
    settings = add_command(
        commands,
        "settings",
        "which settings are in force, and where each comes from",
        run,
        examples=("settings --changed", "settings --portfolio trial --json", "settings --schema"),
    )
    portfolio_option(settings)
    settings.add_argument(
        "--changed", action="store_true", help="only those that differ from their defaults"
    )
    json_option(settings)
    settings.add_argument("--schema", action="store_true", help="the JSON Schema of healthseg.toml")


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.errors import DataRetrievalError
    from healthseg.reports import portfolios
    from healthseg.settings import in_force

    if arguments.schema:
        print_json(in_force.schema())
        return OK
    try:
        address = portfolios.address(arguments.portfolio)
        # a folder with settings alone has settings to show
        if arguments.portfolio and not Path(address).is_dir():
            existing(address)
    except (
        DataRetrievalError
    ):  # without any portfolio the environment's settings are still in force
        if arguments.portfolio:
            raise
        address = ""
    rows = [
        row
        for row in in_force.in_force(address).rows()
        if not arguments.changed or row[2] != in_force.DEFAULT
    ]
    if arguments.json:
        print_json({name: {"value": value, "from": origin} for name, value, origin in rows})
    else:
        print("\n".join(f"{name} = {_short(value)}  ({origin})" for name, value, origin in rows))
    return OK


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
