"""The churn model where churn follows other laws than the score's metrics, beside what one would use instead.

    python benchmarks/churn_laws.py [--portfolios 10] [--first 1] [--laws terms onboarding prices default] [--without-rivals]

Portfolios of 300 customers by each law of ``_worlds`` (and the demo's, 250), trained on what was known after 12 months,
judged on the customer-months after, against what happened (log-loss, AUC) and against the true probabilities (slope,
share of them inside the 90% intervals). Rivals on the same rows: a logistic regression and boosted trees on all
metrics, and a logistic regression on the days to renewal in bins of 30 days alone. Differences of the log-loss are a
customer-month, their 95% intervals over customers of all portfolios. Exit status 1 where a figure misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _churn_portfolios import TRUTH, fractional_auc, rows_of, rows_of_law
from _worlds import LAWS
from churn_truth import slope
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from healthseg.scoring.churn.candidates import outcomes
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings

MONTHS = 12
HORIZONS = (30, 90)
RIVALS = ("logistic", "boosting", "renewal")


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.select_dtypes("number").drop(columns=[name for name in TRUTH if name in rows])


def renewal_bins(rows: pd.DataFrame) -> np.ndarray:
    days = rows["days_to_renewal"].to_numpy(dtype=float)
    edges = [0, 30, 60, 90, 120]
    bins = np.where(np.isnan(days), len(edges) + 1, np.searchsorted(edges, days))
    return np.eye(len(edges) + 2)[bins.astype(int)]


def rival_probabilities(
    train: pd.DataFrame, outcome: np.ndarray, test: pd.DataFrame
) -> dict[str, np.ndarray]:
    """What one would use instead, fitted to the horizon's own outcomes."""
    known, new = numbers(train), numbers(test)
    varied = [name for name in known if known[name].nunique() > 1]
    known, new = known[varied], new[varied]
    logistic = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegressionCV(
            Cs=[0.001, 0.01, 0.1], scoring="neg_log_loss", solver="newton-cholesky"
        ),
    )
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=80,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=5.0,
        random_state=0,
    )
    renewal = LogisticRegressionCV(
        Cs=[0.1, 1.0, 10.0], scoring="neg_log_loss", solver="newton-cholesky"
    )
    fitted = {
        "logistic": logistic.fit(known, outcome).predict_proba(new),
        "boosting": boosting.fit(known, outcome).predict_proba(new),
        "renewal": renewal.fit(renewal_bins(train), outcome).predict_proba(renewal_bins(test)),
    }
    return {name: p[:, 1] for name, p in fitted.items()}


def study(law: str, seed: int, settings: Settings, has_rivals: bool = True) -> pd.DataFrame:
    """A row per customer-month and horizon: outcome, truth, and the probabilities by the model and its rivals."""
    rows = rows_of_law(law, seed) if law in LAWS else rows_of(law, 250, 600 + seed)
    until = pd.Timestamp(np.unique(rows["date"])[MONTHS])
    past = rows[rows["date"] <= until].assign(
        event_on=lambda frame: frame["event_on"].where(frame["event_on"] <= until)
    )
    model = ChurnModel.fit(past, until.date(), settings)
    test = rows[(rows["date"] >= until) & rows["p90"].notna()]
    test = test.sort_values(["client_id", "date"], ignore_index=True)
    end, parts = rows["date"].max().date(), []
    for days in HORIZONS:
        outcome = outcomes(past, until.date(), days, 0)
        known = ~np.isnan(outcome)
        frame = test[["client_id", "date", "days_to_renewal"]].assign(
            horizon=days, truth=test[f"p{days}"], outcome=outcomes(test, end, days, 0)
        )
        rivals = rival_probabilities(past[known], outcome[known], test) if has_rivals else {}
        base = float(outcome[known].mean())
        if model.eligible:
            predicted = model.predict(test, [days]).reset_index(drop=True)
            frame = frame.assign(
                **{name: predicted[name] for name in ("lower", "upper", "confidence")}
            )
            frame["level"] = predicted["risk_level"]
            edges = np.array(settings.churn_risk_base_rates) * model.base_probability(days)
            names = np.array(["low", "medium", "high", "critical"])
            frame["true_level"] = names[np.searchsorted(edges, frame["truth"], side="right")]
            rivals["model"] = predicted["probability"].to_numpy()
        else:
            rivals["model"] = np.full(len(test), base)
        parts.append(frame.assign(**rivals, base=base, eligible=model.eligible, kind=model.kind))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(law=law, seed=seed, z=model.gate.z, losses=model.gate.churned)


def log_loss(outcome: pd.Series, p: pd.Series) -> pd.Series:
    p = p.clip(1e-6, 1 - 1e-6)
    return -(outcome * np.log(p) + (1 - outcome) * np.log(1 - p))


def summarize(table: pd.DataFrame) -> dict[str, float]:
    """Of a law and a horizon."""
    known = table[table["outcome"].notna()]
    line = {
        "portfolios": table["seed"].nunique(),
        "yes": table.groupby("seed")["eligible"].first().sum(),
    }
    own_loss = log_loss(known["outcome"], known["model"])
    rivals = [name for name in RIVALS if name in table]
    for name in ("truth", "model", *rivals):
        line[f"loss {name}"] = log_loss(known["outcome"], known[name]).mean()
    for rival in rivals:
        gain = (log_loss(known["outcome"], known[rival]) - own_loss).groupby(
            [known["seed"], known["client_id"]]
        )
        each, count = gain.sum().to_numpy(), len(known)
        error = np.sqrt(len(each)) * each.std() / count
        line |= {f"vs {rival}": each.sum() / count, f"± {rival}": 1.96 * error}
    for name in ("truth", "model", *rivals):
        aucs = [
            fractional_auc(part["truth"].to_numpy(), part[name].to_numpy())
            for _, part in table.groupby("seed")
        ]
        line[f"auc {name}"] = float(np.mean(aucs))
    line["gain"] = (line["auc model"] - 0.5) / (line["auc truth"] - 0.5)
    line["slope"] = slope(table["truth"].to_numpy(), table["model"].clip(1e-6, 1 - 1e-6).to_numpy())
    stated = table[table["eligible"]]
    if len(stated):
        inside = (stated["truth"] >= stated["lower"]) & (stated["truth"] <= stated["upper"])
        line["covered"] = inside.mean()
        line["confidence"] = stated["confidence"].mean()
        line["level right"] = (stated["level"] == stated["true_level"]).mean()
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolios", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument(
        "--save", help="keep each portfolio's predictions in <SAVE>-<law>-<seed>.parquet"
    )
    parser.add_argument("--laws", nargs="*", default=[*LAWS, "default"])
    parser.add_argument("--without-rivals", action="store_true")
    options, started, lines = parser.parse_args(), time.monotonic(), {}
    for law in options.laws:
        seeds = range(options.first, options.first + options.portfolios)
        tables = []
        for seed in seeds:
            saved = Path(f"{options.save}-{law}-{seed}.parquet")
            if options.save and saved.exists():
                tables.append(pd.read_parquet(saved))
                continue
            tables.append(study(law, seed, Settings(), not options.without_rivals))
            if options.save:
                tables[-1].to_parquet(saved)
        table = pd.concat(tables, ignore_index=True)
        for days, part in table.groupby("horizon"):
            lines[f"{law} {days}"] = summarize(part)
    table = pd.DataFrame(lines)
    print(table.round(4).to_string())
    print(f"{time.monotonic() - started:.0f} s")
    worse = [
        f"{name} against {rival}"
        for name, line in table.items()
        for rival in RIVALS
        if f"vs {rival}" in line and line[f"vs {rival}"] + line[f"± {rival}"] < 0
    ]
    pooled = table.loc["covered"].mean() if "covered" in table.index else float("nan")
    slopes = table.loc["slope"].between(0.8, 1.25)
    print(f"significantly worse: {', '.join(worse) or 'never'}; covered on average {pooled:.3f}")
    return int(bool(worse) or not 0.86 <= pooled <= 0.94 or not slopes.all())


if __name__ == "__main__":
    sys.exit(main())
