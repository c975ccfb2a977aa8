"""segment_by_value_tier: what are customers worth, what do the tiers need, what may churn or grow?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters
from healthseg.settings import tier_names
from healthseg.tools.base import MAX_NAME_CHARACTERS, AsOf, ClientId, Only, rising_numbers, tool
from healthseg.tools.context import CustomerContext, PortfolioContext
from healthseg.tools.next_actions import NextActions
from healthseg.tools.renewals import renewal_risk
from healthseg.tools.tiers.portfolio import TierOptions, value_tiers
from healthseg.tools.tiers.result import ValueTiers

Model = Annotated[
    Literal["arr_based", "potential_based", "strategic_value"],
    Field(description="What decides a customer's tier"),
]
Thresholds = Annotated[
    list[Any] | None,
    Field(description="Rising ARR thresholds; default: the setting arr_thresholds"),
]
WithPotential = Annotated[bool, Field(description="Include the expansion pipeline")]
WithStrategicValue = Annotated[bool, Field(description="Include the mean strategic value")]
Detail = Annotated[Literal["summary", "detailed", "full"], Field(description="Level of detail")]
Names = Annotated[
    list[str] | None, Field(description="Names of the tiers from the lowest up; default: settings")
]


@tool
def segment_by_value_tier(
    portfolio: Portfolio,
    segmentation_model: Model = "arr_based",
    arr_thresholds: Thresholds = None,
    include_expansion_potential: WithPotential = True,
    include_strategic_value: WithStrategicValue = False,
    output_detail_level: Detail = "detailed",
    *,
    names: Names = None,
    client_id: Annotated[
        ClientId | None, Field(description="Customer whose tier is shown (omit for none)")
    ] = None,
    as_of: AsOf = None,
) -> ValueTiers:
    """What are customers worth, how did each tier keep its revenue, what does it need, what may churn?

    k rising thresholds make k + 1 tiers; an upper limit belongs to its tier. ``arr_based`` cuts by
    ARR, ``potential_based`` by ARR and expansion potential; ``strategic_value`` cuts the weighted
    ranks of ARR, potential and strategic value into tiers of the sizes that ``arr_based`` has.
    ``output_detail_level`` "summary" leaves out the details of each tier, "full" adds its customers.
    The result has the tiers (highest first, amounts in ``currency``), concentration, managers needed,
    net and gross retention, ARR that may churn, and with ``client_id`` that customer's standing.
    Raises InvalidClientId, ClientNotFound, InvalidParameters, DataRetrievalError. Formulas and their
    sources: docs/methods.md.

    >>> import pandas as pd
    >>> from healthseg.testing import tiny_portfolio
    >>> customers = pd.DataFrame({"client_id": ["a", "b"], "signup_date": "2024-01-01", "arr": [900, 50_000]})
    >>> portfolio = tiny_portfolio([("a", "2025-03-03 09:00", "u1"), ("b", "2025-03-03 09:00", "u2")], customers)
    >>> response = segment_by_value_tier(portfolio, arr_thresholds=[1_000])
    >>> [(tier.tier_name, tier.customer_count) for tier in response.value_tiers]
    [('Enterprise', 1), ('SMB', 1)]
    """
    limits = _limits(portfolio, arr_thresholds)
    options = TierOptions(
        segmentation_model,
        limits,
        tuple(_tier_names(portfolio, names, limits)),
        include_expansion_potential,
        include_strategic_value,
        output_detail_level,
    )
    date = portfolio.as_of(as_of)
    if client_id is None:
        return value_tiers(portfolio, date, options)
    CustomerContext.of(portfolio, client_id, date, live=True)
    result = value_tiers(portfolio, date, options)
    standing = result.customer(client_id).model_copy(
        update={
            "next_actions": NextActions.of(portfolio, date).shown(client_id),
            "renewal_risk": renewal_risk(PortfolioContext.of(portfolio, date), client_id),
        }
    )
    return result.with_part("customer_standing", standing)


@tool
def portfolio_tiers(
    portfolio: Portfolio,
    *,
    segmentation_model: Model = "arr_based",
    arr_thresholds: Thresholds = None,
    include_expansion_potential: WithPotential = True,
    include_strategic_value: WithStrategicValue = False,
    output_detail_level: Detail = "detailed",
    names: Names = None,
    only: Only = None,
    as_of: AsOf = None,
) -> ValueTiers:
    """``segment_by_value_tier`` for the portfolio's report, without a customer.

    ``only`` shows some customers alone: sums, retention and renewals are theirs; tiers, potential and probabilities are
    those that they have among all. Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_tiers(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    limits = _limits(portfolio, arr_thresholds)
    options = TierOptions(
        segmentation_model,
        limits,
        tuple(_tier_names(portfolio, names, limits)),
        include_expansion_potential,
        include_strategic_value,
        output_detail_level,
        only,
    )
    return value_tiers(portfolio, portfolio.as_of(as_of), options)


def _limits(portfolio: Portfolio, thresholds: list[Any] | None) -> tuple[float, ...]:
    if thresholds is None:
        return portfolio.settings.arr_thresholds
    return tuple(rising_numbers(thresholds, "arr_thresholds", 0))


def _tier_names(
    portfolio: Portfolio, names: list[str] | None, limits: tuple[float, ...]
) -> list[str]:
    if names is None:
        return list(tier_names(portfolio.settings, limits))
    rule = f"{len(limits) + 1} different names, from the lowest tier up"
    printable = all(
        name.strip() and len(name) <= MAX_NAME_CHARACTERS and name.isprintable() for name in names
    )
    if len(set(names)) != len(limits) + 1 or not printable:
        raise InvalidParameters(
            f"names must be {rule}",
            parameter="names",
            value_provided=str(names)[:200],
            validation_rule=rule,
        )
    return names
