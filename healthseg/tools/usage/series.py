"""The series at the asked grain: hours, days, ISO weeks or calendar months of the account's own clock."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_day
from healthseg.metrics.lives import hours_of
from healthseg.periods import grains, local_hours
from healthseg.tools.rounding import integer
from healthseg.tools.usage.subject import Subject

METRICS = ("person_events", "api_events", "active_users", "sessions")
COLUMNS = ["start", "end", *METRICS, "complete"]


def series(subject: Subject) -> pd.DataFrame:
    """start, end, the metrics (NaN: not measured) and whether the grain lies in the period, the life and the data."""
    if subject.asked.granularity == "hourly":
        return _hourly(subject)
    parts = grains(subject.start, subject.end, subject.asked.granularity)
    frame = subject.over([(at, start, end) for at, (start, end, _) in enumerate(parts)], METRICS)
    return frame.assign(complete=[whole for *_, whole in parts])[COLUMNS]


def _hourly(subject: Subject) -> pd.DataFrame:
    """Hours of real time with their local names; calls of the API and sessions are not counted by the hour."""
    zone, period = subject.period.zone, subject.period
    midnight = dt.time()
    first = max(period.first_hour, dt.datetime.combine(subject.start, midnight))
    last = min(period.last_hour, dt.datetime.combine(subject.end, midnight))
    hours = local_hours(first, last, zone) if last > first else []
    rows = hours_of(subject.count, subject.start, subject.end)
    events, users = np.zeros(len(hours)), np.zeros(len(hours))
    place = _places(hours)
    found = [place.get((row.day, row.hour, row.hour_utc), -1) for row in rows.itertuples()]
    rows = rows.assign(place=found)
    rows = rows[rows["place"] >= 0]
    np.add.at(events, rows["place"], rows["person_events"].to_numpy())
    people = rows[rows["user"] >= 0].drop_duplicates(["place", "user"])
    np.add.at(users, people["place"], 1)
    starts = [moment.isoformat() for _, moment in hours]
    return pd.DataFrame(
        {
            "start": starts,
            "end": [*starts[1:], *([_after(hours)] if hours else [])],
            "person_events": events,
            "api_events": np.nan,
            "active_users": users,
            "sessions": np.nan,
            "complete": True,
        }
    )[COLUMNS]


def _after(hours: list[tuple[int, dt.datetime]]) -> str:
    at, moment = hours[-1]
    return dt.datetime.fromtimestamp(at + 3600, moment.tzinfo).isoformat()


def _places(hours: list[tuple[int, dt.datetime]]) -> dict[tuple[int, int, int], int]:
    """The place of each (local day, local hour, hour of UTC): an hour of a half-hour zone touches two hours of UTC."""
    found: dict[tuple[int, int, int], int] = {}
    for place, (at, moment) in enumerate(hours):
        for utc in {at // 3600, (at + 3599) // 3600}:
            found.setdefault((epoch_day(moment.date()), moment.hour, utc), place)
    return found


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The series as JSON, whole numbers."""
    rows = frame.to_dict("records")
    return [
        {
            **{name: str(row[name]) for name in ("start", "end")},
            **{name: integer(row[name]) for name in METRICS},
            "complete": bool(row["complete"]),
        }
        for row in rows
    ]
