"""What several commands share: their options, and how they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from healthseg.errors import CalculationError, near

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
OK, ERROR = 0, 1


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest command where a word is not a command."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = list(map(str, action.choices))
            word = near(str(value), words)
            way_out = f"did you mean {word}?" if word else "there are " + ", ".join(words)
            self.error(f"there is no {action.dest.replace('_', ' ')} {value!r}; {way_out}")


def portfolio_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio",
        default="",
        metavar="P",
        help="the portfolio (default: $HEALTHSEG_PORTFOLIO, else the demo portfolio)",
    )


def as_of_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as-of",
        dest="as_of",
        metavar="DATE",
        help="the day, YYYY-MM-DD (default: the portfolio's last whole day)",
    )


def tool_options(parser: argparse.ArgumentParser) -> None:
    """The portfolio, and the parameters of a tool."""
    portfolio_option(parser)
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
    as_of_option(parser)


def parameters(
    given: argparse.Namespace, tools: Sequence[str], parser: argparse.ArgumentParser
) -> dict[str, Any]:
    """The parameters of --params, then those of -p, then --as-of; later ones override earlier ones."""
    from healthseg.reports import registry

    try:
        values = json.loads(given.params) if given.params else {}
    except json.JSONDecodeError as problem:
        parser.error(f"--params is not JSON: {problem}")
    if not isinstance(values, dict):
        parser.error('--params must be a JSON object, as {"client_id": "…"}')
    for pair in given.given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            parser.error(f"-p takes NAME=VALUE, not {pair!r}")
        values[name] = registry.from_text(tools[0], name, text)
    return values | ({"as_of": given.as_of} if given.as_of else {})


def known_tools(
    names: Sequence[str], parser: argparse.ArgumentParser, with_reports: bool = False
) -> None:
    """Wrong usage for a name that is not a tool's, or not that of a tool with reports."""
    from healthseg.reports import registry

    for name in names:
        try:
            registry.tool(name)
        except registry.UnknownTool as problem:
            parser.error(problem.message + " (see 'healthseg tools')")
        if with_reports and name not in registry.names():
            parser.error(f"{name} has no reports: 'healthseg run {name}' answers it")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def missing_extra(problem: ImportError, extra: str) -> CalculationError:
    """The error of a command whose libraries are not installed."""
    return CalculationError(f"{problem.name} is not installed: pip install 'healthseg[{extra}]'")
