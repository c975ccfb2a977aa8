"""segment_by_value_tier: who is worth what, what do the tiers take, what may be lost and what won?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters
from healthseg.tools.parameters import Parameters, validated
from healthseg.tools.segments.criteria import thresholds
from healthseg.tools.segments.tool import refuse_unless_live
from healthseg.tools.tiers import answer as tier_answer
from healthseg.tools.tiers.result import ValueTiers

Model = Literal["arr_based", "potential_based", "strategic_value"]
Detail = Literal["summary", "detailed", "full"]


class PortfolioParameters(Parameters):
    """Parameters of portfolio_tiers."""

    segmentation_model: Model = Field(default="arr_based", description="What tiers are made by")
    arr_thresholds: list[Any] | None = Field(
        default=None, description="Rising ARR thresholds; default: the setting arr_thresholds"
    )
    include_expansion_potential: bool = Field(
        default=True, description="With the expansion pipeline"
    )
    include_strategic_value: bool = Field(default=False, description="With the strategic value")
    output_detail_level: Detail = Field(default="detailed", description="Level of detail")
    names: list[str] | None = Field(
        default=None, description="Names of the tiers from the lowest up"
    )
    as_of: str | dt.date | None = Field(
        default=None, description="Date, read to its end; default the portfolio's last day"
    )


class CustomerParameters(PortfolioParameters):
    """Parameters of segment_by_value_tier."""

    client_id: str | None = Field(
        default=None, description="Customer whose place is shown (omit for none)"
    )


def segment_by_value_tier(
    portfolio: Portfolio,
    segmentation_model: str = "arr_based",
    arr_thresholds: Sequence[float] | None = None,
    include_expansion_potential: bool = True,
    include_strategic_value: bool = False,
    output_detail_level: str = "detailed",
    *,
    names: Sequence[str] | None = None,
    client_id: str | None = None,
    as_of: str | dt.date | None = None,
) -> ValueTiers:
    """Which customers are worth what, how did each tier keep its revenue, what does it take, what may be lost?

    k rising thresholds make k + 1 tiers; an upper end belongs to its tier. ``potential_based`` adds what a customer
    could come to pay, ``strategic_value`` cuts weighted ranks of ARR, potential and strategic value into tiers of the
    sizes that ``arr_based`` has. Raises InvalidClientId, ClientNotFound, InvalidParameters, DataRetrievalError.
    Formulas: docs/methods.md.

    >>> import pandas as pd
    >>> from healthseg.testing import tiny_portfolio
    >>> customers = pd.DataFrame({"client_id": ["a", "b"], "signup_date": "2024-01-01", "arr": [900, 50_000]})
    >>> portfolio = tiny_portfolio([("a", "2025-03-03 09:00", "u1"), ("b", "2025-03-03 09:00", "u2")], customers)
    >>> found = segment_by_value_tier(portfolio, arr_thresholds=[1_000])
    >>> [(tier.tier_name, tier.customer_count) for tier in found.value_tiers]
    [('Enterprise', 1), ('SMB', 1)]
    """
    asked = validated(
        CustomerParameters,
        {
            "segmentation_model": segmentation_model,
            "arr_thresholds": _list(arr_thresholds),
            "include_expansion_potential": include_expansion_potential,
            "include_strategic_value": include_strategic_value,
            "output_detail_level": output_detail_level,
            "names": _list(names),
            "client_id": client_id,
            "as_of": as_of,
        },
    )
    return _answered(portfolio, asked)


def portfolio_tiers(
    portfolio: Portfolio,
    *,
    segmentation_model: str = "arr_based",
    arr_thresholds: Sequence[float] | None = None,
    include_expansion_potential: bool = True,
    include_strategic_value: bool = False,
    output_detail_level: str = "detailed",
    names: Sequence[str] | None = None,
    as_of: str | dt.date | None = None,
) -> ValueTiers:
    """The same response, for the portfolio's report. Raises InvalidParameters and DataRetrievalError."""
    given = validated(
        PortfolioParameters,
        {
            "segmentation_model": segmentation_model,
            "arr_thresholds": _list(arr_thresholds),
            "include_expansion_potential": include_expansion_potential,
            "include_strategic_value": include_strategic_value,
            "output_detail_level": output_detail_level,
            "names": _list(names),
            "as_of": as_of,
        },
    )
    return _answered(portfolio, validated(CustomerParameters, given.model_dump()))


def _answered(portfolio: Portfolio, asked: CustomerParameters) -> ValueTiers:
    limits = thresholds(
        asked.arr_thresholds,
        portfolio.settings.arr_thresholds,
        "arr_thresholds",
        0,
        None,
        "arr_thresholds",
    )
    if asked.names is not None:
        _refuse_names(asked.names, len(limits) + 1)
    date = portfolio.as_of(asked.as_of)
    if asked.client_id is not None:
        refuse_unless_live(portfolio, asked.client_id, date)
    return tier_answer.answer(portfolio, date, asked.model_copy(update={"arr_thresholds": limits}))


def _refuse_names(names: list[str], count: int) -> None:
    rule = f"{count} different names, from the lowest tier up"
    if len(set(names)) != count or not all(
        name.strip() and len(name) <= 60 and name.isprintable() for name in names
    ):
        raise InvalidParameters(
            f"names must be {rule}",
            parameter="names",
            value_provided=str(names)[:200],
            validation_rule=rule,
        )


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | range) else value
