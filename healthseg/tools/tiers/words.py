"""The sentences of segment_by_value_tier."""

from __future__ import annotations

from typing import Any

from healthseg.tools.segments.words import brief


def verdict(response: Any) -> str:
    """The tiers in a line."""
    if not response.total_customers:
        return "No live customers"
    money, told = response.currency, []
    if response.total_arr is not None:
        told.append(
            f"{response.total_customers} customers with {brief(response.total_arr, money)} ARR"
        )
    else:
        told.append(f"{response.total_customers} customers")
    if response.pareto_analysis.top_20_percent_arr_contribution:
        told.append(
            f"the top fifth has {response.pareto_analysis.top_20_percent_arr_contribution} of it"
        )
    if response.retention is not None and response.retention.nrr is not None:
        told.append(
            f"net retention {100 * response.retention.nrr:.0f} %, gross {100 * response.retention.grr:.0f} %"
        )
    if response.at_risk is not None and response.at_risk.customers:
        told.append(
            f"{brief(response.at_risk.expected, money)} expected to be lost in {response.at_risk.horizon_days} days "
            f"({100 * response.at_risk.level:.0f} %: {brief(response.at_risk.lower, money)} to "
            f"{brief(response.at_risk.upper, money)})"
        )
    return "; ".join(told)


def customer_verdict(response: Any) -> str:
    """One customer's value in a line."""
    here = response.customer_standing
    if here.reason:
        return f"{here.name}: in no tier, since {here.reason}"
    text = f"{here.name}: {here.tier}, {brief(here.arr, response.currency)} ARR, number {here.rank} of {here.of}"
    if here.to_next is not None:
        text += f"; {brief(here.to_next, response.currency)} more to {here.next_tier}"
    if here.potential:
        text += f"; potential {brief(here.potential, response.currency)}"
    return text


def described(low: float | None, high: float | None, what: str, currency: str | None) -> str:
    """
    >>> described(50_000, 250_000, "ARR", "EUR"), described(None, 50_000, "ARR", None)
    ('EUR 50,000 < ARR <= EUR 250,000', 'ARR <= 50,000')
    """
    unit = f"{currency} " if currency else ""
    below = "" if low is None else f"{unit}{low:,.0f} < "
    if high is None:
        return f"{what} > {unit}{low:,.0f}"
    return f"{below}{what} <= {unit}{high:,.0f}"
