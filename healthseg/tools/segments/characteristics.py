"""A segment's figures: means with n and interval, and the named figures that the rules reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import communication as messages
from healthseg.statistics.rates import student_errors
from healthseg.tools.rounding import rounded
from healthseg.tools.segments import metrics
from healthseg.tools.segments.figures import NEW_DAYS, OVERDUE_DAYS, SILENT_DAYS, Figures
from healthseg.tools.segments.result import Answered, Characteristic

# key of the reference → column
AVERAGES = {
    "avg_health_score": "score",
    "avg_arr": "arr",
    "avg_tenure_months": "tenure_months",
    "feature_adoption_rate": "feature_adoption_rate_30d",
    "seat_utilisation": "seat_utilisation",
    "avg_weekly_active_users": "weekly_active_users",
    "stickiness": "stickiness_30d",
    "avg_open_high_tickets": "open_high_tickets",
    "avg_nps": "nps_365d",
    "avg_csat": "csat_180d",
    "paid_on_time_share": "paid_on_time_share_365d",
}
DECIMALS = {
    "avg_health_score": 1,
    "avg_arr": 0,
    "avg_tenure_months": 1,
    "avg_weekly_active_users": 1,
    "avg_nps": 1,
    "avg_csat": 2,
    "avg_open_high_tickets": 2,
}


def characteristics(rows: pd.DataFrame, level: float) -> dict[str, Characteristic]:
    """By key: the unweighted mean over the members of whom it is known, n, Student's interval of the mean."""
    found = {}
    for key, column in AVERAGES.items():
        known = rows[column].to_numpy(dtype=float)
        known = known[np.isfinite(known)]
        mean, lower, upper = mean_interval(known, level)
        decimals, told = DECIMALS.get(key, 4), metrics.described()[column]
        found[key] = Characteristic(
            label=told.label,
            unit=told.unit,
            n=len(known),
            level=level,
            mean=rounded(mean, decimals),
            lower=rounded(lower, decimals),
            upper=rounded(upper, decimals),
        )
    return found


def mean_interval(
    known: np.ndarray, level: float
) -> tuple[float | None, float | None, float | None]:
    """A mean and Student's interval of it; no interval of fewer than two values."""
    if not len(known):
        return None, None, None
    mean = float(known.mean())
    if len(known) < 2:
        return mean, None, None
    reach = float(student_errors(level, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return mean, mean - reach, mean + reach


def named(
    figures: Figures, rows: pd.DataFrame, total_arr: float | None, losses: pd.Series
) -> dict[str, Any]:
    """The figures of a segment that the rules read."""
    score, arr = rows["shown"].astype(float), rows["arr"].astype(float)
    loss, n = losses.reindex(rows.index), len(rows)
    hours = rows["tier"].astype(object).map(figures.settings.tier_hours_per_month).astype(float)
    return {
        "customers": n,
        "arr": _sum(arr),
        "mean_arr": _mean(arr),
        "health": _mean(score),
        "arr_percent": 100 * arr.sum() / total_arr if total_arr and arr.notna().any() else None,
        "below_percent": _percent(score < figures.settings.band_edges[1], score.notna()),
        "champions_percent": _percent(score >= figures.settings.band_edges[2], score.notna()),
        "unknown_percent": 100 * float(score.isna().mean()) if n else None,
        "drop_to": _tenth(score),
        "adoption_percent": _percent_of(rows["feature_adoption_rate_30d"]),
        "utilisation_percent": _percent_of(rows["seat_utilisation"]),
        "tickets": _sum(rows["open_high_tickets"].astype(float)),
        "overdue": _count(
            rows["worst_days_overdue"].astype(float) >= OVERDUE_DAYS, rows["worst_days_overdue"]
        ),
        "inactive": _count(
            rows["days_since_last_person_event"].astype(float) >= SILENT_DAYS,
            rows["days_since_last_person_event"],
        ),
        "new_percent": 100 * float((rows["tenure_days"].astype(float) < NEW_DAYS).mean())
        if n
        else None,
        "hours": _mean(hours),
        "loss": _sum(loss),
        "loss_percent": 100 * loss.sum() / arr[loss.notna()].sum()
        if arr[loss.notna()].sum() > 0
        else None,
        **_decline(figures, rows),
    }


def _decline(figures: Figures, rows: pd.DataFrame) -> dict[str, Any]:
    trend = figures.trends["trend"].reindex(rows.index)
    falling, known = (trend == "declining").sum(), trend.notna().sum()
    return {
        "declining": int(falling),
        "declining_percent": 100 * falling / known if known else None,
    }


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def _sum(values: pd.Series) -> float | None:
    return float(values.sum()) if values.notna().any() else None


def _count(holds: pd.Series, values: pd.Series) -> int | None:
    return int(holds.sum()) if values.notna().any() else None


def _percent(holds: pd.Series, known: pd.Series) -> float | None:
    return 100 * float(holds[known].mean()) if known.any() else None


def _percent_of(share: pd.Series) -> float | None:
    mean = _mean(share.astype(float))
    return None if mean is None else 100 * mean


def _tenth(score: pd.Series) -> float | None:
    """The score that nine of ten exceed or reach: an order statistic."""
    known = np.sort(score.dropna().to_numpy())
    return float(known[max(int(np.ceil(len(known) / 10)) - 1, 0)]) if len(known) >= 10 else None


def answered(figures: Figures, clients: pd.Index, by: str) -> list[Answered] | None:
    """How the segment's messages are answered by channel or content, best first; None where that is not known."""
    rows = messages.answers(figures.portfolio, figures.as_of)
    if rows is None or (by == "content" and not messages.are_categories(rows)):
        return None
    own = rows[rows["client_id"].isin(clients)]
    found = messages.rates(
        own, by, figures.settings.messages_min_sent, figures.settings.interval_level
    )
    return [
        Answered(
            name=row[by],
            sent=int(row["sent"]),
            opened=int(row["opened"]),
            engaged=int(row["engaged"]),
            rate=round(row["rate"], 4),
            lower=round(row["lower"], 4),
            upper=round(row["upper"], 4),
        )
        for row in found.to_dict("records")
    ]
