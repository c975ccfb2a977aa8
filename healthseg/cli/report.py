"""``healthseg report``, ``lab``: the pages, many at a time; JupyterLab on their notebooks."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.cli import options
from healthseg.cli.options import (
    Commands,
    above_zero,
    add_command,
    existing,
    portfolio_option,
    print_json,
    require,
    whole,
)
from healthseg.errors import InvalidParameters

if TYPE_CHECKING:
    from healthseg.reports.batches.run import BatchRun

NOTES = """exit status: 0 all reports are there; 3 some failed, the others are there, and the index says which and why;
1 an error before anything ran; 2 wrong usage; 130 or 143 stopped by a signal, and --resume continues"""


def add_report(commands: Commands) -> None:
    report = add_command(
        commands,
        "report",
        "reports as HTML files that open offline, and an index over them",
        run_report,
        examples=(
            "report --riskiest 20 --overview",
            "report calculate_health_score --client cs_client_123 --format pdf",
            "report notebooks/mine.ipynb --riskiest 20",
            "report --manager csm_04 --out elena",
            "report --all-clients --due --out /srv/reports --keep-days 90 --quiet",
        ),
        notes=NOTES,
    )
    report.add_argument(
        "tools",
        nargs="*",
        metavar="TOOL",
        help="which tools, board, customer_360, or notebooks of your own (default: all tools)",
    )
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
        "--manager",
        default="",
        metavar="ID",
        help="this manager's customers (csm_id) and an index of them alone; all of them without --client and --riskiest",
    )
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
        help="write a folder per day, and remove all but the last N",
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
        "--workers", type=whole(1), metavar="N", help="how many at once (default: one per core)"
    )
    run.add_argument(
        "--on",
        metavar="CLUSTER",
        help="a Dask cluster that makes the reports: dask://HOST:8786, or local (default: this process' workers)",
    )
    run.add_argument(
        "--fail-fast", action="store_true", help="start no further report after a failure"
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


def run_report(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Make the reports, print where they are, and return the exit status."""
    from healthseg.reports import registry
    from healthseg.reports.pages import OVERVIEWS

    mine = set(registry.own_pages(arguments.tools))
    named = [name for name in arguments.tools if name not in mine and name not in OVERVIEWS]
    options.known_tools(named, parser, with_reports=True)
    own = bool(mine)
    choices = ("client", "all_clients", "riskiest", "overview", "manager")
    alone = own or "board" in arguments.tools  # need no customer
    if not alone and not any(getattr(arguments, name) for name in choices):
        parser.error(
            "which reports? use --client ID, --all-clients, --riskiest N, --manager ID or --overview"
        )
    if named and not arguments.on:
        options.require_addresses(drawing=True)
    from healthseg.reports.batches import plan
    from healthseg.reports.batches.run import BatchProgress, Stopped, make_reports

    try:
        plan.shard(arguments.shard)
    except InvalidParameters as problem:
        parser.error(f"--shard: {problem.message}")
    if "pdf" in arguments.format:
        options.require("typst", "pdf")
    tools = [] if own else named if arguments.tools else registry.names()
    try:
        batch = make_reports(
            arguments.portfolio,
            arguments.tools or None,
            arguments.client,
            all_clients=arguments.all_clients,
            riskiest=arguments.riskiest,
            overview=arguments.overview,
            manager=arguments.manager,
            out=arguments.out,
            parameters=options.parameters(arguments, tools, parser),
            workers=arguments.workers,
            progress=BatchProgress(arguments.quiet),
            resume=arguments.resume,
            fail_fast=arguments.fail_fast,
            due=arguments.due,
            shard=arguments.shard,
            formats=arguments.format,
            charts=arguments.charts,
            show_users=arguments.show_users,
            keep_days=arguments.keep_days,
            limits=_limits(arguments),
            on=arguments.on,
        )
    except Stopped as stopped:
        print(f"{stopped}; finished reports are there, and --resume continues", file=sys.stderr)
        return 128 + stopped.number
    if arguments.json:
        print_json(_outcome(batch))
    elif not arguments.quiet or batch.failed:
        print(_summary(batch))
    return batch.status


def _limits(arguments: argparse.Namespace) -> dict[str, float]:
    """The limits among the options; the settings hold the others."""
    limits = {"deadline_seconds": arguments.deadline, "memory_mb": arguments.memory}
    return {name: value for name, value in limits.items() if value is not None}


def _outcome(batch: BatchRun) -> dict[str, Any]:
    return {
        "index": str(batch.index),
        "reports": len(batch.outcomes),
        "unchanged": batch.skipped,
        "failed": len(batch.failed),
        "seconds": round(batch.seconds, 1),
    }


def _summary(batch: BatchRun) -> str:
    done = len(batch.outcomes) - len(batch.failed)
    skipped = f", {batch.skipped} of them unchanged" if batch.skipped else ""
    failed = f"; {len(batch.failed)} failed" if batch.failed else ""
    return f"{done} of {len(batch.outcomes)} reports{skipped}{failed} in {batch.seconds:.0f} s: {batch.index}"


DESCRIPTION = """Opens JupyterLab on the notebooks. They are copied to a folder where they are not there yet, so that you can change them;
a notebook that is there is never overwritten. The notebooks read the portfolio that is named."""


def add_lab(commands: Commands) -> None:
    lab = add_command(
        commands,
        "lab",
        "JupyterLab on the notebooks",
        run_lab,
        examples=(
            "lab",
            "lab --portfolio trial --notebooks my-notebooks",
            "lab -- --allow-root          # options of JupyterLab",
        ),
        description=DESCRIPTION,
    )
    portfolio_option(lab)
    lab.add_argument(
        "--notebooks",
        default="notebooks",
        metavar="DIR",
        help="the folder of the notebooks (default: notebooks)",
    )
    lab.add_argument(
        "jupyter", nargs="*", metavar="-- OPTION", help="options of JupyterLab, after --"
    )
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser")


def run_lab(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    require("jupyterlab", "lab")
    address = existing(portfolios.resolved(arguments.portfolio))
    folder = copied_notebooks(Path(arguments.notebooks))
    os.environ[portfolios.VARIABLE] = address
    command = [sys.executable, "-m", "jupyterlab", str(folder)]
    if arguments.no_browser:
        command.append("--no-browser")
    command += arguments.jupyter
    os.execv(command[0], command)


def copied_notebooks(folder: Path) -> Path:
    """The folder, with a copy of each notebook of the package that is not in it."""
    from healthseg.reports.batches import plan

    source = plan.notebooks()
    if folder.resolve() == source.resolve():
        return folder
    for notebook in sorted(source.rglob("*.ipynb")):
        target = folder / notebook.relative_to(source)
        if ".ipynb_checkpoints" in notebook.parts or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(notebook, target)
    return folder
