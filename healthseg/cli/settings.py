"""``healthseg settings``, ``trust``: which settings are in force and where each comes from; which files are trusted."""

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
    show,
)

LONGEST = 100  # characters of a value on its line


def add_settings(commands: Commands) -> None:
    settings = add_command(
        commands,
        "settings",
        "which settings are in force, and where each comes from",
        run_settings,
        examples=("settings --changed", "settings --portfolio trial --json", "settings --schema"),
    )
    portfolio_option(settings)
    settings.add_argument(
        "--changed", action="store_true", help="only those that differ from their defaults"
    )
    json_option(settings)
    settings.add_argument("--schema", action="store_true", help="the JSON Schema of healthseg.toml")


def run_settings(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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


def add_trust(commands: Commands) -> None:
    parser = add_command(
        commands,
        "trust",
        "let a portfolio's files name message handlers, the ledger's address and what is served",
        run_trust,
        examples=("trust data/demo --list", "trust data/demo"),
        description=(
            "A portfolio may come from others, so what its healthseg.toml and portfolio.toml set in motion "
            "outside of it needs your consent once. This shows what that is and records the files as they are; "
            "a file that changes has to be trusted again."
        ),
    )
    parser.add_argument("portfolio", help="the portfolio's folder")
    parser.add_argument("--list", action="store_true", help="only show what would be allowed")
    json_option(parser)


def run_trust(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.data.discovery import links_of
    from healthseg.data.object_store import is_store, mirrored
    from healthseg.errors import DataRetrievalError, InvalidParameters
    from healthseg.settings import trust
    from healthseg.settings.base import toml_content

    folder = Path(arguments.portfolio).expanduser()
    if is_store(arguments.portfolio):
        folder = mirrored(arguments.portfolio).path
    elif not folder.exists():
        raise DataRetrievalError(
            f"there is nothing at {arguments.portfolio!r}: give the portfolio's folder",
            parameter="portfolio",
            value_provided=arguments.portfolio,
        )
    folder = folder if folder.is_dir() else folder.parent
    allowed: dict[str, list[str]] = {}
    for path in (folder / name for name in trust.FILES):
        if not path.is_file():
            continue
        try:
            content = toml_content(path)
        except ValueError:
            raise InvalidParameters(
                f"{path} is not valid TOML", parameter="portfolio", value_provided=str(path)
            ) from None
        allowed[str(path)] = trust.acting(content, folder)
    links = links_of(folder) if folder.is_dir() else {}
    if links:
        allowed[str(folder)] = [f"{label} -> {target}" for label, target in sorted(links.items())]
    if not allowed:
        raise DataRetrievalError(
            f"{folder} holds neither {' nor '.join(trust.FILES)}, nor links to elsewhere: there is nothing to trust",
            parameter="portfolio",
            value_provided=str(folder),
        )
    lines = [
        line
        for path, names in allowed.items()
        for line in (
            f"{path}: {'allows' if names else 'nothing acts outside the portfolio'}",
            *(f"  {name}" for name in names),
        )
    ]
    if not arguments.list:
        files = [path for path, names in allowed.items() if names and path != str(folder)]
        store = trust.trust([Path(path) for path in files], folder, links)
        lines.append(f"Recorded in {store}; a file that changes has to be trusted again.")
    show(arguments, {"allowed": allowed, "trusted": not arguments.list}, lines)
    return OK
