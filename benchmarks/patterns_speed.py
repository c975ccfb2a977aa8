"""How long analyze_engagement_patterns takes: 90 days, all categories, each scope, in processes of their own.

    python benchmarks/patterns_speed.py [--clients 10000] [--events light] [--folder F]

A first process fills the stores (facts, panels, models); a second one opens the portfolio anew and calls the tool twice.
Prints seconds of wall clock and of the processor, and the peak of memory. At fewer than 2,000 customers every scope is
called and the reach is 3 s; from 2,000 on all customers are, in 90 s and 6 GiB. Exit status 1 where a figure misses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402

MANY = 2_000
REACH_SECONDS, REACH_SECONDS_MANY, REACH_GIB = 3.0, 90.0, 6.0


def scopes(portfolio: hs.Portfolio, many: bool) -> dict[str, dict[str, Any]]:
    options = {"all_customers": {}}
    if not many:
        run = hs.segment_customers(portfolio, {}, "health")
        segment = max(
            (each for each in run.segments if each.placed), key=lambda each: each.customer_count
        )
        options["segment"] = {"segment_id": segment.segment_id}
        customers = portfolio.table("customers")
        options["single_customer"] = {
            "client_id": customers.loc[customers["churned_on"].isna(), "client_id"].iloc[0]
        }
    return options


def calls(folder: str, many: bool, sent: Any) -> None:
    """Per scope the wall clock and the processor's time of a first and a second call of this process."""
    portfolio = hs.Portfolio.open(folder)
    for scope, named in scopes(portfolio, many).items():
        for turn in ("first", "again"):
            before = time.perf_counter(), time.process_time()
            response = hs.analyze_engagement_patterns(portfolio, scope, **named)
            durations = time.perf_counter() - before[0], time.process_time() - before[1]
            sent.send(
                (
                    scope,
                    turn,
                    *durations,
                    response.customers_analyzed,
                    len(response.identified_patterns),
                )
            )
    portfolio.close()
    sent.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    sent.close()


def in_a_process(folder: str, many: bool) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    received, sent = context.Pipe(duplex=False)
    process = context.Process(target=calls, args=(folder, many, sent))
    process.start()
    sent.close()
    results = []
    try:
        while True:
            results.append(received.recv())
    except EOFError:
        process.join()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--events", default="full")
    parser.add_argument("--folder", help="a portfolio that is there already")
    options, missed = parser.parse_args(), False
    many = options.clients >= MANY
    with tempfile.TemporaryDirectory() as seconds_to_make:
        folder = options.folder or seconds_to_make
        if not options.folder:
            make_demo(folder, clients=options.clients, events=options.events)
        for name in ("stores empty", "stores filled"):
            *rows, gib = in_a_process(folder, many)
            for scope, turn, wall, processor, customers, patterns in rows:
                print(
                    f"{name}, {scope}, {turn}: {wall:.1f} s, of the processor {processor:.1f} s, {customers:,} "
                    f"customers, {patterns} patterns",
                    flush=True,
                )
                if name == "stores filled":
                    missed |= wall > (REACH_SECONDS_MANY if many else REACH_SECONDS)
            print(f"{name}: peak {gib:.2f} GiB", flush=True)
            missed |= gib > REACH_GIB
    print(
        f"reach with stores filled: {REACH_SECONDS_MANY if many else REACH_SECONDS:.0f} s, {REACH_GIB:.0f} GiB"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
