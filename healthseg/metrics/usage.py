"""Usage and engagement over spans: events, active users, sessions, stickiness, own baseline.

Definitions: docs/metrics.md. Every function takes the counting and the spans and gives a
float per span, NaN where it was not measured.
"""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, ratio, where
from healthseg.metrics.cube import within

STICKY_SCALE = 10**12  # DAU ÷ MAU in whole trillionths, so that its sums are exact


def _tracked(count: Counting, spans: Spans) -> np.ndarray:
    return count.tracked(spans) & (count.lived_days(spans) > 0)


def person_events(count: Counting, spans: Spans) -> np.ndarray:
    return where(
        _tracked(count, spans), count.between(count.total("usage_days", "person_events"), spans)
    )


def api_events(count: Counting, spans: Spans) -> np.ndarray:
    return where(
        _tracked(count, spans), count.between(count.total("usage_days", "api_events"), spans)
    )


def active_days(count: Counting, spans: Spans) -> np.ndarray:
    """Days with at least one person event."""
    days = count.rows("usage_days")
    if "active" not in days:
        days["active"] = (days["person_events"] > 0).astype(np.int64)
    return where(_tracked(count, spans), count.between(count.total("usage_days", "active"), spans))


def active_users(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct users with a person event in the span, one pass for each length of span."""
    out = np.zeros(len(spans.k), dtype=np.int64)
    for length in np.unique(spans.days):
        these = spans.days == length
        out[these] = count.at(count.active_users(int(length)), spans.k[these], spans.end[these])
    return where(_tracked(count, spans), out)


def daily_active_users(count: Counting, spans: Spans) -> np.ndarray:
    """Mean over the lived days of the day's distinct users."""
    total = count.between(count.total("usage_days", "users"), spans)
    return where(_tracked(count, spans), ratio(total, count.lived_days(spans)))


def stickiness(count: Counting, spans: Spans) -> np.ndarray:
    """Mean of DAU ÷ trailing 30-day MAU over the days on which MAU is above zero (Pendo's, weekends in)."""
    shares, days = _sticky_days(count)
    total, n = count.between(shares, spans), count.between(days, spans)
    return where(_tracked(count, spans), ratio(total, n) / STICKY_SCALE)


def _sticky_days(count: Counting) -> tuple[np.ndarray, np.ndarray]:
    if "sticky" not in count.__dict__:
        mau = count.active_users(30)[:, 1:]
        dau = np.diff(count.total("usage_days", "users"), axis=1)
        share = np.where(mau > 0, dau * STICKY_SCALE // np.maximum(mau, 1), 0)
        pad = np.zeros((len(mau), 1), dtype=np.int64)
        count.__dict__["sticky"] = (
            np.hstack([pad, np.cumsum(share, axis=1)]),
            np.hstack([pad, np.cumsum(mau > 0, axis=1, dtype=np.int64)]),
        )
    return count.__dict__["sticky"]


def days_since_last_person_event(count: Counting, spans: Spans) -> np.ndarray:
    """Days from the last day with a person event to the span's last day; since the beginning where there was none."""
    last = _last_seen(count)[spans.k, spans.end - count.axis.origin]
    began = np.maximum(count.signup[spans.k], count.tracked_from or 0)
    day = spans.end - 1
    return where(_tracked_day(count, spans), day - np.where(last < 0, began, last))


def _tracked_day(count: Counting, spans: Spans) -> np.ndarray:
    return count.tracked(spans, spans.end - 1) & (spans.end - 1 >= count.signup[spans.k])


def _last_seen(count: Counting) -> np.ndarray:
    """The last day with a person event before each day, −1 where there was none."""
    if "seen" not in count.__dict__:
        rows = count.rows("last_seen")
        slot = np.maximum(
            rows["day"].to_numpy(dtype=np.float64, na_value=-1) - count.axis.origin, -1
        )
        seen = np.full((len(count.clients), count.axis.size), -1, dtype=np.int64)
        np.maximum.at(
            seen,
            (rows["k"].to_numpy(), slot.astype(np.int64) + 1),
            rows["seen"].to_numpy(dtype=np.int64),
        )
        count.__dict__["seen"] = np.maximum.accumulate(seen, axis=1)
    return count.__dict__["seen"]


def usage_vs_own_baseline(count: Counting, spans: Spans) -> np.ndarray:
    """Person events of the span ÷ the mean per as many days of the 84 days before it."""
    start, length = spans.start - 84, spans.days
    begin = np.maximum(np.maximum(start, count.signup[spans.k]), count.tracked_from or 0)
    tracked_days = np.clip(spans.start - begin, 0, 84)
    total = count.total("usage_days", "person_events")
    now = count.between(total, spans)
    before = count.at(total, spans.k, spans.start) - count.at(
        total, spans.k, np.maximum(start, count.axis.origin)
    )
    enough = tracked_days >= count.portfolio.settings.baseline_min_tracked_days
    return where(_tracked(count, spans) & enough, ratio(now * tracked_days, before * length))


def sessions(count: Counting, spans: Spans) -> np.ndarray:
    begun = count.between(count.total("session_days", "sessions"), spans)
    return where(_tracked(count, spans) & count.timed(spans), begun)


def sessions_per_user_per_week(count: Counting, spans: Spans) -> np.ndarray:
    weeks = count.lived_days(spans) / 7
    return ratio(sessions(count, spans), active_users(count, spans) * weeks)


def average_session_minutes(count: Counting, spans: Spans) -> np.ndarray:
    """Mean length of the sessions begun in the span, as far as known by its end; zero-length ones count."""
    rows = count.rows("session_days").sort_values(["k", "day", "start_day"], kind="stable")
    k, day, began = (rows[c].to_numpy(dtype=np.int64) for c in ("k", "day", "start_day"))
    row, span = within(k, day, spans.k, spans.start, spans.end)
    inside = began[row] >= spans.start[span]
    seconds = np.zeros(len(spans.k), dtype=np.int64)
    np.add.at(seconds, span[inside], rows["seconds"].to_numpy(dtype=np.int64)[row[inside]])
    return ratio(seconds, sessions(count, spans)) / 60


def unique_features_used(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct features with a person event, listed or not, one pass for each length of span."""
    from healthseg.metrics.adoption import feature_spells

    out = np.zeros(len(spans.k), dtype=np.int64)
    for length in np.unique(spans.days):
        these = spans.days == length
        table = feature_spells(count, int(length))
        out[these] = count.at(table, spans.k[these], spans.end[these])
    return where(_tracked(count, spans) & count.featured(spans), out)
