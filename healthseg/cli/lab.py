"""``healthseg lab``: JupyterLab on the notebooks."""

from __future__ import annotations

import argparse
import os
import sys

from healthseg.cli.options import Commands, missing_extra


def add(commands: Commands) -> None:
    commands.add_parser("lab", help="JupyterLab on the notebooks").set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports.batches import plan

    command = [sys.executable, "-m", "jupyterlab", str(plan.notebooks())]
    try:
        import jupyterlab  # noqa: F401
    except ImportError as problem:
        raise missing_extra(problem, "lab") from None
    os.execv(command[0], command)
