"""``healthseg lab``: JupyterLab on notebooks of one's own, copied from the package."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from healthseg.cli.options import Commands, add_command, existing, portfolio_option, require

DESCRIPTION = """Opens JupyterLab on the notebooks. They are copied to a folder where they are not there yet, so that you can change them;
a notebook that is there is never overwritten. The notebooks read the portfolio that is named."""


def add(commands: Commands) -> None:
    lab = add_command(
        commands,
        "lab",
        "JupyterLab on the notebooks",
        run,
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


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
