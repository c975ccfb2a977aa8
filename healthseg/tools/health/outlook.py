"""Where a score is heading: its forecast with the back-tested error."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.forecasting import backtest, forecast, within_tolerance
from healthseg.metrics import keys
from healthseg.metrics.counting import customers
from healthseg.periods import weekly
from healthseg.scoring import training
from healthseg.settings import Settings, fingerprint
from healthseg.tools.health import leaving
from healthseg.tools.health.figures import Asked, Judged, judge
from healthseg.tools.health.result import ChurnPrediction, Forecast, PredictedScore
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import integer, rounded

WEEKS = 13  # the farthest prediction is 90 days
AHEAD_DAYS = (30, 60, 90)
SAMPLE = 40  # customers whose past forecasts say how far off forecasts are
LEAST_WEEKS = 30
TOLERATED_POINTS = 5.0
COMPOSITE = Asked()
FAN = ["date", "forecast", "lower", "upper", "method"]


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
    """The outlook of a customer: its score's forecast and how likely it is to leave, where both were asked for."""
    if subject.churned or not subject.asked.include_predictions:
        why = "the customer has churned" if subject.churned else "not requested"
        missing = dict.fromkeys(("$.predicted_scores", "$.churn_prediction"), why)
        return Outlook(
            pd.DataFrame(columns=FAN),
            pd.DataFrame(columns=leaving.RATES),
            None,
            None,
            None,
            missing,
        )
    portfolio, settings, missing = subject.portfolio, subject.settings, {}
    coming = fan(subject.judged, settings)
    errors = past_errors(portfolio, subject.as_of, subject.rules)
    predicted = predictions(coming, errors, subject.as_of)
    if not predicted:
        missing["$.predicted_scores"] = "too few weekly scores to forecast from"
    elif predicted[0].confidence is None:
        missing["$.predicted_scores[*].confidence"] = (
            "fewer than 20 back-tested forecasts in the portfolio"
        )
    prediction, frame, unknown = leaving.of_customer(subject)
    return Outlook(
        coming[FAN],
        frame,
        predicted or None,
        described(coming, errors, settings),
        prediction,
        missing | unknown,
    )


def series(judged: Judged) -> pd.DataFrame:
    """The weekly scores as forecasting's long frame, oldest first, withheld ones left out."""
    grid = pd.to_datetime(weekly(judged.as_of, 10**4 // 7)).astype("datetime64[us]")
    frame = judged.frame
    good = frame["live"] & frame["score"].notna() & frame["date"].isin(grid)
    return (
        frame.loc[good, ["client_id", "date", "score"]]
        .rename(columns={"score": "value"})
        .reset_index(drop=True)
    )


def fan(judged: Judged, settings: Settings) -> pd.DataFrame:
    """The forecast of every customer's score for the next 13 weeks; empty where there is no score."""
    frame = series(judged)
    if frame.empty:
        return pd.DataFrame(columns=["client_id", *FAN])
    return forecast(
        frame,
        WEEKS,
        settings.interval_level,
        season_length=1,
        lower_bound=0,
        upper_bound=100,
        spacing="weekly",
    )


def past_errors(portfolio: Any, as_of: dt.date, rules: Asked) -> pd.DataFrame:
    """Errors of forecasts made at earlier dates, over a fixed sample of the portfolio's customers."""
    key = f"{as_of:%Y%m%d}-" + fingerprint(
        [
            portfolio.content(as_of),
            portfolio.settings.fingerprint,
            rules.key,
            keys.version(),
            training.version() if rules.predictive else "",
        ]
    )

    def make() -> pd.DataFrame:
        kept = portfolio.store.get_frame("models", f"score-errors-{key}")
        if kept is None:
            kept = _back_tested(portfolio, as_of, rules)
            portfolio.store.put_frame("models", f"score-errors-{key}", kept)
        return kept

    return remember(portfolio, ("past_errors", key), make)


def _back_tested(portfolio: Any, as_of: dt.date, rules: Asked) -> pd.DataFrame:
    frame = sample_series(portfolio, as_of, rules=rules)
    columns = ["client_id", "origin", "step", "model", "error", "coverage"]
    if frame.empty:
        return pd.DataFrame(columns=columns)
    errors = backtest(
        frame,
        WEEKS,
        portfolio.settings.interval_level,
        origins=6,
        refit_every=6,
        season_length=1,
        lower_bound=0,
        upper_bound=100,
        spacing="weekly",
    ).errors
    return errors.loc[errors["model"].isin(["forecast", "naive"]), columns].reset_index(drop=True)


def sample_series(
    portfolio: Any, as_of: dt.date, count: int = SAMPLE, rules: Asked = COMPOSITE
) -> pd.DataFrame:
    """Weekly scores of a fixed sample of ``count`` customers with 30 weeks or more, as forecasting's long frame."""
    known = customers(portfolio).reset_index(drop=True)
    known = known.loc[pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of), "client_id"]
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest())[: 4 * count]
    judged = judge(portfolio, as_of, 7, rules, sorted(drawn))
    frame = series(judged)
    weeks = frame.groupby("client_id").size()
    chosen = [name for name in drawn if weeks.get(name, 0) >= LEAST_WEEKS][:count]
    return frame[frame["client_id"].isin(chosen)]


def predictions(ahead: pd.DataFrame, errors: pd.DataFrame, as_of: dt.date) -> list[PredictedScore]:
    """The predicted scores in 30, 60 and 90 days, read off the weekly forecast by straight lines."""
    if ahead.empty:
        return []
    days = (ahead["date"] - pd.Timestamp(as_of)).dt.days.to_numpy()
    found = []
    for day in AHEAD_DAYS:
        point, low, high = (
            float(np.interp(day, days, ahead[name])) for name in ("forecast", "lower", "upper")
        )
        if not np.isfinite([point, low, high]).all():
            continue
        found.append(
            PredictedScore(
                date=as_of + dt.timedelta(days=day),
                predicted_score=integer(point),
                lower=integer(low),
                upper=integer(high),
                confidence=rounded(
                    within_tolerance(errors, round(day / 7), TOLERATED_POINTS).probability
                ),
            )
        )
    return found


def described(ahead: pd.DataFrame, errors: pd.DataFrame, settings: Settings) -> Forecast:
    """The forecast's method, and how it did in the past beside the naive one."""
    by = {model: errors[errors["model"] == model] for model in ("forecast", "naive")}
    origins = int(by["forecast"].groupby(["client_id", "origin"]).ngroups) if len(errors) else 0
    mean = {
        model: rounded(float(frame["error"].abs().mean())) if len(frame) else None
        for model, frame in by.items()
    }
    covered = by["forecast"]["coverage"].dropna()
    return Forecast(
        method=ahead["method"].iloc[0] if len(ahead) else "none",
        reason=None if len(ahead) else "no score in the history",
        interval_level=settings.interval_level,
        origins=origins,
        mean_absolute_error=mean["forecast"],
        naive_mean_absolute_error=mean["naive"],
        interval_coverage=rounded(float(covered.mean())) if len(covered) else None,
    )
