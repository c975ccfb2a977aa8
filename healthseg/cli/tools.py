"""``healthseg tools``: the tools with their parameters."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands, known_tools


def add(commands: Commands) -> None:
    tools = commands.add_parser("tools", help="the tools, with parameters, defaults and ranges")
    tools.add_argument("tool", nargs="?", metavar="TOOL", help="this tool alone (default: all)")
    tools.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry

    names = [given.tool] if given.tool else registry.served()
    known_tools(names, parser)
    print("\n\n".join(registry.described(name) for name in names))
    return OK
