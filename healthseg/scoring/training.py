"""Models of a portfolio: trained once a month on a fixed grid of dates, kept as JSON in the portfolio's store.

The grid begins with the first whole window of tracking and goes on by steps of 30 days, so that nights share it: the
model of a day is that of the last date of the grid, and knows what was known at the end of that date. Each date's
held-out log odds are kept beside it; a new date costs one classifier and one model, and changes none before it.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import catalog, panels
from healthseg.metrics.counting import customers
from healthseg.metrics.landmarks import feature_events, joined, most_used
from healthseg.metrics.profile import customers_as_of
from healthseg.scoring.churn_model import HORIZONS, ChurnModel, refused
from healthseg.scoring.gate import Gate
from healthseg.scoring.predictive import HORIZON_DAYS, Standing, odds_ratio
from healthseg.scoring.predictors import FAMILY
from healthseg.scoring.rolling import MOST_ORIGINS, STEP_DAYS, held_out_on, rows_at_risk
from healthseg.settings import fingerprint
from healthseg.statistics.outcomes import label_event_dates

LEVEL = "models"


def grid(portfolio: Any, as_of: dt.date) -> list[dt.date]:
    """The dates on which models are trained, up to as_of; empty until the first 30 days have been tracked."""
    if portfolio.first_event_day is None:
        return []
    first = portfolio.first_event_day + dt.timedelta(days=STEP_DAYS - 1)
    return [
        first + dt.timedelta(days=STEP_DAYS * k)
        for k in range((as_of - first).days // STEP_DAYS + 1)
    ]


def churn_model(portfolio: Any, as_of: dt.date) -> ChurnModel:
    """The model in force at the end of ``as_of``: of the last date of the grid. Its gate may have said no."""
    dates = grid(portfolio, as_of)
    if not dates:
        why = "no account-level model: events have been tracked for fewer than 30 days"
        return ChurnModel(
            portfolio.settings,
            as_of,
            Gate(False, why, 0, 0),
            0.0,
            portfolio.settings.churn_lead_days,
            STEP_DAYS,
        )
    return _model(portfolio, dates[-1])


def predictions(portfolio: Any, as_of: dt.date, clients: list[str]) -> pd.DataFrame:
    """What the model in force says of customers that are live and have not given notice: ``ChurnModel.predict``.

    CalculationError where the gate said no.
    """
    horizons = sorted({*HORIZONS, portfolio.settings.churn_horizon_days})
    return _told(
        portfolio,
        as_of,
        clients,
        "predict",
        lambda rows: churn_model(portfolio, as_of).predict(rows, horizons),
    )


def explanations(portfolio: Any, as_of: dt.date, clients: list[str]) -> pd.DataFrame:
    """Why: ``ChurnModel.explain`` of the same customers."""
    return _told(portfolio, as_of, clients, "explain", churn_model(portfolio, as_of).explain)


def _told(
    portfolio: Any, as_of: dt.date, clients: list[str], name: str, tell: Callable
) -> pd.DataFrame:
    """Of a portfolio that is counted as a whole all customers are told at once, and kept."""
    known = customers(portfolio)
    if len(known) > panels.WHOLE_UP_TO:
        return tell(rows_of(portfolio, as_of, clients))
    whole = remember(
        portfolio, (name, as_of), lambda: tell(rows_of(portfolio, as_of, known.index.tolist()))
    )
    return whole[whole["client_id"].isin(clients)].reset_index(drop=True)


def rows_of(portfolio: Any, date: dt.date, clients: list[str]) -> pd.DataFrame:
    """The metrics of customers at risk on a date, with the families that the model in force reads."""
    model, rows = churn_model(portfolio, date), panels.panel(portfolio, [date], clients)
    rows = rows[rows["live"].astype(bool) & rows["days_since_notice"].isna()].reset_index(drop=True)
    return with_families(portfolio, rows, model)


def with_families(portfolio: Any, rows: pd.DataFrame, *models: ChurnModel) -> pd.DataFrame:
    """Rows of the panel with the families that the models read."""
    names = {
        one.metric
        for model in models
        if model.fitted
        for one in model.fitted.predictors
        if one.metric.startswith(FAMILY)
    }
    if names <= set(rows):
        return rows
    rows = rows.drop(columns=[name for name in rows if name.startswith(FAMILY)])
    features = sorted({name.split("[", 1)[1].removesuffix("]") for name in names})
    return pd.concat([rows, feature_events(portfolio, rows, features)], axis=1)


def _model(portfolio: Any, date: dt.date) -> ChurnModel:
    def make() -> ChurnModel:
        key = f"churn-{_key(portfolio, date)}"
        kept = portfolio.store.get_json(LEVEL, key)
        if kept is None:
            kept = _trained(portfolio, date).to_json()
            portfolio.store.put_json(LEVEL, key, kept)
        return ChurnModel.from_json(
            kept
        )  # also of one just trained: the same bytes whoever made it

    return remember(portfolio, ("churn_model", date), make)


def _trained(portfolio: Any, date: dt.date) -> ChurnModel:
    dates, known = (
        grid(portfolio, date),
        label_event_dates(customers_as_of(portfolio, date).drop(columns=untold(portfolio))),
    )
    if (
        known.notna().sum() < portfolio.settings.churn_min_leavers
    ):  # nothing to learn from: nothing to count
        return refused(portfolio.settings, date, int(known.notna().sum()))
    rows = training_rows(portfolio, date)
    past = pd.concat(
        [_held_out(portfolio, one) for one in dates[-MOST_ORIGINS:]], ignore_index=True
    )
    return ChurnModel.fit(
        rows,
        date,
        portfolio.settings,
        past=past.assign(event_on=known.reindex(past["client_id"]).to_numpy()),
    )


def _held_out(portfolio: Any, date: dt.date) -> pd.DataFrame:
    """The log odds that a model of the dates before gave to the customers of ``date``."""

    def make() -> pd.DataFrame:
        key = f"held-out-{_key(portfolio, date)}"
        kept = portfolio.store.get_frame(LEVEL, key)
        if kept is None:
            kept = held_out_on(training_rows(portfolio, date), date, portfolio.settings)
            portfolio.store.put_frame(LEVEL, key, kept)
        return kept.assign(date=kept["date"].astype("datetime64[us]"))

    return remember(portfolio, ("held_out", date), make)


def training_rows(portfolio: Any, date: dt.date) -> pd.DataFrame:
    """Customer-months at risk on the grid up to ``date``, with the events known at its end."""
    told = customers_as_of(portfolio, date).drop(columns=untold(portfolio))
    return most_used(
        rows_at_risk(
            joined(_counted(portfolio, grid(portfolio, date))), label_event_dates(told), date
        )
    )


def _counted(portfolio: Any, dates: list[dt.date]) -> list[pd.DataFrame]:
    """Each date's panel with all families; what is missing is counted at once, since each count reads the events."""
    kept: dict[dt.date, pd.DataFrame] = remember(portfolio, "grid", dict)
    fresh = [date for date in dates if date not in kept]
    if fresh:
        rows = panels.panel(portfolio, fresh)
        rows = pd.concat([rows, feature_events(portfolio, rows)], axis=1)
        kept |= {
            date: rows[rows["date"] == pd.Timestamp(date)].reset_index(drop=True) for date in fresh
        }
    return [kept[date] for date in dates]


def untold(portfolio: Any) -> list[str]:
    """The dates of leaving of which the portfolio says nothing: not that nobody left, but that it does not know."""
    names = set(portfolio.reports["customers"].columns)
    if portfolio.has("arr_changes") or portfolio.has("stage_changes"):
        names.add("churned_on")
    return [name for name in ("churned_on", "notice_on") if name not in names]


def _key(portfolio: Any, date: dt.date) -> str:
    parts = [
        portfolio.content(date),
        portfolio.settings.fingerprint,
        catalog.code_version(),
        version(),
    ]
    return f"{date:%Y%m%d}-{fingerprint(parts)}"


@functools.cache
def version() -> str:
    """A hash of the code that models: a changed one never reads what another made."""
    code = "".join(
        path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))
    )
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def standings(portfolio: Any, rows: pd.DataFrame, horizon_days: int = HORIZON_DAYS) -> Standing:
    """The odds of leaving of rows of the panel, against the portfolio's base rate, each by the model in force on its date.

    NaN before the first date on which the gate said yes, and for customers that have left or given notice.
    """
    found = np.full((4, len(rows)), np.nan)
    risk = (
        rows["live"].fillna(False).to_numpy(dtype=bool)
        & rows["days_since_notice"].isna().to_numpy()
    )
    rows = rows.reset_index(drop=True)
    day = pd.to_datetime(rows["date"]).to_numpy()
    trained = np.array(grid(portfolio, portfolio.data_until), dtype="datetime64[D]")
    in_force = np.searchsorted(trained, day.astype("datetime64[D]"), side="right") - 1
    models = {
        at: _model(portfolio, trained[at].item())
        for at in sorted(set(in_force[risk & (in_force >= 0)].tolist()))
    }
    models = {at: model for at, model in models.items() if model.eligible}
    rows = with_families(portfolio, rows, *models.values())
    for at, model in models.items():
        here = np.flatnonzero(risk & (in_force == at))
        told = model.predict(rows.iloc[here], [horizon_days])
        order = np.lexsort([day[here], rows["client_id"].to_numpy(dtype=str)[here]])
        base = model.base_probability(horizon_days)
        found[:3, here[order]] = [
            odds_ratio(told[name].to_numpy(), base) for name in ("probability", "lower", "upper")
        ]
        found[3, here[order]] = told["probability"]
    return Standing(*found)
