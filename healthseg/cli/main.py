"""The command line: ``healthseg COMMAND``; each command is a module of its own.

Results go to standard output, everything else to standard error. An error is a sentence there; with ``run`` and with
``--json`` its object is the result. Exit status: 0 success, 1 an error or an unusable portfolio, 2 wrong usage, 3 some
reports failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

import healthseg
from healthseg.cli import (
    alerts,
    check,
    completion,
    demo,
    init,
    lab,
    ledger,
    lifecycle,
    mcp,
    outbox,
    quickstart,
    report,
    run,
    settings,
    sync,
    tools,
    trust,
)
from healthseg.cli.options import ERROR, Parser, print_json
from healthseg.errors import CalculationError, HealthsegError

MODULES = (
    quickstart,
    demo,
    init,
    check,
    tools,
    run,
    report,
    lab,
    settings,
    trust,
    sync,
    mcp,
    alerts,
    lifecycle,
    ledger,
    outbox,
    completion,
)
COMMANDS = tuple(module.__name__.rpartition(".")[2] for module in MODULES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        return _run(arguments)
    except BrokenPipeError:
        return _closed_pipe()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _closed_pipe()


def _run(arguments: Sequence[str] | None) -> int:
    parsed = command_parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed, parsed.parser))
    except HealthsegError as problem:
        return _refused(problem, parsed)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as problem:
        text = f"unexpected {type(problem).__name__}: {str(problem)[:500]}"
        if isinstance(problem, OSError) and problem.filename:
            text = f"{problem.filename}: {problem.strerror}"
        return _refused(CalculationError(text), parsed)


def _closed_pipe() -> int:
    """The reader of the output is gone: what is still buffered goes nowhere, without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    return ERROR


def _refused(problem: HealthsegError, parsed: argparse.Namespace) -> int:
    if parsed.command_name == "run" or getattr(parsed, "json", False):
        print_json(problem.to_dict())
    else:
        print(f"healthseg {parsed.command_name}: {problem.message}", file=sys.stderr)
    return ERROR


def command_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="healthseg",
        description="The health of subscription customers: scores, forecasts, segments and reports.",
        epilog="begin with 'healthseg quickstart'; 'healthseg COMMAND --help' has examples",
    )
    parser.add_argument("--version", action="version", version=f"healthseg {healthseg.__version__}")
    commands = parser.add_subparsers(
        dest="command_name", metavar="COMMAND", required=True, parser_class=Parser
    )
    for module in MODULES:
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
