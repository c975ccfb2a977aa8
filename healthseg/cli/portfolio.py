"""``healthseg check``, ``init``, ``demo``, ``quickstart``, ``sync``: make a portfolio, fill it, and see what it holds."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import time
import webbrowser
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
    print_json,
    printable,
    show,
    whole,
)
from healthseg.errors import InvalidParameters


def add_check(commands: Commands) -> None:
    check = add_command(
        commands,
        "check",
        "what each table holds, what was dropped and why",
        run_check,
        examples=(
            "check data/demo",
            "check data/demo --strict",
            "check portfolio.toml --json",
            "check 'postgresql://…/crm'",
        ),
        notes="exit status: 0 the portfolio is usable, 1 it is not or (--strict) lost too much, 2 wrong usage",
    )
    check.add_argument(
        "portfolio",
        metavar="PORTFOLIO",
        help="a folder, a portfolio.toml, a DuckDB file or a database address",
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="fail if a table is refused, or lost more than a share of its rows or of a column's values",
    )
    check.add_argument(
        "--max-loss",
        type=float,
        metavar="SHARE",
        help="that share (default: the setting strict_loss_share)",
    )
    json_option(check)


def run_check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    portfolio = portfolios.open_portfolio(arguments.portfolio)
    check = portfolio.check()
    share = (
        portfolio.settings.strict_loss_share if arguments.max_loss is None else arguments.max_loss
    )
    losses = check.losses_above(share) if arguments.strict or arguments.max_loss is not None else []
    if arguments.json:
        print_json(check.to_dict() | {"losses": losses})
    else:
        lines = [check.to_text(), *(f"lost too much: {loss}" for loss in losses)]
        print(printable("\n".join(lines)))
    return OK if check.usable and not losses else ERROR


INIT_DESCRIPTION = """Looks at files and folders (CSV, Parquet, JSON lines, …), recognises the exports of common systems and tables of
your own by their columns, and writes portfolio.toml: a query per table, the reason for each guess, and what is left for
you to decide. Nothing is sent anywhere, nothing is downloaded, and the files stay as they are."""


def add_init(commands: Commands) -> None:
    parser = add_command(
        commands,
        "init",
        "look at exports, write a commented portfolio.toml",
        run_init,
        examples=(
            "init exports/",
            "init salesforce/ stripe/ segment/tracks.csv --out trial",
            "init '$CRM'                     # an environment variable with a database's address",
        ),
        description=INIT_DESCRIPTION,
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


def run_init(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.data.exports.portfolio_file import write_portfolio

    outline = write_portfolio(arguments.sources, arguments.out, force=arguments.force)
    if arguments.json:
        print_json(outline.to_dict())
    else:
        print(printable(outline.to_text()))
    return OK


def add_demo(commands: Commands) -> None:
    demo = add_command(
        commands,
        "demo",
        "write a simulated portfolio to try things on",
        run_demo,
        examples=("demo", "demo --clients 60 --events light --out trial/data", "demo --seed 11"),
    )
    demo.add_argument("--out", default="data/demo", help="the folder (default: data/demo)")
    demo.add_argument(
        "--clients",
        type=whole(1, 100_000),
        help="how many customers (default: the scenario's, mostly 250)",
    )
    demo.add_argument(
        "--months", type=whole(3, 60), default=18, help="how many months (default: 18)"
    )
    demo.add_argument(
        "--seed", type=int, default=7, help="the same seed gives the same bytes (default: 7)"
    )
    demo.add_argument("--scenario", default="default", help="what is planted (default: default)")
    demo.add_argument(
        "--events",
        default="full",
        choices=("full", "light"),
        help="light: a fifth of the events (default: full)",
    )
    json_option(demo)


def run_demo(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.demo import make_demo

    try:
        make_demo(
            arguments.out,
            clients=arguments.clients,
            months=arguments.months,
            seed=arguments.seed,
            scenario=arguments.scenario,
            events=arguments.events,
        )
    except InvalidParameters as problem:
        rule = problem.details.get("validation_rule", "")
        parser.error(problem.message + (f"; {rule}" if rule.startswith("one of ") else ""))
    if arguments.json:
        print_json({"portfolio": arguments.out})
    else:
        print(arguments.out)
    return OK


# enough customers for rates, few enough for a minute
CLIENTS, MONTHS = 60, 12
TOOL = "calculate_health_score"


def add_quickstart(commands: Commands) -> None:
    parser = add_command(
        commands,
        "quickstart",
        "write a small simulated portfolio, and show its first pages",
        run_quickstart,
        examples=("quickstart", "quickstart --out trial --no-open"),
        notes="next, with files of your own: healthseg init exports/",
    )
    parser.add_argument(
        "--out",
        default="quickstart",
        metavar="DIR",
        help="the folder for the portfolio and the pages (default: quickstart)",
    )
    parser.add_argument(
        "--no-open", action="store_true", help="name the pages, do not open a browser"
    )
    json_option(parser)


def run_quickstart(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.demo import make_demo
    from healthseg.reports.batches.run import BatchProgress, make_reports

    data, pages = Path(arguments.out) / "data", Path(arguments.out) / "reports"
    print(f"writing {CLIENTS} simulated customers, then the pages…", file=sys.stderr, flush=True)
    make_demo(data, clients=CLIENTS, months=MONTHS, events="light")
    batch = make_reports(
        str(data), [TOOL], riskiest=1, overview=True, out=str(pages), progress=BatchProgress(True)
    )
    index = Path(batch.index).resolve()
    if arguments.json:
        print_json(
            {"portfolio": str(data), "index": str(index), "seconds": round(batch.seconds, 1)}
        )
    else:
        print(_next_steps(data, index))
    if not arguments.no_open and sys.stdout.isatty():
        webbrowser.open(index.as_uri())
    return batch.status


def _next_steps(data: Path, index: Path) -> str:
    return "\n".join(
        (
            f"the portfolio: {data} ({CLIENTS} simulated customers)",
            f"the pages: {index.as_uri()}",
            "next:",
            f"  healthseg report --portfolio {data} --riskiest 10 --overview",
            f"  healthseg lab --portfolio {data}",
            "  healthseg init exports/                  # with exports of your own",
        )
    )


def add_sync(commands: Commands) -> None:
    sync = add_command(
        commands,
        "sync",
        "fetch events from an outside source into the portfolio",
        run_sync,
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


def run_sync(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
    show(arguments, outcome.to_dict(), _sync_lines(outcome.to_dict()))
    return ERROR if outcome.incomplete else OK


def _sync_lines(outcome: dict[str, Any]) -> list[str]:
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
