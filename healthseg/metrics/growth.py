"""Growth accounting: of the users active in a span, who is new, who returned, who was won back; and who went dormant.

A span is compared with the one of equal length before it. New: the first person event ever lies in the span. Returning:
active in both. Resurrected: active in the span, not in the one before, and not new. Dormant: active before, not now. So
active = new + returning + resurrected (Social Capital's growth accounting; Amplitude's pulse is the ratio of gains to
losses). Users who may have been there before tracking began are never new.
"""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, where
from healthseg.metrics.cube import cumulate
from healthseg.metrics.lives import TRUNCATED_DAYS, active_before, lives
from healthseg.metrics.metric import ON_PAGES, Metric


def new_users(count: Counting, spans: Spans) -> np.ndarray:
    """Users whose first person event ever lies in the span."""
    return where(_measured(count, spans), count.between(_firsts(count), spans))


def returning_users(count: Counting, spans: Spans) -> np.ndarray:
    """Users active in the span and in the one of equal length before it."""
    now, before, either = _active(count, spans)
    return where(_measured(count, spans), now + before - either)


def resurrected_users(count: Counting, spans: Spans) -> np.ndarray:
    """Users active in the span, not in the one before it, and not new."""
    _, before, either = _active(count, spans)
    return where(_measured(count, spans), either - before - count.between(_firsts(count), spans))


def dormant_users(count: Counting, spans: Spans) -> np.ndarray:
    """Users active in the span before, and not in this one."""
    now, _, either = _active(count, spans)
    return where(_measured(count, spans), either - now)


def _measured(count: Counting, spans: Spans) -> np.ndarray:
    """Where the span before was tracked; a customer from before tracking: where its old users had time to be seen."""
    old = count.signup[spans.k] < (count.tracked_from or 0)
    since = np.minimum(
        spans.start - spans.days, np.where(old, spans.start - TRUNCATED_DAYS, spans.start)
    )
    return count.tracked(spans, since) & (count.lived_days(spans) > 0)


def _active(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct users of the span, of the one before, and of both together."""
    out = np.zeros((3, len(spans.k)), dtype=np.int64)
    for length in np.unique(spans.days):
        these = spans.days == length
        k, start, end = spans.k[these], spans.start[these], spans.end[these]
        one, two = count.active_users(int(length)), count.active_users(int(2 * length))
        before = count.at(one, k, np.maximum(start, count.axis.origin))
        out[:, these] = count.at(one, k, end), before, count.at(two, k, end)
    return out[0], out[1], out[2]


def _firsts(count: Counting) -> np.ndarray:
    """Cumulative number of users first seen, ``[customer, day]``, without those who may have been there before."""
    if "firsts" not in count.__dict__:
        frame = lives(count)
        fresh = frame["first_day"].notna().to_numpy() & ~active_before(count)
        day = frame["first_day"].to_numpy()[fresh].astype(np.int64)
        count.__dict__["firsts"] = cumulate(
            count.axis,
            len(count.clients),
            frame["k"].to_numpy()[fresh],
            day,
            np.ones(len(day), dtype=np.int64),
        )
    return count.__dict__["firsts"]


METRICS = (
    Metric(
        name="new_users",
        label="New users",
        unit="users",
        definition="of the users active in the span, those whose first person event ever lies in it; never one that may have been there before tracking began: the customer signed up before it, and the user was created before it, or, where no creation is known, first seen in its first 28 days",
        question="How many users are new?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=new_users,
    ),
    Metric(
        name="returning_users",
        label="Returning users",
        unit="users",
        definition="users active in the span and in the span of equal length before it",
        question="How many users returned?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=returning_users,
    ),
    Metric(
        name="resurrected_users",
        label="Resurrected users",
        unit="users",
        definition="users active in the span, not in the span of equal length before it, and not new; active = new + returning + resurrected",
        question="How many users were won back?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=resurrected_users,
    ),
    Metric(
        name="dormant_users",
        label="Dormant users",
        unit="users",
        definition="users active in the span before, not in this one",
        question="How many users became dormant?",
        format="count",
        better="lower",
        missing="the span before, or the first 28 days of tracking, were not tracked",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=dormant_users,
    ),
)
