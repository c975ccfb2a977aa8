"""What several commands share: their options, and how they print."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from healthseg.errors import CalculationError, json_of_others, near

# characters that control a terminal, and those that turn the direction of what follows
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# argparse's words for a value that an option does not take
_UNWANTED = re.compile(r"argument (\S+): ignored explicit argument (.+)")

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
OK, ERROR = 0, 1


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest command where a word is not a command, and keeps the lines of its examples."""

    def __init__(self, *words: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*words, **options)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = list(map(str, action.choices))
            word = near(str(value), words)
            way_out = f"did you mean {word}?" if word else "expected " + " or ".join(words)
            noun = action.dest.removesuffix("_name").replace("_", " ")
            self.error(f"there is no {noun} {value!r}; {way_out}")

    def error(self, message: str) -> NoReturn:
        if unwanted := _UNWANTED.fullmatch(message):
            message = f"{unwanted[1]} takes no value: leave out {unwanted[2]}"
        super().error(message)

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Wrong usage for words that a command does not take, with the nearest of its options."""
        word = words[0].partition("=")[0]
        taken = [name for action in self._actions for name in action.option_strings]
        options = [name for name in taken if name not in ("-h", "--help")]
        if not word.startswith("-"):
            self.error(f"{word!r} is one word too many; see '{self.prog} --help'")
        nearest = near(word, options) if len(word) > 2 else None
        way_out = f"did you mean {nearest}?" if nearest else f"see '{self.prog} --help'"
        self.error(f"there is no option {word!r}; {way_out}")


def add_command(
    commands: Commands,
    name: str,
    purpose: str,
    run: Callable[[argparse.Namespace, Parser], int],
    *,
    examples: Sequence[str],
    description: str = "",
    notes: str = "",
    add_help: bool = True,
) -> Parser:
    """A command with its help: what it is for, options, examples, notes."""
    lines = "\n".join(f"  healthseg {example}" for example in examples)
    epilog = f"examples:\n{lines}" + (f"\n\n{notes}" if notes else "")
    text = description or f"{purpose[:1].upper()}{purpose[1:]}."
    parser = commands.add_parser(
        name, help=purpose, description=text, epilog=epilog, add_help=add_help
    )
    parser.set_defaults(command=run, parser=parser)
    return parser


def day(text: str) -> str:
    """A day as it is typed, YYYY-MM-DD: for ``type=``."""
    try:
        if dt.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a date: expected YYYY-MM-DD")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Whole numbers of a range: for ``type=``."""
    expected = f"a whole number from {low}" + (f" to {high:,}" if high else "")

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return number


def above_zero(text: str) -> float:
    """A number above zero: for ``type=``."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def portfolio_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--portfolio",
        default="",
        metavar="P",
        help="the portfolio (default: $HEALTHSEG_PORTFOLIO, else the demo portfolio)",
    )


def existing(address: str) -> str:
    """The address. Raises DataRetrievalError where it is a path that leads nowhere."""
    from healthseg.data.discovery import ADDRESS, locate

    if not ADDRESS.match(address):
        locate(address)
    return address


def as_of_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as-of",
        dest="as_of",
        metavar="DATE",
        type=day,
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
    arguments: argparse.Namespace, tools: Sequence[str], parser: argparse.ArgumentParser
) -> dict[str, Any]:
    """The parameters of --params, then those of -p, then --as-of; later ones override earlier ones."""
    from healthseg.reports import registry

    try:
        values = json_of_others(arguments.params) if arguments.params else {}
    except ValueError as problem:
        parser.error(f"--params is not JSON: {problem}")
    if not isinstance(values, dict):
        parser.error('--params must be a JSON object, as {"client_id": "…"}')
    for pair in arguments.given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            parser.error(f"-p takes NAME=VALUE, not {pair!r}")
        values[name] = registry.from_text(tools[0], name, text) if tools else _plain(text)
    return values | ({"as_of": arguments.as_of} if arguments.as_of else {})


def _plain(text: str) -> Any:
    """A parameter of a notebook: JSON where it is some, else the text."""
    try:
        return json_of_others(text)
    except ValueError:
        return text


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


def printable(text: str) -> str:
    """A text without characters that move a terminal's cursor, set its title or turn a line around: names may hold them.

    >>> printable("a\\x1b[2J"), printable("\\u202egnp.exe")
    ('a\\\\u001b[2J', '\\\\u202egnp.exe')
    """
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_json(value: Any) -> None:
    print(printable(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def show(arguments: argparse.Namespace, value: Any, lines: Sequence[str]) -> None:
    """What a command did: sentences for people, JSON with --json."""
    if arguments.json:
        print_json(value)
    else:
        print(printable("\n".join(lines)))


def require_addresses(*, drawing: bool = False) -> None:
    """Raises CalculationError where the system lets this process reserve less memory than the libraries need."""
    with contextlib.suppress(ImportError):  # a system without such limits
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return
        from healthseg.settings.operator import DRAWING_ADDRESSES_MB, LEAST_ADDRESSES_MB

        least = DRAWING_ADDRESSES_MB if drawing else LEAST_ADDRESSES_MB
        if most < least * 1_000_000:
            raise CalculationError(
                f"there is not enough memory: this process may reserve {most / 1e6:,.0f} MB, and needs "
                f"{least:,}: raise its limit (ulimit -v)"
            )


def require(module: str, extra: str) -> None:
    """Raises the error of a library that is not installed, before any work begins."""
    try:
        importlib.import_module(module)
    except ImportError as problem:
        raise missing_extra(problem, extra) from None


def missing_extra(problem: ImportError, extra: str) -> CalculationError:
    """The error of a command whose libraries are not installed."""
    return CalculationError(f"{problem.name} is not installed: pip install 'healthseg[{extra}]'")
