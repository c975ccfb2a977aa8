"""Whom an analysis is about, and over which days: one customer, a segment that was found before, or all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from healthseg.errors import ClientNotFound, InvalidParameters
from healthseg.metrics.profile import customer_as_of, customers_as_of
from healthseg.tools.segmentation import SegmentedCustomers, resolved_segment, segmented_run

DAY = dt.timedelta(days=1)
OUTDATED_DAYS = 31
SINGLE, SEGMENT, ALL = "single_customer", "segment", "all_customers"


@dataclass(frozen=True)
class Scope:
    """``clients`` lived on a day of ``[start, end)``; ``belongs(date)`` are those of the scope on a date, None: all."""

    kind: str
    clients: list[str]
    start: dt.date
    end: dt.date
    asked_days: int
    as_of: dt.date
    belongs: Callable[[dt.date], set[str] | None]
    client_id: str | None = None
    customer_name: str | None = None
    segment_id: str | None = None
    segment_name: str | None = None
    excluded: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        return (self.end - self.start).days

    @property
    def middle(self) -> dt.date:
        """The first day of the later half of the window, which is held out."""
        return self.start + dt.timedelta(days=self.days // 2)


def scope_of(portfolio: Any, as_of: dt.date, asked: Any) -> Scope:
    """The scope that is asked for. Raises InvalidParameters, InvalidClientId and ClientNotFound."""
    needs = {SINGLE: "client_id", SEGMENT: "segment_id"}
    for kind, name in needs.items():
        given = getattr(asked, name)
        if kind == asked.analysis_scope and given is None:
            raise InvalidParameters(
                f"analysis_scope {kind!r} needs a {name}",
                parameter=name,
                value_provided=None,
                validation_rule=f"given where analysis_scope is {kind}",
            )
        if kind != asked.analysis_scope and given is not None:
            raise InvalidParameters(
                f"{name} {str(given)[:80]!r} goes with analysis_scope {kind!r}, not with "
                f"{asked.analysis_scope!r}",
                parameter=name,
                value_provided=str(given)[:200],
                validation_rule=f"left out unless analysis_scope is {kind}",
            )
    if asked.analysis_scope == SINGLE:
        return _single(portfolio, as_of, asked)
    if asked.analysis_scope == SEGMENT:
        return _segment(portfolio, as_of, asked)
    return _all(portfolio, as_of, asked.analysis_period_days)


def all_customers(portfolio: Any, as_of: dt.date, days: int) -> Scope:
    return _all(portfolio, as_of, days)


def _window(portfolio: Any, last: dt.date, days: int) -> tuple[dt.date, dt.date, tuple[str, ...]]:
    end, start = last + DAY, last + DAY - dt.timedelta(days=days)
    first = portfolio.first_event_day
    if start >= first:
        return start, end, ()
    told = f"the window of {days} days begins before the data: shortened to the {(end - first).days} days from {first}"
    return first, end, (told,)


def _all(portfolio: Any, as_of: dt.date, days: int) -> Scope:
    start, end, told = _window(portfolio, as_of, days)
    known = customers_as_of(portfolio, as_of)
    return Scope(
        ALL,
        _lived(known, start, end),
        start,
        end,
        days,
        as_of,
        lambda date: None,
        excluded=_excluded(known, start, as_of),
        warnings=told,
    )


def _lived(known: pd.DataFrame, start: dt.date, end: dt.date) -> list[str]:
    signup, left = pd.to_datetime(known["signup_date"]), known["churned_on"]
    return sorted(known.index[(signup < pd.Timestamp(end)) & ~(left <= pd.Timestamp(start))])


def _excluded(known: pd.DataFrame, start: dt.date, as_of: dt.date) -> dict[str, int]:
    signup = pd.to_datetime(known["signup_date"])
    return {
        "churned": int((known["churned_on"] <= pd.Timestamp(start)).sum()),
        "not_started": int((signup > pd.Timestamp(as_of)).sum()),
    }


def _single(portfolio: Any, as_of: dt.date, asked: Any) -> Scope:
    customer = customer_as_of(portfolio, asked.client_id, as_of)
    if pd.Timestamp(customer["signup_date"]) > pd.Timestamp(as_of):
        raise ClientNotFound(
            f"{asked.client_id} signs up on {customer['signup_date']}, after {as_of}",
            parameter="client_id",
            value_provided=asked.client_id,
            signup_date=str(customer["signup_date"]),
            validation_rule="signed up by as_of",
        )
    last, told = as_of, ()
    left = customer["churned_on"]
    if not pd.isna(left):
        last = max(pd.Timestamp(left).date() - DAY, portfolio.first_event_day)
        told = (f"churned on {pd.Timestamp(left).date()}: shown as of {last}",)
    start, end, shortened = _window(portfolio, last, asked.analysis_period_days)
    name = customer.get("name")
    return Scope(
        SINGLE,
        [asked.client_id],
        start,
        end,
        asked.analysis_period_days,
        last,
        lambda date: None,
        client_id=asked.client_id,
        customer_name=name if isinstance(name, str) else asked.client_id,
        warnings=(*told, *shortened),
    )


# -- segments ---------------------------------------------------------------------------------


def _segment(portfolio: Any, as_of: dt.date, asked: Any) -> Scope:
    run, members = _resolved(portfolio, asked.segment_id)
    told = _how_old(portfolio, run, as_of, asked.segment_id)
    start, end, shortened = _window(portfolio, as_of, asked.analysis_period_days)
    segmented = segmented_run(portfolio, run)
    name = _name_of(segmented, asked.segment_id, members)

    def belongs(date: dt.date) -> set[str]:
        names = segmented.names_on(date)
        return set(names.index[names == name])

    lived = set(_lived(customers_as_of(portfolio, as_of), start, end))
    few = (f"a segment of {len(members)}: too few to say",) if len(members) < 2 else ()
    return Scope(
        SEGMENT,
        sorted(lived & set(members)),
        start,
        end,
        asked.analysis_period_days,
        as_of,
        belongs,
        segment_id=asked.segment_id,
        segment_name=name,
        warnings=(*told, *shortened, *few),
    )


def _name_of(segmented: SegmentedCustomers, segment_id: str, members: list[str]) -> str:
    """The segment's name: by its id, else (rules have changed since) that of the segment most members are in now."""
    for part in segmented.segments:
        if part.id == segment_id:
            return part.name
    now = segmented.number.reindex(members).dropna()
    return segmented.segments[int(now.mode().iloc[0])].name if len(now) else segment_id


def _resolved(portfolio: Any, segment_id: str) -> tuple[Any, list[str]]:
    try:
        return resolved_segment(portfolio, segment_id)
    except InvalidParameters as problem:
        known = _known(portfolio)
        there = f"; there are {', '.join(known[:10])}" if known else "; run segment_customers first"
        raise InvalidParameters(
            problem.message + there, **{**problem.details, "known_segments": known[:50]}
        ) from None


def _known(portfolio: Any) -> list[str]:
    runs = portfolio.ledger().segment_runs() if portfolio.has_ledger else []
    return list(dict.fromkeys(name for run in reversed(runs) for name in run.members))


def _how_old(portfolio: Any, run: Any, as_of: dt.date, segment_id: str) -> tuple[str, ...]:
    days = abs((as_of - run.as_of).days)
    if days > OUTDATED_DAYS:
        near = [
            name
            for one in portfolio.ledger().segment_runs()
            if abs((as_of - one.as_of).days) <= OUTDATED_DAYS
            for name in one.members
        ]
        there = (
            f"; current ones: {', '.join(near[:10])}"
            if near
            else "; run segment_customers as of this date"
        )
        raise InvalidParameters(
            f"segment {segment_id!r} was found as of {run.as_of}, {days} days from {as_of}{there}",
            parameter="segment_id",
            value_provided=segment_id,
            current_segments=near[:50],
            validation_rule=f"a segment of a run at most {OUTDATED_DAYS} days from as_of",
        )
    return (f"the segment was found as of {run.as_of}, {days} days from {as_of}",) if days else ()
