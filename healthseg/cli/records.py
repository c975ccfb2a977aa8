"""``healthseg ledger``, ``lifecycle``, ``outbox``: what was recorded, and the messages that it triggered."""

from __future__ import annotations

import argparse
from pathlib import Path
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


def add_ledger(commands: Commands) -> None:
    ledger = add_command(
        commands,
        "ledger",
        "verify, back up or restore what a portfolio's ledger recorded",
        run_ledger,
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
        parser = add_command(kinds, name, purpose, run_ledger, examples=(example,))
        if name != "verify":
            parser.add_argument("file", help="the backup")
        portfolio_option(parser)
        json_option(parser)


def run_ledger(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
    from healthseg.data.ledger.ledger import restore
    from healthseg.reports import portfolios

    restored, former = restore(Path(arguments.file), portfolios.address(arguments.portfolio))
    lines = [f"restored {restored}", *([f"what was there is now {former}"] if former else [])]
    show(arguments, {"restored": str(restored), "kept": str(former) if former else None}, lines)
    return OK


def add_lifecycle(commands: Commands) -> None:
    purpose = "stage changes whose criteria are met"
    examples = ("lifecycle advance", "lifecycle advance --client cs_client_123 --apply")
    lifecycle = add_command(commands, "lifecycle", purpose, run_lifecycle, examples=examples)
    kinds = lifecycle.add_subparsers(dest="lifecycle_command", metavar="COMMAND", required=True)
    purpose = "which customers meet all criteria of another stage; move them with --apply"
    advance = add_command(kinds, "advance", purpose, run_lifecycle, examples=examples)
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


def run_lifecycle(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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


def add_outbox(commands: Commands) -> None:
    examples = ("outbox run", "outbox run --portfolio trial")
    purpose = "messages that stage changes triggered"
    outbox = add_command(commands, "outbox", purpose, run_outbox, examples=examples)
    kinds = outbox.add_subparsers(dest="outbox_command", metavar="COMMAND", required=True)
    purpose = "deliver what is due; what fails is tried again by a later run"
    parser = add_command(kinds, "run", purpose, run_outbox, examples=examples)
    portfolio_option(parser)
    json_option(parser)


def run_outbox(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
