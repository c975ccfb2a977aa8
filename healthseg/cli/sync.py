"""``healthseg sync``: fetch events from an outside source into the portfolio."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import time
from pathlib import Path
from typing import Any

from healthseg.cli.options import (
    ERROR,
    OK,
    Commands,
    add_command,
    day,
    json_option,
    missing_extra,
    portfolio_option,
    printable,
    show,
)


def add(commands: Commands) -> None:
    sync = add_command(
        commands,
        "sync",
        "fetch events from an outside source into the portfolio",
        run,
        examples=(
            "sync mixpanel --portfolio trial",
            "sync mixpanel --portfolio trial --from 2025-01-01 --to 2025-03-31",
        ),
        notes="exit status: 0 all days are there, 1 an error or days that are missing, 2 wrong usage",
    )
    sync.add_argument("source", choices=("mixpanel",), help="where from")
    portfolio_option(sync)
    sync.add_argument(
        "--from",
        dest="first",
        type=day,
        metavar="DATE",
        help="the first day (default: the earliest that was synced, else 30 days before the last)",
    )
    sync.add_argument(
        "--to",
        dest="last",
        type=day,
        metavar="DATE",
        help="the last day (default: yesterday)",
    )
    json_option(sync)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    try:
        from healthseg.integrations.mixpanel.sync import Sync
    except ImportError as problem:
        raise missing_extra(problem, "mixpanel") from None
    if arguments.first and arguments.last and arguments.first > arguments.last:
        parser.error(f"--from {arguments.first} is after --to {arguments.last}")
    address = arguments.portfolio or os.environ.get(portfolios.VARIABLE, "")
    if not address:
        parser.error(f"which portfolio? use --portfolio, or set {portfolios.VARIABLE}")
    settings = in_force(address)
    names = ("api_secret", "service_account_secret", "project_token")
    secrets = {name: settings.secret(f"mixpanel.{name}") for name in names}
    if secrets["api_secret"] and not settings.mixpanel.service_account:
        _say("MIXPANEL_API_SECRET ends in March 2027: create a service account")
    sync = Sync(
        Path(address),
        settings.mixpanel,
        secrets,
        now=portfolios.now,
        sleep=time.sleep,
        say=_say,
    )
    outcome = sync.run(_date(arguments.first), _date(arguments.last))
    show(arguments, outcome.to_dict(), _lines(outcome.to_dict()))
    return ERROR if outcome.incomplete else OK


def _lines(outcome: dict[str, Any]) -> list[str]:
    lines = [
        f"events of {outcome['first']} to {outcome['last']}: {outcome['events']:,} written of "
        f"{outcome['received']:,} received, {len(outcome['fetched'])} days fetched, "
        f"{outcome['already_there']} were there"
    ]
    lines += [f"  left out: {count:,}, {reason}" for reason, count in outcome["left_out"].items()]
    return lines + [
        f"  {day} is missing: {reason}" for day, reason in outcome["incomplete"].items()
    ]


def _date(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
