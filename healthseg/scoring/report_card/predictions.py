"""What did we predict, and what happened? By day and model version, as recorded in the ledger or rebuilt."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.metrics import panels
from healthseg.scoring.churn import training
from healthseg.scoring.churn.expected import churn_probabilities
from healthseg.statistics.effects import labels
from healthseg.statistics.separation import auc, brier

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import RecordedPredictions
    from healthseg.data.portfolio import Portfolio

RECORDED, REBUILT = "recorded", "rebuilt"
DECIMALS = 6
COLUMNS = [
    *("predicted_on", "until", "model", "method", "source", "customers", "expected", "lower"),
    *("upper", "churned", "as_expected", "auc", "brier"),
]


def predictions_of(portfolio: Portfolio, as_of: dt.date) -> RecordedPredictions | None:
    """The probabilities of churn within ``churn_horizon_days`` of the live customers without notice; None without any."""
    if portfolio.first_event_day is None:
        return None
    rows = panels.panel(portfolio, [as_of])
    live = rows[panels.at_risk(rows)].set_index("client_id")
    if not len(live):
        return None
    table = churn_probabilities(portfolio, as_of, live).dropna(subset=["probability"])
    if not len(table):
        return None
    model = training.churn_model(portfolio, as_of)
    version = model.trained_until if model.eligible else as_of
    # here, since the ledger's libraries take long to load
    from healthseg.data.ledger.ledger import RecordedPredictions

    return RecordedPredictions(
        as_of,
        portfolio.settings.churn_horizon_days,
        version.isoformat(),
        str(table["method"].iloc[0]),
        {name: round(float(p), DECIMALS) for name, p in table["probability"].items()},
    )


def predicted_and_happened(
    portfolio: Portfolio, rebuilt: pd.DataFrame, as_of: dt.date, horizon_days: int, level: float
) -> pd.DataFrame:
    """A row per day whose horizon is over: expected and actual losses, with the interval of a true prediction.

    ``rebuilt`` are the report card's rows: their days are a horizon apart, back from the last that is over. Days with
    recorded predictions of this horizon have a row of their own (``source``). Columns: predicted_on, until, model (the
    day whose knowledge it had), method, source, customers, expected (Σ p), lower and upper (of Σ outcomes, were the
    probabilities true), churned, as_expected (whether that lies inside), auc, brier.
    """
    table = [
        _compared(frame, source, method, model, horizon_days, level)
        for frame, source, method, model in [
            *_recorded(portfolio, as_of, horizon_days),
            *_rebuilt(portfolio, rebuilt, horizon_days),
        ]
    ]
    frame = pd.DataFrame(table, columns=COLUMNS)
    return frame.sort_values(["predicted_on", "source"], kind="stable", ignore_index=True)


def _recorded(
    portfolio: Portfolio, as_of: dt.date, horizon_days: int
) -> list[tuple[pd.DataFrame, str, str, str]]:
    losses, days = training.known_losses(portfolio, as_of), []
    for recorded in portfolio.ledger().predictions() if portfolio.has_ledger else []:
        is_over = recorded.predicted_on + dt.timedelta(days=horizon_days) <= as_of
        if recorded.horizon_days != horizon_days or not is_over:
            continue
        rows = pd.DataFrame(
            {
                "client_id": list(recorded.probabilities),
                "date": pd.Timestamp(recorded.predicted_on),
                "probability": list(recorded.probabilities.values()),
            }
        )
        rows = labels(rows, losses, as_of, horizon_days)
        days.append((rows[rows["outcome"].notna()], RECORDED, recorded.method, recorded.model))
    return [day for day in days if len(day[0])]


def _rebuilt(
    portfolio: Portfolio, rows: pd.DataFrame, horizon_days: int
) -> list[tuple[pd.DataFrame, str, str, str]]:
    by_model = "probability_ml_predictive"
    own = rows[by_model] if by_model in rows else pd.Series(np.nan, index=rows.index)
    known = rows.assign(probability=own.fillna(rows["probability_base_rate"]), own=own.notna())
    known = known[known["outcome"].notna() & known["probability"].notna()]
    days, next_day = [], None
    for date, frame in sorted(known.groupby("date"), key=lambda item: item[0], reverse=True):
        if next_day is not None and date + pd.Timedelta(days=horizon_days) > next_day:
            continue
        next_day = date
        method, model = "base_rate", date.date()
        if frame["own"].any():
            fitted = training.churn_model(portfolio, date.date())
            method, model = f"hazard_{fitted.kind}", fitted.trained_until
        days.append((frame, REBUILT, method, model.isoformat()))
    return days


def _compared(
    rows: pd.DataFrame, source: str, method: str, model: str, horizon_days: int, level: float
) -> tuple:
    """The line of a day; the interval of a sum of independent outcomes, by its normal approximation."""
    p, outcome = rows["probability"].to_numpy(), rows["outcome"].to_numpy()
    expected, sd = float(p.sum()), float(np.sqrt((p * (1 - p)).sum()))
    reach = scipy.special.ndtri((1 + level) / 2) * sd + 0.5
    lower, upper = max(np.ceil(expected - reach), 0.0), min(np.floor(expected + reach), len(p))
    day, churned = rows["date"].iloc[0].date(), int(outcome.sum())
    return (
        *(day, day + dt.timedelta(days=horizon_days), model, method, source),
        *(len(p), expected, lower, upper, churned, bool(lower <= churned <= upper)),
        auc(outcome, p, rows["date"].to_numpy(), np.ones(len(p))),
        brier(p, outcome),
    )
