"""How often the gate says yes: where there is no signal, looked at every month, and where there is.

    python benchmarks/churn_gate.py [--scores 800] [--null 100] [--whole 20] [--small 50] [--medium 50]

Without signal, at the level of scores: scores that change slowly, exits at one rate for all, 24 and 48 monthly looks.
At the level of metrics: the customer-months of whole null portfolios with new exits drawn at one rate for all, looked at
on every date that could have a model. Whole portfolios: the scenario ``null``. A portfolio counts where the gate says
yes on any of its looks. With signal: demo portfolios of 120 and 250 customers, at their end. Exit status 1 where a share
misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import rows_of

from healthseg.scoring.churn.calibration import judge_held_out, needed_z
from healthseg.scoring.churn.candidates import held_out, outcomes, stacked
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings
from healthseg.statistics.separation import ranked_within_dates

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


def passes_ever(clients: int, seed: int, looks: tuple[int, ...]) -> list[bool]:
    """At the level of scores: whether the evidence was ever enough, by so many looks; skill is not required."""
    rng, excess, variance, passed = np.random.default_rng(seed), 0.0, 0.0, []
    score = rng.normal(size=clients)
    for _ in range(max(looks)):
        score = 0.9 * score + np.sqrt(1 - 0.81) * rng.normal(size=clients)
        outcome = (rng.random(clients) < RATE).astype(float)
        ranked = ranked_within_dates(score, outcome, np.zeros(clients))
        variance += ranked.variance
        excess += ranked.z * np.sqrt(ranked.variance)
        z = excess / np.sqrt(variance) if variance else 0.0
        passed.append(bool(z > needed_z(variance, Settings())))
    return [any(passed[:count]) for count in looks]


def looks_of(rows: pd.DataFrame) -> dict[str, float]:
    """The gate on every date of the rows: its models are those of the dates before, fitted once."""
    settings, last, gates = Settings(), rows["date"].max().date(), []
    past = held_out(rows, last, settings)
    for day in pd.DatetimeIndex(np.unique(past["date"])):
        known = past[past["date"] <= day].assign(
            event_on=lambda part, day=day: part["event_on"].where(part["event_on"] <= day)
        )
        known, _ = stacked(known, day.date(), settings)
        outcome = outcomes(known, day.date(), 30, 0)
        gates.append(judge_held_out(known, outcome, int(np.nansum(outcome)), len(known), settings))
    zs = [gate.z or 0.0 for gate in gates]
    end = gates[-1]
    return {
        "yes": float(any(gate.eligible for gate in gates)),
        "plain": float(max(zs, default=0.0) > 2.33),
        "churned": end.churned,
        "auc": end.auc,
        "z": end.z,
        "skill": end.skill,
        "looks": len(gates),
    }


def gate_of(rows: pd.DataFrame) -> dict[str, float]:
    model = ChurnModel.fit(rows, rows["date"].max().date(), Settings())
    return {
        "yes": float(model.eligible),
        "churned": model.gate.churned,
        "auc": model.gate.auc,
        "z": model.gate.z,
        "skill": model.gate.skill,
    }


def print_gate(title: str, results: pd.DataFrame) -> float:
    print(
        f"{title}: yes in {results['yes'].sum():.0f} of {len(results)}"
        + (f" (z > 2.33 ever in {results['plain'].sum():.0f})" if "plain" in results else "")
        + f"; churned customers {results['churned'].mean():.0f}, "
        f"AUC {results['auc'].mean():.3f}, z {results['z'].mean():.2f} (sd {results['z'].std():.2f}), "
        f"skill {results['skill'].mean():.3f}",
        flush=True,
    )
    return float(results["yes"].mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, count in (
        *(("--scores", 800), ("--null", 100), ("--whole", 20)),
        *(("--small", 50), ("--medium", 50)),
    ):
        parser.add_argument(name, type=int, default=count)
    options, started, missed = parser.parse_args(), time.monotonic(), False
    for clients in (60, 120, 250):
        shares = np.mean(
            [passes_ever(clients, seed, (24, 48)) for seed in range(options.scores)], 0
        )
        print(
            f"no signal, scores of {clients} customers: yes ever in {100 * shares[0]:.1f}% of 24 looks, "
            f"{100 * shares[1]:.1f}% of 48 (reach: 2% of 24)",
            flush=True,
        )
        missed |= shares[0] > 0.02
    portfolios = [rows_of("null", 250, 201 + at) for at in range(options.whole)]
    drawn = [
        looks_of(without_signal(portfolios[at % len(portfolios)], np.random.default_rng(at)))
        for at in range(options.null)
    ]
    missed |= (
        print_gate(
            "no signal, at the level of metrics, every month (reach: yes ever in at most 2%)",
            pd.DataFrame(drawn),
        )
        > 0.02
    )
    missed |= (
        print_gate(
            "no signal, whole portfolios, every month (reach: at most 1 of 20)",
            pd.DataFrame(map(looks_of, portfolios)),
        )
        > 0.05
    )
    for clients, first, count, least in (
        (120, 301, options.small, 0.85),
        (250, 601, options.medium, 0.95),
    ):
        if not count:
            continue
        results = pd.DataFrame(
            [gate_of(rows_of("default", clients, first + at)) for at in range(count)]
        )
        missed |= (
            print_gate(f"demo portfolios of {clients} (reach: yes in {100 * least:.0f}%)", results)
            < least
        )
    print(f"{time.monotonic() - started:.0f} s")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
