"""From states to milestones as they are told: statuses, days, who waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.milestone_plan import CATEGORIES, DayCount, date_of
from healthseg.metrics.milestone_times import Ahead, forecast
from healthseg.metrics.milestones import DATA, STATUSES
from healthseg.tools.milestones.figures import OPEN, Figures
from healthseg.tools.milestones.result import CategoryProgress, Detail, Forecast, Progress
from healthseg.tools.rounding import integer, rounded, word

ON_TIME_DAYS = 0.5  # nearer to the target than that is neither ahead nor behind


def progress(rows: Sequence[Mapping[str, Any]], known: bool) -> Progress:
    """Counts of all that applies; nothing where it is not known what does."""
    if not known:
        return Progress(**dict.fromkeys(Progress.model_fields))
    counts = _counts(rows)
    late = sum(row["status"] == "overdue" and row["required"] for row in rows)
    due = [row["target_day"] for row in rows if row["status"] in ("in_progress", "not_started")]
    return Progress(
        total_milestones=len(rows),
        **{f"{name}_milestones": count for name, count in counts.items()},
        completion_rate=_rate(counts, len(rows)),
        on_track=late == 0,
        overdue_required=late,
        next_due=date_of(min((day for day in due if not np.isnan(day)), default=np.nan)),
    )


def by_category(rows: Sequence[Mapping[str, Any]]) -> dict[str, CategoryProgress]:
    found = {}
    for name in CATEGORIES:
        part = [row for row in rows if row["category"] == name]
        if part:
            counts, days = _counts(part), [row["days"] for row in part if not np.isnan(row["days"])]
            found[name] = CategoryProgress(
                **counts,
                total=len(part),
                completion_rate=_rate(counts, len(part)),
                n=len(days),
                avg_days_to_complete=rounded(np.mean(days), 1) if days else None,
            )
    return found


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {name: sum(row["status"] == name for row in rows) for name in STATUSES}


def _rate(counts: Mapping[str, int], total: int) -> float | None:
    asked = total - counts["skipped"]
    return rounded(counts["completed"] / asked) if asked else None


def standing(row: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """ahead, on_time or behind, and the days ahead, of a completed milestone whose days are known.

    On time is what was done on the day it was due, or nearer to it than half a day.
    """
    days = rounded(row["days"], 1)
    if days is None:
        return None, None
    ahead = round(row["target_days"] - days, 1)
    if row["completed_day"] == row["target_day"] or abs(ahead) < ON_TIME_DAYS:
        return "on_time", ahead
    return ("ahead" if ahead > 0 else "behind"), ahead


def expected(figures: Figures, row: Mapping[str, Any]) -> Forecast | None:
    """When an open milestone will be completed; None where too few had one open as long."""
    found = forecast(
        figures.portfolio, figures.as_of, row, figures.settings.peers_min, figures.level
    )
    return told(found, figures.level)


def told(found: Ahead, level: float) -> Forecast | None:
    """A forecast in dates; None where not even its beginning is known."""
    if found.lower is None and found.median is None:
        return None
    dates = {
        name: None if value is None else date_of(value)
        for name, value in (
            ("median", found.median),
            ("lower", found.lower),
            ("upper", found.upper),
        )
    }
    return Forecast(**dates, interval_level=level, n=found.n, among=found.of)


def detail(
    row: Mapping[str, Any], count: DayCount, names: Mapping[str, str], coming: Forecast | None
) -> Detail:
    completed, open_still = row["status"] == "completed", row["status"] in OPEN
    side, ahead = standing(row)
    left = float(count.between(row["day"], row["target_day"]))
    asked = int(row["users"]) if row["feature"] is not None else None
    share = None if asked is None else 1.0 if completed else rounded(row["progress"])
    return Detail(
        milestone_id=row["milestone_id"],
        milestone_name=row["name"],
        milestone_category=row["category"],
        status=row["status"],
        required=bool(row["required"]),
        target_completion_days=int(row["target_days"]),
        target_date=date_of(row["target_day"]),
        anchor_date=date_of(row["anchor_day"]),
        actual_completion_days=rounded(row["days"], 1),
        completion_date=_moment(row),
        ahead_behind=side,
        days_ahead=ahead,
        completed_by=row["completed_by"] if completed else None,
        started_date=date_of(row["started_day"]),
        expected_completion_date=date_of(row["target_day"]) if open_still else None,
        days_remaining=rounded(left, 1) if open_still and row["status"] != "overdue" else None,
        days_overdue=rounded(-left, 1) if row["status"] == "overdue" else None,
        elapsed_days=rounded(row["elapsed"], 1) if open_still else None,
        progress_percentage=share,
        users_reached=None if asked is None else integer(row["reached"]),
        users_asked=asked,
        skipped_date=date_of(row["skipped_day"]) if row["status"] == "skipped" else None,
        blocker=row["blocker"] if row["blocked"] else None,
        blocked_since=date_of(row["blocked_day"]) if row["blocked"] else None,
        waits_for=[names[one] for one in row["waits_for"]],
        owner=word(row["owner"]),
        forecast_completion=coming,
    )


def _moment(row: Mapping[str, Any]) -> str | None:
    """The instant in UTC where it has a time, else the account's own date."""
    if row["status"] != "completed":
        return None
    if row["completed_by"] == DATA or pd.isna(row["completed_at"]):
        return str(date_of(row["completed_day"]))
    return pd.Timestamp(row["completed_at"]).strftime("%Y-%m-%dT%H:%M:%SZ")
