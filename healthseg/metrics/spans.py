"""Metrics over spans: the one way in which healthseg counts anything.

``over`` takes any frame of half-open spans and gives the named metrics for each. The panel,
a granularity, a peer comparison are spans of one kind or another.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import (
    adoption,
    growth,
    lives,
    payments,
    people,
    satisfaction,
    support,
    usage,
)
from healthseg.metrics.by_key import BY, over_keys
from healthseg.metrics.counting import (
    CHAMPION_DAYS,
    Counting,
    Spans,
    chunks,
    customers,
    epoch_day,
    epoch_days,
)


@dataclass(frozen=True)
class Metric:
    """A named figure over a span: ``count(counting, spans)`` gives a float per span, NaN where not measured."""

    name: str
    unit: str
    count: Callable[[Counting, Spans], np.ndarray]

    @property
    def from_events(self) -> bool:
        """Whether it is counted from the events' facts (else from the small tables)."""
        return self.count.__module__ in {
            module.__name__ for module in (usage, adoption, people, lives, growth)
        }

    @property
    def question(self) -> str:
        return (self.count.__doc__ or self.name.replace("_", " ")).strip().split("\n")[0]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("person_events", "events", usage.person_events),
        Metric("api_events", "events", usage.api_events),
        Metric("active_days", "days", usage.active_days),
        Metric("active_users", "users", usage.active_users),
        Metric("daily_active_users", "users", usage.daily_active_users),
        Metric("stickiness", "share", usage.stickiness),
        Metric("days_since_last_person_event", "days", usage.days_since_last_person_event),
        Metric("usage_vs_own_baseline", "ratio", usage.usage_vs_own_baseline),
        Metric("sessions", "sessions", usage.sessions),
        Metric("sessions_per_user_per_week", "sessions", usage.sessions_per_user_per_week),
        Metric("average_session_minutes", "minutes", usage.average_session_minutes),
        Metric("unique_features_used", "features", usage.unique_features_used),
        Metric("features_adopted", "features", adoption.features_adopted),
        Metric("features_entitled", "features", adoption.features_entitled),
        Metric("feature_adoption_rate", "share", adoption.feature_adoption_rate),
        Metric("top_user_share", "share", people.top_user_share),
        Metric("champion_share", "share", people.champion_share),
        Metric("champion_departed", "0 or 1", people.champion_departed),
        Metric("new_users", "users", growth.new_users),
        Metric("returning_users", "users", growth.returning_users),
        Metric("resurrected_users", "users", growth.resurrected_users),
        Metric("dormant_users", "users", growth.dormant_users),
        Metric("power_users", "users", lives.power_users),
        Metric("regular_users", "users", lives.regular_users),
        Metric("at_risk_users", "users", lives.at_risk_users),
        Metric("inactive_users", "users", lives.inactive_users),
        Metric("provisioned_users", "users", lives.provisioned_users),
        Metric("activated_users", "users", lives.activated_users),
        Metric("open_tickets", "tickets", support.open_tickets),
        Metric("open_high_tickets", "tickets", support.open_high_tickets),
        Metric("tickets_opened", "tickets", support.tickets_opened),
        Metric("median_resolution_hours", "hours", support.median_resolution_hours),
        Metric("nps", "NPS points", satisfaction.nps),
        Metric("nps_respondents", "persons", satisfaction.nps_respondents),
        Metric("csat", "1 to 5", satisfaction.csat),
        Metric("csat_responses", "answers", satisfaction.csat_responses),
        Metric("worst_days_overdue", "days", payments.worst_days_overdue),
        Metric("paid_on_time_share", "share", payments.paid_on_time_share),
        Metric("payment_status", "0 current, 1 due, 2 overdue", payments.payment_status),
        Metric("invoices_issued", "invoices", payments.invoices_issued),
    )
}


def known(names: Iterable[str]) -> list[Metric]:
    """The named metrics; InvalidParameters, with the nearest name, for one that there is not."""
    names = list(names)
    for name in names:
        if name not in METRICS:
            raise InvalidParameters(
                f"unknown metric {name!r}{hint(name, METRICS)}",
                parameter="metrics",
                value_provided=name,
                validation_rule="one of " + ", ".join(METRICS),
            )
    return [METRICS[name] for name in names]


def days_counted(start: pd.Series, end: pd.Series) -> int:
    """Days from the farthest that metrics look back before the first ``start`` to the last ``end``."""
    first, last = pd.to_datetime(start).min(), pd.to_datetime(end).max()
    return CHAMPION_DAYS + (0 if pd.isna(first) else (last - first).days)


def over(
    portfolio: Any,
    spans: pd.DataFrame,
    metrics: Iterable[str],
    by: str = "client",
    clients: list[str] | None = None,
) -> pd.DataFrame:
    """What is each metric in each span?

    ``spans`` has the columns ``client_id, span_id, start, end`` (dates; end exclusive, account-local days).
    Returns those of them that were asked for (``clients``) in order of client and span, with one
    float column a metric, NaN where it was not measured. ``by="user"`` or ``"feature"`` gives a row
    for each user or feature with a person event in the span, for the metrics that have such a form.

    Any subset of customers gives the same figures as the whole portfolio. Raises InvalidParameters for unknown
    metrics, and for spans that end before they start.

    >>> import datetime as dt, pandas as pd
    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio(events=[("a", "2025-03-03 09:00", "u1"), ("a", "2025-03-04 09:00", "u2")])
    >>> spans = pd.DataFrame({"client_id": ["a"], "span_id": [1],
    ...                       "start": [dt.date(2025, 3, 3)], "end": [dt.date(2025, 3, 5)]})
    >>> over(portfolio, spans, ["person_events", "active_users"])[["person_events", "active_users"]].values.tolist()
    [[2.0, 2.0]]
    """
    frame, metrics = _checked(spans, portfolio, clients), list(metrics)
    if by != "client":
        return over_keys(portfolio, frame, metrics, by)
    chosen = known(metrics)
    days = days_counted(frame["start"], frame["end"])
    parts = [
        _chunk(portfolio, frame, part, chosen)
        for part in chunks(frame["client_id"].unique().tolist(), days)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else frame.assign(**{name: [] for name in metrics})
    )


def over_one(
    count: Counting, parts: list[tuple[Any, dt.date, dt.date]], metrics: Iterable[str]
) -> pd.DataFrame:
    """``over`` for spans ``(span_id, start, end)`` of one customer, whose facts ``count`` has read for many calls."""
    frame = pd.DataFrame(parts, columns=["span_id", "start", "end"])
    start, end = (
        np.array([epoch_day(day) for day in frame[name]], dtype=np.int64)
        for name in ("start", "end")
    )
    spans = Spans(np.zeros(len(frame), dtype=np.int64), start, end)
    return frame.assign(**{metric.name: metric.count(count, spans) for metric in known(metrics)})


def _checked(spans: pd.DataFrame, portfolio: Any, clients: list[str] | None) -> pd.DataFrame:
    frame = spans if clients is None else spans[spans["client_id"].isin(clients)]
    frame = frame.sort_values(["client_id", "span_id"], kind="stable", ignore_index=True)
    if (pd.to_datetime(frame["end"]) <= pd.to_datetime(frame["start"])).any():
        raise InvalidParameters(
            "a span must end after it starts (its end is exclusive)", parameter="spans"
        )
    strangers = set(frame["client_id"]) - set(customers(portfolio).index)
    if strangers:
        raise InvalidParameters(
            f"spans of unknown customer {sorted(strangers)[0]!r}", parameter="spans"
        )
    return frame


def as_spans(frame: pd.DataFrame, clients: list[str]) -> Spans:
    place = pd.Index(clients).get_indexer(frame["client_id"])
    return Spans(place.astype(np.int64), epoch_days(frame["start"]), epoch_days(frame["end"]))


def _chunk(
    portfolio: Any, frame: pd.DataFrame, clients: list[str], metrics: list[Metric]
) -> pd.DataFrame:
    rows = frame[frame["client_id"].isin(clients)].reset_index(drop=True)
    spans = as_spans(rows, clients)
    count = Counting(portfolio, clients, spans)
    return rows.assign(**{metric.name: metric.count(count, spans) for metric in metrics})


__all__ = ["BY", "METRICS", "Metric", "chunks", "known", "over", "over_one"]
