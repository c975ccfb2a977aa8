"""How often the gate says yes: where there is no signal, and where there is.

    python benchmarks/churn_gate.py [--null 200] [--whole 20] [--small 50] [--medium 50]

Without signal, at the level of metrics: the customer-months of whole null portfolios, with new exits drawn at one rate for
all. Without signal, whole portfolios: the scenario ``null``. With signal: demo portfolios of 120 and 250 customers, at their end.
Exit status 1 where a share misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import rows_of

from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings

RATE = 0.036  # of leaving in 30 days, as in the demo


def without_signal(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same customer-months with exits that depend on nothing: each step one coin, rows after an exit removed."""
    rows = rows.sort_values(["client_id", "date"], ignore_index=True)
    leaves = pd.Series(rng.random(len(rows)) < RATE)
    day = rows["date"] + pd.to_timedelta(rng.integers(1, 31, len(rows)), "D")
    first = day.where(leaves).groupby(rows["client_id"]).transform("min")
    at_risk = ~(first <= rows["date"])
    return rows.assign(event_on=first)[at_risk].sort_values(
        ["date", "client_id"], ignore_index=True
    )


def gate_of(rows: pd.DataFrame) -> dict[str, float]:
    model = ChurnModel.fit(rows, rows["date"].max().date(), Settings())
    return {
        "yes": float(model.eligible),
        "leavers": model.gate.leavers,
        "auc": model.gate.auc,
        "z": model.gate.z,
        "skill": model.gate.skill,
    }


def print_gate(title: str, results: pd.DataFrame) -> float:
    print(
        f"{title}: yes in {results['yes'].sum():.0f} of {len(results)}; leavers {results['leavers'].mean():.0f}, "
        f"AUC {results['auc'].mean():.3f}, z {results['z'].mean():.2f} (sd {results['z'].std():.2f}), "
        f"skill {results['skill'].mean():.3f}",
        flush=True,
    )
    return float(results["yes"].mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, count in (("--null", 200), ("--whole", 20), ("--small", 50), ("--medium", 50)):
        parser.add_argument(name, type=int, default=count)
    options, started, missed = parser.parse_args(), time.monotonic(), False
    portfolios = [rows_of("null", 250, 201 + at) for at in range(options.whole)]
    drawn = [
        gate_of(without_signal(portfolios[at % len(portfolios)], np.random.default_rng(at)))
        for at in range(options.null)
    ]
    missed |= (
        print_gate(
            "no signal, at the level of metrics (reach: yes in at most 2 %)", pd.DataFrame(drawn)
        )
        > 0.02
    )
    missed |= (
        print_gate(
            "no signal, whole portfolios (reach: at most 1 of 20)",
            pd.DataFrame(map(gate_of, portfolios)),
        )
        > 0.05
    )
    for clients, first, count, least in (
        (120, 301, options.small, 0.85),
        (250, 601, options.medium, 0.95),
    ):
        results = pd.DataFrame(
            [gate_of(rows_of("default", clients, first + at)) for at in range(count)]
        )
        missed |= (
            print_gate(f"demo portfolios of {clients} (reach: yes in {100 * least:.0f} %)", results)
            < least
        )
    print(f"{time.monotonic() - started:.0f} s")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
