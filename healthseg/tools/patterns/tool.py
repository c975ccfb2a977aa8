"""analyze_engagement_patterns: what patterns hold, how strong, how sure; what precedes leaving; who the users are."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.tools.parameters import Parameters, validated
from healthseg.tools.patterns import answer as pattern_answer
from healthseg.tools.patterns.result import EngagementPatterns
from healthseg.tools.patterns.scope import scope_of

Kind = Literal["single_customer", "segment", "all_customers"]
Category = Literal["temporal", "feature_usage", "communication", "support", "all"]
Days = Field(default=90, ge=14, le=365, description="Days of the window")
Categories = Field(default=None, min_length=1, description="Categories of patterns; default all")
Predictions = Field(default=True, description="Include predictive insights")
Confidence = Field(
    default=0.70, ge=0, le=1, description="Least share of resamples in which a pattern comes back"
)
AsOf = Field(default=None, description="Date, read to its end; default the portfolio's last day")


class CustomerParameters(Parameters):
    """Parameters of analyze_engagement_patterns."""

    analysis_scope: Kind = Field(description="Whom it is about")
    client_id: str | None = Field(
        default=None, description="Customer, where the scope is single_customer"
    )
    segment_id: str | None = Field(
        default=None, description="Segment of a kept run, where the scope is segment"
    )
    analysis_period_days: int = Days
    pattern_categories: list[Category] | None = Categories
    include_predictions: bool = Predictions
    min_pattern_confidence: float = Confidence
    as_of: str | dt.date | None = AsOf


class PortfolioParameters(Parameters):
    """Parameters of portfolio_patterns."""

    analysis_period_days: int = Days
    pattern_categories: list[Category] | None = Categories
    include_predictions: bool = Predictions
    min_pattern_confidence: float = Confidence
    as_of: str | dt.date | None = AsOf


def analyze_engagement_patterns(
    portfolio: Portfolio,
    analysis_scope: str,
    client_id: str | None = None,
    segment_id: str | None = None,
    analysis_period_days: int = 90,
    pattern_categories: list[str] | None = None,
    include_predictions: bool = True,
    min_pattern_confidence: float = 0.70,
    *,
    as_of: str | dt.date | None = None,
) -> EngagementPatterns:
    """Which patterns of engagement hold, how strong are they, how sure, and what do they go with?

    Everything that is tried is judged as one family: a pattern is reported where its false-discovery q is at most
    ``effects_max_q`` (0.01), it is found again on held-out time, and it comes back in ``min_pattern_confidence`` of the
    resamples of customers. What did not hold is listed in ``not_held``. Of one customer, what is said of leaving and of
    orders is learnt on the portfolio. Raises InvalidClientId, ClientNotFound, InvalidParameters and DataRetrievalError.
    Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1", "search") for day in range(1, 29)])
    >>> found = analyze_engagement_patterns(portfolio, "all_customers", analysis_period_days=14)
    >>> found.customers_analyzed, found.identified_patterns
    (1, [])
    """
    asked = validated(
        CustomerParameters,
        {
            "analysis_scope": analysis_scope,
            "client_id": client_id,
            "segment_id": segment_id,
            "analysis_period_days": analysis_period_days,
            "pattern_categories": pattern_categories,
            "include_predictions": include_predictions,
            "min_pattern_confidence": min_pattern_confidence,
            "as_of": as_of,
        },
    )
    return pattern_answer.answer(
        portfolio, scope_of(portfolio, portfolio.as_of(asked.as_of), asked), asked
    )


def portfolio_patterns(
    portfolio: Portfolio,
    *,
    analysis_period_days: int = 90,
    pattern_categories: list[str] | None = None,
    include_predictions: bool = True,
    min_pattern_confidence: float = 0.70,
    as_of: str | dt.date | None = None,
) -> EngagementPatterns:
    """The response for all customers, for the portfolio's report. Raises InvalidParameters and DataRetrievalError."""
    given = validated(
        PortfolioParameters,
        {
            "analysis_period_days": analysis_period_days,
            "pattern_categories": pattern_categories,
            "include_predictions": include_predictions,
            "min_pattern_confidence": min_pattern_confidence,
            "as_of": as_of,
        },
    )
    return analyze_engagement_patterns(portfolio, "all_customers", **given.model_dump())
