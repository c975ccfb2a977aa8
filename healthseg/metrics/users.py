"""Users of customers: records, cohorts by activity, growth, weekly retention.

A user is (client_id, user_id). Users of the ``users`` table have a record whether they were ever active or not; those
that were active but are not listed have one, too. Internal and test users, by the settings, have none.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics.catalog import ON_PAGES, Metric
from healthseg.metrics.counting import (
    Counting,
    Spans,
    chunks,
    counting,
    epoch_day,
    where,
)
from healthseg.metrics.identity import identified, user_records

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


WINDOW_DAYS = 28
COHORTS = ("power", "regular", "at_risk", "inactive")


def known_by(count: Counting, end: int) -> pd.DataFrame:
    """The records as they were known by the beginning of day ``end``: what lay ahead is NaN."""
    frame = user_records(count)
    days = ["first_day", "created_day", "deactivated_day"]
    return frame.assign(
        **{name: frame[name].where(frame[name] < end) for name in days},
        is_created=~(frame["created_day"] >= end),
    )


def provisioned(count: Counting, end: int) -> pd.DataFrame:
    """Users that were created and not deactivated by ``end``; without a ``users`` table all that were ever active."""
    known = known_by(count, end)
    if not count.has("users"):
        return known[known["first_day"].notna()]
    return known[known["listed"] & known["is_created"] & known["deactivated_day"].isna()]


def possible(count: Counting, end: int) -> pd.DataFrame:
    """Users who could have been active in the 28 days before ``end``.

    Listed: created before ``end`` and not deactivated before those days. Not listed: active in the last 90 days.
    """
    known = known_by(count, end)
    active_once = known["first_day"].notna()
    listed = known["listed"] & known["is_created"] & ~(known["deactivated_day"] < end - WINDOW_DAYS)
    return known[listed | (~known["listed"] & active_once & _active_lately(count, known, end))]


def _active_lately(count: Counting, known: pd.DataFrame, end: int) -> np.ndarray:
    rows, days = days_of(count), count.portfolio.settings.unlisted_user_active_days
    recent = rows["user"].to_numpy()[(rows["day"] >= end - days) & (rows["day"] < end)]
    return np.bincount(recent, minlength=len(known)) > 0


def days_of(count: Counting) -> pd.DataFrame:
    """Days with a person event: ``user`` (its row in ``user_records``), day, person_events; sorted by user and day."""

    def build() -> pd.DataFrame:
        frame, rows = user_records(count), count.rows("user_days")
        key = pd.MultiIndex.from_arrays([frame["k"], frame["user_id"]])
        user = key.get_indexer(
            pd.MultiIndex.from_arrays(
                [rows["k"].to_numpy(dtype=np.int64), rows["user_id"].astype("str")]
            )
        )
        out = pd.DataFrame(
            {
                "user": user,
                "day": rows["day"].to_numpy(dtype=np.int64),
                "person_events": rows["person_events"].to_numpy(dtype=np.int64),
            }
        )
        return out.sort_values(["user", "day"], kind="stable", ignore_index=True)

    return count.once("user_days_sorted", build)


def _back(count: Counting, end: int, days: int) -> np.ndarray:
    """By customer: the day from which on there are so many observed days before ``end``."""
    k = np.arange(len(count.clients))
    return count.observed.back(k, np.full(len(k), end, dtype=np.int64), days)


def active_days_of(count: Counting, start: np.ndarray | int, end: np.ndarray | int) -> np.ndarray:
    """Active days of every user of ``user_records`` in ``[start, end)``, one for all or a day for each customer."""
    rows, frame = days_of(count), user_records(count)
    user, day = rows["user"].to_numpy(), rows["day"].to_numpy()
    k = frame["k"].to_numpy()[user]
    first, last = (np.broadcast_to(at, len(count.clients))[k] for at in (start, end))
    return np.bincount(user[(day >= first) & (day < last)], minlength=len(frame))


def cohorts(count: Counting, end: int) -> pd.DataFrame:
    """Each user who could have been active in the 28 days before ``end``: ``active_days`` of them, and its cohort.

    ``before_days`` are the active days of the 28 days before those. Power from 12 days on, regular from 4, at risk
    from 1, inactive 0 (settings); for a user with fewer than 28 days the thresholds shrink with them.
    """
    settings, frame = count.portfolio.settings, possible(count, end)
    middle, start = (_back(count, end, days) for days in (WINDOW_DAYS, 2 * WINDOW_DAYS))
    last = active_days_of(count, middle, end)[frame.index]
    before = active_days_of(count, start, middle)[frame.index]
    born = frame["created_day"].fillna(frame["first_day"]).fillna(-np.inf).to_numpy()
    lived = np.clip(end - born, 1, WINDOW_DAYS)
    share = last * WINDOW_DAYS / lived
    cohort = np.select(
        [share >= settings.power_min_days, share >= settings.regular_min_days, last > 0],
        [0, 1, 2],
        3,
    )
    return frame.assign(
        active_days=last,
        before_days=before,
        lived_days=lived,
        cohort=np.array(COHORTS, dtype=object)[cohort],
    )


def _counted(
    count: Counting, spans: Spans, rows_at: Any, needed_days: int, from_events: bool = True
) -> np.ndarray:
    """How many rows of ``rows_at(end)`` each span's customer has; NaN before tracking, and where no user is named."""
    out = np.zeros(len(spans.k))
    for end in np.unique(spans.end):
        chosen = spans.end == end
        counts = np.bincount(rows_at(int(end))["k"], minlength=len(count.clients))
        out[chosen] = counts[spans.k[chosen]]
    tracked = count.tracked(spans, spans.end - needed_days) & (spans.end > count.signup[spans.k])
    return where(tracked & (identified(count, spans) | ~from_events), out)


def _cohort(name: str) -> Any:
    def metric(count: Counting, spans: Spans) -> np.ndarray:
        def rows_at(end: int) -> pd.DataFrame:
            frame = count.once(("cohorts", end), lambda: cohorts(count, end))
            return frame[frame["cohort"] == name]

        return _counted(count, spans, rows_at, WINDOW_DAYS)

    metric.__doc__ = (
        f"Users in the cohort {name!r} by their active days in the 28 days before the span's end."
    )
    return metric


power_users, regular_users, at_risk_users, inactive_users = (_cohort(name) for name in COHORTS)


def provisioned_users(count: Counting, spans: Spans) -> np.ndarray:
    """Users created by the span's end and not deactivated; not measured without a ``users`` table."""
    users = _counted(count, spans, lambda end: provisioned(count, end), 0, from_events=False)
    return users if count.has("users") else np.full(len(users), np.nan)


def activated_users(count: Counting, spans: Spans) -> np.ndarray:
    """Of the provisioned users (without a ``users`` table: of all) those that had a person event by the span's end."""
    return _counted(count, spans, lambda end: provisioned(count, end).dropna(subset="first_day"), 0)


def active_before(count: Counting) -> np.ndarray:
    """Whether each user of ``user_records`` may have been active before tracking began: it is never counted as new."""
    frame, tracked = user_records(count), count.tracked_from or 0
    old = count.signup[frame["k"]] < tracked
    days = count.portfolio.settings.tracking_start_days
    early = frame["first_day"].to_numpy() < tracked + days
    return old & np.where(
        frame["created_day"].notna(), frame["created_day"].to_numpy() < tracked, early
    )


def users_of(count: Counting, end: dt.date) -> pd.DataFrame:
    """One customer's users who could have been active in the 28 days before ``end``, most active first.

    Columns: user_id, cohort, active_days, before_days (of the 28 days before those), person_events (of the last 28),
    created_on, first_seen_on, last_seen_on, deactivated_on (dates, null where unknown).
    """
    stop = epoch_day(end)
    frame, rows = cohorts(count, stop), days_of(count)
    rows = rows[rows["day"] < stop]
    lately = rows[rows["day"] >= int(_back(count, stop, WINDOW_DAYS)[0])]
    events = np.bincount(
        lately["user"], lately["person_events"], minlength=len(user_records(count))
    )[frame.index]
    last = rows.groupby("user")["day"].max().reindex(frame.index)
    out = frame[["user_id", "cohort", "active_days", "before_days"]].assign(
        person_events=events.astype(np.int64),
        created_on=_dates(frame["created_day"]),
        first_seen_on=_dates(frame["first_day"]),
        last_seen_on=_dates(last),
        deactivated_on=_dates(frame["deactivated_day"]),
    )
    return out.sort_values(
        ["active_days", "person_events", "user_id"],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def activation(count: Counting, end: dt.date) -> tuple[int, int]:
    """Users that used one of the settings' ``activation_features`` within their first days, of those old enough."""
    settings, stop = count.portfolio.settings, epoch_day(end)
    users = provisioned(count, stop)
    users = users[users["created_day"] + settings.activation_days <= stop]
    uses = feature_firsts(count, end)
    names = {word.casefold() for word in settings.activation_features}
    uses = uses[uses["feature"].astype("str").str.casefold().isin(names)]
    first = users["user_id"].map(uses.groupby("user_id")["first_day"].min().rename(index=str))
    return int((first < users["created_day"] + settings.activation_days).sum()), len(users)


def feature_firsts(count: Counting, end: dt.date) -> pd.DataFrame:
    """Feature, user_id (null: events without a user) and first_day of each use by a person from before ``end``."""
    rows = count.rows("feature_firsts")
    return rows[rows["first_day"] < epoch_day(end)].reset_index(drop=True)


def hours_of(count: Counting, start: dt.date, end: dt.date) -> pd.DataFrame:
    """User, day, hour (local), hour_utc, person_events and k of each hour with a person event in ``[start, end)``.

    ``user`` is a number for each user of a customer, -1 for events without one; k is the customer's place.
    """
    rows = count.rows("user_hours")
    rows = rows[(rows["day"] >= epoch_day(start)) & (rows["day"] < epoch_day(end))].reset_index(
        drop=True
    )
    keys = [rows["k"], rows["user_id"].astype("str").fillna("")]
    user = rows.groupby(keys, sort=True).ngroup().where(rows["user_id"].notna(), -1)
    return rows[["day", "hour", "hour_utc", "person_events", "k"]].assign(
        user=user.to_numpy(dtype=np.int64)
    )


def _dates(days: pd.Series) -> pd.Series:
    values = days.to_numpy(dtype=float)
    known = (
        np.where(np.isnan(values), 0, values)
        .astype(np.int64)
        .astype("datetime64[D]")
        .astype("datetime64[s]")
    )
    return pd.Series(np.where(np.isnan(values), np.datetime64("NaT", "s"), known), index=days.index)


# -- growth accounting -----------------------------------------------------------------


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
    """Where the span before was tracked; of a customer from before tracking, where its old users had time to be active."""
    old = count.signup[spans.k] < (count.tracked_from or 0)
    days = count.portfolio.settings.tracking_start_days
    since = np.minimum(spans.start - spans.days, np.where(old, spans.start - days, spans.start))
    missing = count.observed.missing(spans.k, spans.start - spans.days, spans.end)
    complete = missing <= count.portfolio.settings.growth_max_missing_share * 2 * spans.days
    tracked = count.tracked(spans, since) & (count.lived_days(spans) > 0)
    return tracked & complete & identified(count, spans)


def _active(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct users of the span, of the one before, and of both together."""
    out = np.zeros((3, len(spans.k)), dtype=np.int64)
    for length, chosen in spans.by_length():
        k, start, end = spans.k[chosen], spans.start[chosen], spans.end[chosen]
        single, double = count.active_users(length), count.active_users(2 * length)
        before = count.at(single, k, np.maximum(start, count.axis.origin))
        out[:, chosen] = count.at(single, k, end), before, count.at(double, k, end)
    return out[0], out[1], out[2]


def _firsts(count: Counting) -> np.ndarray:
    """Cumulative number of new users, ``[customer, day]``, without those who may have been active before tracking."""

    def build() -> np.ndarray:
        frame = user_records(count)
        fresh = frame["first_day"].notna().to_numpy() & ~active_before(count)
        day = frame["first_day"].to_numpy()[fresh].astype(np.int64)
        return count.cumulate(frame["k"].to_numpy()[fresh], day, np.ones(len(day), dtype=np.int64))

    return count.once("first_days", build)


# -- weekly retention ------------------------------------------------------------------


WEEKS = 12


def retention(
    portfolio: Portfolio, end: dt.date, clients: list[str], weeks: int = WEEKS
) -> pd.DataFrame:
    """Rows of cohort (its first day), week (0, 1, …), users, retained (NaN: not yet known), over the last ``weeks``.

    All users of ``clients`` together; those who may have been there before tracking began are in no cohort. Week 0 is
    the week of the first event: all of them.
    """
    stop = epoch_day(end)
    origin = stop - 7 * weeks
    users, retained = np.zeros(weeks, dtype=np.int64), np.zeros((weeks, weeks), dtype=np.int64)
    for part in chunks(portfolio, clients):
        _add(
            counting(portfolio, part, end - dt.timedelta(days=7 * weeks), end),
            origin,
            stop,
            users,
            retained,
        )
    return _table(portfolio, stop, users, retained)


def retention_of(count: Counting, end: dt.date) -> pd.DataFrame:
    """``retention`` of the customers of a counting that reaches back over the weeks."""
    weeks = WEEKS
    users, retained = np.zeros(weeks, dtype=np.int64), np.zeros((weeks, weeks), dtype=np.int64)
    _add(count, epoch_day(end) - 7 * weeks, epoch_day(end), users, retained)
    return _table(count.portfolio, epoch_day(end), users, retained)


def _table(
    portfolio: Portfolio, stop: int, users: np.ndarray, retained: np.ndarray
) -> pd.DataFrame:
    """The counts as rows; NaN where a cohort's week is not over, nothing of cohorts from before tracking."""
    weeks, origin = len(users), stop - 7 * len(users)
    cohort, week = (part.ravel() for part in np.indices((weeks, weeks)))
    last_day = origin + 7 * cohort + 6 + 7 * week + 6  # of week n of the cohort's latest user
    known = last_day < stop
    began = (origin + 7 * cohort).astype("datetime64[D]").astype("datetime64[s]")
    frame = pd.DataFrame(
        {
            "cohort": began,
            "week": week,
            "users": users[cohort],
            "retained": np.where(known, retained[cohort, week], np.nan),
        }
    )
    tracked = origin + 7 * cohort >= epoch_day(portfolio.first_event_day)
    return frame[(week <= weeks - 1 - cohort) & tracked].reset_index(drop=True)


def _add(count: Counting, origin: int, stop: int, users: np.ndarray, retained: np.ndarray) -> None:
    """Adds the customers' users, and the weeks in which each was active, to the cohorts' counts."""
    frame = user_records(count)
    first = frame["first_day"].fillna(-1).to_numpy().astype(np.int64)
    fresh = (first >= origin) & (first < stop) & ~active_before(count)
    cohort = (first - origin) // 7
    users += np.bincount(cohort[fresh], minlength=len(users))
    rows = days_of(count)
    user, day = rows["user"].to_numpy(), rows["day"].to_numpy()
    counted = fresh[user] & (day < stop)
    week = (day[counted] - first[user[counted]]) // 7
    pairs = np.unique(np.stack([user[counted], week]), axis=1)
    np.add.at(retained, (cohort[pairs[0]], pairs[1]), 1)


# -- the catalogue's entries ------------------------------------------------------------

BY_ACTIVE_DAYS = (
    "of the users who could have been active in the 28 days before `end` (listed, created before `end`, not "
    "deactivated before the 28 days; not listed: active in 90 days), those with {} active days of them; for a user "
    "with fewer than 28 days the thresholds × days ÷ 28"
)
METRICS = (
    Metric(
        "power_users",
        "Power users",
        "users",
        definition=BY_ACTIVE_DAYS.format("≥ 12 (`power_min_days`)"),
        question="How many users use it three days a week?",
        format="count",
        better="higher",
        missing="events were not tracked yet, or name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=power_users,
    ),
    Metric(
        "regular_users",
        "Regular users",
        "users",
        definition=BY_ACTIVE_DAYS.format("4–11 (`regular_min_days`)"),
        question="How many users use it once a week?",
        format="count",
        better="higher",
        missing="events were not tracked yet, or name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=regular_users,
    ),
    Metric(
        "at_risk_users",
        "Declining users",
        "users",
        definition=BY_ACTIVE_DAYS.format("1–3"),
        question="How many users use it less than once a week?",
        format="count",
        better="lower",
        missing="events were not tracked yet, or name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=at_risk_users,
    ),
    Metric(
        "inactive_users",
        "Inactive users",
        "users",
        definition=BY_ACTIVE_DAYS.format("0"),
        question="How many users do not use it?",
        format="count",
        better="lower",
        missing="events were not tracked yet, or name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=inactive_users,
    ),
    Metric(
        "provisioned_users",
        "Provisioned users",
        "users",
        definition="listed users created before `end` and not deactivated by then; missing without `users`",
        question="How many users have an account?",
        format="count",
        missing="no list of users",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=provisioned_users,
    ),
    Metric(
        "activated_users",
        "Activated users",
        "users",
        definition="of the provisioned users (without `users`: of all) those with a person event before `end`",
        question="How many users have ever used it?",
        format="count",
        better="higher",
        missing="events were not tracked yet, or name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=activated_users,
    ),
    Metric(
        "new_users",
        "New users",
        "users",
        definition="of the users active in the span, those whose first person event ever lies in it; never one that "
        "may have been there before tracking began: the customer signed up before it, and the user was "
        "created before it, or, where no creation is known, first seen in its first 28 days",
        question="How many users are new?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked, or events name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=new_users,
    ),
    Metric(
        "returning_users",
        "Returning users",
        "users",
        definition="users active in the span and in the span of equal length before it",
        question="How many users returned?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked, or events name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=returning_users,
    ),
    Metric(
        "resurrected_users",
        "Resurrected users",
        "users",
        definition="users active in the span, not in the span of equal length before it, and not new; active = new + "
        "returning + resurrected",
        question="How many users were won back?",
        format="count",
        better="higher",
        missing="the span before, or the first 28 days of tracking, were not tracked, or events name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=resurrected_users,
    ),
    Metric(
        "dormant_users",
        "Dormant users",
        "users",
        definition="users active in the span before, not in this one",
        question="How many users became dormant?",
        format="count",
        better="lower",
        missing="the span before, or the first 28 days of tracking, were not tracked, or events name no user",
        tables=("events", "users"),
        uses=ON_PAGES,
        count=dormant_users,
    ),
)
