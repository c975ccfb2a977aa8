"""track_adoption_milestones: which milestones are completed, late or blocked, when are they done?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.tools.base import AsOf, ClientId, Only, tool
from healthseg.tools.context import CustomerContext
from healthseg.tools.milestones.customer import CustomerMilestones
from healthseg.tools.milestones.portfolio import MilestonesOfPortfolio
from healthseg.tools.milestones.result import AdoptionMilestones, PortfolioMilestones

Category = Annotated[
    Literal["onboarding", "adoption", "expansion", "all"],
    Field(description="Category of milestones"),
]


@tool
def track_adoption_milestones(
    portfolio: Portfolio,
    client_id: ClientId,
    milestone_category: Category = "all",
    include_overdue: Annotated[bool, Field(description="Include overdue milestones")] = True,
    include_recommendations: Annotated[
        bool, Field(description="Include recommendations for acceleration")
    ] = True,
    *,
    as_of: AsOf = None,
) -> AdoptionMilestones:
    """Which milestones has a customer completed, which are late, what blocks them, when are they done?

    A milestone is completed by hand or by use (``completes_when``), whichever was first; completed,
    skipped, overdue, in progress or not started, in this order, so that the five partition the
    total. Days count from signing up (or coming back) to the target; a forecast is the curve of the
    customers whose milestone was open as long. The success probability is calibrated on the
    portfolio's past customers, or absent. Raises InvalidClientId, ClientNotFound,
    InvalidParameters and DataRetrievalError. Formulas: docs/methods.md.

    >>> import pandas as pd
    >>> from healthseg.testing import tiny_portfolio
    >>> plan = pd.DataFrame(
    ...     {
    ...         "milestone_id": ["kick", "search"],
    ...         "name": ["Kick-off", "Search in use"],
    ...         "category": ["onboarding", "adoption"],
    ...         "target_days": [10, 30],
    ...         "completes_when": [None, '{"feature": "search", "users": 2}'],
    ...     }
    ... )
    >>> done = pd.DataFrame(
    ...     {"client_id": ["a"], "milestone_id": ["kick"], "completed_at": ["2025-03-05"]}
    ... )
    >>> customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["2025-03-01"]})
    >>> events = [("a", "2025-03-20 09:00", "u1", "search")]
    >>> portfolio = tiny_portfolio(events, customers, milestones=plan, milestone_progress=done)
    >>> response = track_adoption_milestones(portfolio, "a")
    >>> [
    ...     (part.milestone_id, part.status, part.progress_percentage)
    ...     for part in response.milestone_details
    ... ]
    [('kick', 'completed', None), ('search', 'in_progress', 0.5)]
    """
    context = CustomerContext.of(portfolio, client_id, portfolio.as_of(as_of))
    customer = CustomerMilestones(context, milestone_category)
    return customer.result(include_overdue, include_recommendations)


@tool
def portfolio_milestones(
    portfolio: Portfolio,
    *,
    milestone_category: Category = "all",
    only: Only = None,
    as_of: AsOf = None,
) -> PortfolioMilestones:
    """At which milestones are customers late, what blocks them, how long does value take?

    ``only`` lists and counts some customers alone; how long milestones and blockers take is learnt from all.

    Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_milestones(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    day = portfolio.as_of(as_of)
    return MilestonesOfPortfolio(portfolio, day, milestone_category, only).result()
