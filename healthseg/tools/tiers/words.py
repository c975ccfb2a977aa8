"""The sentences of segment_by_value_tier."""

from __future__ import annotations

from typing import Any

from healthseg.tools.segments.words import brief


def verdict(reply: Any) -> str:
    """The tiers in a line."""
    if not reply.total_customers:
        return "No live customers"
    money, told = reply.currency, []
    if reply.total_arr is not None:
        told.append(f"{reply.total_customers} customers with {brief(reply.total_arr, money)} ARR")
    else:
        told.append(f"{reply.total_customers} customers")
    if reply.pareto_analysis.top_20_percent_arr_contribution:
        told.append(
            f"the top fifth has {reply.pareto_analysis.top_20_percent_arr_contribution} of it"
        )
    if reply.retention is not None and reply.retention.nrr is not None:
        told.append(
            f"net retention {100 * reply.retention.nrr:.0f} %, gross {100 * reply.retention.grr:.0f} %"
        )
    if reply.at_risk is not None and reply.at_risk.customers:
        told.append(
            f"{brief(reply.at_risk.expected, money)} expected to be lost in {reply.at_risk.horizon_days} days "
            f"({100 * reply.at_risk.level:.0f} %: {brief(reply.at_risk.lower, money)} to "
            f"{brief(reply.at_risk.upper, money)})"
        )
    return "; ".join(told)


def customer_verdict(reply: Any) -> str:
    """One customer's value in a line."""
    here = reply.customer_standing
    if here.reason:
        return f"{here.name}: in no tier, since {here.reason}"
    text = f"{here.name}: {here.tier}, {brief(here.arr, reply.currency)} ARR, number {here.rank} of {here.of}"
    if here.to_next is not None:
        text += f"; {brief(here.to_next, reply.currency)} more to {here.next_tier}"
    if here.potential:
        text += f"; potential {brief(here.potential, reply.currency)}"
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
