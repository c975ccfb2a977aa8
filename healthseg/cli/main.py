"""The command line: ``healthseg demo | check | tools | run | report | lab``.

What is answered goes to standard output, what is said on the way to standard error. Exit status: 0 well, 1 an error
(its object is on standard output) or an unusable portfolio, 2 wrong usage, 3 some reports failed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import healthseg
from healthseg.cli import lifecycle as cli_lifecycle
from healthseg.cli import report as report_command
from healthseg.cli import surroundings as cli_surroundings
from healthseg.errors import CalculationError, HealthsegError, near

OK, ERROR, USAGE = 0, 1, 2
COMMANDS = (
    "demo",
    "check",
    "tools",
    "run",
    "report",
    "lab",
    *cli_surroundings.COMMANDS,
    *cli_lifecycle.COMMANDS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return given.command(given, parser)
    except HealthsegError as problem:
        return _refused(problem)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except Exception as problem:
        return _refused(
            CalculationError(f"unexpected {type(problem).__name__}: {str(problem)[:500]}")
        )


def _refused(problem: HealthsegError) -> int:
    print(json.dumps(problem.to_dict(), indent=2, ensure_ascii=False, default=str))
    return ERROR


class _Parser(argparse.ArgumentParser):
    """argparse, with the nearest command where a word is none."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            word = near(str(value), list(action.choices))
            self.error(
                f"there is no {action.dest.replace('_', ' ')} {value!r}; "
                + (
                    f"did you mean {word}?"
                    if word
                    else "there are " + ", ".join(map(str, action.choices))
                )
            )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="healthseg",
        description="The health of subscription customers: scores, forecasts, segments and reports.",
    )
    parser.add_argument("--version", action="version", version=f"healthseg {healthseg.__version__}")
    commands = parser.add_subparsers(
        dest="command_name", metavar="COMMAND", required=True, parser_class=_Parser
    )
    _demo_parser(commands)
    _check_parser(commands)
    commands.add_parser(
        "tools", help="the tools, with parameters, defaults and ranges"
    ).set_defaults(command=_tools)
    _run_parser(commands)
    _report_parser(commands)
    commands.add_parser("lab", help="JupyterLab on the notebooks").set_defaults(command=_lab)
    cli_surroundings.add_parsers(commands)
    cli_lifecycle.add_parsers(commands)
    return parser


def _demo_parser(commands: Any) -> None:
    demo = commands.add_parser("demo", help="write a simulated portfolio to try things on")
    demo.add_argument("--out", default="data/demo", help="the folder (default: data/demo)")
    demo.add_argument(
        "--clients", type=int, help="how many customers (default: the scenario's, mostly 250)"
    )
    demo.add_argument("--months", type=int, default=18, help="how many months (default: 18)")
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
    demo.set_defaults(command=_demo)


def _check_parser(commands: Any) -> None:
    check = commands.add_parser("check", help="what each table holds, what was dropped and why")
    check.add_argument(
        "portfolio",
        metavar="PORTFOLIO",
        help="a folder, a portfolio.toml, a DuckDB file or a database address",
    )
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(command=_check)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio",
        default="",
        metavar="P",
        help="the portfolio (default: $HEALTHSEG_PORTFOLIO, else the demo portfolio)",
    )
    parser.add_argument(
        "-p",
        dest="given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the tool; may be repeated",
    )
    parser.add_argument(
        "--params", default="", metavar="JSON", help="parameters as one JSON object"
    )
    parser.add_argument(
        "--as-of",
        dest="as_of",
        metavar="DATE",
        help="the day, YYYY-MM-DD (default: the portfolio's last whole day)",
    )


def _run_parser(commands: Any) -> None:
    run = commands.add_parser("run", help="a tool's response as JSON")
    run.add_argument("tool", metavar="TOOL", help="see 'healthseg tools'")
    _common(run)
    run.add_argument(
        "--no-cache", action="store_true", help="make the response anew, and keep it not"
    )
    run.add_argument(
        "--actor",
        metavar="NAME",
        help="who asks for a change of stage (default: this machine's user)",
    )
    run.set_defaults(command=_run)


def _report_parser(commands: Any) -> None:
    report = commands.add_parser(
        "report", help="reports as HTML files that open offline, and an index over them"
    )
    report.add_argument("tools", nargs="*", metavar="TOOL", help="which tools (default: all)")
    _common(report)
    report_command.options(report)
    report.set_defaults(command=_report)


def _demo(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.demo import make_demo

    make_demo(
        given.out,
        clients=given.clients,
        months=given.months,
        seed=given.seed,
        scenario=given.scenario,
        events=given.events,
    )
    print(given.out)
    return OK


def _check(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import portfolios

    check = portfolios.open_portfolio(given.portfolio).check()
    print(
        json.dumps(check.to_dict(), indent=2, ensure_ascii=False, default=str)
        if given.json
        else check.to_text()
    )
    return OK if check.usable else ERROR


def _tools(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry

    print("\n\n".join(registry.described(name) for name in registry.names()))
    return OK


def _run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import acting
    from healthseg.reports.responses import Responses

    def parameters() -> dict[str, Any]:  # only where no response is kept
        _load(given.tool)
        named = {"actor": given.actor} if given.actor is not None else {}
        return acting.signed(
            given.tool, {**_parameters(given, [given.tool], parser), **named}, acting.user()
        )

    _known_tools([given.tool], parser)
    typed = {
        "given": given.given,
        "params": given.params,
        "as_of": given.as_of,
        "actor": given.actor,
    }
    responses = Responses(given.portfolio, cache=not given.no_cache)
    print(responses.typed_response(given.tool, typed, parameters).to_json())
    return OK


def _load(tool: str) -> None:
    """The libraries and the code that a response is made by; what stays until the process ends is never searched for
    garbage, which takes a fifth of such a process."""
    from healthseg.reports import registry

    if "pandas" in sys.modules:  # a process that did more than start
        return
    gc.disable()
    try:
        for name in (
            "healthseg.data.portfolio",
            f"healthseg.tools.{registry.tool(tool).folder}.tool",
        ):
            importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def _report(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry

    _known_tools(given.tools, parser)
    wrong = report_command.usage_error(given)
    if wrong:
        parser.error(wrong)
    tools = given.tools or registry.names()
    parameters = _parameters(given, tools, parser)
    return report_command.run(given, tools, parameters, lambda line: print(line, file=sys.stderr))


def _lab(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports.batches import plan

    command = [sys.executable, "-m", "jupyterlab", str(plan.notebooks())]
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        raise CalculationError(
            "JupyterLab is not installed: pip install 'healthseg[lab]'"
        ) from None
    os.execv(command[0], command)


def _known_tools(names: Sequence[str], parser: argparse.ArgumentParser) -> None:
    from healthseg.reports import registry

    for name in names:
        try:
            registry.tool(name)
        except registry.UnknownTool as problem:
            parser.error(problem.message + " (see 'healthseg tools')")


def _parameters(
    given: argparse.Namespace, tools: Sequence[str], parser: argparse.ArgumentParser
) -> dict[str, Any]:
    """--params, then -p over them, then --as-of."""
    from healthseg.reports import registry

    try:
        parameters = json.loads(given.params) if given.params else {}
    except json.JSONDecodeError as problem:
        parser.error(f"--params is no JSON: {problem}")
    if not isinstance(parameters, dict):
        parser.error('--params must be a JSON object, as {"client_id": "…"}')
    for pair in given.given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            parser.error(f"-p takes NAME=VALUE, not {pair!r}")
        parameters[name] = registry.from_text(tools[0], name, text)
    return parameters | ({"as_of": given.as_of} if given.as_of else {})


if __name__ == "__main__":
    sys.exit(main())
