"""``healthseg sync``: fetch events from an outside source into the portfolio."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import time
from pathlib import Path

from healthseg.cli.options import ERROR, OK, Commands, missing_extra, portfolio_option, print_json


def add(commands: Commands) -> None:
    sync = commands.add_parser(
        "sync", help="fetch events from an outside source into the portfolio"
    )
    sync.add_argument("source", choices=("mixpanel",), help="where from")
    portfolio_option(sync)
    sync.add_argument(
        "--from",
        dest="first",
        type=dt.date.fromisoformat,
        metavar="DATE",
        help="the first day (default: the earliest that was synced, else 30 days before the last)",
    )
    sync.add_argument(
        "--to",
        dest="last",
        type=dt.date.fromisoformat,
        metavar="DATE",
        help="the last day (default: yesterday)",
    )
    sync.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios
    from healthseg.settings.in_force import in_force

    try:
        from healthseg.integrations.mixpanel.sync import Sync
    except ImportError as problem:
        raise missing_extra(problem, "mixpanel") from None
    address = given.portfolio or os.environ.get(portfolios.VARIABLE, "")
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
    outcome = sync.run(given.first, given.last)
    print_json(outcome.to_dict())
    return ERROR if outcome.incomplete else OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
