"""What to do about it: insights of patterns, entries of optimisation and actions, each from a rule over figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from healthseg import rules
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.sequences import ARROW
from healthseg.tools.patterns import words
from healthseg.tools.patterns.result import Optimisation
from healthseg.tools.patterns.scope import SINGLE
from healthseg.tools.patterns.signs import BY_NAME, TOOL
from healthseg.tools.patterns.study import ORDER, USED

PRIORITY = {"critical": "High", "high": "High", "medium": "Medium", "low": "Low"}


def insight(kind: str, key: str, row: dict[str, Any], study: Any) -> str | None:
    """What may be done with a pattern, in words that its figures allow."""
    if kind == "sequence":
        names, days = key.split(ARROW), study.orders.gaps(key)
        unfinished, of = study.orders.unfinished(key)
        return (
            f"After {words.plain(names[0])}, show {words.plain(names[1])} within about {np.median(days[:, 0]):.0f} "
            f"days; {unfinished} of {of} that began have not gone on in time"
        )
    if kind == "bundle":
        names = [words.plain(one) for one in key.split(PLUS)]
        return f"Introduce {words.listed(names)} together: those who use one without the others are the ones to ask"
    if key in BY_NAME:
        return BY_NAME[key].advice
    if key.startswith(USED) and row["lift"] < 1:
        return f"Help customers that could use {words.plain(key.removeprefix(USED))} and don't: try it with some first"
    if key.startswith(ORDER) and row["lift"] < 1:
        return "Lead new customers along this order: try it with some first"
    return None


def figures(
    run: Any,
    patterns: list,
    usage: Any,
    risks: list | None,
    moved: Any,
    ahead: Any,
    unusual: list | None,
    temporal: Any,
) -> dict[str, Any]:
    """Named figures for the rules; None where unknown."""
    top = risks[0] if risks else None
    gap = max(_begun(run, usage), key=lambda one: one.unfinished_of, default=None)
    bundle = usage.feature_bundles[0] if usage and usage.feature_bundles else None
    return {
        "scope": run.scope.kind,
        "customers": len(run.scope.clients),
        "patterns": len(patterns),
        "risk_patterns": None if risks is None else len(risks),
        "top_risk": top and top.pattern.lower(),
        "top_risk_now": top and top.shown_now,
        "top_risk_advice": top and top.recommended_intervention,
        "top_risk_percent": top and top.probability_of_churn and 100 * top.probability_of_churn,
        "top_risk_base_percent": top and top.base_rate and 100 * top.base_rate,
        "top_risk_lead": top and top.lead_days,
        "churn_candidates": ahead and ahead.likely_churn_candidates,
        "expansion_candidates": ahead and ahead.likely_expansion_candidates,
        "precision_percent": ahead and ahead.confidence_score and 100 * ahead.confidence_score,
        "timing_days": ahead and ahead.timing_days,
        "timing_sign": ahead and ahead.timing_sign,
        "sequence": gap
        and words.first_upper(", then ".join(words.plain(one) for one in gap.sequence)),
        "unfinished": gap and round((gap.unfinished_share or 0) * gap.unfinished_of),
        "begun": gap and gap.unfinished_of,
        "median_gap": gap and gap.median_days,
        "bundle": bundle and words.listed([words.plain(one) for one in bundle.bundle]),
        "bundle_users": bundle and bundle.support,
        "bundle_any": bundle and bundle.users_of_any,
        "bundle_percent": bundle and 100 * bundle.co_usage_rate,
        "open_anomalies": None if unusual is None else sum(one.action_required for one in unusual),
        "treated": moved.treated,
        "difference_percent": moved.difference and 100 * moved.difference,
        "difference_lower_percent": None
        if moved.difference_lower is None
        else 100 * moved.difference_lower,
        "difference_upper_percent": None
        if moved.difference_upper is None
        else 100 * moved.difference_upper,
        "peaks": None if temporal is None else len(temporal.peak_activity_hours or []),
        "peak_hours": ", ".join(temporal.peak_activity_hours or []) or None if temporal else None,
        "peak_days": ", ".join(temporal.peak_activity_days or []) or None if temporal else None,
    }


def _begun(run: Any, usage: Any) -> list:
    """The orders that customers began and did not finish; of one customer those that it did not finish itself."""
    gaps = usage.sequential_adoption.gaps if usage else []
    if run.scope.kind != SINGLE:
        return gaps
    orders = run.study.orders
    return [
        gap
        for gap in gaps
        if not orders.shows(ARROW.join(gap.sequence))[
            orders.days.index.get_loc(run.scope.client_id)
        ]
    ]


def optimisation(figures: dict[str, Any]) -> list[Optimisation]:
    """Entries whose rule holds: the state and the opportunity in figures; the impact only where history tells it."""
    told = rules.phrases(TOOL, "optimisation")
    found = []
    for rule in rules.fired(TOOL, "focus", figures):
        entry = told[rule["rule"]]
        impact = None
        if entry.get("impact") and figures.get("difference_lower_percent") is not None:
            impact = rules.words(entry["impact"], figures)
        found.append(
            Optimisation(
                opportunity=entry["opportunity"],
                current_state=rules.words(entry["now"], figures),
                opportunity_state=rule["text"],
                potential_impact=impact,
                effort=entry["effort"],
                priority=PRIORITY[rule["severity"]],
                rule=rule["rule"],
                figures=rule["figures"],
            )
        )
    return found
