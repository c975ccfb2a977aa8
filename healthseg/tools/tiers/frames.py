"""Finished frames for charts and tables, unrounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics.revenue import PARTS
from healthseg.statistics.rates import lorenz as lorenz_curve
from healthseg.tools.tiers.at_risk import simulate
from healthseg.tools.tiers.result import TierPlace, ValueTiers

if TYPE_CHECKING:
    from healthseg.tools.tiers.answer import Tiers

BINS = 30
WHOLE = "the portfolio"


def tiers(response: ValueTiers) -> pd.DataFrame:
    """A row a tier, the topmost first: customers, ARR, retention, what is at risk, potential, health."""
    rows = []
    for one in response.value_tiers:
        kept, risk, more = one.retention, one.at_risk, one.expansion_pipeline
        rows.append(
            {
                "tier": one.tier_name,
                "description": one.tier_description,
                "customers": one.customer_count,
                "share": one.percentage_of_customers / 100,
                "arr": one.total_arr,
                "arr_share": None if one.percentage_of_arr is None else one.percentage_of_arr / 100,
                "average_arr": one.avg_arr_per_customer,
                "health": one.characteristics and one.characteristics.avg_health_score,
                "nrr": kept and kept.nrr,
                "grr": kept and kept.grr,
                "cohort": kept and kept.cohort,
                "at_risk": risk and risk.expected,
                "at_risk_lower": risk and risk.lower,
                "at_risk_upper": risk and risk.upper,
                "potential": more and more.total_expansion_potential,
                "potential_lower": more and more.potential_interval.lower,
                "potential_upper": more and more.potential_interval.upper,
                "ready": more and more.high_probability_expansions,
            }
        )
    columns = [
        "tier",
        "description",
        "customers",
        "share",
        "arr",
        "arr_share",
        "average_arr",
        "health",
        "nrr",
        "grr",
        "cohort",
        "at_risk",
        "at_risk_lower",
        "at_risk_upper",
        "potential",
        "potential_lower",
        "potential_upper",
        "ready",
    ]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], float))


def customers(run: Tiers, places: dict[str, TierPlace]) -> pd.DataFrame:
    """A row a customer, the largest first."""
    fields = [
        "client_id",
        "name",
        "tier",
        "arr",
        "rank",
        "potential",
        "ready",
        "score",
        "leaving_probability",
        "expected_loss",
        "to_next",
        "next_tier",
        "tier_a_year_ago",
        "arr_a_year_ago",
        "csm_id",
    ]
    frame = pd.DataFrame(
        [place.model_dump(include=set(fields)) for place in places.values()], columns=fields
    )
    numeric = [
        "arr",
        "rank",
        "potential",
        "score",
        "leaving_probability",
        "expected_loss",
        "to_next",
        "arr_a_year_ago",
    ]
    frame = frame.astype(dict.fromkeys(numeric, float))
    frame["currency"] = (
        run.money.currency or run.money.by_currency.reindex(frame["client_id"]).to_numpy()
    )
    return frame.sort_values(
        ["arr", "client_id"],
        ascending=[False, True],
        na_position="last",
        kind="stable",
        ignore_index=True,
    )


def lorenz(run: Tiers) -> pd.DataFrame:
    return lorenz_curve(run.arr.to_numpy(dtype=float) if run.addable else np.array([]))


def waterfall(response: ValueTiers) -> pd.DataFrame:
    """A row per scope (the portfolio, then each tier) and part of the waterfall."""
    scopes = [
        (WHOLE, response.retention),
        *((one.tier_name, one.retention) for one in response.value_tiers),
    ]
    rows = [
        {"scope": name, "part": part, "amount": getattr(found, part)}
        for name, found in scopes
        if found is not None
        for part in PARTS
    ]
    return pd.DataFrame(rows, columns=["scope", "part", "amount"]).astype({"amount": float})


def moves(response: ValueTiers) -> pd.DataFrame:
    """A row per pair of tiers a year ago and now, in order of the tiers."""
    found = [] if response.year_on_year is None else response.year_on_year.moves
    rows = [
        {"from": one.from_tier, "to": one.to_tier, "customers": one.customers, "arr": one.arr}
        for one in found
    ]
    return pd.DataFrame(rows, columns=["from", "to", "customers", "arr"])


def at_risk(run: Tiers) -> pd.DataFrame:
    """The distribution of the ARR that is lost: low, high, share of the draws."""
    columns = ["low", "high", "share"]
    if not run.addable or not len(run.rows):
        return pd.DataFrame(columns=columns, dtype=float)
    draws = simulate(run.figures, run.rows.index, run.settings.seed).draws
    if not draws.max() > 0:
        return pd.DataFrame(columns=columns, dtype=float)
    counts, edges = np.histogram(
        draws, bins=BINS, range=(0, float(np.sort(draws)[int(0.999 * (len(draws) - 1))]))
    )
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": counts / len(draws)})


def thresholds(run: Tiers, response: ValueTiers) -> pd.DataFrame:
    """Given thresholds beside those that the managers' hours would carry, with the customers of each tier."""
    told = response.suggested_thresholds
    rows = []
    for at, name in reversed(list(enumerate(run.names))):
        rows.append(
            {
                "tier": name,
                "given_above": None if at == 0 else run.limits[at - 1],
                "given_customers": len(run.members(name)),
                "suggested_above": None
                if at == 0 or told.thresholds is None
                else told.thresholds[at - 1],
                "suggested_customers": None if told.customers is None else told.customers[at],
            }
        )
    return pd.DataFrame(rows)
