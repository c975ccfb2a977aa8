"""``healthseg demo``: write a simulated portfolio."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands, add_command, json_option, print_json, whole
from healthseg.errors import InvalidParameters


def add(commands: Commands) -> None:
    demo = add_command(
        commands,
        "demo",
        "write a simulated portfolio to try things on",
        run,
        examples=("demo", "demo --clients 60 --events light --out trial/data", "demo --seed 11"),
    )
    demo.add_argument("--out", default="data/demo", help="the folder (default: data/demo)")
    demo.add_argument(
        "--clients",
        type=whole(1, 100_000),
        help="how many customers (default: the scenario's, mostly 250)",
    )
    demo.add_argument(
        "--months", type=whole(3, 60), default=18, help="how many months (default: 18)"
    )
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
    json_option(demo)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.demo import make_demo

    try:
        make_demo(
            arguments.out,
            clients=arguments.clients,
            months=arguments.months,
            seed=arguments.seed,
            scenario=arguments.scenario,
            events=arguments.events,
        )
    except InvalidParameters as problem:
        rule = problem.details.get("validation_rule", "")
        parser.error(problem.message + (f"; {rule}" if rule.startswith("one of ") else ""))
    if arguments.json:
        print_json({"portfolio": arguments.out})
    else:
        print(arguments.out)
    return OK
