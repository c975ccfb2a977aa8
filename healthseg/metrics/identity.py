"""Who uses it? Records of users, whether events name them, and customers that work through the API alone.

A user is (client_id, user_id). Users of the ``users`` table have a record whether they were ever active or not; those
that were active but are not listed have one, too. Internal and test users, by the settings, have none.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.metrics.counting import Counting, Spans


def user_records(count: Counting) -> pd.DataFrame:
    """Customer, user, first_day, created_day, deactivated_day (days since 1970, NaN unknown), listed; sorted."""

    def build() -> pd.DataFrame:
        settings = count.portfolio.settings
        excluded = pd.DataFrame(
            {
                "user_id": [*settings.exclude_users, *[None] * len(settings.exclude_email_domains)],
                "email_domain": [
                    *[None] * len(settings.exclude_users),
                    *[name.lower() for name in settings.exclude_email_domains],
                ],
            },
            dtype="str",
        )
        frame = count.rows("user_lives", excluded=excluded)
        days = dict.fromkeys(("first_day", "created_day", "deactivated_day"), float)
        frame = frame.astype({"user_id": "str", "k": np.int64, "listed": bool, **days})
        return frame.sort_values(["k", "user_id"], kind="stable", ignore_index=True)

    return count.once("user_records", build)


def identified(count: Counting, spans: Spans) -> np.ndarray:
    """Whether users can be counted: not where the customer has person events and none of them names a user.

    Nor where it works through the API alone.
    """
    persons, named = (
        count.between(count.total("usage_days", column), spans)
        for column in ("person_events", "named_events")
    )

    users, ever = user_records(count), _first_seen(count)
    named_ever = count.once("first_named", lambda: _first_of(count, users["k"], users["first_day"]))
    silent = np.where(
        ever[spans.k] < spans.end, named_ever[spans.k] < spans.end, count.named(spans)
    )
    return np.where(persons > 0, named > 0, silent) & ~api_only(count, spans)


def api_only(count: Counting, spans: Spans) -> np.ndarray:
    """Whether the customer works through the API alone: it is then judged by its API events.

    By the setting ``api_only_customers``, or where of the observed days that a baseline needs, up to the span's end,
    programs used it on ``api_only_min_days`` and persons on no more than ``api_only_max_person_days``.
    """
    settings = count.portfolio.settings
    declared = np.isin(count.clients, list(settings.api_only_customers))[spans.k]

    start = count.observed.back(spans.k, spans.end, settings.own_baseline_days)
    window = Spans(spans.k, start, spans.end)

    programs = days_with(count, "api_events", window) >= settings.api_only_min_days
    persons = days_with(count, "person_events", window) > settings.api_only_max_person_days
    return declared | (programs & ~persons)


def days_with(count: Counting, column: str, spans: Spans) -> np.ndarray:
    """Days of the spans with an event of a kind (``person_events``, ``api_events``)."""

    def build() -> np.ndarray:
        days = count.rows("usage_days")
        active = (days[column] > 0).astype(np.int64)
        return count.cumulate(days["k"], days["day"], active)

    return count.between(count.once(("active_days", column), build), spans)


def _first_seen(count: Counting) -> np.ndarray:
    """By customer: the first known day with a person's event, NaN without one."""
    rows = count.rows("last_seen")
    return count.once("first_seen", lambda: _first_of(count, rows["k"], rows["seen"]))


def _first_of(count: Counting, k: pd.Series, day: pd.Series) -> np.ndarray:
    return day.astype(float).groupby(k).min().reindex(range(len(count.clients))).to_numpy()
