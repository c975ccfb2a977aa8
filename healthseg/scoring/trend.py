"""Where is each score heading? A robust slope over weekly scores, and its verdict."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.periods import weekly
from healthseg.scoring.health import words
from healthseg.settings import Settings
from healthseg.statistics.robust import theil_sen

MIN_TREND_DAYS = 84  # twelve weeks: under it weekly scores cannot tell a drift from their noise
MIN_POINTS = 6
OVERLAP_WEEKS = (
    5  # windows of 28 and 30 days share data for four weeks, those of 90 and more for longer
)
VERDICTS = {1.0: "improving", -1.0: "declining", 0.0: "stable"}


def trend_window_days(lookback_days: int) -> int:
    """The days that the trend reads: the look-back, and at least twelve weeks."""
    return max(lookback_days, MIN_TREND_DAYS)


def score_trend(
    scores: pd.DataFrame, as_of: dt.date, lookback_days: int, config: Settings
) -> pd.DataFrame:
    """Is each customer's score improving, declining or stable, and by how much a week?

    ``scores`` has client_id, date, live, score (``Scores.frame``). Read are the weekly dates as_of − 7k within
    ``trend_window_days``, while the customer was live and the score not withheld. Columns of the response, by client_id:
    client_id, slope_per_week, lower, upper, weeks, trend (null under 6 weeks; stable where the interval holds zero).
    The interval allows for windows that overlap from week to week: taken as independent, four in ten customers whose
    behaviour never changes would be called improving or declining.
    """
    grid = pd.to_datetime(weekly(as_of, trend_window_days(lookback_days))).astype("datetime64[us]")
    read = scores[scores["date"].isin(grid) & scores["live"]]
    customers = pd.Index(scores["client_id"].unique()).sort_values()
    weeks = np.arange(len(grid), dtype=float)
    wide = np.full((len(customers), len(grid)), np.nan)
    wide[customers.get_indexer(read["client_id"]), grid.get_indexer(read["date"])] = read["score"]
    slopes = theil_sen(weeks, wide, config.interval_level, MIN_POINTS, OVERLAP_WEEKS)
    return pd.DataFrame(
        {
            "client_id": customers,
            "slope_per_week": slopes.slope,
            "lower": slopes.lower,
            "upper": slopes.upper,
            "weeks": slopes.points,
            "trend": words([VERDICTS.get(sign) for sign in slopes.direction.tolist()]),
        }
    )
