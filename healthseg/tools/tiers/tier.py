"""The figures of one tier: means, strategy, expansion pipeline, revenue, churn risk, health."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics.money import retention, waterfall
from healthseg.rules import listed
from healthseg.statistics.rates import gini, herfindahl, largest_share, top_fifth
from healthseg.tools.base import Figure, Interval
from healthseg.tools.context import EXPANSION_RULES, mean_interval
from healthseg.tools.tiers.allocation import by_rank
from healthseg.tools.tiers.result import (
    ArrShare,
    ExpansionPipeline,
    Growth,
    LargestCustomer,
    RevenueMovement,
    TierCharacteristics,
    TierChurnRisk,
    TierEngagement,
    TierHealth,
    TierPareto,
    ValueTier,
)
from healthseg.tools.values import number, rounded

if TYPE_CHECKING:
    from healthseg.tools.tiers.portfolio import TierRun

NOT_SCORED = "a tier without a scored customer"
NO_POTENTIAL = "no ARR, seats or users are known, or too few comparable customers of a year ago"
UNKNOWN_MEAN = "known of no customer of the tier"
LARGEST = (1, 5, 10, 20)
NAMED = 3


def pareto(run: TierRun) -> TierPareto:
    """How concentrated the ARR of the live customers is."""
    arr = (run.arr if run.money.addable else run.arr * np.nan).to_numpy(dtype=float)
    top, known = top_fifth(arr, run.arr.index.to_numpy()), int(np.isfinite(arr).sum())
    counts = run.tier.iloc[top.positions].value_counts()
    spread = [f"{counts[name]} {name}" for name in reversed(run.names) if name in counts]
    sizes = [count for count in LARGEST if count <= known]
    values: dict[str, Any] = {
        "top_20_percent_customers": top.count,
        "top_20_percent_arr_contribution": None if top.share is None else f"{100 * top.share:.0f}%",
        "tier_distribution": " + ".join(spread),
        "top_share": rounded(top.share),
        "gini": rounded(gini(arr)),
        "hhi": rounded(herfindahl(arr)),
        "largest": [
            ArrShare(customers=count, share=round(largest_share(arr, count) or 0.0, 4))
            for count in sizes
        ],
    }
    if top.share is None:
        values = dict.fromkeys(values)
    values["largest_customer"] = _largest(run, arr, top.share)
    reasoned = {name: Figure(value, run.context.missing_arr) for name, value in values.items()}
    return TierPareto(**reasoned, n=known, without_arr=len(arr) - known)


def _largest(run: TierRun, arr: np.ndarray, top_share: float | None) -> LargestCustomer | None:
    if top_share is None:
        return None
    at = int(np.nanargmax(arr))
    client, days = run.arr.index[at], number(run.rows["days_to_renewal"].iloc[at])
    on = None if days is None else run.context.as_of + dt.timedelta(days=int(days))
    return LargestCustomer(
        client_id=client,
        name=str(run.context.names[client]),
        arr=round(float(arr[at]), 2),
        share=round(float(arr[at] / np.nansum(arr)), 4),
        renewal_on=Figure(on, "no contract says when it renews"),
    )


def characteristics(run: TierRun, members: pd.Index) -> TierCharacteristics:
    """Unweighted means over the members whose figure is known, with n and intervals."""
    rows = run.rows.loc[members]
    users, basis = run.users
    columns = {
        "avg_health_score": (rows["shown"], 1, NOT_SCORED),
        "avg_tenure_months": (rows["tenure_months"], 1, UNKNOWN_MEAN),
        "avg_user_count": (users.reindex(members), 1, UNKNOWN_MEAN),
        "feature_adoption_rate": (rows["feature_adoption_rate_30d"], 4, UNKNOWN_MEAN),
    }
    means, counts, intervals = {}, {}, {}
    for name, (values, decimals, reason) in columns.items():
        known = values.dropna().to_numpy(dtype=float)
        mean, lower, upper = mean_interval(known, run.settings.interval_level)
        means[name], counts[name] = Figure(rounded(mean, decimals), reason), len(known)
        ends = rounded(lower, decimals), rounded(upper, decimals)
        intervals[name] = Interval(lower=ends[0], upper=ends[1])
    support = rows["plan"].astype(object).map(run.settings.support_tiers).dropna().value_counts()
    most = min(support.index, key=lambda name: (-support[name], name), default=None)
    return TierCharacteristics(
        **means,
        user_count_basis=basis,
        support_tier=Figure(most, "no support is set for its customers' plans"),
        n=counts,
        intervals=intervals,
    )


def engagement(run: TierRun, name: str) -> TierEngagement:
    """How the settings look after a tier, by name or by its rank."""
    settings, names = run.settings, run.names
    strategy = by_rank(names, settings.tier_strategies)[names.index(name)]
    each = float(by_rank(names, settings.tier_hours_per_month)[names.index(name)])
    hours, not_set = settings.csm_capacity_hours, "none is set for the tier"
    accounts = max(int(hours // each), 1)
    return TierEngagement(
        csm_ratio=f"1 CSM per {accounts} accounts ({each:g} of {hours:g} hours a month)",
        touch_frequency=strategy.touch_frequency,
        executive_engagement=Figure(strategy.executive_engagement, not_set),
        support_sla=Figure(strategy.support_sla, not_set),
        success_programs=list(strategy.success_programs),
        automation_level=strategy.automation_level,
        source="settings",
    )


def pipeline(run: TierRun, members: pd.Index) -> ExpansionPipeline:
    """The potential as a sum with its interval, and who is ready by which rules."""
    frame, ready = run.potential.reindex(members), run.context.expansion_readiness.reindex(members)
    known = run.money.addable and frame["potential"].notna().any()
    named = frame["source"] == "customers table"
    reason = NO_POTENTIAL if run.money.addable else run.context.missing_arr

    def total(values: pd.Series) -> Figure:
        return Figure(round(float(values.sum()), 2) if known else None, reason)

    mean = rounded(frame["potential"].mean(), 0) if known else None
    return ExpansionPipeline(
        total_expansion_potential=total(frame["potential"]),
        avg_expansion_potential=Figure(mean, reason),
        potential_interval=Interval(lower=total(frame["lower"]), upper=total(frame["upper"])),
        high_probability_expansions=int(ready["ready"].sum()),
        unknown=int(ready["undecided"].sum()),
        customers_with_potential=int((frame["potential"] > 0).sum()),
        from_seats=total(frame["seats_potential"][~named]),
        from_customers_table=total(frame["potential"][named]),
        contraction_exposure=total(frame["contraction_exposure"]),
        rules_met={name: int(ready[name].eq(True).sum()) for name in EXPANSION_RULES},
    )


def tier_revenue(run: TierRun, name: str) -> RevenueMovement:
    """Revenue of the customers that were in the tier a year ago, and what is new in it."""
    rows = run.movements
    cohort = rows[(rows["tier_then"] == name) & (rows["start"] > 0)]
    fresh = rows[(rows["tier_now"] == name) & (rows["start"] == 0)]
    return revenue(cohort, pd.concat([cohort, fresh]))


def revenue(cohort: pd.DataFrame, rows: pd.DataFrame) -> RevenueMovement:
    """Rates of the cohort, sums of the rows: start + new + expansion + contraction + churn = end."""
    rates, reason = retention(cohort), "no customer had an ARR a year ago"
    return RevenueMovement(
        nrr=Figure(rounded(rates.nrr), reason),
        grr=Figure(rounded(rates.grr), reason),
        cohort=rates.customers,
        churned=rates.lost,
        **{name: round(amount, 2) for name, amount in waterfall(rows).items()},
    )


def churn_risk(run: TierRun, members: pd.Index) -> TierChurnRisk:
    """How much of the members' ARR may churn, simulated."""
    settings, tail = run.settings, (1 - run.settings.interval_level) / 2
    simulated = run.context.simulated_churned_arr(members)
    churn = run.context.churn.reindex(members)
    shares = {"median": 0.5, "lower": tail, "upper": 1 - tail}
    return TierChurnRisk(
        horizon_days=settings.churn_horizon_days,
        expected=round(simulated.expected, 2),
        **{name: round(simulated.quantile(share), 2) for name, share in shares.items()},
        any_share=round(float((simulated.draws > 0).mean()), 4) if len(simulated.draws) else 0.0,
        level=settings.interval_level,
        certain=round(simulated.certain, 2),
        customers=simulated.customers,
        notices=int(churn["gave_notice"].sum()) if len(churn) else 0,
        without_probability=simulated.without_probability,
        draws=len(simulated.draws),
        method=" and ".join(sorted(set(churn["method"].dropna())) or ["none"]),
    )


def growth(run: TierRun) -> Growth:
    """Readiness to expand, and the ARR of idle seats with that of customers that renew soon, over all tiers."""
    frame, days = run.potential, run.rows["days_to_renewal"].astype(float)
    ready = run.context.expansion_readiness["ready"].eq(True).reindex(frame.index)
    idle, within = frame["contraction_exposure"], run.settings.idle_seats_renewal_days
    soon = (idle > 0) & (days >= 0) & (days <= within)
    known, reason = run.money.addable and bool(idle.notna().any()), NO_POTENTIAL
    total = run.context.total_arr
    return Growth(
        ready=int(ready.sum()),
        ready_with_potential=int((ready & (frame["potential"] > 0)).sum()),
        ready_potential=Figure(
            round(float(frame["potential"][ready].sum()), 2) if known else None, reason
        ),
        idle_arr=Figure(round(float(idle.sum()), 2) if known else None, reason),
        idle_share=Figure(rounded(idle.sum() / total) if known and total else None, reason),
        idle_arr_renewing=Figure(round(float(idle[soon].sum()), 2) if known else None, reason),
        renewing=int(soon.sum()),
        renewal_days=within,
    )


def health(run: TierRun, members: pd.Index) -> TierHealth:
    score = run.rows["shown"].reindex(members).astype(float)
    ready = run.context.expansion_readiness.reindex(members)
    return TierHealth(
        avg_health=Figure(rounded(score.mean(), 1), NOT_SCORED),
        at_risk_count=int((score < run.settings.band_edges[1]).sum()),
        expansion_ready_count=int(ready["ready"].sum()),
        unknown_health=int(score.isna().sum()),
        unknown_readiness=int(ready["undecided"].sum()),
    )


def rule_figures(run: TierRun, tier: ValueTier, staffing: dict[str, Any]) -> dict[str, Any]:
    """The figures of a tier that the rules read."""
    members, settings = run.members(tier.tier_name), run.settings
    state, addable = health(run, members), run.money.addable
    notices = run.context.churn.reindex(members)["gave_notice"].astype(bool)
    score = run.rows["shown"].reindex(members).astype(float)
    ready = run.context.expansion_readiness["ready"].reindex(members).fillna(False).astype(bool)
    loss = run.context.expected_churned_arr
    certain = float(run.arr.reindex(members)[notices].sum()) if addable else None
    total = run.context.total_arr
    potential = run.potential["potential"].reindex(members).sum() if addable else None
    moved = None if run.since is None else tier_revenue(run, tier.tier_name)
    gap = None if pd.isna(staffing["gap"]) else int(staffing["gap"])
    return {
        "tier": tier.tier_name,
        "customers": tier.customer_count,
        "arr": tier.total_arr,
        "with_money": "" if tier.total_arr is None else f" with {run.written(tier.total_arr)} ARR",
        "arr_percent": tier.percentage_of_arr,
        "large_tier_percent": 100 * settings.large_tier_arr_share,
        "need": int(staffing["need"]),
        "gap": gap,
        "spare": None if gap is None else -gap,
        "spare_elsewhere": int(-run.staffing["gap"].dropna().astype(int).clip(upper=0).sum()),
        "available_hours": number(staffing["available_hours"]),
        "hours_each": staffing["hours_each"],
        "ready": state.expansion_ready_count,
        "ready_names": _named(run, members[ready], run.potential["potential"]),
        "potential": potential,
        "potential_money": run.written(potential),
        "at_risk": state.at_risk_count,
        "at_risk_names": _named(run, members[score < settings.band_edges[1]], loss),
        "healthy_score": settings.band_edges[1],
        "notices": int(notices.sum()),
        "notice_names": _named(run, members[notices], run.arr),
        # where the amount is not known, every notice is brought up
        "certain_percent": 100 * certain / total if certain is not None and total else 100.0,
        "notice_min_percent": 100 * settings.notice_decision_min_share,
        "certain_words": "" if certain is None else f" on {run.written(certain)} ARR",
        **_idle_figures(run, members, tier.total_arr),
        "nrr_percent": None if moved is None or moved.nrr is None else 100 * moved.nrr,
        "cohort": None if moved is None else moved.cohort,
        "retention_min_customers": settings.retention_min_customers,
        "automation_max_hours": settings.automation_max_hours,
        "automation_min_customers": settings.automation_min_customers,
    }


def _idle_figures(run: TierRun, members: pd.Index, total: float | None) -> dict[str, Any]:
    """The ARR of a tier's idle seats, and the customers with the most of it that renew soon."""
    idle = run.potential["contraction_exposure"].reindex(members).astype(float)
    days = run.rows["days_to_renewal"].reindex(members).astype(float)
    within = run.settings.idle_seats_renewal_days
    soon = members[((idle > 0) & (days >= 0) & (days <= within)).to_numpy(dtype=bool)]
    known = run.money.addable and total and idle.notna().any()
    amount = float(idle[soon].sum()) if known and len(soon) else None
    return {
        "idle_percent": 100 * float(idle.sum()) / total if known and total else None,
        "idle_renewing": len(soon),
        "idle_renewing_money": run.written(amount),
        "idle_names": _named(run, idle[soon].nlargest(NAMED).index, idle),
        "idle_days": within,
        "idle_min_percent": 100 * run.settings.idle_arr_min_share,
    }


def _named(run: TierRun, clients: pd.Index, order: pd.Series) -> str:
    """The names of customers, those with the highest figure first."""
    ranked = order.reindex(clients).astype(float).sort_values(ascending=False, kind="stable")
    return listed(run.context.names.reindex(ranked.index).astype(str))


def histogram(draws: np.ndarray, bins: int, top_share: float) -> pd.DataFrame:
    """Simulated totals as low, high, share of the draws, up to the ``top_share`` order statistic."""
    columns = ["low", "high", "share"]
    if not draws.max(initial=0) > 0:
        return pd.DataFrame(columns=columns, dtype=float)
    top = float(np.sort(draws)[int(top_share * (len(draws) - 1))])
    counts, edges = np.histogram(draws, bins=bins, range=(0, top))
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "share": counts / len(draws)}, columns=columns
    )
