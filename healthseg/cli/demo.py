"""``healthseg demo``: write a simulated portfolio."""

from __future__ import annotations

import argparse

from healthseg.cli.options import OK, Commands


def add(commands: Commands) -> None:
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
    demo.set_defaults(command=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
