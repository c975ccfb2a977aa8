"""The figures of a tier: characteristics, pipeline, revenue, what is at risk, health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics.revenue import retention, waterfall
from healthseg.tools.rounding import rounded
from healthseg.tools.segments.characteristics import mean_interval
from healthseg.tools.segments.words import brief
from healthseg.tools.tiers import capacity
from healthseg.tools.tiers.at_risk import probabilities, simulate
from healthseg.tools.tiers.ready import RULES
from healthseg.tools.tiers.result import (
    AtRiskPart,
    Engagement,
    HealthSummary,
    Pipeline,
    Range,
    Revenue,
    TierCharacteristics,
    TierMove,
    ValueTier,
    YearOnYear,
)

if TYPE_CHECKING:
    from healthseg.tools.tiers.answer import Tiers

NEW, LEFT = "New", "Left"


def characteristics(run: Tiers, members: pd.Index) -> TierCharacteristics:
    """Unweighted means over the members of whom each is known, with n and intervals."""
    rows = run.rows.loc[members]
    users, basis = run.users
    columns = {
        "avg_health_score": (rows["shown"], 1),
        "avg_tenure_months": (rows["tenure_months"], 1),
        "avg_user_count": (users.reindex(members), 1),
        "feature_adoption_rate": (rows["feature_adoption_rate_30d"], 4),
    }
    means, counts, spans = {}, {}, {}
    for name, (values, decimals) in columns.items():
        known = values.to_numpy(dtype=float)
        known = known[np.isfinite(known)]
        mean, lower, upper = mean_interval(known, run.level)
        means[name], counts[name] = rounded(mean, decimals), len(known)
        spans[name] = Range(lower=rounded(lower, decimals), upper=rounded(upper, decimals))
    return TierCharacteristics(
        **means, user_count_basis=basis, support_tier=_support(run, rows), n=counts, intervals=spans
    )


def _support(run: Tiers, rows: pd.DataFrame) -> str | None:
    """The support that most members' plans come with, by the settings."""
    named = rows["plan"].astype(object).map(run.settings.support_tiers).dropna()
    counts = named.value_counts()
    return min(counts.index, key=lambda name: (-counts[name], name)) if len(counts) else None


def engagement(run: Tiers, name: str) -> Engagement:
    at = run.names.index(name)
    plan = capacity.by_rank(run.names, run.settings.tier_strategies)[at]
    each = capacity.hours_of(run.names, run.settings)[at]
    hours = run.settings.csm_capacity_hours
    accounts = max(int(hours // each), 1)
    return Engagement(
        csm_ratio=f"1 CSM per {accounts} accounts ({each:g} of {hours:g} hours a month)",
        touch_frequency=plan.touch_frequency,
        executive_engagement=plan.executive_engagement,
        support_sla=plan.support_sla,
        success_programs=list(plan.success_programs),
        automation_level=plan.automation_level,
        source="settings",
    )


def pipeline(run: Tiers, members: pd.Index) -> Pipeline:
    """Potential as a sum with its interval, and who is ready by which rules; unknown is not ready."""
    frame, ready = run.potential.reindex(members), run.ready.reindex(members)
    known = run.addable and frame["potential"].notna().any()
    given = frame["source"] == "customers table"
    total = {name: _sum(frame[name], known) for name in ("potential", "lower", "upper")}
    return Pipeline(
        total_expansion_potential=total["potential"],
        avg_expansion_potential=rounded(frame["potential"].mean(), 0) if known else None,
        potential_interval=Range(lower=total["lower"], upper=total["upper"]),
        high_probability_expansions=int(ready["ready"].sum()),
        unknown=int(ready["undecided"].sum()),
        customers_with_potential=int((frame["potential"] > 0).sum()),
        from_seats=_sum(frame["seats_potential"][~given], known),
        from_premium_features=_sum(frame["premium_potential"][~given], known),
        from_customers_table=_sum(frame["potential"][given], known),
        contraction_exposure=_sum(frame["contraction_exposure"], known),
        rules_met={name: int(ready[name].eq(True).sum()) for name in RULES},
    )


def _sum(values: pd.Series, known: bool) -> float | None:
    return round(float(values.sum()), 2) if known else None


def tier_revenue(run: Tiers, name: str) -> Revenue:
    """Of those who were in the tier a year ago, and what is new in it."""
    rows = run.movements
    cohort = rows[(rows["tier_then"] == name) & (rows["start"] > 0)]
    fresh = rows[(rows["tier_now"] == name) & (rows["start"] == 0)]
    return revenue(cohort, pd.concat([cohort, fresh]))


def revenue(cohort: pd.DataFrame, rows: pd.DataFrame) -> Revenue:
    """Rates of the cohort, sums of the rows: start + new + expansion + contraction + churn = end."""
    kept, sums = retention(cohort), waterfall(rows)
    return Revenue(
        nrr=rounded(kept.nrr),
        grr=rounded(kept.grr),
        cohort=kept.customers,
        lost=kept.lost,
        **{name: round(value, 2) for name, value in sums.items()},
    )


def year_on_year(run: Tiers) -> YearOnYear:
    """Who is in another tier than a year ago."""
    rows = run.movements[(run.movements["start"] > 0) | (run.movements["end"] > 0)]
    before = rows["tier_then"].where(rows["start"] > 0, NEW)
    after = rows["tier_now"].where(rows["end"] > 0, LEFT)
    order = {name: at for at, name in enumerate(run.names)}
    here = before.isin(order) & after.isin(order)
    steps = after[here].map(order) - before[here].map(order)
    frame = pd.DataFrame(
        {
            "from": before.fillna("unknown"),
            "to": after.fillna("unknown"),
            "arr": np.where(rows["end"] > 0, rows["end"], rows["start"]),
        }
    )
    found = (
        frame.groupby(["from", "to"], sort=True)
        .agg(customers=("arr", "size"), arr=("arr", "sum"))
        .reset_index()
    )
    return YearOnYear(
        since=run.since,
        stayed=int((steps == 0).sum()),
        up=int((steps > 0).sum()),
        down=int((steps < 0).sum()),
        new=int((before == NEW).sum()),
        left=int((after == LEFT).sum()),
        moves=[
            TierMove(
                from_tier=row["from"],
                to_tier=row["to"],
                customers=int(row["customers"]),
                arr=round(float(row["arr"]), 2),
            )
            for row in found.to_dict("records")
        ],
    )


def at_risk(run: Tiers, members: pd.Index) -> AtRiskPart:
    """What of the members' ARR may be lost, simulated."""
    found = simulate(run.figures, members, run.settings.seed)
    table = probabilities(run.figures).reindex(members)
    tail = (1 - run.level) / 2
    methods = sorted(set(table["method"].dropna())) or ["none"]
    return AtRiskPart(
        horizon_days=run.settings.churn_horizon_days,
        expected=round(found.expected, 2),
        median=round(found.quantile(0.5), 2),
        lower=round(found.quantile(tail), 2),
        upper=round(found.quantile(1 - tail), 2),
        level=run.level,
        certain=round(found.certain, 2),
        customers=found.customers,
        notices=int(table["gave_notice"].sum()) if len(table) else 0,
        without_probability=found.without_probability,
        draws=len(found.draws),
        method=" and ".join(methods),
    )


def health(run: Tiers, name: str) -> HealthSummary:
    members = run.members(name)
    score, ready = run.rows["shown"].reindex(members).astype(float), run.ready.reindex(members)
    return HealthSummary(
        avg_health=rounded(score.mean(), 1),
        at_risk_count=int((score < run.settings.band_edges[1]).sum()),
        expansion_ready_count=int(ready["ready"].sum()),
        unknown_health=int(score.isna().sum()),
        unknown_readiness=int(ready["undecided"].sum()),
    )


def named(run: Tiers, tier: ValueTier, need: dict[str, Any]) -> dict[str, Any]:
    """The figures of a tier that the rules read."""
    members, money = run.members(tier.tier_name), run.money.currency
    told, chance = health(run, tier.tier_name), probabilities(run.figures).reindex(members)
    notices = chance["gave_notice"].astype(bool)
    certain = run.arr.reindex(members)[notices]
    total = run.potential["potential"].reindex(members).sum() if run.addable else None
    sums = tier_revenue(run, tier.tier_name) if run.since is not None else None
    gap = None if need["gap"] is None or pd.isna(need["gap"]) else int(need["gap"])
    return {
        "tier": tier.tier_name,
        "customers": tier.customer_count,
        "arr": tier.total_arr,
        "money": brief(tier.total_arr, money),
        "arr_percent": tier.percentage_of_arr,
        "need": int(need["need"]),
        "gap": gap,
        "spare": None if gap is None else -gap,
        "hours_each": need["hours_each"],
        "ready": told.expansion_ready_count,
        "potential": total,
        "potential_money": brief(total, money),
        "at_risk": told.at_risk_count,
        "notices": int(notices.sum()),
        "certain_money": brief(float(certain.sum()) if run.addable else None, money),
        "nrr_percent": None if sums is None or sums.nrr is None else 100 * sums.nrr,
        "cohort": None if sums is None else sums.cohort,
    }
