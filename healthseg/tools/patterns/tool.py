"""analyze_engagement_patterns: which patterns are significant, what precedes churn, who are the users?"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, InvalidParameters
from healthseg.tools.base import AsOf, ClientId, Only, tool
from healthseg.tools.context import CustomerContext, chosen_customers
from healthseg.tools.patterns.portfolio import PatternRequest
from healthseg.tools.patterns.result import EngagementPatterns
from healthseg.tools.patterns.study import (
    SEGMENT,
    SINGLE,
    StudyScope,
    all_customers,
    customers_in,
    window_of,
)
from healthseg.tools.segmentation import SegmentedCustomers, resolved_segment, segmented_run

ScopeType = Annotated[
    Literal["single_customer", "segment", "all_customers"],
    Field(description="Which customers are analyzed"),
]
Days = Annotated[int, Field(ge=14, le=365, description="Days of the window")]
Category = Literal["temporal", "feature_usage", "communication", "support", "all"]
Categories = Annotated[
    list[Category] | None,
    Field(min_length=1, description="Categories of patterns; default all"),
]
WithPredictions = Annotated[bool, Field(description="Include predictive insights")]
Confidence = Annotated[
    float,
    Field(ge=0, le=1, description="Least share of resamples in which a pattern recurs"),
]


@tool
def analyze_engagement_patterns(
    portfolio: Portfolio,
    analysis_scope: ScopeType,
    client_id: Annotated[
        ClientId | None, Field(description="Customer, where the scope is single_customer")
    ] = None,
    segment_id: Annotated[
        str | None, Field(description="Segment of a recorded run, where the scope is segment")
    ] = None,
    analysis_period_days: Days = 90,
    pattern_categories: Categories = None,
    include_predictions: WithPredictions = True,
    min_pattern_confidence: Confidence = 0.70,
    *,
    as_of: AsOf = None,
) -> EngagementPatterns:
    """Which patterns of engagement are significant, how strong, how sure, and what do they go with?

    Everything that is tried is judged as one family: a pattern is reported where its false-discovery q is at most
    ``effects_max_q`` (0.05), it recurs on held-out time, and it recurs in ``min_pattern_confidence`` of the resamples
    of customers. The most promising of the others are listed in ``not_held``. For a single customer, signs of churn and
    orders of adoption are learned from the portfolio. Raises InvalidClientId, ClientNotFound, InvalidParameters and
    DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1", "search") for day in range(1, 29)])
    >>> patterns = analyze_engagement_patterns(portfolio, "all_customers", analysis_period_days=14)
    >>> patterns.customers_analyzed, patterns.identified_patterns
    (1, [])
    """
    ids = {"client_id": client_id, "segment_id": segment_id}
    _check_ids(analysis_scope, ids)
    portfolio.require("events")
    date = portfolio.as_of(as_of)
    if client_id is not None:
        scope = _customer_scope(portfolio, client_id, date, analysis_period_days)
    elif segment_id is not None:
        scope = _segment_scope(portfolio, segment_id, date, analysis_period_days)
    else:
        scope = all_customers(portfolio, date, analysis_period_days)
    return _patterns(
        portfolio, scope, pattern_categories, include_predictions, min_pattern_confidence
    )


@tool
def portfolio_patterns(
    portfolio: Portfolio,
    *,
    analysis_period_days: Days = 90,
    pattern_categories: Categories = None,
    include_predictions: WithPredictions = True,
    min_pattern_confidence: Confidence = 0.70,
    only: Only = None,
    as_of: AsOf = None,
) -> EngagementPatterns:
    """The response for all customers, for the portfolio's report; with ``only`` for some, as for a segment.

    Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_patterns(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    portfolio.require("events")
    scope = all_customers(portfolio, portfolio.as_of(as_of), analysis_period_days)
    if only is not None:
        chosen = set(chosen_customers(portfolio, only))
        scope = dataclasses.replace(
            scope,
            kind=SEGMENT,
            clients=[client for client in scope.clients if client in chosen],
            members=lambda date: chosen,
            segment_id=only,
            segment_name=f"the customers with {only}",
            excluded={},
        )
    return _patterns(
        portfolio, scope, pattern_categories, include_predictions, min_pattern_confidence
    )


def _patterns(
    portfolio: Portfolio,
    scope: StudyScope,
    categories: list[Category] | None,
    predictions: bool,
    confidence: float,
) -> EngagementPatterns:
    if not scope.clients:
        raise DataRetrievalError(
            f"no customer was live from {scope.start} to {scope.as_of}: choose an earlier as_of"
        )
    return PatternRequest(
        portfolio, scope, categories or ["all"], predictions, confidence
    ).response()


def _check_ids(scope: str, ids: dict[str, str | None]) -> None:
    for needed_by, (name, value) in zip((SINGLE, SEGMENT), ids.items(), strict=True):
        if needed_by == scope and value is None:
            raise InvalidParameters(
                f"analysis_scope {needed_by!r} needs a {name}",
                parameter=name,
                value_provided=None,
                validation_rule=f"required where analysis_scope is {needed_by}",
            )
        if needed_by != scope and value is not None:
            raise InvalidParameters(
                f"{name} {value[:80]!r} goes with analysis_scope {needed_by!r}, not with {scope!r}",
                parameter=name,
                value_provided=value[:200],
                validation_rule=f"left out unless analysis_scope is {needed_by}",
            )


def _customer_scope(portfolio: Portfolio, client_id: str, as_of: dt.date, days: int) -> StudyScope:
    """One customer; a churned one up to its last day."""
    context = CustomerContext.of(portfolio, client_id, as_of)
    last, warnings = as_of, tuple[str, ...]()
    if context.churned_on is not None:
        last = max(context.churned_on - dt.timedelta(days=1), portfolio.first_event_day)
        warnings = (f"churned on {context.churned_on}: shown as of {last}",)
    start, end, shortened = window_of(portfolio, last, days)
    return StudyScope(
        SINGLE,
        [client_id],
        start,
        end,
        days,
        last,
        client_id=client_id,
        customer_name=context.name,
        churned=context.churned_on is not None,
        warnings=(*warnings, *shortened),
    )


def _segment_scope(portfolio: Portfolio, segment_id: str, as_of: dt.date, days: int) -> StudyScope:
    """The members of a segment; on past dates the customers that met its criteria then."""
    run, members = resolved_segment(portfolio, segment_id, as_of)
    age = abs((as_of - run.as_of).days)
    outdated = (f"the segment is as of {run.as_of}, {age} days from {as_of}",) if age else ()
    few = (
        (f"a segment of {len(members)} customers: too few to analyze",) if len(members) < 2 else ()
    )
    start, end, shortened = window_of(portfolio, as_of, days)
    segmented = segmented_run(portfolio, run)
    name = _segment_name(segmented, segment_id, members)

    def members_on(date: dt.date) -> set[str]:
        names: pd.Series = segmented.names_on(date)
        return set(names.index[names == name])

    return StudyScope(
        SEGMENT,
        sorted(set(customers_in(portfolio, as_of, start, end)) & set(members)),
        start,
        end,
        days,
        as_of,
        members_on,
        segment_id=segment_id,
        segment_name=name,
        warnings=(*outdated, *shortened, *few),
    )


def _segment_name(segmented: SegmentedCustomers, segment_id: str, members: list[str]) -> str:
    """By its id, else (the rules have changed since) that of the segment most members are in now."""
    for segment in segmented.segments:
        if segment.id == segment_id:
            return segment.name
    now = segmented.number.reindex(members).dropna()
    return segmented.segments[int(now.mode().iloc[0])].name if len(now) else segment_id
