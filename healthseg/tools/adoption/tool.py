"""track_feature_adoption: what is used of what is paid for, how fast, does it last, and does it go with retention?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.tools.adoption.portfolio import AdoptionRequest, Against
from healthseg.tools.adoption.result import FeatureAdoption, PortfolioAdoption
from healthseg.tools.base import AsOf, ClientId, Only, tool
from healthseg.tools.context import CustomerContext

Category = Annotated[
    Literal["core", "advanced", "premium", "all"], Field(description="Category of features")
]
Days = Annotated[int, Field(ge=7, le=365, description="Days over which adoption is measured")]


@tool
def track_feature_adoption(
    portfolio: Portfolio,
    client_id: Annotated[
        ClientId | None, Field(description="Specific customer (omit for all customers)")
    ] = None,
    feature_category: Category = "all",
    time_period_days: Days = 30,
    include_adoption_funnel: Annotated[
        bool, Field(description="Include the adoption funnel")
    ] = True,
    include_correlation_analysis: Annotated[
        bool, Field(description="Correlate adoption with outcomes")
    ] = True,
    benchmark_against: Annotated[
        Against | None, Field(description="Peers to compare with; default tier")
    ] = None,
    *,
    as_of: AsOf = None,
) -> FeatureAdoption:
    """Which usable features are adopted, how fast, how deep, for how long, and does it go with retention?

    Adopted means: person events on ``adopted_min_days`` (2) days of ``time_period_days``, on one of
    them by ``adopted_min_users`` (1). The denominator is what is released and entitled at the end
    of ``as_of``. Times are Kaplan–Meier medians with those not there yet; effects are measured at
    quarter ends on the 90 days after them, adjusted for size, tenure, tier and overall activity.
    Without ``client_id`` the response is about all live customers. Raises InvalidClientId,
    ClientNotFound, InvalidParameters and DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [f"2025-03-{day:02d} 09:00" for day in range(1, 31)]
    >>> events = [*(("a", day, "u1", "search") for day in days), ("a", days[4], "u1", "export")]
    >>> adoption = track_feature_adoption(tiny_portfolio(events), "a")
    >>> [(detail.feature_name, detail.adopted) for detail in adoption.feature_details]
    [('export', False), ('search', True)]
    """
    portfolio.require("events")
    date = portfolio.as_of(as_of)
    context = None if client_id is None else CustomerContext.of(portfolio, client_id, date)
    request = AdoptionRequest(
        portfolio,
        date,
        time_period_days,
        feature_category,
        include_adoption_funnel,
        include_correlation_analysis,
    )
    if context is None:
        return request.for_portfolio()
    return request.for_customer(context, benchmark_against)


@tool
def portfolio_adoption(
    portfolio: Portfolio,
    *,
    feature_category: Category = "all",
    time_period_days: Days = 30,
    only: Only = None,
    as_of: AsOf = None,
) -> PortfolioAdoption:
    """Which features do customers adopt, who adopts least, what is abandoned, how do groups adopt?

    ``only`` counts some customers alone; times, effects and groups are learnt from all.

    Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1", "search") for day in range(1, 29)]
    >>> portfolio_adoption(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    portfolio.require("events")
    request = AdoptionRequest(
        portfolio, portfolio.as_of(as_of), time_period_days, feature_category, only=only
    )
    response = request.for_portfolio(PortfolioAdoption)
    assert isinstance(response, PortfolioAdoption)
    return response
