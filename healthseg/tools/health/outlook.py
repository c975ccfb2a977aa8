"""Where a score is heading: its forecast with the back-tested error, and the base rate of leaving."""
from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.config import Settings, fingerprint
from healthseg.data.memory import remember
from healthseg.forecasting import backtest, forecast, within_tolerance
from healthseg.measures import panel as panels
from healthseg.measures.counting import customers, epoch_day
from healthseg.measures.leaving import customers_as_of
from healthseg.periods import weekly
from healthseg.scoring import BaseRates, base_rates
from healthseg.scoring.churn import HORIZONS
from healthseg.tools.health.figures import Judged, judge
from healthseg.tools.health.result import ChurnPrediction, Forecast, PredictedScore, Range
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import integer, number, rounded, word

WEEKS = 13                   # the farthest prediction is 90 days
AHEAD_DAYS = (30, 60, 90)
SAMPLE = 40                  # customers whose past forecasts say how far off forecasts are
LEAST_WEEKS = 30
TOLERATED_POINTS = 5.0
FAN = ["date", "forecast", "lower", "upper", "method"]
RATES = ["horizon_days", "probability", "lower", "upper", "kind"]


@dataclass(frozen=True)
class Outlook:
    """What is foreseen of a customer, with the frames behind it and why something is missing."""

    fan: pd.DataFrame
    rates: pd.DataFrame
    predicted: list[PredictedScore] | None
    forecast: Forecast | None
    churn: ChurnPrediction | None
    not_measured: dict[str, str]


def ahead(subject: Subject) -> Outlook:
    """The outlook of a customer: its score's forecast and its base rate of leaving, where both were asked for."""
    if subject.churned or not subject.asked.include_predictions:
        why = "the customer has churned" if subject.churned else "not requested"
        missing = dict.fromkeys(("$.predicted_scores", "$.churn_prediction"), why)
        return Outlook(pd.DataFrame(columns=FAN), pd.DataFrame(columns=RATES), None, None, None, missing)
    book, settings, missing = subject.book, subject.settings, {}
    coming = fan(subject.judged, settings)
    errors = past_errors(book, subject.as_of, settings, subject.weights)
    predicted = predictions(coming, errors, subject.as_of)
    if not predicted:
        missing["$.predicted_scores"] = "too few weekly scores to forecast from"
    elif predicted[0].confidence is None:
        missing["$.predicted_scores[*].confidence"] = "fewer than 20 back-tested forecasts in the book"
    found = rates(book, subject.as_of, settings)
    prediction, frame = churn(found, subject.client_id, word(subject.now["tier"]), settings)
    if prediction.churn_probability is None:
        missing |= dict.fromkeys((f"$.churn_prediction.{key}" for key in ("churn_probability", "confidence")),
                                 prediction.reason)
    for key in ("churn_risk_level", "key_risk_factors", "protective_factors"):
        missing[f"$.churn_prediction.{key}"] = "a base rate says nothing of a single customer"
    return Outlook(coming[FAN], frame, predicted or None, described(coming, errors, settings), prediction, missing)


def series(judged: Judged) -> pd.DataFrame:
    """The weekly scores as forecasting's long frame, oldest first, withheld ones left out."""
    grid = pd.to_datetime(weekly(judged.as_of, 10**4 // 7)).astype("datetime64[us]")
    frame = judged.frame
    good = frame["live"] & frame["score"].notna() & frame["date"].isin(grid)
    return frame.loc[good, ["client_id", "date", "score"]].rename(columns={"score": "value"}).reset_index(drop=True)


def fan(judged: Judged, settings: Settings) -> pd.DataFrame:
    """The forecast of every customer's score for the next 13 weeks; empty where there is no score."""
    frame = series(judged)
    if frame.empty:
        return pd.DataFrame(columns=["client_id", *FAN])
    return forecast(frame, WEEKS, settings.interval_level, season_length=1, lower_bound=0, upper_bound=100,
                    spacing="weekly")


def past_errors(book: Any, as_of: dt.date, settings: Settings, weights: dict | None) -> pd.DataFrame:
    """Errors of forecasts made at earlier dates, over a fixed sample of the book's customers."""
    key = f"{as_of:%Y%m%d}-" + fingerprint([book.content(as_of), settings.fingerprint, weights, panels.version()])

    def make() -> pd.DataFrame:
        kept = book.store.get_frame("models", f"score-errors-{key}")
        if kept is None:
            kept = _back_tested(book, as_of, settings, weights)
            book.store.put_frame("models", f"score-errors-{key}", kept)
        return kept
    return remember(book, ("past_errors", key), make)


def _back_tested(book: Any, as_of: dt.date, settings: Settings, weights: dict | None) -> pd.DataFrame:
    known = customers(book).reset_index(drop=True)
    known = known.loc[pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of), "client_id"]
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest())[:4 * SAMPLE]
    judged = judge(book, as_of, 7, settings, weights, sorted(drawn))
    frame = series(judged)
    weeks = frame.groupby("client_id").size()
    chosen = [name for name in drawn if weeks.get(name, 0) >= LEAST_WEEKS][:SAMPLE]
    frame = frame[frame["client_id"].isin(chosen)]
    columns = ["client_id", "origin", "step", "model", "error", "coverage"]
    if frame.empty:
        return pd.DataFrame(columns=columns)
    errors = backtest(frame, WEEKS, settings.interval_level, origins=6, refit_every=6, season_length=1, lower_bound=0,
                      upper_bound=100, spacing="weekly").errors
    return errors.loc[errors["model"].isin(["forecast", "naive"]), columns].reset_index(drop=True)


def predictions(ahead: pd.DataFrame, errors: pd.DataFrame, as_of: dt.date) -> list[PredictedScore]:
    """The predicted scores in 30, 60 and 90 days, read off the weekly forecast by straight lines."""
    if ahead.empty:
        return []
    days = (ahead["date"] - pd.Timestamp(as_of)).dt.days.to_numpy()
    found = []
    for day in AHEAD_DAYS:
        point, low, high = (float(np.interp(day, days, ahead[name])) for name in ("forecast", "lower", "upper"))
        if not np.isfinite([point, low, high]).all():
            continue
        found.append(PredictedScore(
            date=as_of + dt.timedelta(days=day), predicted_score=integer(point), lower=integer(low),
            upper=integer(high),
            confidence=rounded(within_tolerance(errors, round(day / 7), TOLERATED_POINTS).probability)))
    return found


def described(ahead: pd.DataFrame, errors: pd.DataFrame, settings: Settings) -> Forecast:
    """The forecast's method, and how it did in the past beside the naive one."""
    by = {model: errors[errors["model"] == model] for model in ("forecast", "naive")}
    origins = int(by["forecast"].groupby(["client_id", "origin"]).ngroups) if len(errors) else 0
    mean = {model: rounded(float(frame["error"].abs().mean())) if len(frame) else None for model, frame in by.items()}
    covered = by["forecast"]["coverage"].dropna()
    return Forecast(method=ahead["method"].iloc[0] if len(ahead) else "none",
                    reason=None if len(ahead) else "no score in the history",
                    interval_level=settings.interval_level, origins=origins, mean_absolute_error=mean["forecast"],
                    naive_mean_absolute_error=mean["naive"],
                    interval_coverage=rounded(float(covered.mean())) if len(covered) else None)


def rates(book: Any, as_of: dt.date, settings: Settings) -> BaseRates:
    """The tiers' base rates of leaving, as known at ``as_of``."""
    def make() -> BaseRates:
        known = customers_as_of(book, as_of).reset_index(drop=True)
        known = known[pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of)].reset_index(drop=True)
        if known.empty:
            return BaseRates(None, settings.interval_level, frozenset(), reason="no customer had signed up by then")
        until = known["churned_on"] - pd.Timedelta(days=1)
        last = until.fillna(pd.Timestamp(as_of)).dt.date
        tier = panels.tiers_at(book, dict(zip(known["client_id"], last, strict=True)))
        horizons = sorted({*HORIZONS, settings.churn_horizon_days})
        known = known.assign(tier=known["client_id"].map(tier)).drop(columns=_untold(book))
        return base_rates(known, as_of, book.first_event_day, settings, horizons)
    return remember(book, ("base_rates", epoch_day(as_of), settings.fingerprint), make)


def _untold(book: Any) -> list[str]:
    """The dates of leaving of which the book says nothing: not that nobody left, but that it does not know."""
    told = set(book.reports["customers"].columns)
    if book.has("arr_changes") or book.has("stage_changes"):
        told.add("churned_on")
    return [name for name in ("churned_on", "notice_on") if name not in told]


def churn(found: BaseRates, client_id: str, tier: str | None,
          settings: Settings) -> tuple[ChurnPrediction, pd.DataFrame]:
    """The prediction of one customer, and its frame: horizon_days, probability, lower, upper, kind."""
    rows = found.of(client_id, tier)
    shared = {"method": found.method, "horizon_days": settings.churn_horizon_days,
              "interval_level": settings.interval_level, "churn_risk_level": None, "key_risk_factors": None,
              "protective_factors": None}
    if rows is None:
        why = found.reason or "notice was given or the customer has left: there is nothing left to predict"
        empty = dict.fromkeys(("churn_probability", "confidence", "base_rate_interval", "plausible_range",
                               "customers_at_risk", "leavers"))
        return (ChurnPrediction(**shared, **empty, by_horizon=[], reason=why),
                pd.DataFrame(columns=RATES))
    at = rows.iloc[(rows["horizon_days"] - settings.churn_horizon_days).abs().argmin()]
    whose = "the book" if at["tier"] == "the book" else f"the tier {at['tier']}"
    reason = (f"base rate of {whose}: {at['events']} left in {at['steps']:,.0f} customer-months "
              f"({at['customers']} customers); it ranks nobody within it")
    prediction = ChurnPrediction(
        **{**shared, "horizon_days": int(at["horizon_days"])}, churn_probability=rounded(at["probability"]),
        confidence=rounded(at["confidence"]), reason=reason,
        base_rate_interval=interval_of(at, "base_rate"), plausible_range=interval_of(at, "plausible"),
        by_horizon=[{"horizon_days": int(row["horizon_days"]), "churn_probability": rounded(row["probability"]),
                     "base_rate_interval": interval_of(row, "base_rate").model_dump(),
                     "plausible_range": interval_of(row, "plausible").model_dump()} for _, row in rows.iterrows()],
        customers_at_risk=int(at["at_risk_now"]), leavers=int(at["events"]))
    return prediction, _churn_frame(rows)


def interval_of(row: pd.Series, kind: str) -> Range:
    return Range(lower=rounded(number(row[f"{kind}_lower"])), upper=rounded(number(row[f"{kind}_upper"])))


def _churn_frame(rows: pd.DataFrame) -> pd.DataFrame:
    parts = [pd.DataFrame({"horizon_days": rows["horizon_days"], "probability": rows["probability"],
                           "lower": rows[f"{kind}_lower"], "upper": rows[f"{kind}_upper"], "kind": kind})
             for kind in ("base_rate", "plausible")]
    return pd.concat(parts, ignore_index=True)


