"""``healthseg run``: a tool's response as JSON."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from typing import Any

from healthseg.cli import options
from healthseg.cli.options import OK, Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser("run", help="a tool's response as JSON")
    parser.add_argument("tool", metavar="TOOL", help="see 'healthseg tools'")
    options.tool_options(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="compute the response, and do not cache it"
    )
    parser.add_argument(
        "--actor",
        metavar="NAME",
        help="who requests a change of stage (default: this machine's user)",
    )
    parser.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry
    from healthseg.reports.responses import Responses

    def parameters() -> dict[str, Any]:  # read only where no response is cached
        _load(given.tool)
        values = options.parameters(given, [given.tool], parser)
        if given.actor is not None:
            values["actor"] = given.actor
        return registry.signed(given.tool, values, registry.user())

    options.known_tools([given.tool], parser)
    names = ("given", "params", "as_of", "actor")
    typed = {name: getattr(given, name) for name in names}
    responses = Responses(given.portfolio, cache=not given.no_cache)
    print(responses.typed_response(given.tool, typed, parameters).to_json())
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
