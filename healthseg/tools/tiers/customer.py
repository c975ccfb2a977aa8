"""One customer's value: its tier, the way to the next, its potential and its risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.clustering.rules import UNPLACED
from healthseg.metrics.families import CHILD_COLUMNS
from healthseg.scoring.churn.expected import lifetime_values, portfolio_base_rates
from healthseg.scoring.overrides import why_no_scores
from healthseg.tools.base import Figure, Interval
from healthseg.tools.context import EXPANSION_RULES
from healthseg.tools.renewals import renewal_days
from healthseg.tools.tiers.result import CustomerValue
from healthseg.tools.values import integer, number, rounded, word

if TYPE_CHECKING:
    from healthseg.tools.tiers.portfolio import TierRun
    from healthseg.tools.tiers.result import ValueTiers

NO_ARR, NO_RATE = "no ARR is known", "its ARR's currency has no rate"
NO_USAGE = "no ARR, seats or users are known"
CUT_BY_RANK = "it is in no tier, or the tiers are cut by rank"
DECIMALS = {
    "arr_change": 4,
    "classified_by": 4,
    "share_of_arr": 4,
    "churn_probability": 4,
    "users_in_a_year": 1,
}
# figures of a customer and why one may be missing
FIGURES = {
    "arr": "no table holds its ARR as of this date, or its currency has no rate",
    "classified_by": NO_ARR,
    "share_of_arr": "no ARR is known, or the ARR of the portfolio cannot be added up",
    "to_next": f"{CUT_BY_RANK}, or its tier is the highest",
    "to_lower": f"{CUT_BY_RANK}, or its tier is the lowest",
    "arr_a_year_ago": "not known",
    "arr_change": "no ARR of a year ago is known",
    "potential": f"{NO_USAGE}, or too few comparable customers of a year ago",
    "from_seats": NO_USAGE,
    "potential_cap": "too few comparable customers of a year ago",
    "users_in_a_year": "forecast only where nine of ten seats are in use",
    "contraction_exposure": NO_USAGE,
    "churn_probability": "the portfolio has no rate of churn",
    "lifetime_value": "no ARR is known, it gave notice, or the portfolio has no rate of churn",
    "expected_churned_arr": "no ARR is known, or the portfolio has no rate of churn",
    "strategic_value": "the customers table has none",
}
EXACT = {
    "above": f"{CUT_BY_RANK}, or its tier is the lowest",
    "up_to": f"{CUT_BY_RANK}, or its tier is the highest",
    "seats": "no seats are known of that day",
    "users": "no users are known of that day",
    "hours_per_month": "it is in no tier",
}
WORDS = {
    "next_tier": "no tier is higher, or it is in no tier",
    "lower_tier": "no tier is lower, or it is in no tier",
    "tier_a_year_ago": "no tier of a year ago is known",
    "potential_source": NO_USAGE,
    "csm_id": "no manager is known",
}


def customer_frame(run: TierRun) -> pd.DataFrame:
    """A row per live customer, the largest first: the unrounded figures of its value."""
    context, at = run.context, run.number.to_numpy()
    limits = np.array([np.nan, *run.thresholds, np.nan])
    names = np.array([None, *run.names, None, None], dtype=object)
    placed = (at != UNPLACED) & (not run.by_rank)
    above = np.where(placed, limits[at], np.nan)
    up_to = np.where(placed, limits[at + 1], np.nan)
    hours = run.staffing.set_index("tier")["hours_each"]
    total = run.money.total()
    churn = context.churn[["probability", "lower", "upper", "gave_notice"]]
    frame = pd.DataFrame(
        {
            "client_id": run.rows.index,
            "name": context.names,
            "tier": run.tier,
            "reason": [
                run.reason_without_arr(client_id) if number == UNPLACED else None
                for number, client_id in zip(at, run.rows.index, strict=True)
            ],
            "arr": run.arr.astype(float),
            "classified_by": run.classified_by,
            "share_of_arr": run.arr / total if total else np.nan,
            "above": above,
            "up_to": up_to,
            "next_tier": np.where(at != UNPLACED, names[at + 2], None),
            "to_next": (up_to - run.classified_by).clip(lower=0),
            "lower_tier": np.where(at != UNPLACED, names[at], None),
            "to_lower": run.classified_by - above,
            "score": run.rows["shown"].astype(float),
            "no_score": why_no_scores(run.rows, context.settings),
            "seats": run.rows["seats"].astype(float),
            "users": run.rows["monthly_active_users"].astype(float),
            "hours_per_month": run.tier.map(hours),
            "csm_id": context.static("csm_id", snapshot=True),
            "renewal_on": renewal_days(run.rows, context.as_of),
            "days_to_renewal": run.rows["days_to_renewal"].astype(float),
            "strategic_value": run.ranked["strategic_value"],
            "expected_churned_arr": context.expected_churned_arr,
            "currency": run.money.currency or run.money.by_currency,
        },
        index=run.rows.index,
    )
    potential = run.potential.rename(
        columns={
            "lower": "potential_lower",
            "upper": "potential_upper",
            "source": "potential_source",
            "cap": "potential_cap",
            "seats_potential": "from_seats",
        }
    )
    columns = [name for name in potential if not name.startswith("seats_")]
    frame = frame.join(potential[columns]).join(churn.add_prefix("churn_"))
    frame = frame.rename(columns={"churn_gave_notice": "gave_notice"})
    frame = frame.join(context.expansion_readiness)
    frame = frame.join(run.rows[[name for name in CHILD_COLUMNS if name in run.rows]])
    rates = portfolio_base_rates(context.portfolio, context.as_of)
    frame = frame.join(lifetime_values(rates, run.rows["tier"], run.arr, context.settings))
    past = None if run.since is None else run.movements.reindex(frame.index)
    frame["tier_a_year_ago"] = None if past is None else past["tier_then"]
    frame["arr_a_year_ago"] = np.nan if past is None else past["start"]
    frame["arr_change"] = frame["arr"] / frame["arr_a_year_ago"].where(lambda arr: arr > 0) - 1
    frame = frame.reset_index(drop=True).sort_values(
        ["arr", "client_id"],
        ascending=[False, True],
        na_position="last",
        kind="stable",
        ignore_index=True,
    )
    frame["rank"] = (frame.index + 1.0).where(frame["arr"].notna())
    return frame


def customer_value(result: ValueTiers, row: Mapping[str, Any]) -> CustomerValue:
    """A customer's value from its row of the frame ``customers``."""
    return CustomerValue(
        client_id=row["client_id"],
        name=str(row["name"]),
        tier=row["tier"],
        reason=word(row["reason"]),
        **{
            name: Figure(rounded(row[name], DECIMALS.get(name, 2)), reason)
            for name, reason in FIGURES.items()
        },
        **{name: Figure(number(row[name]), reason) for name, reason in EXACT.items()},
        **{name: Figure(word(row[name]), reason) for name, reason in WORDS.items()},
        rank=Figure(integer(row["rank"]), NO_ARR),
        of=int(result.frame("customers")["arr"].notna().sum()),
        potential_interval=_interval(row, "potential", 2),
        ready=Figure(None if row["undecided"] else bool(row["ready"]), "a figure is missing"),
        rules={name: None if pd.isna(row[name]) else bool(row[name]) for name in EXPANSION_RULES},
        score=Figure(integer(row["score"]), row["no_score"]),
        churn_interval=_interval(row, "churn", 4),
        lifetime_interval=_interval(row, "lifetime_value", 2),
        gave_notice=bool(row["gave_notice"]),
        renewal_on=Figure(
            None if pd.isna(row["renewal_on"]) else pd.Timestamp(row["renewal_on"]).date(),
            "no contract says when it renews",
        ),
        next_actions=[],
    )


def _interval(row: Mapping[str, Any], name: str, decimals: int) -> Interval:
    lower, upper = (rounded(row[f"{name}_{end}"], decimals) for end in ("lower", "upper"))
    return Interval(lower=lower, upper=upper)
