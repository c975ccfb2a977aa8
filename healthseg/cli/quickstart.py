"""``healthseg quickstart``: a simulated portfolio and its first pages, in a minute."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path

from healthseg.cli.options import Commands, add_command, json_option, print_json

# enough customers for rates, few enough for a minute
CLIENTS, MONTHS = 60, 12
TOOL = "calculate_health_score"


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "quickstart",
        "write a small simulated portfolio, and show its first pages",
        run,
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


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
        print(_outcome(data, index))
    if not arguments.no_open and sys.stdout.isatty():
        webbrowser.open(index.as_uri())
    return batch.status


def _outcome(data: Path, index: Path) -> str:
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
