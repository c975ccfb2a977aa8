"""Do the 90% intervals hold the true probability of nine customers in ten?

    python benchmarks/churn_coverage.py [--portfolios 50]

Portfolios of 60, 120 and 250 customers after 12 months; every customer at risk on that day, once. Where the gate says yes,
the interval is the model's; where it says no, the range that the base rate finds plausible for one customer. Truth is
the probability given what is measured. Exit status 1 where a pooled share leaves 84 to 96%.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import rows_of

from healthseg.scoring.churn.base_rates import BaseRates, base_rates
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolios", type=int, default=50)
    options, started = parser.parse_args(), time.monotonic()
    results = pd.concat(
        [study(clients, first + at) for clients, first in SIZES for at in range(options.portfolios)]
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
