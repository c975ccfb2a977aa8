"""Scores over time: a robust slope with its verdict, a churned customer's frozen score, bands by date."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.periods import weekly
from healthseg.scoring.health import SCORE_COLUMNS, words
from healthseg.settings import BANDS, Settings
from healthseg.statistics.robust import theil_sen

VERDICTS = {1.0: "improving", -1.0: "declining", 0.0: "stable"}


def trend_window_days(lookback_days: int, settings: Settings) -> int:
    """The days that the trend reads: the look-back, and at least twelve weeks."""
    return max(lookback_days, settings.trend_min_days)


def score_trend(
    scores: pd.DataFrame, as_of: dt.date, lookback_days: int, settings: Settings
) -> pd.DataFrame:
    """Is each customer's score improving, declining or stable, and by how much a week?

    Reads the weekly ``scores`` (``Scores.frame``) within ``trend_window_days``, while the customer
    was live and the score not withheld. Columns: client_id, slope_per_week, lower, upper, weeks,
    trend (null under six scores; stable where the interval holds zero). The interval allows for
    overlapping windows: taken as independent, four in ten customers whose behaviour never changes
    would be called improving or declining.
    """
    dates = weekly(as_of, trend_window_days(lookback_days, settings))
    grid = pd.to_datetime(dates).astype("datetime64[us]")
    rows = scores[scores["date"].isin(grid) & scores["live"]]
    customers = pd.Index(scores["client_id"].unique()).sort_values()
    wide = np.full((len(customers), len(grid)), np.nan)
    wide[customers.get_indexer(rows["client_id"]), grid.get_indexer(rows["date"])] = rows["score"]
    slopes = theil_sen(
        np.arange(len(grid), dtype=float),
        wide,
        settings.interval_level,
        settings.trend_min_scores,
        settings.trend_overlap_weeks,
    )
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


def freeze(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores shown of churned customers: that of their last live date, from then on.

    ``scores`` is ``Scores.frame`` (sorted by client_id, date). Added columns: status (live, churned,
    not_started) and frozen_on (the date whose score is shown, of churned rows). A panel that holds the day before
    ``churned_on`` freezes there exactly.
    """
    live = scores["live"].to_numpy()
    last = (
        pd.Series(np.where(live, np.arange(len(scores)), np.nan))
        .groupby(scores["client_id"].to_numpy())
        .ffill()
    )
    churned = ~live & last.notna().to_numpy()
    source = last.to_numpy()[churned].astype(int)
    frozen = scores.reset_index(drop=True)
    for name in [name for name in frozen if name in SCORE_COLUMNS or name.endswith("_score")]:
        frozen.loc[churned, name] = frozen[name].to_numpy()[source]
    on = np.full(len(scores), np.datetime64("NaT"), dtype="datetime64[us]")
    on[churned] = frozen["date"].to_numpy()[source]
    return frozen.assign(
        status=np.select([live, churned], ["live", "churned"], "not_started"), frozen_on=on
    )


def portfolio_by_date(scores: pd.DataFrame, arr: pd.Series | None = None) -> pd.DataFrame:
    """How is the health of the live portfolio spread on each date?

    Columns: date, live, scored, withheld, mean_score, and per band its customers; with ``arr`` (aligned with
    ``scores``) per band arr_<band>. Customers that are not live are out.
    """
    live = scores[scores["live"]]
    by = live.groupby("date", sort=True)
    frame = pd.DataFrame({"live": by.size(), "scored": by["score"].count()})
    frame["withheld"] = frame["live"] - frame["scored"]
    frame["mean_score"] = by["score"].mean()
    for band in BANDS:
        inside = live["band"] == band
        frame[band] = inside.groupby(live["date"]).sum()
        if arr is not None:
            frame[f"arr_{band}"] = arr.loc[live.index].where(inside).groupby(live["date"]).sum()
    return frame.reset_index()
