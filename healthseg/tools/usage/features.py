"""Each feature's use: since when, by whom, how much, and its users over time."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.counting import EPOCH
from healthseg.metrics.lives import TRUNCATED_DAYS, feature_firsts
from healthseg.metrics.spans import over
from healthseg.tools.rounding import number, rounded
from healthseg.tools.usage.period import DAY
from healthseg.tools.usage.result import FeatureUse
from healthseg.tools.usage.subject import Subject, spans_of

METRICS = ("person_events", "active_days", "active_users")


def features(subject: Subject) -> pd.DataFrame:
    """A row for each feature with a person event in the period, most users first."""
    spans = spans_of([subject.client_id], [(0, subject.start, subject.end)])
    frame = over(subject.portfolio, spans, METRICS, by="feature")[["feature", *METRICS]]
    firsts = feature_firsts(subject.count, subject.end)
    ever = firsts.dropna(subset="user_id").groupby("feature").size()
    first = firsts.groupby("feature")["first_day"].min()
    users = number(subject.counted["active_users"])
    frame = frame.assign(
        first_use_day=frame["feature"].map(first),
        users_ever=frame["feature"].map(ever).fillna(0),
        adoption_rate=frame["active_users"] / users if users else np.nan,
        weekly_usage=frame["person_events"] / (subject.period.days / 7),
    )
    return frame.sort_values(
        ["active_users", "person_events", "feature"],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def timeline(subject: Subject, frame: pd.DataFrame) -> list[FeatureUse]:
    """The features in the order of their first use."""
    names = listed(subject)
    rows = frame.sort_values(["first_use_day", "feature"], kind="stable").to_dict("records")
    return [
        FeatureUse(
            feature=str(row["feature"]),
            first_use_date=EPOCH + dt.timedelta(days=int(row["first_use_day"])),
            adoption_rate=rounded(row["adoption_rate"]),
            weekly_usage=round(row["weekly_usage"], 1),
            person_events=int(row["person_events"]),
            active_users=int(row["active_users"]),
            active_days=int(row["active_days"]),
            users_ever=int(row["users_ever"]),
            listed=None if names is None else row["feature"] in names,
            used_before_tracking=_truncated(subject, int(row["first_use_day"])),
        )
        for row in rows
    ]


def listed(subject: Subject) -> frozenset[str] | None:
    """The names in the features table; None where there is none."""
    if not subject.portfolio.has("features"):
        return None
    return remember(
        subject.portfolio,
        "listed features",
        lambda: frozenset(subject.portfolio.table("features")["feature"].astype(str)),
    )


def unlisted(subject: Subject, frame: pd.DataFrame) -> int | None:
    names = listed(subject)
    return None if names is None else int((~frame["feature"].isin(names)).sum())


def _truncated(subject: Subject, first_day: int) -> bool:
    """Whether the feature may have been in use before events were tracked."""
    tracked = subject.portfolio.first_event_day
    return (
        subject.signup < tracked and EPOCH + dt.timedelta(days=first_day - TRUNCATED_DAYS) < tracked
    )


def adopters(subject: Subject, frame: pd.DataFrame) -> pd.DataFrame:
    """Users that had used each of the period's features by the end of each week of the trend's window."""
    firsts = feature_firsts(subject.count, subject.end).dropna(subset="user_id")
    ends = subject.weeks["end"].tolist() or [subject.end]
    rows = []
    for feature in frame["feature"]:
        days = np.sort(firsts.loc[firsts["feature"] == feature, "first_day"].to_numpy())
        counts = np.searchsorted(days, [(end - EPOCH).days for end in ends])
        rows += [
            (end - DAY, str(feature), int(count)) for end, count in zip(ends, counts, strict=True)
        ]
    return pd.DataFrame(rows, columns=["week_end", "feature", "users"])
