"""Measures over spans: the one way in which healthseg counts anything.

``over`` takes any frame of half-open spans and gives the named measures for each. The panel,
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
from healthseg.measures import (
    adoption,
    growth,
    lives,
    payments,
    people,
    satisfaction,
    support,
    usage,
)
from healthseg.measures.by_key import BY, over_keys
from healthseg.measures.counting import (
    CHAMPION_DAYS,
    Counting,
    Spans,
    chunks,
    customers,
    epoch_day,
    epoch_days,
)


@dataclass(frozen=True)
class Measure:
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


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("person_events", "events", usage.person_events),
        Measure("api_events", "events", usage.api_events),
        Measure("active_days", "days", usage.active_days),
        Measure("active_users", "users", usage.active_users),
        Measure("daily_active_users", "users", usage.daily_active_users),
        Measure("stickiness", "share", usage.stickiness),
        Measure("days_since_last_person_event", "days", usage.days_since_last_person_event),
        Measure("usage_vs_own_baseline", "ratio", usage.usage_vs_own_baseline),
        Measure("sessions", "sessions", usage.sessions),
        Measure("sessions_per_user_per_week", "sessions", usage.sessions_per_user_per_week),
        Measure("average_session_minutes", "minutes", usage.average_session_minutes),
        Measure("unique_features_used", "features", usage.unique_features_used),
        Measure("features_adopted", "features", adoption.features_adopted),
        Measure("features_entitled", "features", adoption.features_entitled),
        Measure("feature_adoption_rate", "share", adoption.feature_adoption_rate),
        Measure("top_user_share", "share", people.top_user_share),
        Measure("champion_share", "share", people.champion_share),
        Measure("champion_departed", "0 or 1", people.champion_departed),
        Measure("new_users", "users", growth.new_users),
        Measure("returning_users", "users", growth.returning_users),
        Measure("resurrected_users", "users", growth.resurrected_users),
        Measure("dormant_users", "users", growth.dormant_users),
        Measure("power_users", "users", lives.power_users),
        Measure("regular_users", "users", lives.regular_users),
        Measure("at_risk_users", "users", lives.at_risk_users),
        Measure("inactive_users", "users", lives.inactive_users),
        Measure("provisioned_users", "users", lives.provisioned_users),
        Measure("activated_users", "users", lives.activated_users),
        Measure("open_tickets", "tickets", support.open_tickets),
        Measure("open_high_tickets", "tickets", support.open_high_tickets),
        Measure("tickets_opened", "tickets", support.tickets_opened),
        Measure("median_resolution_hours", "hours", support.median_resolution_hours),
        Measure("nps", "NPS points", satisfaction.nps),
        Measure("nps_respondents", "persons", satisfaction.nps_respondents),
        Measure("csat", "1 to 5", satisfaction.csat),
        Measure("csat_responses", "answers", satisfaction.csat_responses),
        Measure("worst_days_overdue", "days", payments.worst_days_overdue),
        Measure("paid_on_time_share", "share", payments.paid_on_time_share),
        Measure("payment_status", "0 current, 1 due, 2 overdue", payments.payment_status),
        Measure("invoices_issued", "invoices", payments.invoices_issued),
    )
}


def known(names: Iterable[str]) -> list[Measure]:
    """The named measures; InvalidParameters, with the nearest name, for one that there is not."""
    names = list(names)
    for name in names:
        if name not in MEASURES:
            raise InvalidParameters(
                f"unknown measure {name!r}{hint(name, MEASURES)}",
                parameter="measures",
                value_provided=name,
                validation_rule="one of " + ", ".join(MEASURES),
            )
    return [MEASURES[name] for name in names]


def days_counted(start: pd.Series, end: pd.Series) -> int:
    """Days from the farthest that measures look back before the first ``start`` to the last ``end``."""
    first, last = pd.to_datetime(start).min(), pd.to_datetime(end).max()
    return CHAMPION_DAYS + (0 if pd.isna(first) else (last - first).days)


def over(
    book: Any,
    spans: pd.DataFrame,
    measures: Iterable[str],
    by: str = "client",
    clients: list[str] | None = None,
) -> pd.DataFrame:
    """What is each measure in each span?

    ``spans`` has the columns ``client_id, span_id, start, end`` (dates; end exclusive, account-local days).
    Returns those of them that were asked for (``clients``) in order of client and span, with one
    float column a measure, NaN where it was not measured. ``by="user"`` or ``"feature"`` gives a row
    for each user or feature with a person event in the span, for the measures that have such a form.

    Any subset of customers gives the same figures as the whole book. Raises InvalidParameters for unknown
    measures, and for spans that end before they start.

    >>> import datetime as dt, pandas as pd
    >>> from healthseg.testing import tiny_book
    >>> book = tiny_book(events=[("a", "2025-03-03 09:00", "u1"), ("a", "2025-03-04 09:00", "u2")])
    >>> spans = pd.DataFrame({"client_id": ["a"], "span_id": [1],
    ...                       "start": [dt.date(2025, 3, 3)], "end": [dt.date(2025, 3, 5)]})
    >>> over(book, spans, ["person_events", "active_users"])[["person_events", "active_users"]].values.tolist()
    [[2.0, 2.0]]
    """
    frame, measures = _checked(spans, book, clients), list(measures)
    if by != "client":
        return over_keys(book, frame, measures, by)
    chosen = known(measures)
    days = days_counted(frame["start"], frame["end"])
    parts = [
        _chunk(book, frame, part, chosen)
        for part in chunks(frame["client_id"].unique().tolist(), days)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else frame.assign(**{name: [] for name in measures})
    )


def over_one(
    count: Counting, parts: list[tuple[Any, dt.date, dt.date]], measures: Iterable[str]
) -> pd.DataFrame:
    """``over`` for spans ``(span_id, start, end)`` of one customer, whose facts ``count`` has read for many calls."""
    frame = pd.DataFrame(parts, columns=["span_id", "start", "end"])
    start, end = (
        np.array([epoch_day(day) for day in frame[name]], dtype=np.int64)
        for name in ("start", "end")
    )
    spans = Spans(np.zeros(len(frame), dtype=np.int64), start, end)
    return frame.assign(
        **{measure.name: measure.count(count, spans) for measure in known(measures)}
    )


def _checked(spans: pd.DataFrame, book: Any, clients: list[str] | None) -> pd.DataFrame:
    frame = spans if clients is None else spans[spans["client_id"].isin(clients)]
    frame = frame.sort_values(["client_id", "span_id"], kind="stable", ignore_index=True)
    if (pd.to_datetime(frame["end"]) <= pd.to_datetime(frame["start"])).any():
        raise InvalidParameters(
            "a span must end after it starts (its end is exclusive)", parameter="spans"
        )
    strangers = set(frame["client_id"]) - set(customers(book).index)
    if strangers:
        raise InvalidParameters(
            f"spans of unknown customer {sorted(strangers)[0]!r}", parameter="spans"
        )
    return frame


def as_spans(frame: pd.DataFrame, clients: list[str]) -> Spans:
    place = pd.Index(clients).get_indexer(frame["client_id"])
    return Spans(place.astype(np.int64), epoch_days(frame["start"]), epoch_days(frame["end"]))


def _chunk(
    book: Any, frame: pd.DataFrame, clients: list[str], measures: list[Measure]
) -> pd.DataFrame:
    rows = frame[frame["client_id"].isin(clients)].reset_index(drop=True)
    spans = as_spans(rows, clients)
    count = Counting(book, clients, spans)
    return rows.assign(**{measure.name: measure.count(count, spans) for measure in measures})


__all__ = ["BY", "MEASURES", "Measure", "chunks", "known", "over", "over_one"]
