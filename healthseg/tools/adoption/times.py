"""How long until a feature is first used, adopted, and dropped again? Kaplan–Meier, with those not there yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.effects import resamples
from healthseg.statistics.survival import (
    kaplan_meier,
    median_times,
    quantile_time,
    survival_at,
)

BEFORE = -1.0  # a spell of length 0 (used on the very first day) was at risk too
DRAWS = 200
KEPT_DAYS = 180


@dataclass(frozen=True)
class Time:
    """A median in days with its interval; ``days`` None where fewer than half got there."""

    days: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    excluded: int  # could use the feature before events were tracked: when they began is unknown


def spells(lives: pd.DataFrame, event: str) -> pd.DataFrame:
    """Watched rows with ``time`` (days from the clock's beginning) and ``happened``; open ones end with what was seen."""
    rows = lives[lives["watched"].astype(bool)]
    happened = rows[event].notna().to_numpy()
    end = np.where(happened, rows[event], rows["until_day"] - 1)
    return pd.DataFrame(
        {
            "client_id": rows["client_id"].to_numpy(),
            "feature": rows["feature"].to_numpy(),
            "category": rows["category"].to_numpy(),
            "time": end - rows["from_day"].to_numpy(),
            "happened": happened,
        }
    )


def kept(lives: pd.DataFrame, silent_days: int) -> pd.DataFrame:
    """Adoptions that were seen to happen, with ``time`` until abandoned; open ones end ``silent_days`` before the last
    day that was seen, since nobody can tell yet whether the silence after it will last."""
    rows = lives[lives["adopted_day"].notna() & lives["seen_adopting"].astype(bool)]
    gone = rows["abandoned_day"].notna().to_numpy()
    end = np.where(gone, rows["abandoned_day"], rows["until_day"] - silent_days)
    found = pd.DataFrame(
        {
            "client_id": rows["client_id"].to_numpy(),
            "feature": rows["feature"].to_numpy(),
            "category": rows["category"].to_numpy(),
            "time": end - rows["adopted_day"].to_numpy(),
            "happened": gone,
        }
    )
    return found[found["time"] >= 0].reset_index(drop=True)


def curve(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """``kaplan_meier`` of spells."""
    return kaplan_meier(rows["time"], rows["happened"], np.full(len(rows), BEFORE), level)


def median(rows: pd.DataFrame, excluded: int, level: float) -> Time:
    """The median of one row a customer (or of one customer's features), with Brookmeyer and Crowley's interval."""
    if not len(rows):
        return Time(None, None, None, 0, 0, excluded)
    found = quantile_time(curve(rows, level))
    return Time(
        found.time, found.lower, found.upper, len(rows), int(rows["happened"].sum()), excluded
    )


def pooled_median(rows: pd.DataFrame, excluded: int, level: float, seed: int) -> Time:
    """The median over several features of each customer, with an interval over resampled customers."""
    point = median(rows, excluded, level)
    if point.days is None:
        return Time(None, None, None, point.n, point.events, excluded)
    codes = pd.factorize(rows["client_id"], sort=True)[0]
    weights = resamples(codes.max() + 1, seed, DRAWS)[:, codes]
    drawn = median_times(rows["time"].to_numpy(), rows["happened"].to_numpy(), weights)
    tail = (1 - level) / 2
    place = [int(np.floor(tail * DRAWS)), int(np.ceil((1 - tail) * DRAWS)) - 1]
    lower, upper = np.sort(drawn)[place]
    return Time(
        point.days,
        float(lower),
        float(upper) if np.isfinite(upper) else None,
        point.n,
        point.events,
        excluded,
    )


def share_by(rows: pd.DataFrame, days: int, level: float) -> tuple[float, float, float] | None:
    """The share that still lasts after ``days`` with its interval; None where nobody was watched that long."""
    if not len(rows) or rows["time"].max() < days:
        return None
    found = curve(rows, level)
    value = float(survival_at(found, [days])[0])
    steps = found[found["time"] <= days]
    lower, upper = steps[["lower", "upper"]].iloc[-1].tolist() if len(steps) else (np.nan, np.nan)
    return value, (value if np.isnan(lower) else lower), (value if np.isnan(upper) else upper)


def points(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """The curve as shares that got there: days, share, lower, upper, at_risk; it begins at day 0 with none."""
    start = pd.DataFrame(
        {"days": [0.0], "share": [0.0], "lower": [0.0], "upper": [0.0], "at_risk": [len(rows)]}
    )
    if not len(rows):
        return start.iloc[:0]
    found = curve(rows, level)
    body = pd.DataFrame(
        {
            "days": found["time"],
            "share": 1 - found["survival"],
            "lower": 1 - found["upper"],
            "upper": 1 - found["lower"],
            "at_risk": found["at_risk"],
        }
    )
    return (
        body
        if len(body) and body["days"].iloc[0] == 0
        else pd.concat([start, body], ignore_index=True)
    )
