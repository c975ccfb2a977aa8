"""The churn model on data that are not ours: socialnet (accounts by the month) and OULAD (students who withdraw).

    python benchmarks/churn_real.py

socialnet: who leaves at the end of a paid month, told 3 days before, rolling origin over the months; beside a logistic
regression on log counts of 28 and 84 days, and the single count that the months before pick. Reach: not below the
regression by more than 0.01 AUC, above the single count, and no sign of friends, unfriending and advertisements wrong
where its interval excludes zero. OULAD: withdrawal within 28 days, told on every 14th day from 14 to 112, five folds by
student; reach: not significantly worse than the single metric that the other folds pick, and a calibration slope
whose interval holds 1; and beside a logistic regression on the same rows, also on all dates of the course. Intervals: bootstrap by customer. Exit status 1 where something is not reached.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do
os.environ.setdefault("HEALTHSEG_SHARED_DATA", str(ROOT.parent / "shared" / "data"))

import healthseg as hs  # noqa: E402
from healthseg.metrics import panels  # noqa: E402
from healthseg.metrics.landmarks import feature_events  # noqa: E402
from healthseg.metrics.profile import customers_as_of  # noqa: E402
from healthseg.scoring.churn.candidates import (  # noqa: E402
    fit_candidates,
    held_out,
    outcomes,
    rows_at_risk,
    stacked,
)
from healthseg.scoring.report_card.accuracy import Bootstrap  # noqa: E402
from healthseg.statistics.effects import label_event_dates  # noqa: E402
from healthseg.statistics.separation import auc  # noqa: E402

BEFORE = 3
DRAWS, LEVEL, SEED = 400, 0.95, 7
SIGNS = {"newfriend": -1, "unfriend": 1, "adview": 1}


def pooled(outcome: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    """Over all dates together: paid months end on any day."""
    return auc(outcome, risk, np.zeros(len(outcome)), weight)


def counts(rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    names = [name for name in rows if name.startswith("feature_events_")]
    return names, np.log1p(rows[names].fillna(0.0).to_numpy())


def picked(rows: pd.DataFrame, outcome: np.ndarray) -> tuple[str, float]:
    """The metric with the AUC farthest from a half, and its sign."""
    names, values = counts(rows)
    names += ["person_events_28d", "active_days_28d", "days_since_last_person_event", "tenure_days"]
    values = np.column_stack(
        [values, *(rows[name].fillna(0.0) for name in names[values.shape[1] :])]
    )
    far = [pooled(outcome, column, np.ones(len(column))) - 0.5 for column in values.T]
    best = int(np.argmax(np.abs(far)))
    return names[best], float(np.sign(far[best]))


def compared(frame: pd.DataFrame, own: str, rival: str) -> tuple[float, float, float]:
    def difference(outcome, first, other, weight) -> float:
        return pooled(outcome, first, weight) - pooled(outcome, other, weight)

    return Bootstrap(DRAWS, LEVEL, SEED).interval(difference, frame, ("outcome", own, rival))


def print_difference(title: str, figures: tuple[float, float, float]) -> None:
    print(f"  {title}: {figures[0]:+.4f} (95% {figures[1]:+.4f} to {figures[2]:+.4f})", flush=True)


def socialnet() -> bool:
    portfolio = hs.Portfolio.open(ROOT / "data" / "mappings" / "socialnet")
    until = portfolio.data_until
    paid = portfolio.table("contracts")
    day = (pd.to_datetime(paid["ends_on"]) - pd.Timedelta(days=BEFORE)).dt.date
    pairs = pd.DataFrame({"client_id": paid["client_id"], "date": day})
    pairs = pairs[pairs["date"] <= until - dt.timedelta(days=BEFORE)].drop_duplicates()
    panel = panels.build_pairs(portfolio, pairs)
    panel = pd.concat([panel, feature_events(portfolio, panel)], axis=1)
    rows = rows_at_risk(panel, label_event_dates(customers_as_of(portfolio, until)), until)
    rows["outcome"] = outcomes(rows, until, BEFORE, 0)
    origins = [dt.date(2020, month, 1) for month in range(2, 10)]
    left_out = held_out(rows, until, portfolio.settings, step_days=BEFORE, origins=origins)
    predicted = stacked(left_out, until, portfolio.settings, BEFORE)[0]
    predicted = predicted.rename(columns={"log_odds_0": "log_odds"})
    parts = []
    for begin, end in zip(origins, [*origins[1:], until + dt.timedelta(days=1)], strict=True):
        early = rows[rows["date"] + pd.Timedelta(days=BEFORE) <= pd.Timestamp(begin)]
        late = rows[(rows["date"] >= pd.Timestamp(begin)) & (rows["date"] < pd.Timestamp(end))]
        if early["outcome"].sum() >= 5 and len(late):
            parts.append(_rivals(early, late))
    frame = pd.concat(parts).merge(
        predicted[["client_id", "date", "log_odds"]], on=["client_id", "date"]
    )
    return _judged(frame) & _signs(rows, until, portfolio.settings)


def _rivals(early: pd.DataFrame, late: pd.DataFrame) -> pd.DataFrame:
    (_, before), (_, after) = counts(early), counts(late)
    mean, sd = before.mean(axis=0), before.std(axis=0) + 1e-9
    fitted = LogisticRegression(max_iter=5000).fit((before - mean) / sd, early["outcome"])
    name, sign = picked(early, early["outcome"].to_numpy())
    return late[["client_id", "date", "outcome"]].assign(
        regression=fitted.decision_function((after - mean) / sd),
        single=sign * late[name].fillna(0.0),
    )


def _judged(frame: pd.DataFrame) -> bool:
    last = frame[frame["date"] >= "2020-07-01"]
    for title, part in (("all months", frame), ("the last third", last)):
        figures = {
            name: pooled(part["outcome"].to_numpy(), part[name].to_numpy(), np.ones(len(part)))
            for name in ("log_odds", "regression", "single")
        }
        print(
            f"socialnet, {title}: {int(part['outcome'].sum())} leavers in {len(part)} account-months; AUC "
            + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        )
    against = compared(frame, "log_odds", "regression")
    above = compared(frame, "log_odds", "single")
    print_difference("model − regression", against)
    print_difference("model − regression, the last third", compared(last, "log_odds", "regression"))
    print_difference("model − single count", above)
    return against[0] >= -0.01 and above[0] > 0


def _signs(rows: pd.DataFrame, until: dt.date, settings) -> bool:
    """Each event's part alone: from its lowest to its highest quarter, 28 and 84 days together."""
    known = rows[rows["outcome"].notna()]
    model = fit_candidates(known, known["outcome"].to_numpy(), settings, step_days=BEFORE)
    values, right = model.values(known, settings), True
    for feature, sign in SIGNS.items():
        places = [
            at
            for at, predictor in enumerate(model.predictors)
            if predictor.metric.endswith(f"[{feature}]")
        ]
        lead = values[:, places[0]]
        low, high = np.nanquantile(lead, [0.25, 0.75])
        pair = np.stack(
            [np.nanmean(values[lead <= low], axis=0), np.nanmean(values[lead >= high], axis=0)]
        )
        part, sd = model.directed.contrast(pair, places)
        wrong = sign * part + 1.96 * sd < 0
        right &= not wrong
        print(
            f"  {feature}: {part:+.3f} (sd {sd:.3f}), planted {'harm' if sign > 0 else 'protection'}"
            f"{', WRONG' if wrong else ''}"
        )
    return right


def oulad(until_day: int = 121) -> bool:
    portfolio = hs.Portfolio.open(ROOT / "data" / "mappings" / "oulad")
    days = [dt.date(2013, 10, 1) + dt.timedelta(days=day) for day in range(14, until_day, 14)]
    panel = panels.panel(portfolio, days)
    panel = pd.concat([panel, feature_events(portfolio, panel)], axis=1)
    until = portfolio.data_until
    rows = rows_at_risk(panel, label_event_dates(customers_as_of(portfolio, until)), until)
    rows = rows.assign(outcome=outcomes(rows, until, 28, 0))
    fold = pd.Series(rows["client_id"].unique()).pipe(
        lambda ids: dict(
            zip(ids, np.random.default_rng(SEED).permutation(np.arange(len(ids)) % 5), strict=True)
        )
    )
    fold_of = rows["client_id"].map(fold).to_numpy()
    names = ("log_odds", "single", "regression")
    rows[[*names]] = np.nan
    values = counts(rows)[1]
    values = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9)
    for part in range(5):
        early, late = rows[fold_of != part], fold_of == part
        model = fit_candidates(early, early["outcome"].to_numpy(), portfolio.settings, step_days=28)
        rows.loc[late, "log_odds"] = model.log_odds(model.values(rows[late], portfolio.settings))
        name, sign = picked(early, early["outcome"].to_numpy())
        rows.loc[late, "single"] = sign * rows.loc[late, name].fillna(0.0)
        plain = LogisticRegression(C=0.1, max_iter=5000).fit(values[~late], early["outcome"])
        rows.loc[late, "regression"] = plain.decision_function(values[late])
    figures_by_name = {
        name: pooled(rows["outcome"].to_numpy(), rows[name].to_numpy(), np.ones(len(rows)))
        for name in names
    }
    students = rows.loc[rows["outcome"] == 1, "client_id"].nunique()
    print(
        f"oulad: {students} withdrawals, {int(rows['outcome'].sum())} of {len(rows)} student-dates; AUC "
        + ", ".join(f"{name} {value:.4f}" for name, value in figures_by_name.items())
    )
    against = compared(rows, "log_odds", "single")
    print_difference("model − single metric", against)
    print_difference("model − regression", compared(rows, "log_odds", "regression"))
    slope = Bootstrap(DRAWS, LEVEL, SEED).interval(_slope, rows, ("outcome", "log_odds"))
    print(f"  calibration slope {slope[0]:.2f} (95% {slope[1]:.2f} to {slope[2]:.2f})")
    return against[2] >= 0 and slope[1] <= 1 <= slope[2]


def _slope(outcome: np.ndarray, odds: np.ndarray, weight: np.ndarray) -> float:
    design, beta = np.column_stack([np.ones(len(odds)), odds]), np.array([0.0, 1.0])
    for _ in range(25):
        p = special.expit(design @ beta)
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        beta = beta + np.linalg.solve(curvature, design.T @ (weight * (outcome - p)))
    return float(beta[1])


def main() -> int:
    started = time.monotonic()
    reached = [socialnet(), oulad()]
    print("all dates of the course:")
    oulad(240)
    print(f"{'all reached' if all(reached) else 'not reached'}; {time.monotonic() - started:.0f} s")
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
