"""``healthseg tools``: the tools with their parameters."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands, add_command, json_option, known_tools, print_json


def add(commands: Commands) -> None:
    tools = add_command(
        commands,
        "tools",
        "the tools, with parameters, defaults and ranges",
        run,
        examples=("tools", "tools calculate_health_score", "tools calculate_health_score --json"),
    )
    tools.add_argument("tool", nargs="?", metavar="TOOL", help="this tool alone (default: all)")
    json_option(tools)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.reports import registry

    names = [arguments.tool] if arguments.tool else registry.served()
    known_tools(names, parser)
    if arguments.json:
        print_json({name: registry.schema(name) for name in names})
        return OK
    print("\n\n".join(registry.described(name) for name in names))
    return OK
