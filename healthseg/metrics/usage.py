"""Usage and engagement over spans: events, active users, sessions, stickiness, own baseline.

Every function takes the counting and the spans and gives a float per span, NaN where it was not measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.metrics.adoption import features_used
from healthseg.metrics.catalog import ON_PAGES, SCORED, Metric
from healthseg.metrics.counting import (
    Counting,
    Spans,
    ratio,
    where,
    within,
)
from healthseg.metrics.identity import api_only, days_with, identified

STICKY_SCALE = 10**12  # DAU ÷ MAU in whole trillionths, so that its sums are exact


def _tracked(count: Counting, spans: Spans) -> np.ndarray:
    return count.tracked(spans) & (count.lived_days(spans) > 0)


def _with_users(count: Counting, spans: Spans) -> np.ndarray:
    return _tracked(count, spans) & identified(count, spans)


def _frequency_known(count: Counting, spans: Spans) -> np.ndarray:
    """Whether users are known and the customer has been one for long enough to say how often they come."""
    tenure = spans.end - 1 - count.signup[spans.k]
    return _with_users(count, spans) & (tenure >= count.portfolio.settings.frequency_min_days)


def person_events(count: Counting, spans: Spans) -> np.ndarray:
    return where(
        _tracked(count, spans), count.between(count.total("usage_days", "person_events"), spans)
    )


def api_events(count: Counting, spans: Spans) -> np.ndarray:
    return where(
        _tracked(count, spans), count.between(count.total("usage_days", "api_events"), spans)
    )


def other_events(count: Counting, spans: Spans) -> np.ndarray:
    return where(
        _tracked(count, spans), count.between(count.total("usage_days", "other_events"), spans)
    )


def active_days(count: Counting, spans: Spans) -> np.ndarray:
    """Days with at least one person event; of a customer that works through the API alone, with an API event."""
    persons, programs = (
        days_with(count, column, spans) for column in ("person_events", "api_events")
    )
    return where(_tracked(count, spans), np.where(api_only(count, spans), programs, persons))


def works_by_api_alone(count: Counting, spans: Spans) -> np.ndarray:
    """1 where the customer is judged by its API events, else 0."""
    return where(_tracked(count, spans), api_only(count, spans))


def active_users(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct users with a person event in the span."""
    return where(_with_users(count, spans), count.at_ends(spans, count.active_users))


def daily_active_users(count: Counting, spans: Spans) -> np.ndarray:
    """Mean over the lived and observed days of the day's distinct users."""
    total = count.between(count.total("usage_days", "users", observed=True), spans)
    return where(_with_users(count, spans), ratio(total, count.lived_days(spans)))


def unknown_users(count: Counting, days: int) -> np.ndarray:
    """1 where another user may have been active in the ``days`` before each day, else 0, ``[customer, day]``.

    Somebody's event names no user, or the customer has an event that cannot be used: without that user, what a user does
    would look like more.
    """

    def build() -> np.ndarray:
        persons, named = (
            count.total("usage_days", column) for column in ("person_events", "named_events")
        )
        unnamed = persons - named
        before = np.zeros_like(unnamed)
        before[:, days:] = unnamed[:, :-days]
        lost = count.portfolio.losses.activity()
        unusable = np.array([client in lost for client in count.clients], dtype=bool)
        return ((unnamed > before) | unusable[:, None]).astype(np.int64)

    return count.once(("unknown_users", days), build)


def stickiness(count: Counting, spans: Spans) -> np.ndarray:
    """Mean of DAU ÷ trailing 30-day MAU over the days on which MAU is above zero (Pendo's, weekends in)."""
    shares, days = count.once("sticky_days", lambda: _sticky_days(count))
    total, n = count.between(shares, spans), count.between(days, spans)
    return where(_frequency_known(count, spans), ratio(total, n) / STICKY_SCALE)


def _sticky_days(count: Counting) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative DAU ÷ MAU, and observed days on which MAU is above zero."""
    mau = (count.active_users(30) + unknown_users(count, 30))[:, 1:]
    if count.observed.most_missing:
        k, slot = (part.ravel() for part in np.indices(mau.shape))
        day = slot + count.axis.origin
        missing = count.observed.missing(k, day, day + 1).reshape(mau.shape)
        mau = np.where(missing > 0, 0, mau)
    dau = np.diff(count.total("usage_days", "users"), axis=1)
    share = np.where(mau > 0, dau * STICKY_SCALE // np.maximum(mau, 1), 0)
    pad = np.zeros((len(mau), 1), dtype=np.int64)
    return (
        np.hstack([pad, np.cumsum(share, axis=1)]),
        np.hstack([pad, np.cumsum(mau > 0, axis=1, dtype=np.int64)]),
    )


def days_since_last_person_event(count: Counting, spans: Spans) -> np.ndarray:
    """Observed days from the last one with a person event to the span's last; since the beginning where none has."""
    last_seen = count.once("last_seen_by_day", lambda: _last_seen(count))
    last = count.at(last_seen, spans.k, spans.end)
    programs = api_only(count, spans)
    if programs.any():
        called = count.once("last_called_by_day", lambda: _last_called(count))
        last = np.where(programs, count.at(called, spans.k, spans.end), last)
    began = np.maximum(count.signup[spans.k], count.tracked_from or 0)
    day = spans.end - 1
    measured = count.tracked(spans, day) & (day >= count.signup[spans.k])
    since = np.where(last < 0, began, last)
    return where(measured, day - since - count.observed.missing(spans.k, since + 1, spans.end))


def _last_seen(count: Counting) -> np.ndarray:
    """The last day with a person event before each day, −1 where there was none."""
    rows = count.rows("last_seen")
    slot = np.maximum(rows["day"].to_numpy(dtype=np.float64, na_value=-1) - count.axis.origin, -1)
    seen = np.full((len(count.clients), count.axis.size), -1, dtype=np.int64)
    np.maximum.at(
        seen,
        (rows["k"].to_numpy(), slot.astype(np.int64) + 1),
        rows["seen"].to_numpy(dtype=np.int64),
    )
    return np.maximum.accumulate(seen, axis=1)


def _last_called(count: Counting) -> np.ndarray:
    """The last day of the axis with an API event before each day, −1 where there was none."""
    rows = count.rows("usage_days")
    rows = rows[rows["api_events"] > 0]
    day = rows["day"].to_numpy(dtype=np.int64)
    called = np.full((len(count.clients), count.axis.size), -1, dtype=np.int64)
    np.maximum.at(called, (rows["k"].to_numpy(), count.axis.slot(day) + 1), day)
    return np.maximum.accumulate(called, axis=1)


def usage_vs_own_baseline(count: Counting, spans: Spans) -> np.ndarray:
    """Person events of the span ÷ the mean per as many observed days of the 84 before it."""
    baseline_days = count.portfolio.settings.own_baseline_days
    start = count.observed.back(spans.k, spans.start, baseline_days)
    length = spans.days - count.observed.missing(spans.k, spans.start, spans.end)
    begin = np.maximum(np.maximum(start, count.signup[spans.k]), count.tracked_from or 0)
    missing = count.observed.missing(spans.k, begin, spans.start)
    tracked_days = np.clip(spans.start - begin - missing, 0, baseline_days)
    total = count.total("usage_days", "person_events", observed=True)
    now = count.between(total, spans)
    past = Spans(spans.k, start, spans.start)
    before = count.between(total, past) + lost_activity(count, past)
    programs = api_only(count, spans)
    if programs.any():
        calls = count.total("usage_days", "api_events", observed=True)
        now = np.where(programs, count.between(calls, spans), now)
        called_before = count.between(calls, past)
        before = np.where(programs, called_before, before)
    enough = tracked_days >= count.portfolio.settings.baseline_min_tracked_days
    return where(_tracked(count, spans) & enough, ratio(now * tracked_days, before * length))


def lost_activity(count: Counting, past: Spans) -> np.ndarray:
    """The most that events which cannot be used may have been in a past: each its busiest day. All are taken to lie in it,
    so that what is lost makes no present look better."""
    lost = count.portfolio.losses.activity()
    rows = np.array([lost.get(client, 0) for client in count.clients], dtype=np.int64)[past.k]
    if not rows.any():
        return rows
    days = count.rows("usage_days").sort_values(["k", "day"], kind="stable")
    k, day = (days[name].to_numpy(dtype=np.int64) for name in ("k", "day"))
    row, span = within(k, day, past.k, past.start, past.end)
    busiest = np.zeros(len(past.k), dtype=np.int64)
    np.maximum.at(busiest, span, days["person_events"].to_numpy(dtype=np.int64)[row])
    return rows * busiest


def sessions(count: Counting, spans: Spans) -> np.ndarray:
    begun = count.between(count.total("session_days", "sessions"), spans)
    return where(_with_users(count, spans) & count.timed(spans), begun)


def sessions_per_user_per_week(count: Counting, spans: Spans) -> np.ndarray:
    weeks = count.lived_days(spans) / 7
    unknown = count.at_ends(spans, lambda length: unknown_users(count, length))
    per_week = ratio(sessions(count, spans), (active_users(count, spans) + unknown) * weeks)
    return where(_frequency_known(count, spans), per_week)


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
    """Distinct features with a person event, listed or not."""
    used = count.at_ends(spans, lambda length: features_used(count, length))
    measured = _tracked(count, spans) & count.featured(spans) & ~api_only(count, spans)
    return where(measured, used)


def _above_zero(values: pd.Series) -> pd.Series:
    return values.where(values > 0)


# -- the catalogue's entries ------------------------------------------------------------

METRICS = (
    Metric(
        "person_events_28d",
        "Events in 28 days",
        "events",
        definition="sum of `count` (default 1) of the person events in 28 days",
        question="How much do people use the product?",
        format="count",
        better="higher",
        missing="events were not tracked yet",
        count=person_events,
        window_days=28,
        span_name="person_events",
        high="many events",
        low="few events",
        kind="volume",
        logarithm=True,
    ),
    Metric(
        "api_events_28d",
        "API events in 28 days",
        "events",
        definition="sum of `count` (default 1) of the events with `source` api in 28 days",
        question="How much do programs use the product?",
        format="count",
        missing="events were not tracked yet",
        count=api_events,
        window_days=28,
        span_name="api_events",
        logarithm=True,
    ),
    Metric(
        "other_events",
        "Events of other sources",
        "events",
        definition="sum of `count` of the events whose `source` is neither ui nor api: no person's activity",
        question="How much do bots, imports and systems do?",
        format="count",
        missing="events were not tracked yet",
        uses=frozenset(),
        count=other_events,
    ),
    Metric(
        "api_only",
        "Works through the API alone",
        "0 or 1",
        definition="1 by the setting `api_only_customers`, or where of the 84 days before d programs used it on 14 "
        "(`api_only_min_days`) or more and persons on at most 2 (`api_only_max_person_days`): active days, days since use and the own baseline are then those "
        "of its API events, and users and features are not measured",
        question="Do programs alone use it?",
        format="count",
        missing="events were not tracked yet",
        uses=ON_PAGES,
        count=works_by_api_alone,
        window_days=28,
    ),
    Metric(
        "active_days_28d",
        "Active days of 28",
        "days",
        definition="days of the 28 with a person event",
        question="On how many days does anybody use it?",
        format="days",
        better="higher",
        missing="events were not tracked yet",
        count=active_days,
        window_days=28,
        span_name="active_days",
        high="active most days",
        low="active on few days",
        kind="volume",
    ),
    Metric(
        "daily_active_users_30d",
        "Daily active users",
        "users",
        definition="mean over the 30 days (lived part) of the day's distinct users with a person event",
        question="How many users does an average day have?",
        better="higher",
        missing="events were not tracked yet, or name no user",
        count=daily_active_users,
        window_days=30,
        span_name="daily_active_users",
        logarithm=True,
    ),
    Metric(
        "weekly_active_users",
        "Weekly active users",
        "users",
        definition="distinct users with a person event in 7 days",
        question="How many users does a week have?",
        format="count",
        better="higher",
        missing="events were not tracked yet, or name no user",
        count=active_users,
        window_days=7,
        span_name="active_users",
        high="many weekly users",
        low="few weekly users",
        kind="volume",
        logarithm=True,
    ),
    Metric(
        "monthly_active_users",
        "Monthly active users",
        "users",
        definition="distinct users with a person event in 30 days",
        question="How many users does a month have?",
        format="count",
        better="higher",
        missing="events were not tracked yet, or name no user",
        count=active_users,
        window_days=30,
        span_name="active_users",
        high="many users",
        low="few users",
        kind="volume",
        logarithm=True,
    ),
    Metric(
        "usage_vs_own_baseline",
        "Usage against own baseline",
        "ratio",
        short="Usage",
        definition="person_events_28d ÷ (person events of the 84 days before those 28 ÷ their tracked days × 28); "
        "tracked days = days of the 84 on or after both signup and the portfolio's first event day; missing under "
        "28 of them (`baseline_min_tracked_days`) or with no event in them",
        question="Is usage above or below what is usual for this customer?",
        format="ratio",
        better="higher",
        missing="fewer than 28 tracked days before the last 28, or no usage in them",
        averages=("events.count",),
        uses=SCORED,
        count=usage_vs_own_baseline,
        window_days=28,
        above="Usage is {value} the customer's own baseline",
        below="Usage is {value} the customer's own baseline",
        high="growing usage",
        low="falling usage",
        kind="change",
        effort="high",
        logarithm=True,
    ),
    Metric(
        "days_since_last_person_event",
        "Days since anybody used it",
        "days",
        short="Recent activity",
        definition="d − last day with a person event; where there never was one, d − max(signup, portfolio's first "
        "event day)",
        question="How long has nobody used it?",
        format="days",
        better="lower",
        missing="events were not tracked yet",
        uses=SCORED,
        count=days_since_last_person_event,
        window_days=28,
        above="Last used {value} ago",
        below="No active user for {value}",
        high="silent",
        low="used lately",
        kind="volume",
        effort="low",
        logarithm=True,
    ),
    Metric(
        "stickiness_30d",
        "Stickiness (DAU/MAU)",
        "share",
        short="Stickiness",
        definition="mean over those of the 30 days on which MAU (trailing 30 days) > 0, of that day's active users ÷ "
        "that day's MAU (one user more where an event names no user or cannot be used); missing in the first 14 days after "
        "signup",
        question="What share of the month's users does an average day have?",
        format="percent",
        better="higher",
        missing="nobody was active in 60 days, the customer signed up in the last 14 days, or events name no user",
        uses=SCORED,
        count=stickiness,
        window_days=30,
        span_name="stickiness",
        above="{value} of the month's users are active on an average day",
        below="Only {value} of the month's users are active on an average day",
        high="daily use",
        low="occasional use",
        kind="frequency",
        effort="high",
    ),
    Metric(
        "sessions_28d",
        "Sessions in 28 days",
        "sessions",
        definition="sessions begun in 28 days (by `session_id`, anew after a rest of over a day; else a gap over 30 "
        "minutes begins a new one); portfolios without times: missing",
        question="How often is it opened?",
        format="count",
        better="higher",
        missing="events have no times, or name no user",
        count=sessions,
        window_days=28,
        span_name="sessions",
        logarithm=True,
    ),
    Metric(
        "sessions_per_user_per_week_28d",
        "Sessions per user and week",
        "sessions",
        short="Sessions per user",
        definition="sessions_28d ÷ distinct users active in the 28 days (one more where an event names no user or cannot "
        "be used) ÷ (lived days of the window ÷ 7); missing without an active user and in the first 14 days after signup",
        question="How often does a user come in a week?",
        better="higher",
        missing="nobody was active in 28 days, the customer signed up in the last 14 days, or events have no times or "
        "name no user",
        uses=SCORED,
        count=sessions_per_user_per_week,
        window_days=28,
        span_name="sessions_per_user_per_week",
        above="Users have {value} sessions a week",
        below="Users have only {value} sessions a week",
        high="many sessions",
        low="few sessions",
        kind="frequency",
        effort="high",
        logarithm=True,
    ),
    Metric(
        "average_session_minutes_28d",
        "Minutes a session",
        "minutes",
        definition="mean over those sessions of last − first event (+ last `duration_seconds`), zero-length ones "
        "included",
        question="How long is a session?",
        missing="no session in 28 days, or events have no times or name no user",
        count=average_session_minutes,
        window_days=28,
        span_name="average_session_minutes",
        high="long sessions",
        low="short sessions",
        kind="frequency",
        logarithm=True,
    ),
    Metric(
        "unique_features_used_28d",
        "Features used in 28 days",
        "features",
        definition="distinct `feature` with a person event in 28 days",
        question="How many features are used?",
        format="count",
        better="higher",
        missing="events name no features",
        count=unique_features_used,
        window_days=28,
        span_name="unique_features_used",
        high="wide use",
        low="narrow use",
        kind="volume",
    ),
    Metric(
        "seat_utilisation",
        "Seats in use",
        "share of seats",
        definition="monthly_active_users ÷ seats",
        question="What share of the seats is used?",
        format="percent",
        better="higher",
        missing="no seats are known of that day, or events name no user",
        uses=SCORED,
        derive=lambda rows: rows["monthly_active_users"] / _above_zero(rows["seats"]),
        above="{value} of the seats were used in 30 days",
        below="Only {value} of the seats were used in 30 days",
        high="most seats in use",
        low="idle seats",
        kind="breadth",
        effort="medium",
    ),
    Metric(
        "weekly_active_users_per_seat",
        "Weekly active users per seat",
        "share of seats",
        definition="weekly_active_users ÷ seats",
        question="What share of the seats is used in a week?",
        format="percent",
        better="higher",
        missing="no seats are known of that day, or events name no user",
        uses=SCORED,
        derive=lambda rows: rows["weekly_active_users"] / _above_zero(rows["seats"]),
        high="most seats in weekly use",
        low="few seats in weekly use",
        kind="breadth",
    ),
)
