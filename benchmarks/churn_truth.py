"""The churn model against the planted truth, out of time, with the true probabilities as fractional labels.

    python benchmarks/churn_truth.py [--small 20] [--large 3] [--leak 3]

Trained on what was known after 12 months, judged on the customer-months after: the share of the oracle's AUC gain over
0.5, the calibration slope, the Brier score beside the base rate's (portfolios of 250 as their mean, portfolios of 5,000 each).
In the leak scenario usage falls after notice alone: the model's AUC may not lie above what was knowable. Beside it the
same rows with a plain logistic regression on all metrics. Exit status 1 where a figure misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import expected_auc, fractional_auc, fractional_brier, gain, rows_of
from scipy import special
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from healthseg.scoring.churn.candidates import outcomes
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings

MONTHS = 12
FIRST_SEED = 601  # the model's form and its prior's strength were chosen on seeds 1 to 20
LEAST_250, LEAST_5000 = 0.90, 0.97


def slope(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Of the logistic recalibration with fractional labels."""
    odds = np.tile(special.logit(forecast), 2)[:, None]
    outcome, weight = np.repeat([1, 0], len(truth)), np.concatenate([truth, 1 - truth])
    return float(LogisticRegression(C=1e9).fit(odds, outcome, weight).coef_[0, 0])


def plain(rows: pd.DataFrame, until: pd.Timestamp, test: pd.DataFrame) -> np.ndarray:
    """What one would use instead: a logistic regression on all numeric metrics, missing ones at their medians."""
    names = [
        name
        for name in rows.select_dtypes("number")
        if name not in ("eta_measured", "p30", "p90", "h_true")
    ]
    outcome = outcomes(rows, until.date(), 30, 0)
    known = ~np.isnan(outcome)
    chain = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=2000),
    )
    return chain.fit(rows.loc[known, names], outcome[known]).decision_function(test[names])


def simulate(scenario: str, clients: int, seed: int) -> dict[str, float]:
    rows = rows_of(scenario, clients, seed)
    until = pd.Timestamp(np.unique(rows["date"])[MONTHS])
    past = rows[rows["date"] <= until].assign(
        event_on=lambda frame: frame["event_on"].where(frame["event_on"] <= until)
    )
    model = ChurnModel.fit(past, until.date(), Settings())
    test = rows[(rows["date"] >= until) & rows["p30"].notna()].sort_values(
        ["client_id", "date"], ignore_index=True
    )
    results = {"yes": float(model.eligible), "z": model.gate.z or 0.0}
    if not model.eligible:
        return results
    predicted = model.predict(test, [30, 90])
    for days in (30, 90):
        truth = test[f"p{days}"].to_numpy()
        forecast = predicted.loc[predicted["horizon_days"] == days, "probability"].to_numpy()
        known = ~np.isnan(truth)
        truth, forecast = truth[known], forecast[known]
        base = np.full(len(truth), model.base_probability(days))
        results |= {
            f"gain_{days}": gain(truth, forecast),
            f"slope_{days}": slope(truth, forecast),
            f"brier_ratio_{days}": fractional_brier(truth, forecast)
            / fractional_brier(truth, base),
            f"auc_{days}": fractional_auc(truth, forecast),
            f"oracle_auc_{days}": expected_auc(truth),
        }
    results["plain_gain_30"] = gain(test["p30"].to_numpy(), plain(past, until, test))
    return results


def print_results(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}")
    print(table.agg(["mean", "min", "max"]).T.round(3).to_string(), flush=True)


def small(count: int) -> list[str]:
    results = pd.DataFrame(
        [simulate("default", 250, seed) for seed in range(FIRST_SEED, FIRST_SEED + count)]
    )
    print_results(
        f"{count} portfolios of 250 customers (reach: mean gain_30 {LEAST_250}, mean slope 0.8 to 1.25, Brier < 1)",
        results,
    )
    mean = results.mean()
    return (
        ["gain at 250"] * (not mean["gain_30"] >= LEAST_250)
        + ["Brier at 250"] * (not mean["brier_ratio_30"] < 1)
        + ["slope at 250"] * (not 0.8 <= mean["slope_30"] <= 1.25)
    )


def large(count: int) -> list[str]:
    results = pd.DataFrame([simulate("default", 5000, seed) for seed in range(101, 101 + count)])
    print_results(
        f"{count} portfolios of 5,000 customers (reach: gain_30 {LEAST_5000} and the rest, each)",
        results,
    )
    return (
        ["gain at 5,000"] * (not (results["gain_30"] >= LEAST_5000).all())
        + ["slope at 5,000"] * (not results["slope_30"].between(0.8, 1.25).all())
        + ["Brier at 5,000"] * (not (results["brier_ratio_30"] < 1).all())
    )


def leak(count: int) -> list[str]:
    results = pd.DataFrame([simulate("leak", 250, seed) for seed in range(1, count + 1)])
    print_results(
        f"{count} portfolios in which usage falls after notice alone (reach: AUC not above the oracle's)",
        results,
    )
    return ["leak"] * (not (results["auc_30"] <= results["oracle_auc_30"] + 0.005).all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for study, count in ((small, 20), (large, 3), (leak, 3)):
        parser.add_argument(f"--{study.__name__}", type=int, default=count, help="portfolios")
    options, started, missed = parser.parse_args(), time.monotonic(), []
    for study in (small, large, leak):
        count = getattr(options, study.__name__)
        missed += study(count) if count else []
    print(
        f"\n{'missed: ' + ', '.join(missed) if missed else 'all reached'}; {time.monotonic() - started:.0f} s"
    )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
