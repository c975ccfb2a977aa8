"""``healthseg report``: reports as HTML files, and an index over them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from healthseg.cli import options
from healthseg.cli.options import Commands, above_zero, add_command, print_json, whole
from healthseg.errors import InvalidParameters

if TYPE_CHECKING:
    from healthseg.reports.batches.run import BatchRun

NOTES = """exit status: 0 all reports are there; 3 some failed, the others are there, and the index says which and why;
1 an error before anything ran; 2 wrong usage; 130 or 143 stopped by a signal, and --resume continues"""


def add(commands: Commands) -> None:
    report = add_command(
        commands,
        "report",
        "reports as HTML files that open offline, and an index over them",
        run,
        examples=(
            "report --riskiest 20 --overview",
            "report calculate_health_score --client cs_client_123 --format pdf",
            "report --all-clients --due --out /srv/reports --keep-days 90 --quiet",
        ),
        notes=NOTES,
    )
    report.add_argument("tools", nargs="*", metavar="TOOL", help="which tools (default: all)")
    options.tool_options(report)
    _which(report.add_argument_group("which reports"))
    _where(report.add_argument_group("where, and in which form"))
    _limits_of(report.add_argument_group("how it runs"))
    options.json_option(report)


def _which(which: argparse._ArgumentGroup) -> None:
    which.add_argument(
        "--client", action="append", default=[], metavar="ID", help="a customer; may be repeated"
    )
    which.add_argument("--all-clients", action="store_true", help="every live customer")
    which.add_argument(
        "--riskiest",
        type=whole(1),
        default=0,
        metavar="N",
        help="the N customers with the highest expected churned ARR",
    )
    which.add_argument("--overview", action="store_true", help="the reports of the whole portfolio")
    which.add_argument(
        "--due",
        action="store_true",
        help="only tools whose day, week, month or quarter has passed",
    )
    which.add_argument(
        "--resume",
        action="store_true",
        help="only reports that are missing or whose inputs changed",
    )
    which.add_argument(
        "--shard", default="1/1", metavar="N/M", help="the Nth of M parts, for several machines"
    )


def _where(where: argparse._ArgumentGroup) -> None:
    where.add_argument("--out", default="reports", help="the folder (default: reports)")
    where.add_argument(
        "--keep-days",
        type=whole(1),
        default=0,
        metavar="N",
        help="a folder a day; all but N are removed",
    )
    where.add_argument(
        "--format",
        action="append",
        default=[],
        choices=("pdf", "csv"),
        help="beside HTML; may be repeated",
    )
    where.add_argument(
        "--charts",
        default="auto",
        choices=("auto", "static", "interactive"),
        help="auto: interactive for the portfolio, static for customers (default: auto)",
    )
    where.add_argument(
        "--show-users",
        action="store_true",
        help="users by their names (default: left out, or pseudonyms)",
    )
    where.add_argument("--quiet", action="store_true", help="no progress, no summary")


def _limits_of(run: argparse._ArgumentGroup) -> None:
    run.add_argument(
        "--workers", type=whole(1), metavar="N", help="how many at once (default: one a core)"
    )
    run.add_argument(
        "--fail-fast", action="store_true", help="begin no further report after one that failed"
    )
    run.add_argument(
        "--deadline",
        type=above_zero,
        metavar="SECONDS",
        help="for one report (default: the setting reports.deadline_seconds, 600)",
    )
    run.add_argument(
        "--memory",
        type=above_zero,
        metavar="MB",
        help="for one report (default: the setting reports.memory_mb, 4096)",
    )


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Make the reports, print where they are, and return the exit status."""
    from healthseg.reports import registry
    from healthseg.reports.batches import plan
    from healthseg.reports.batches.run import BatchProgress, Stopped, make_reports

    options.known_tools(given.tools, parser, with_reports=True)
    if not (given.client or given.all_clients or given.riskiest or given.overview):
        parser.error("which reports? use --client ID, --all-clients, --riskiest N or --overview")
    try:
        plan.shard(given.shard)
    except InvalidParameters as problem:
        parser.error(f"--shard: {problem.message}")
    if "pdf" in given.format:
        options.require("typst", "pdf")
    tools = given.tools or registry.names()
    try:
        made = make_reports(
            given.portfolio,
            given.tools or None,
            given.client,
            all_clients=given.all_clients,
            riskiest=given.riskiest,
            overview=given.overview,
            out=given.out,
            parameters=options.parameters(given, tools, parser),
            workers=given.workers,
            progress=BatchProgress(given.quiet),
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
        print(f"{stopped}; finished reports are there, and --resume continues", file=sys.stderr)
        return 128 + stopped.number
    if given.json:
        print_json(_outcome(made))
    elif not given.quiet or made.failed:
        print(_summary(made))
    return made.status


def _limits(given: argparse.Namespace) -> dict[str, float]:
    """The limits among the options; the settings hold the others."""
    limits = {"deadline_seconds": given.deadline, "memory_mb": given.memory}
    return {name: value for name, value in limits.items() if value is not None}


def _outcome(made: BatchRun) -> dict[str, Any]:
    return {
        "index": str(made.index),
        "reports": len(made.outcomes),
        "unchanged": made.skipped,
        "failed": len(made.failed),
        "seconds": round(made.seconds, 1),
    }


def _summary(made: BatchRun) -> str:
    done = len(made.outcomes) - len(made.failed)
    skipped = f", {made.skipped} of them unchanged" if made.skipped else ""
    failed = f"; {len(made.failed)} failed" if made.failed else ""
    return f"{done} of {len(made.outcomes)} reports{skipped}{failed} in {made.seconds:.0f} s: {made.index}"
