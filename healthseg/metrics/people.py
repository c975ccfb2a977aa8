"""Does usage depend on one user? The top user's share, the champion and their departure."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from healthseg.metrics.catalog import Metric
from healthseg.metrics.counting import (
    FAR,
    Counting,
    Spans,
    cumulate,
    epoch_day,
    where,
)
from healthseg.metrics.identity import identified


class UserTotals:
    """Cumulative person events and active days of every user, ``[user, day]``, users in order of customer and id."""

    def __init__(self, count: Counting) -> None:
        rows = count.rows("user_days")
        users = (
            rows[["k", "user_id"]]
            .drop_duplicates()
            .sort_values(["k", "user_id"], ignore_index=True)
        )
        numbered = users.reset_index().merge(rows, on=["k", "user_id"], how="right")
        self.k = users["k"].to_numpy(dtype=np.int64)
        self.user_id = users["user_id"].to_numpy()
        row, day = numbered["index"].to_numpy(), numbered["day"].to_numpy()
        self.events = cumulate(
            count.axis, len(users), row, day, numbered["person_events"].to_numpy()
        )
        self.days = cumulate(count.axis, len(users), row, day, np.ones(len(row), dtype=np.int64))
        self.gone = np.full(len(users), FAR)
        if count.has("users"):
            left = users.merge(count.rows("deactivations"), on=["k", "user_id"], how="left")["day"]
            self.gone = left.fillna(FAR).to_numpy(dtype=np.int64)
        self.first = np.searchsorted(self.k, np.arange(len(count.clients) + 1))


def _users(count: Counting) -> UserTotals:
    return count.once("user_totals", lambda: UserTotals(count))


def _largest(
    count: Counting, spans: Spans, before: int, until: int, observed: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per span: its customer's user with most events in ``[end - before, end - until)``, their events, and all users'.

    ``before`` and ``until`` are observed days by default. Ties go to the lower user id. Spans of one window are worked off together, a column each.
    """
    users = _users(count)
    user = np.full(len(spans.k), -1, dtype=np.int64)
    most, total = np.zeros(len(spans.k), dtype=np.int64), np.zeros(len(spans.k), dtype=np.int64)
    has_users = users.first[1:] > users.first[:-1]
    if not has_users.any():
        return user, most, total
    starts = users.first[:-1][has_users]
    for end in np.unique(spans.end):
        each = np.arange(len(count.clients), dtype=np.int64)
        ends = Spans(each, np.full(len(each), end), np.full(len(each), end))
        high, low = (_slots(count, ends, back, observed)[users.k] for back in (until, before))
        row = np.arange(len(users.k))
        events = users.events[row, high] - users.events[row, low]
        best = np.zeros(len(count.clients), dtype=np.int64)
        best[has_users] = np.maximum.reduceat(events, starts)
        everyone = np.zeros(len(count.clients), dtype=np.int64)
        everyone[has_users] = np.add.reduceat(events, starts)
        winner = np.full(len(count.clients), -1, dtype=np.int64)
        top = np.flatnonzero((events == best[users.k]) & (events > 0))[::-1]
        winner[users.k[top]] = top  # the first of the tied is written last
        chosen = spans.end == end
        k = spans.k[chosen]
        user[chosen], most[chosen], total[chosen] = winner[k], best[k], everyone[k]
    return user, most, total


def _slots(count: Counting, spans: Spans, days: int, observed: bool = True) -> np.ndarray:
    """The place on the axis from which on there are so many days, by default observed ones, before each span's end."""
    back = count.observed.back(spans.k, spans.end, days) if observed else spans.end - days
    return np.maximum(back - count.axis.origin, 0)


def top_user_share(count: Counting, spans: Spans) -> np.ndarray:
    """The top user's share of the person events with a user."""
    share = np.full(len(spans.k), np.nan)
    for length, chosen in spans.by_length():
        part = Spans(spans.k[chosen], spans.start[chosen], spans.end[chosen])
        _, most, total = _largest(count, part, length, 0, observed=False)
        share[chosen] = np.where(total > 0, most / np.maximum(total, 1), np.nan)
    return where(count.tracked(spans), share)


def _champion(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """The champion's row (−1 where there is none) and share, by the 90 days before the last 28 of each span."""
    users, settings = _users(count), count.portfolio.settings
    back_days, silence_days = settings.champion_look_back_days, settings.champion_silence_days
    user, most, total = _largest(count, spans, back_days, silence_days)
    share = np.where(total > 0, most / np.maximum(total, 1), 0.0)
    high, low = (_slots(count, spans, days) for days in (silence_days, back_days))
    active = (
        np.where(user >= 0, users.days[user, high] - users.days[user, low], 0)
        if len(users.k)
        else np.zeros(len(user))
    )
    good = (share >= settings.champion_min_share) & (active >= settings.champion_min_active_days)
    return np.where(good, user, -1), share


def champion_share(count: Counting, spans: Spans) -> np.ndarray:
    user, share = _champion(count, spans)
    since = spans.end - count.portfolio.settings.champion_look_back_days
    return where(count.tracked(spans, since) & (user >= 0), share)


def champion_departed(count: Counting, spans: Spans) -> np.ndarray:
    """1 where there was a champion who was deactivated, or whose 28 days of silence are no chance, else 0."""
    user, settings = _champion(count, spans)[0], count.portfolio.settings
    back_days, silence_days = settings.champion_look_back_days, settings.champion_silence_days
    measured = count.tracked(spans, spans.end - back_days) & identified(count, spans)
    if not len(_users(count).k):
        return where(measured, np.zeros(len(user)))
    users = _users(count)
    silent_since = users.days[user, _slots(count, spans, silence_days)]
    recent = users.days[user, spans.end - count.axis.origin] - silent_since
    active = silent_since - users.days[user, _slots(count, spans, back_days)]
    silent = (recent == 0) & (
        silence_p(active, settings.champion_days, silence_days) <= settings.champion_silence_max_p
    )
    departed = (user >= 0) & (silent | (users.gone[user] < spans.end))
    return where(measured, departed)


def silence_p(active_days: np.ndarray, of_days: int, silent_days: int) -> np.ndarray:
    """How likely is it that a user active on so many of ``of_days`` is inactive for ``silent_days`` by chance?

    Days are taken as alike: the posterior predictive of the Beta(½, ½) prior,
    B(a + ½, n − a + m + ½) / B(a + ½, n − a + ½) = Π (n − a + ½ + i) / (n + 1 + i), i from 0 to m − 1.

    >>> [round(float(p), 4) for p in silence_p(np.array([12, 24, 60]), 90, 28)]
    [0.0276, 0.0005, 0.0]
    """
    away = of_days - np.asarray(active_days, dtype=float)[..., None] + 0.5
    day = np.arange(silent_days)
    return np.prod((away + day) / (of_days + 1 + day), axis=-1)


def champion_of(count: Counting, end: dt.date) -> dict[str, Any] | None:
    """One customer's champion at ``end``: user_id, active_days of the 90, silent_days since; None without one."""
    settings = count.portfolio.settings
    day, silence_days = np.array([epoch_day(end)]), settings.champion_silence_days
    spans = Spans(np.zeros(1, dtype=np.int64), day - silence_days, day)
    user = int(_champion(count, spans)[0][0])
    if user < 0:
        return None
    users, slot = _users(count), int(day[0]) - count.axis.origin
    days = users.days[user]
    middle, start = (
        int(_slots(count, spans, back)[0])
        for back in (silence_days, settings.champion_look_back_days)
    )
    last = int(np.searchsorted(days, days[slot]))  # the slot after the last day with an event
    missing = count.observed.missing(spans.k, np.array([last + count.axis.origin]), day)
    return {
        "user_id": str(users.user_id[user]),
        "active_days": int(days[middle] - days[start]),
        "silent_days": slot - last - int(missing[0]),
        "deactivated": bool(users.gone[user] < day[0]),
    }


# -- the catalogue's entries ------------------------------------------------------------

METRICS = (
    Metric(
        "top_user_share_28d",
        "Share of the top user",
        "share",
        definition="the top user's share of the 28 days' person events with a user",
        question="Does usage depend on one user?",
        format="percent",
        better="lower",
        missing="no events with a user in 28 days",
        count=top_user_share,
        window_days=28,
        span_name="top_user_share",
        high="depend on one user",
        low="spread over users",
        kind="people",
    ),
    Metric(
        "champion_share",
        "Share of the champion",
        "share",
        definition="champion = user with the largest share of person events in the 90 days before the last 28 (days "
        "−118 … −29, d being day −1), if share ≥ 20% (`champion_min_share`) and ≥ 12 active days "
        "(`champion_min_active_days`); 0 without one",
        question="How much of the usage is the champion's?",
        format="percent",
        missing="fewer than 118 tracked days, or events name no user",
        count=champion_share,
        window_days=28,
    ),
    Metric(
        "champion_departed",
        "Champion departed",
        "0 or 1",
        definition="1 where the champion was deactivated by d, or had no person event in 28 days where that is no "
        "chance: p ≤ 0.001 (`champion_silence_max_p`) under the posterior predictive of somebody with the champion's "
        "active days of 90",
        question="Has the champion departed?",
        format="count",
        better="lower",
        missing="fewer than 118 tracked days, or events name no user",
        count=champion_departed,
        window_days=28,
    ),
)
