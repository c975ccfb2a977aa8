"""``healthseg tools``, ``run``: the tools with their parameters; a call of one."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from typing import Any

from healthseg.cli import options
from healthseg.cli.options import (
    OK,
    Commands,
    add_command,
    json_option,
    known_tools,
    print_json,
    printable,
)


def add_tools(commands: Commands) -> None:
    tools = add_command(
        commands,
        "tools",
        "the tools, with parameters, defaults and ranges",
        run_tools,
        examples=("tools", "tools calculate_health_score", "tools calculate_health_score --json"),
    )
    tools.add_argument("tool", nargs="?", metavar="TOOL", help="this tool alone (default: all)")
    json_option(tools)


def run_tools(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry

    names = [arguments.tool] if arguments.tool else registry.served()
    known_tools(names, parser)
    if arguments.json:
        print_json({name: registry.schema(name) for name in names})
        return OK
    print("\n\n".join(registry.described(name) for name in names))
    return OK


def add_run(commands: Commands) -> None:
    parser = add_command(
        commands,
        "run",
        "a tool's response as JSON",
        run_tool,
        examples=(
            "run calculate_health_score -p client_id=cs_client_123",
            "run calculate_health_score --help          # with the tool's parameters",
            "run segment_customers --portfolio trial --as-of 2025-09-30",
        ),
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action=ToolHelp, help="this help, with a tool's parameters after its name"
    )
    parser.add_argument("tool", metavar="TOOL", help="see 'healthseg tools'")
    options.tool_options(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="compute the response, and do not cache it"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, which is the default")
    parser.add_argument(
        "--actor",
        metavar="NAME",
        help="who requests a change of stage (default: this machine's user)",
    )


class ToolHelp(argparse.Action):
    """``--help`` after a tool's name describes the tool as well."""

    def __init__(self, option_strings: list[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any
    ) -> None:
        parser.print_help()
        if tool := getattr(namespace, "tool", None):
            from healthseg.reports import registry

            options.known_tools([tool], parser)
            print(f"\n{registry.described(tool)}")
        parser.exit()


def run_tool(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry
    from healthseg.reports.responses import Responses

    def parameters() -> dict[str, Any]:  # read only where no response is cached
        _load(arguments.tool)
        values = options.parameters(arguments, [arguments.tool], parser)
        if arguments.actor is not None:
            values["actor"] = arguments.actor
        return registry.signed(arguments.tool, values, registry.user())

    options.known_tools([arguments.tool], parser)
    names = ("given", "params", "as_of", "actor")
    typed = {name: getattr(arguments, name) for name in names}
    responses = Responses(arguments.portfolio, cache=not arguments.no_cache)
    response = responses.typed_response(arguments.tool, typed, parameters)
    print(printable(response.to_json()))
    return OK


def _load(tool: str) -> None:
    """Load libraries and code; what stays until the process ends is never searched for garbage, which would take
    a fifth of its time."""
    from healthseg.reports import registry

    if "pandas" in sys.modules:  # a process that did more than start
        return
    gc.disable()
    try:
        importlib.import_module("healthseg.data.portfolio")
        importlib.import_module(f"healthseg.tools.{registry.tool(tool).folder}.tool")
    finally:
        gc.freeze()
        gc.enable()
