"""``healthseg report``: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

EPILOG = """exit status: 0 all are there; 3 some failed, the others are there, and the index says which and why;
1 an error before anything ran; 2 wrong usage; 130 or 143 stopped by a signal, and --resume goes on"""


def options(report: argparse.ArgumentParser) -> None:
    """What to make, where to, how, and within which limits."""
    report.epilog = EPILOG
    what = report.add_argument_group("what to make")
    what.add_argument(
        "--client", action="append", default=[], metavar="ID", help="a customer; may be repeated"
    )
    what.add_argument("--all-clients", action="store_true", help="every live customer")
    what.add_argument(
        "--riskiest", type=int, default=0, metavar="N", help="the N customers with most at stake"
    )
    what.add_argument("--overview", action="store_true", help="the reports of the whole portfolio")
    what.add_argument(
        "--due",
        action="store_true",
        help="of these, the tools whose day, week, month or quarter passed",
    )
    what.add_argument(
        "--resume", action="store_true", help="only what is missing, or was made from other data"
    )
    what.add_argument(
        "--shard", default="1/1", metavar="N/M", help="the Nth of M parts, for several machines"
    )
    where = report.add_argument_group("where to, and how")
    where.add_argument("--out", default="reports", help="the folder (default: reports)")
    where.add_argument(
        "--keep-days", type=int, default=0, metavar="N", help="a folder a day, of which N are kept"
    )
    where.add_argument(
        "--format", action="append", default=[], metavar="KIND", help="beside HTML: pdf or csv"
    )
    where.add_argument(
        "--charts",
        default="auto",
        help="static, interactive, or auto: interactive for the portfolio (default: auto)",
    )
    where.add_argument(
        "--show-users",
        action="store_true",
        help="users by their names (default: left out, or hidden)",
    )
    where.add_argument("--quiet", action="store_true", help="say nothing on the way")
    run = report.add_argument_group("how it runs")
    run.add_argument(
        "--workers", type=int, metavar="N", help="how many at once (default: one a core)"
    )
    run.add_argument(
        "--fail-fast", action="store_true", help="begin no further report after one that failed"
    )
    run.add_argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help="for one report (default: the setting reports.deadline_seconds, 600)",
    )
    run.add_argument(
        "--memory",
        type=float,
        metavar="MB",
        help="for one report (default: the setting reports.memory_mb, 4096)",
    )


def usage_error(given: argparse.Namespace) -> str:
    """What is wrong with the options themselves; empty where nothing is."""
    if not (given.client or given.all_clients or given.riskiest or given.overview):
        return "report what? give --client ID, --all-clients, --riskiest N or --overview"
    if (
        given.riskiest < 0
        or given.keep_days < 0
        or (given.workers is not None and given.workers < 1)
    ):
        return "--riskiest, --keep-days and --workers take whole numbers from 1"
    if any(limit <= 0 for limit in _limits(given).values()):
        return "--deadline and --memory take numbers above 0"
    return ""


def run(
    given: argparse.Namespace,
    tools: list[str],
    parameters: Mapping[str, Any],
    say: Callable[[str], None],
) -> int:
    """Make the reports, say where they are, and give the exit status."""
    from healthseg.reports.batches.run import Progress, Stopped, make_reports

    try:
        made = make_reports(
            given.portfolio,
            tools,
            given.client,
            all_clients=given.all_clients,
            riskiest=given.riskiest,
            overview=given.overview,
            out=given.out,
            parameters=parameters,
            workers=given.workers,
            progress=Progress(given.quiet),
            resume=given.resume,
            fail_fast=given.fail_fast,
            due=given.due,
            shard=given.shard,
            formats=given.format,
            charts=given.charts,
            show_users=given.show_users,
            keep_days=given.keep_days,
            limits=_limits(given),
        )
    except Stopped as stopped:
        say(f"{stopped}; what was made is there, and --resume goes on")
        return 128 + stopped.number
    if not given.quiet or made.failed:
        print(_summary(made))
    return made.status


def _limits(given: argparse.Namespace) -> dict[str, float]:
    """What the options say of a report's limits; the settings say the rest."""
    limits = {"deadline_seconds": given.deadline, "memory_mb": given.memory}
    return {name: value for name, value in limits.items() if value is not None}


def _summary(made: Any) -> str:
    done = len(made.outcomes) - len(made.failed)
    skipped = f", {made.skipped} of them unchanged" if made.skipped else ""
    failed = f"; {len(made.failed)} failed" if made.failed else ""
    return f"{done} of {len(made.outcomes)} reports{skipped}{failed} in {made.seconds:.0f} s: {made.index}"
