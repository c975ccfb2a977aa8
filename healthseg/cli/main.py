"""The command line: ``healthseg COMMAND``; commands of one subject share a module.

Results go to standard output, everything else to standard error. An error is a sentence there; with ``run`` and with
``--json`` its object is the result. Exit status: 0 success, 1 an error or an unusable portfolio, 2 wrong usage, 3 some
reports failed, 130 or 143 stopped by SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import healthseg
from healthseg.cli import completion, portfolio, records, report, services, settings, tools
from healthseg.cli.options import ERROR, Commands, Parser, print_json, printable, require_addresses
from healthseg.errors import CalculationError, HealthsegError, machine_fault

# what ``healthseg --help`` lists, in its order: each adds the parser of its command
COMMANDS: dict[str, Callable[[Commands], None]] = {
    "quickstart": portfolio.add_quickstart,
    "demo": portfolio.add_demo,
    "init": portfolio.add_init,
    "check": portfolio.add_check,
    "tools": tools.add_tools,
    "run": tools.add_run,
    "report": report.add_report,
    "lab": report.add_lab,
    "settings": settings.add_settings,
    "trust": settings.add_trust,
    "sync": portfolio.add_sync,
    "mcp": services.add_mcp,
    "alerts": services.add_alerts,
    "lifecycle": records.add_lifecycle,
    "ledger": records.add_ledger,
    "outbox": records.add_outbox,
    "completion": completion.add,
}


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
    parsed, unread = command_parser().parse_known_args(arguments)
    if unread:
        parsed.parser.refuse(unread)
    with _terminable() as terminated:
        try:
            require_addresses()
            return int(parsed.command(parsed, parsed.parser))
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as problem:
            if terminated or _interrupted(problem):
                print("stopped", file=sys.stderr)
                return 128 + (terminated or [signal.SIGINT])[0]
            if isinstance(problem, HealthsegError):
                return _refused(problem, parsed)
            return _refused(CalculationError(_words(problem)), parsed)


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """Within it SIGTERM ends a command as SIGINT does, so that it cleans up; which of them came.

    Libraries turn what is raised here into errors of theirs, and a database's own steps swallow it.
    """
    came: list[int] = []

    def end(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the caller ignores it
        numbers.append(signal.SIGINT)
    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:  # not the main thread: signals are its caller's
        yield came
        return
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted(problem: BaseException | None) -> bool:
    """Whether an error comes from SIGINT: libraries raise others in its place."""
    while problem is not None and not isinstance(problem, KeyboardInterrupt):
        problem = problem.__cause__ or problem.__context__
    return problem is not None


def _words(problem: BaseException) -> str:
    """What to say of an error that is not one of ours."""
    if fault := machine_fault(problem):
        return fault
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return f"unexpected {type(problem).__name__}: {str(problem)[:500]}"


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
        print(printable(f"healthseg {parsed.command_name}: {problem.message}"), file=sys.stderr)
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
    for add in COMMANDS.values():
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
