"""The patterns that hold, with their evidence, and those that looked like patterns and did not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import PLUS
from healthseg.clustering.sequences import ARROW, contains
from healthseg.metrics import panels
from healthseg.settings import fingerprint
from healthseg.tools.patterns import others, words
from healthseg.tools.patterns.result import Evidence, Rejected, Testing, Within
from healthseg.tools.patterns.scope import SINGLE
from healthseg.tools.patterns.study import Study
from healthseg.tools.rounding import rounded

NOT_HELD = 20  # of the rejected, the most promising
REVERSED = 1.25  # a lift on the other side, from which on a reversal is said
LEAST_GROUP = 10  # units showing it in a tier, from which on its own lift is told
YEAR_DAYS = 365


def held(study: Study, least_confidence: float) -> pd.DataFrame:
    """The rows that pass and are sure enough; of features only the longest orders and the largest bundles."""
    rows = study.judged
    rows = rows[rows["passes"] & (rows["confidence"].fillna(0) >= least_confidence)]
    return rows[~_inside(rows)].reset_index(drop=True)


def _inside(rows: pd.DataFrame) -> np.ndarray:
    """Whether another row of the kind holds the row's features."""
    out = np.zeros(len(rows), dtype=bool)
    for kind, mark, holds in (
        ("sequence", ARROW, contains),
        ("bundle", PLUS, lambda a, b: set(b) <= set(a)),
    ):
        at = np.flatnonzero((rows["kind"] == kind).to_numpy())
        keys = [rows["key"].iloc[one].split(mark) for one in at]
        out[at] = [
            any(len(other) > len(own) and holds(other, own) for other in keys) for own in keys
        ]
    return out


def evidence(row: dict[str, Any], level: float) -> Evidence:
    return Evidence(
        support=int(row["support"]),
        n=int(row["n"]),
        prevalence=rounded(row["prevalence"]),
        base_rate=rounded(row["base_rate"]),
        rate_with=rounded(rounded(row["base_rate"]) * rounded(row["lift"])),
        lift=rounded(row["lift"]),
        lift_lower=rounded(row["lower"]),
        lift_upper=rounded(row["upper"]),
        interval_level=level,
        p=float(f"{row['p']:.3g}"),
        q=float(f"{row['q']:.3g}"),
        held_out_lift=rounded(row["held_out_lift"]),
        held_out_p=rounded(row["held_out_p"], 6),
        found_again=bool(row["found_again"]),
        confidence=rounded(row["confidence"]),
        basis=words.BASIS.get(row["kind"], "units that show it, over its base rate"),
    )


def testing(study: Study, least_confidence: float) -> Testing:
    """How much was tried; of one customer also what was tried on the portfolio and is said of it."""
    rows = study.judged
    if study.portfolio_wide is not study:
        rows = pd.concat([rows, study.portfolio_wide.judged], ignore_index=True)
    kinds = rows["kind"].value_counts()
    return Testing(
        hypotheses=len(rows),
        by_type={kind: int(kinds[kind]) for kind in sorted(kinds.index)},
        passed=int(rows["passes"].sum()),
        below_confidence=int((rows["passes"] & ~(rows["confidence"] >= least_confidence)).sum()),
        max_q=study.settings.effects_max_q,
        held_out_max_p=study.settings.pattern_held_out_max_p,
        resamples=study.settings.pattern_resamples,
        min_pattern_confidence=least_confidence,
    )


def not_held(study: Study, least_confidence: float) -> list[Rejected]:
    """The most promising of what did not hold, with where it failed."""
    rows = study.judged
    gone = rows[
        ~(rows["passes"] & (rows["confidence"].fillna(0) >= least_confidence)) & (rows["p"] <= 0.05)
    ]
    gone = gone.sort_values(["q", "kind", "key"], kind="stable").head(NOT_HELD)
    level = study.level
    return [
        Rejected(
            pattern_name=others.name(row["kind"], row["key"])
            or words.name(row["kind"], row["key"]),
            evidence=evidence(row, level),
            pattern_type=words.TYPES.get(row["kind"], row["kind"]),
            why=_why(row, study, least_confidence),
        )
        for row in gone.to_dict("records")
    ]


def _why(row: dict[str, Any], study: Study, least_confidence: float) -> str:
    limits = study.family(row["kind"]).limits
    if row["support"] < limits.support:
        return f"shown by {row['support']:.0f}, {limits.support:.0f} are needed"
    sure = row.get("sure_lift", np.nan)
    if np.isfinite(sure) and max(sure, 1 / max(sure, 1e-9)) < limits.lift:
        return f"at equal activity and breadth the odds may be {sure:.2f} times those without it: too near to matter"
    if max(row["lift"], 1 / max(row["lift"], 1e-9)) < limits.lift:
        return f"{row['lift']:.2f} times its base rate: too near to it to matter"
    if row["q"] > study.settings.effects_max_q:
        return f"among {len(study.judged):,} tried, as much comes by chance (q = {row['q']:.2g})"
    if not row["found_again"]:
        return "not found again on held-out time"
    return f"comes back in {100 * row['confidence']:.0f} % of resamples, {100 * least_confidence:.0f} % are asked for"


def pattern_id(kind: str, key: str) -> str:
    """Of the pattern's definition alone: the same pattern has it in every call."""
    return f"ptn_{fingerprint([kind, key])[:8]}"


def within(study: Study, row: dict[str, Any]) -> list[Within]:
    """The pattern among customers of each tier and tenure that shows it often enough, with reversals."""
    if study.scope.kind == SINGLE:
        return []
    units, again = study.asked_again(row["kind"], row["key"])
    groups = _groups(study)
    weights = np.array(
        [[unit in members for unit in units] for members in groups.values()], dtype=int
    )
    if again is None or not len(weights):
        return []
    support, lift = again(weights)
    side = np.sign(np.log(max(row["lift"], 1e-9)))
    return [
        Within(
            group=name,
            support=int(count),
            lift=rounded(value),
            reversed=bool(np.log(max(value, 1e-9)) * side <= -np.log(REVERSED)),
        )
        for name, count, value in zip(groups, support, lift, strict=True)
        if count >= LEAST_GROUP
    ]


def _groups(study: Study) -> dict[str, set[str]]:
    """Customers by tier and by tenure, as last known in the months."""
    rows = panels.panel(study.portfolio, [study.scope.as_of])
    months = study.months
    last = pd.concat([months, rows[rows["live"].astype(bool)]]).drop_duplicates(
        "client_id", keep="last"
    )
    tier, client = last["tier"].astype(object), last["client_id"].astype(str)
    found = {f"tier {name}": set(client[tier == name]) for name in sorted(tier.dropna().unique())}
    old = last["tenure_days"].to_numpy(dtype=float) >= YEAR_DAYS
    return found | {"first year": set(client[~old]), "after the first year": set(client[old])}
