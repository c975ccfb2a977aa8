"""Every score as it would have been on past dates, beside simple rivals, and what happened next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.scoring import training
from healthseg.scoring.health import score_panel
from healthseg.scoring.predictive import points_of
from healthseg.scoring.rolling import base_log_odds, outcomes

COMPOSITE, CUSTOM, PREDICTIVE = "weighted_composite", "custom", "ml_predictive"
SCORES = {COMPOSITE: "Health score", CUSTOM: "Custom score", PREDICTIVE: "Churn model's score"}
RIVALS = {
    "last_activity": "Days since last activity",
    "usage_alone": "Usage component alone",
    "base_rate": "Base rate of the tier",
}
NAMES = {**SCORES, **RIVALS}


def rebuilt(
    portfolio: Any, as_of: dt.date, horizon_days: int, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Customers at risk on each date of the training grid, with the risk that each score gave them then.

    Columns: client_id, date, tier, stage, event_on (the earlier of notice and leaving, where known at as_of), outcome
    (lost in the ``horizon_days`` after the date; NaN where that is not over), the five components' scores, the scores
    by name (0 to 100), ``risk_<name>`` of scores and rivals (more is riskier; NaN where there was none), and
    ``probability_<name>`` of those that give one. Rows end with notice: what follows it is no merit of a score.
    """
    dates = training.grid(portfolio, as_of)
    if not dates:
        return pd.DataFrame()
    rows = training.training_rows(portfolio, dates[-1]).reset_index(drop=True)
    if not len(rows):
        return pd.DataFrame()
    kept = rows[["client_id", "date", "tier", "stage", "event_on"]].assign(
        outcome=outcomes(rows, as_of, horizon_days, 0)
    )
    composite = _scored(rows, portfolio, None)
    kept = kept.assign(**{name: composite[f"{name}_score"] for name in _components(composite)})
    kept[COMPOSITE] = composite["score"]
    if weights is not None:
        kept[CUSTOM] = _scored(rows, portfolio, weights)["score"]
    kept = kept.assign(**_of_model(portfolio, rows, horizon_days))
    risks = {f"risk_{name}": -kept[name] for name in SCORES if name in kept}
    risks |= {
        "risk_last_activity": rows["days_since_last_person_event"],
        "risk_usage_alone": -kept["usage"],
    }
    base = _base_rates(rows, dates)
    steps, known = horizon_days / training.STEP_DAYS, ~np.isnan(base)
    chance = np.full(len(rows), np.nan)
    chance[known] = -np.expm1(-steps * np.logaddexp(0, base[known]))
    return kept.assign(**risks, risk_base_rate=base, probability_base_rate=chance)


def _scored(
    rows: pd.DataFrame, portfolio: Any, weights: Mapping[str, float] | None
) -> pd.DataFrame:
    """Scores in the order of the rows."""
    scores = score_panel(rows, portfolio.settings, weights).frame
    keys = pd.MultiIndex.from_frame(scores[["client_id", "date"]])
    order = keys.get_indexer(pd.MultiIndex.from_frame(rows[["client_id", "date"]]))
    return scores.iloc[order].reset_index(drop=True)


def _components(scores: pd.DataFrame) -> list[str]:
    return [name.removesuffix("_score") for name in scores if name.endswith("_score")]


def _of_model(portfolio: Any, rows: pd.DataFrame, horizon_days: int) -> dict[str, np.ndarray]:
    """The model in force on each date: its score, and its probability."""
    score = points_of(training.standings(portfolio, rows).ratio)
    if np.isnan(score).all():
        return {}
    return {
        PREDICTIVE: score,
        f"probability_{PREDICTIVE}": training.standings(portfolio, rows, horizon_days).probability,
    }


def _base_rates(rows: pd.DataFrame, dates: list[dt.date]) -> np.ndarray:
    """Log odds of a step by the tier's shrunken base rate, as known on each date; NaN before anybody was watched."""
    found = np.full(len(rows), np.nan)
    for date in dates:
        here = (rows["date"] == pd.Timestamp(date)).to_numpy()
        known = rows[rows["date"] < pd.Timestamp(date)]
        outcome = outcomes(known, date, training.STEP_DAYS, 0) if len(known) else np.empty(0)
        seen = ~np.isnan(outcome)
        if here.any() and seen.any():
            found[here] = base_log_odds(known[seen], outcome[seen], rows[here])
    return found
