"""Churn models of a portfolio: trained once a month on a fixed grid of dates, cached as JSON.

The grid goes on by 30 days, so that all runs share it; the model of a day is that of the grid's
last date, and knows what was known at its end. Held-out log odds are cached by date; a new date
changes none before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.metrics.landmarks import feature_events, joined, most_used
from healthseg.metrics.spells import spells_as_of
from healthseg.scoring.churn.base_rates import HORIZONS, STEP_DAYS
from healthseg.scoring.churn.candidates import held_out_on, outcomes, rows_at_risk, stacked
from healthseg.scoring.churn.model import ChurnModel, refused_model
from healthseg.scoring.churn.own_models import column_names, identity
from healthseg.scoring.churn.predictors import FAMILY, StepAhead, predictors_of, values_of
from healthseg.statistics.effects import event_of_rows, label_event_dates

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


def grid(portfolio: Portfolio, as_of: dt.date) -> list[dt.date]:
    """The dates on which models are trained, up to as_of; empty until the first 30 days have been tracked."""
    if portfolio.first_event_day is None:
        return []
    first = portfolio.first_event_day + dt.timedelta(days=STEP_DAYS - 1)
    steps = (as_of - first).days // STEP_DAYS + 1
    return [first + dt.timedelta(days=STEP_DAYS * k) for k in range(steps)]


def churn_model(portfolio: Portfolio, as_of: dt.date) -> ChurnModel:
    """The model in force at the end of ``as_of``: of the last date of the grid. Its gate may have said no."""
    dates = grid(portfolio, as_of)
    if not dates:
        reason = "events have been tracked for fewer than 30 days"
        return refused_model(portfolio.settings, as_of, 0, reason)
    return _model(portfolio, dates[-1])


def predictions(
    portfolio: Portfolio, as_of: dt.date, clients: list[str], horizons: Sequence[int] = ()
) -> pd.DataFrame:
    """Predictions by the model in force (``ChurnModel.predict``) for live customers without notice.

    The horizons are at least ``HORIZONS`` and ``churn_horizon_days`` where they hold those asked for, else those asked for.
    CalculationError where the gate refuses a model.
    """
    usual = {*HORIZONS, portfolio.settings.churn_horizon_days}
    days = sorted(usual if usual >= set(horizons) else set(horizons))

    def predict(rows: pd.DataFrame) -> pd.DataFrame:
        return churn_model(portfolio, as_of).predict(rows, days)

    inputs = [] if set(days) == usual else [days]
    return _of_customers(portfolio, as_of, clients, "churn_predictions", predict, inputs)


def explanations(portfolio: Portfolio, as_of: dt.date, clients: list[str]) -> pd.DataFrame:
    """Their drivers over ``churn_horizon_days``: ``ChurnModel.explain`` of the same customers."""
    horizon = portfolio.settings.churn_horizon_days

    def explain(rows: pd.DataFrame) -> pd.DataFrame:
        return churn_model(portfolio, as_of).explain(rows, horizon)

    return _of_customers(portfolio, as_of, clients, "churn_explanations", explain)


def _of_customers(
    portfolio: Portfolio,
    as_of: dt.date,
    clients: list[str],
    name: str,
    compute: Callable[[pd.DataFrame], pd.DataFrame],
    inputs: Sequence[Any] = (),
) -> pd.DataFrame:
    """In a portfolio that is counted as a whole, computed for all customers at once, and cached."""
    known = customers(portfolio).index.tolist()
    if len(known) > panels.WHOLE_UP_TO:
        return compute(rows_of(portfolio, as_of, clients))
    table = portfolio.cache.get(
        name,
        [*_inputs(portfolio, as_of), *inputs],
        lambda: compute(rows_of(portfolio, as_of, known)),
    )
    return table[table["client_id"].isin(clients)].reset_index(drop=True)


def rows_of(portfolio: Portfolio, date: dt.date, clients: list[str]) -> pd.DataFrame:
    """The metrics of customers at risk on a date, with the families that the model in force reads."""
    rows = panels.panel(portfolio, [date], clients)
    rows = rows[panels.at_risk(rows)].reset_index(drop=True)
    return with_families(portfolio, rows, churn_model(portfolio, date))


def with_families(portfolio: Portfolio, rows: pd.DataFrame, *models: ChurnModel) -> pd.DataFrame:
    """Rows of the panel with the families that the models read."""
    names = {
        predictor.metric
        for model in models
        if model.fitted
        for predictor in model.fitted.predictors
        if predictor.metric.startswith(FAMILY)
    }
    if names <= set(rows):
        return rows
    rows = rows.drop(columns=[name for name in rows if name.startswith(FAMILY)])
    features = sorted({name.split("[", 1)[1].removesuffix("]") for name in names})
    return pd.concat([rows, feature_events(portfolio, rows, features)], axis=1)


def _model(portfolio: Portfolio, date: dt.date) -> ChurnModel:
    def build() -> ChurnModel:
        if portfolio.settings.churn_estimator:  # has no form that could be cached
            return _trained(portfolio, date)
        text = portfolio.cache.get(
            "churn_model", _inputs(portfolio, date), lambda: _trained(portfolio, date).to_json()
        )
        return ChurnModel.from_json(text)

    return portfolio.cache.get("churn_models", date, build, disk=False)


def _inputs(portfolio: Portfolio, date: dt.date) -> list[Any]:
    own = identity(portfolio.settings.churn_estimator)
    return [date, portfolio.content(date), portfolio.settings.fingerprint, *([own] if own else [])]


def _trained(portfolio: Portfolio, date: dt.date) -> ChurnModel:
    settings, known = portfolio.settings, known_losses(portfolio, date)
    count = int(label_event_dates(known).notna().sum())
    if count < settings.churn_min_churned:
        needed = f"{settings.churn_min_churned} are needed"
        reason = f"{count} customers have churned or given notice, {needed}"
        return refused_model(settings, date, count, reason)
    rows = training_rows(portfolio, date)
    return ChurnModel.fit(rows, date, settings, past=_past(portfolio, date))


def _past(portfolio: Portfolio, date: dt.date) -> pd.DataFrame:
    """The held-out log odds of the grid's dates up to ``date``, with the losses known at its end."""
    origins = grid(portfolio, date)[-portfolio.settings.churn_max_origins :]
    past = pd.concat([_held_out(portfolio, origin) for origin in origins], ignore_index=True)
    return past.assign(event_on=event_of_rows(past, known_losses(portfolio, date)))


def _held_out(portfolio: Portfolio, date: dt.date) -> pd.DataFrame:
    """The log odds of the customers of ``date`` by a model of the dates before."""
    table = portfolio.cache.get(
        "churn_held_out",
        _inputs(portfolio, date),
        lambda: held_out_on(training_rows(portfolio, date), date, portfolio.settings),
    )
    return table.assign(date=table["date"].astype("datetime64[us]"))


def training_frame(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """The rows that teach the model in force at the end of ``as_of``, as ``ChurnModel.training_frame`` describes them."""
    date = grid(portfolio, as_of)[-1]
    rows, step = training_rows(portfolio, date), StepAhead(STEP_DAYS)
    outcome = outcomes(rows, date, STEP_DAYS, portfolio.settings.churn_lead_days)
    predictors = predictors_of(rows[~np.isnan(outcome)], portfolio.settings, step)
    values = values_of(rows, predictors, portfolio.settings, step)
    frame = rows[["client_id", "date"]].assign(churned=outcome)
    named = pd.DataFrame(values, columns=column_names(predictors), index=rows.index)
    return pd.concat([frame, named], axis=1)[~np.isnan(outcome)].reset_index(drop=True)


def held_out_frame(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """The held-out predictions that the gate judges at the end of ``as_of``: ``ChurnModel.held_out``."""
    date, settings = grid(portfolio, as_of)[-1], portfolio.settings
    past = stacked(_past(portfolio, date), date, settings)[0]
    outcome = outcomes(past, date, STEP_DAYS, settings.churn_lead_days)
    frame = past[["client_id", "date"]].assign(
        churned=outcome, probability=scipy.special.expit(past["log_odds_0"])
    )
    return frame[~np.isnan(outcome)].reset_index(drop=True)


def training_rows(portfolio: Portfolio, date: dt.date) -> pd.DataFrame:
    """Customer-months at risk on the grid up to ``date``, with the losses known at its end."""
    rows = joined(_panels_with_families(portfolio, grid(portfolio, date)))
    return most_used(rows_at_risk(rows, known_losses(portfolio, date), date))


def known_losses(portfolio: Portfolio, date: dt.date) -> pd.DataFrame:
    """Each customer's spells with their notice and churn, as known at the end of ``date``."""
    known = spells_as_of(portfolio, date)
    return known.drop(columns=unrecorded_dates(portfolio))


def _panels_with_families(portfolio: Portfolio, dates: list[dt.date]) -> list[pd.DataFrame]:
    """Each date's panel with all families; missing dates are counted at once, since each count reads the events."""
    cached: dict[dt.date, pd.DataFrame] = portfolio.cache.get(
        "churn_training_panels", None, dict, disk=False
    )
    missing = [date for date in dates if date not in cached]
    if missing:
        rows = panels.panel(portfolio, missing)
        rows = pd.concat([rows, feature_events(portfolio, rows)], axis=1)
        for date in missing:
            cached[date] = rows[rows["date"] == pd.Timestamp(date)].reset_index(drop=True)
    return [cached[date] for date in dates]


def unrecorded_dates(portfolio: Portfolio) -> list[str]:
    """The dates of churn and notice that the portfolio does not record: unknown, not that nobody churned."""
    names = set(portfolio.reports["customers"].columns)
    if portfolio.has("arr_changes") or portfolio.has("stage_changes"):
        names.add("churned_on")
    return [name for name in ("churned_on", "notice_on") if name not in names]


@dataclass(frozen=True)
class RelativeRisk:
    """Rows' odds of churn relative to the base rate, with both ends of their intervals, and their probability."""

    ratio: np.ndarray  # NaN without a model
    lower: np.ndarray
    upper: np.ndarray
    probability: np.ndarray


def relative_risk(
    portfolio: Portfolio, rows: pd.DataFrame, horizon_days: int | None = None
) -> RelativeRisk:
    """The odds of churn of rows of the panel, relative to the portfolio's base rate, by the model in force on each date.

    Default horizon: ``predictive_horizon_days``. NaN before the first date on which a model passed its gate, and for
    customers that have churned or given notice.
    """
    horizon = horizon_days or portfolio.settings.predictive_horizon_days
    risk = np.full((4, len(rows)), np.nan)
    at_risk = panels.at_risk(rows)
    rows, day = rows.reset_index(drop=True), pd.to_datetime(rows["date"]).to_numpy()
    trained = np.array(grid(portfolio, portfolio.data_until), dtype="datetime64[D]")
    in_force = np.searchsorted(trained, day.astype("datetime64[D]"), side="right") - 1
    models = {
        at: model
        for at in sorted(set(in_force[at_risk & (in_force >= 0)].tolist()))
        if (model := _model(portfolio, trained[at].item())).eligible
    }
    rows = with_families(portfolio, rows, *models.values())
    for at, model in models.items():
        of_model = np.flatnonzero(at_risk & (in_force == at))
        predicted = model.predict(rows.iloc[of_model], [horizon])
        client = rows["client_id"].to_numpy(dtype=str)[of_model]
        order = of_model[np.lexsort([day[of_model], client])]
        base = model.base_probability(horizon)
        columns = ("probability", "lower", "upper")
        risk[:3, order] = [odds_ratio(predicted[name].to_numpy(), base) for name in columns]
        risk[3, order] = predicted["probability"]
    return RelativeRisk(*risk)


def odds_ratio(probability: np.ndarray, base: np.ndarray | float) -> np.ndarray:
    """Odds relative to the base rate's odds; finite also at certainty."""
    p, q = (np.clip(value, 1e-12, 1 - 1e-12) for value in (probability, base))
    return p / (1 - p) / (q / (1 - q))
