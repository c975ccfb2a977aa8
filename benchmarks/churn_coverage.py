"""Do the 90% intervals hold the true probability of nine customers in ten?

    python benchmarks/churn_coverage.py [--portfolios 50] [--sizes 60 120 250] [--windows] [--ahead]

Portfolios of 60, 120 and 250 customers after 12 months; every customer at risk on that day, once. Where the gate says yes,
the interval is the model's; where it says no, the range that the base rate finds plausible for one customer. Truth is
the probability given what is measured. Exit status 1 where a pooled share leaves 84 to 96%.

``--windows``: of portfolios by the law ``terms`` of ``_worlds``, the customers that renew within 180 days: how many are expected to
churn or give notice by then, by their probability within 180 days and within 90, with the range, and by the law.

``--ahead``: of demo portfolios, two halves of a year that don't overlap: by the month, the churn expected with what was known before it
all, the sum of the law's hazards of those still at risk (whose mean is the number that happens), and the number that happened.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import rows_of, rows_of_law
from _worlds import live_through, make_world, truth

from healthseg.scoring.churn.base_rates import BaseRates, base_rates
from healthseg.scoring.churn.expected import simulate_churn
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings

MONTHS = 12
SIZES = ((60, 401), (120, 301), (250, 601))  # seeds that no choice was made on
LOW, HIGH = 0.84, 0.96


def rates(past: pd.DataFrame, as_of: dt.date) -> BaseRates:
    """The base rates of the customers that the rows know, tier and signup as on their last row."""
    last = past.sort_values("date").drop_duplicates("client_id", keep="last")
    signup = last["date"] - pd.to_timedelta(last["tenure_days"], "D")
    known = pd.DataFrame(
        {
            "client_id": last["client_id"],
            "tier": last["tier"],
            "signup_date": signup,
            "notice_on": last["event_on"],
        }
    )
    first = past["date"].min().date() - dt.timedelta(days=29)
    return base_rates(known.reset_index(drop=True), as_of, first, Settings(), [30, 90])


def study(clients: int, seed: int, months: int = MONTHS) -> pd.DataFrame:
    """A row per customer and horizon: the truth, the interval, which kind it is."""
    rows = rows_of("default", clients, seed)
    until = pd.Timestamp(np.unique(rows["date"])[months])
    past = rows[rows["date"] <= until].assign(
        event_on=lambda frame: frame["event_on"].where(frame["event_on"] <= until)
    )
    model = ChurnModel.fit(past, until.date(), Settings())
    current = rows[(rows["date"] == until) & rows["p30"].notna()].sort_values(
        "client_id", ignore_index=True
    )
    if model.eligible:
        forecast = model.predict(current, [30, 90])
    else:
        base = rates(past, until.date())
        parts = [
            base.of(row.client_id, row.tier)[
                ["horizon_days", "plausible_lower", "plausible_upper"]
            ].assign(client_id=row.client_id)
            for row in current.itertuples()
        ]
        forecast = pd.concat(parts).rename(
            columns={"plausible_lower": "lower", "plausible_upper": "upper"}
        )
    truth = current.melt("client_id", ["p30", "p90"], value_name="truth", var_name="horizon_days")
    truth["horizon_days"] = truth["horizon_days"].str[1:].astype(int)
    results = forecast[["client_id", "horizon_days", "lower", "upper"]].merge(
        truth, on=["client_id", "horizon_days"]
    )
    inside = (results["truth"] >= results["lower"]) & (results["truth"] <= results["upper"])
    return results.assign(
        inside=inside,
        width=results["upper"] - results["lower"],
        seed=seed,
        clients=clients,
        gate="yes" if model.eligible else "no",
    )


def window(seed: int, days: int = 180) -> dict[str, float]:
    """Of the customers that renew within ``days``: expected, its range, what the law expects."""
    rows = rows_of_law("terms", seed)
    until = pd.Timestamp(np.unique(rows["date"])[MONTHS])
    past = rows[rows["date"] <= until].assign(
        event_on=lambda frame: frame["event_on"].where(frame["event_on"] <= until)
    )
    model = ChurnModel.fit(past, until.date(), Settings())
    due = rows[(rows["date"] == until) & rows["days_to_renewal"].between(0, days)]
    due = due.sort_values("client_id").set_index("client_id", drop=False)
    line = {"portfolio": seed, "customers": len(due), "tested": max(model.judged)}
    if not model.eligible:
        return line
    predicted = model.predict(due, [90, days])
    sums = predicted.groupby("horizon_days")["probability"].sum()
    table = predicted[predicted["horizon_days"] == days].set_index("client_id")
    table = table.rename(columns={"log_odds_sd": "own_sd"})
    ones = pd.Series(1.0, index=due.index)
    drawn = simulate_churn(table.assign(shared_sd=0.0, gave_notice=False), ones, 10_000, seed)
    world = make_world("terms", seed, 300)
    engagement, friction, _ = live_through(world)
    by_law = truth(world, engagement, friction, (days,))
    by_law = by_law[by_law["date"] == until].set_index("client_id")[f"p{days}"]
    counts = drawn.arr(ones)
    return line | {
        "within 90": sums[90],
        "expected": sums[days],
        "lower": counts.quantile(0.05),
        "upper": counts.quantile(0.95),
        "law": float(by_law.reindex(due.index).sum()),
    }


def windows(portfolios: int) -> int:
    table = pd.DataFrame([window(seed) for seed in range(1, portfolios + 1)])
    print(table.round(1).to_string(index=False))
    print(table.sum(min_count=1).round(1).drop(["portfolio", "tested"]).to_string())
    inside = table["law"].between(table["lower"], table["upper"])
    print(f"within the range: {inside.sum()} of {table['expected'].notna().sum()}")
    return int(inside.mean() < 0.8)


def months_ahead(seed: int, starts: tuple[int, ...] = (5, 11)) -> pd.DataFrame:
    """A row per start, month ahead and whether the renewal is due within 180 days: expected, by the law, happened."""
    rows = rows_of("default", 250, seed)
    dates, parts = [pd.Timestamp(day) for day in np.unique(rows["date"])], []
    hazard = rows.pivot(index="client_id", columns="date", values="h_true").fillna(0.0)
    for start in starts:
        until = dates[start]
        past = rows[rows["date"] <= until]
        past = past.assign(event_on=past["event_on"].where(past["event_on"] <= until))
        model = ChurnModel.fit(past, until.date(), Settings())
        if not model.eligible:
            continue
        now = rows[rows["date"] == until].reset_index(drop=True)
        lost = -np.expm1(-np.logaddexp(0, model.steps(now, 180)[0]))
        at_risk = np.cumprod(np.column_stack([np.ones(len(now)), 1 - lost]), axis=1)
        month = ((now["event_on"] - until).dt.days - 1) // 30
        due = now["days_to_renewal"].between(0, 180)
        for ahead in range(6):
            law = hazard[dates[start + ahead]].reindex(now["client_id"]).to_numpy()
            columns = {"expected": at_risk[:, ahead] * lost[:, ahead], "law": law}
            table = pd.DataFrame(columns | {"happened": month == ahead, "due": due})
            parts.append(table.groupby("due").sum().assign(start=start, ahead=ahead + 1))
    return pd.concat(parts).reset_index() if parts else pd.DataFrame()


def ahead(portfolios: int) -> int:
    table = pd.concat([months_ahead(601 + at) for at in range(portfolios)], ignore_index=True)
    for by in (["ahead"], ["start", "due"]):
        print(table.groupby(by)[["expected", "law", "happened"]].sum().round(1).to_string())
    total = table[["expected", "law"]].sum()
    return int(not 0.85 <= total["expected"] / total["law"] <= 1.15)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolios", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="portfolios to leave out")
    parser.add_argument("--sizes", type=int, nargs="*", default=[clients for clients, _ in SIZES])
    parser.add_argument("--windows", action="store_true")
    parser.add_argument("--ahead", action="store_true")
    options, started = parser.parse_args(), time.monotonic()
    if options.windows:
        return windows(options.portfolios)
    if options.ahead:
        return ahead(options.portfolios)
    chosen = [(clients, first) for clients, first in SIZES if clients in options.sizes]
    portfolios = range(options.first, options.first + options.portfolios)
    results = pd.concat(
        [study(clients, first + at) for clients, first in chosen for at in portfolios]
    )
    by = results.groupby(["clients", "gate", "horizon_days"]).agg(
        portfolios=("seed", "nunique"),
        customers=("inside", "size"),
        covered=("inside", "mean"),
        width=("width", "median"),
    )
    print(by.round(3).to_string())
    pooled = results[results["horizon_days"] == 30].groupby("gate")["inside"].agg(["mean", "size"])
    print(
        f"\npooled over the sizes, 30 days (reach {LOW} to {HIGH}):\n{pooled.round(3).to_string()}"
    )
    print(
        f"\npooled, 90 days:\n{results[results['horizon_days'] == 90].groupby('gate')['inside'].mean().round(3)}"
    )
    print(f"{time.monotonic() - started:.0f} s")
    return int(not pooled["mean"].between(LOW, HIGH).all())


if __name__ == "__main__":
    sys.exit(main())
