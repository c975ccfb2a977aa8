"""``healthseg ledger``: verify what was recorded, back it up, restore it."""

from __future__ import annotations

import argparse
from pathlib import Path

from healthseg.cli.options import (
    OK,
    Commands,
    add_command,
    json_option,
    portfolio_option,
    show,
)


def add(commands: Commands) -> None:
    ledger = add_command(
        commands,
        "ledger",
        "verify, back up or restore what a portfolio's ledger recorded",
        run,
        examples=("ledger verify", "ledger backup ledger-copy.db", "ledger restore ledger-copy.db"),
    )
    kinds = ledger.add_subparsers(dest="ledger_command", metavar="COMMAND", required=True)
    for name, purpose in (
        ("verify", "hold each row's digest against its content and the row before"),
        ("backup", "copy the ledger in one consistent state, while others may write"),
        (
            "restore",
            "put a verified backup in the ledger's place; the present file is kept beside it",
        ),
    ):
        example = f"ledger {name}" + ("" if name == "verify" else " ledger-copy.db")
        parser = add_command(kinds, name, purpose, run, examples=(example,))
        if name != "verify":
            parser.add_argument("file", help="the backup")
        portfolio_option(parser)
        json_option(parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if arguments.ledger_command == "restore":
        return _restore(arguments)
    from healthseg.reports import portfolios

    ledger = portfolios.open_portfolio(arguments.portfolio).ledger()
    counts = ledger.verify()
    from healthseg.rules import counted

    lines = [
        f"{ledger.name} is whole",
        *(f"  {name}: {counted(n, 'row')}" for name, n in counts.items() if n),
    ]
    if arguments.ledger_command == "backup":
        target = Path(arguments.file)
        ledger.backup(target)
        lines.append(f"backed up to {target}")
    show(arguments, {"ledger": ledger.name, "rows": counts}, lines)
    return OK


def _restore(arguments: argparse.Namespace) -> int:
    """Put a backup in the ledger's place; without opening the portfolio, whose ledger may be damaged."""
    from healthseg.data.ledger.location import restore
    from healthseg.reports import portfolios

    restored, former = restore(Path(arguments.file), portfolios.address(arguments.portfolio))
    lines = [f"restored {restored}", *([f"what was there is now {former}"] if former else [])]
    show(arguments, {"restored": str(restored), "kept": str(former) if former else None}, lines)
    return OK
