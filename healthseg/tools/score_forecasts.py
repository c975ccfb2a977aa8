"""Forecasts of scores with their back-tested errors, for one customer or a sample of the portfolio."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.forecasting import backtest, forecast
from healthseg.metrics.counting import customers
from healthseg.periods import weekly
from healthseg.scoring.scored_panel import SCORECARD, ScoredPanel, ScoreModel, scored_panel
from healthseg.statistics.robust import MAD_TO_SD

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

COLUMNS = ["date", "forecast", "lower", "upper", "method"]
ERROR_COLUMNS = ["client_id", "origin", "step", "model", "error", "coverage"]


def weekly_series(scored: ScoredPanel) -> pd.DataFrame:
    """The weekly scores as forecasting's long frame, oldest first, without withheld ones."""
    grid = pd.to_datetime(weekly(scored.as_of, 10**4 // 7)).astype("datetime64[us]")
    frame = scored.frame
    known = frame["live"] & frame["score"].notna() & frame["date"].isin(grid)
    series = frame.loc[known, ["client_id", "date", "score"]]
    return series.rename(columns={"score": "value"}).reset_index(drop=True)


def score_forecast(
    scored: ScoredPanel, settings: Settings, errors: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every customer's score in the next 13 weeks; empty where there is no score.

    Where the back-tested ``errors`` are no smaller than those of no change, no change is the forecast.
    """
    frame = weekly_series(scored)
    if frame.empty:
        return pd.DataFrame(columns=["client_id", *COLUMNS])
    return forecast(
        frame,
        settings.score_forecast_weeks,
        settings.interval_level,
        season_length=1,
        lower_bound=0,
        upper_bound=100,
        spacing="weekly",
        no_change=errors is not None and not beats_no_change(errors),
        settings=settings,
    )


def beats_no_change(errors: pd.DataFrame) -> bool:
    """Whether past forecasts were closer than no change would have been, on average; True without any.

    >>> errors = pd.DataFrame({"model": ["forecast", "naive"], "error": [-2.0, 2.0]})
    >>> beats_no_change(errors)
    False
    """
    if errors.empty:
        return True
    size = errors["error"].abs().groupby(errors["model"]).mean()
    return bool(size["forecast"] < size["naive"])


def shown_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """Past errors, those of the forecast that is shown as ``forecast``, beside those of no change."""
    if beats_no_change(errors):
        return errors
    naive = errors[errors["model"] == "naive"]
    return pd.concat([naive.assign(model="forecast"), naive], ignore_index=True)


def past_errors(
    portfolio: Portfolio, as_of: dt.date, model: ScoreModel = SCORECARD
) -> pd.DataFrame:
    """Errors of forecasts made on earlier dates, over a fixed sample of the portfolio's customers.

    ``forecast`` are those of the forecast that is shown: of no change where nothing was closer.
    """
    inputs = [portfolio.content(as_of), portfolio.settings.fingerprint, model.key, str(as_of)]
    return portfolio.cache.get(
        "score_errors", inputs, lambda: shown_errors(_back_tested(portfolio, as_of, model))
    )


def _back_tested(portfolio: Portfolio, as_of: dt.date, model: ScoreModel) -> pd.DataFrame:
    frame = sample_series(portfolio, as_of, model=model)
    if frame.empty:
        return pd.DataFrame(columns=ERROR_COLUMNS)
    errors = backtest(
        frame,
        portfolio.settings.score_forecast_weeks,
        portfolio.settings.interval_level,
        origins=6,
        refit_every=6,
        season_length=1,
        lower_bound=0,
        upper_bound=100,
        spacing="weekly",
        settings=portfolio.settings,
    ).errors
    compared = errors["model"].isin(["forecast", "naive"])
    return errors.loc[compared, ERROR_COLUMNS].reset_index(drop=True)


def sample_series(
    portfolio: Portfolio,
    as_of: dt.date,
    customers_at_most: int | None = None,
    model: ScoreModel = SCORECARD,
) -> pd.DataFrame:
    """Weekly scores of a fixed sample of customers with enough weeks, as a long frame.

    ``customers_at_most`` is the setting ``score_backtest_customers`` by default.
    """
    count = customers_at_most or portfolio.settings.score_backtest_customers
    least = portfolio.settings.score_backtest_min_weeks
    known = customers(portfolio).reset_index(drop=True)
    signed_up = pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of)
    ids = sorted(
        known.loc[signed_up, "client_id"], key=lambda name: hashlib.sha256(name.encode()).digest()
    )[: 4 * count]
    frame = weekly_series(scored_panel(portfolio, as_of, 7, model, sorted(ids)))
    weeks = frame.groupby("client_id").size()
    sample = [name for name in ids if weeks.get(name, 0) >= least][:count]
    return frame[frame["client_id"].isin(sample)]


def score_error_sd(portfolio: Portfolio, as_of: dt.date) -> float | None:
    """How far a week's score is off by itself: the robust spread of one-week forecasts' errors, points."""
    errors = past_errors(portfolio, as_of)
    first = errors[(errors["model"] == "forecast") & (errors["step"] == 1)]
    values = first["error"].to_numpy(dtype=float)
    if len(values) < portfolio.settings.error_spread_min_values:
        return None
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))
