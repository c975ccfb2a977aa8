"""What the effects of adoption say, which features are little adopted, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import customers
from healthseg.metrics.feature_times import FeatureTimes
from healthseg.rules import TriggeredRule
from healthseg.scoring.adoption_effects import OVERALL, Effects
from healthseg.statistics.peers import order_statistic
from healthseg.tools.adoption.features import FeatureUsage
from healthseg.tools.adoption.result import (
    Association,
    Barrier,
    Correlations,
    FeatureRetention,
    Impact,
    LowFeature,
    Recommendation,
)
from healthseg.tools.base import Figure
from healthseg.tools.values import integer, number, rounded, word

TOOL = "track_feature_adoption"
TELLING = ("announce", "show_it")  # rules that advise telling customers of a feature
ONLY_TELLING = (
    "only the effect of telling customers of a feature is tested; other actions are advised here"
)
NO_EFFECT = "this portfolio's history shows no significant effect of such an action"
# what customers that adopt more do more often, and less often
OUTCOMES = {
    "adoption_vs_health_score": (
        "have a better health score 90 days later",
        "have a worse health score 90 days later",
    ),
    "adoption_vs_retention": (
        "are more often retained for 90 days",
        "are less often retained for 90 days",
    ),
    "adoption_vs_expansion": (
        "expand more often within 180 days",
        "expand less often within 180 days",
    ),
}
PLAIN_NAMES = {
    "log seats": "size",
    "log tenure": "tenure",
    "log person events of the period before": "activity",
}
FRAME_COLUMNS = [
    "name",
    "adjusted",
    "lower",
    "upper",
    "p",
    "q",
    "raw",
    "raw_lower",
    "raw_upper",
    "raw_p",
    "odds_ratio",
    "odds_lower",
    "odds_upper",
    "odds_p",
    "odds_q",
    "adopters_retention",
    "adopters_n",
    "others_retention",
    "others_n",
    "n",
    "customers",
    "events",
    "found",
    "reason",
]


def barriers(
    usage: FeatureUsage, feature: str, clients: list[str] | None = None
) -> list[Barrier] | None:
    """Topics of tickets on the feature in a year, and low answers; None without tickets and answers."""
    if usage.tickets is None and usage.csat is None:
        return None
    least = usage.settings.barrier_min_tickets
    tickets, answers = (_rows_of(frame, feature, clients) for frame in (usage.tickets, usage.csat))
    parts = []
    if tickets is not None and len(tickets):
        total = int(tickets["tickets"].sum())
        topics = tickets.groupby("topic", sort=True)["tickets"].sum()
        parts = [
            Barrier(barrier=str(topic), tickets=int(count), of=total, share=round(count / total, 4))
            for topic, count in topics.items()
            if count >= least
        ]
        parts = sorted(parts, key=lambda part: (-part.tickets, part.barrier))[
            : usage.settings.barriers_max_count
        ]
    if answers is not None:
        limit = usage.settings.barrier_max_csat
        low = int((answers["score"].astype(float) <= limit).sum())
        if low >= least:
            share = round(low / len(answers), 4)
            name = f"answers of {limit:g} or less"
            parts.append(Barrier(barrier=name, tickets=low, of=len(answers), share=share))
    return parts


def _rows_of(
    frame: pd.DataFrame | None, feature: str, clients: list[str] | None
) -> pd.DataFrame | None:
    if frame is None:
        return None
    rows = frame[frame["feature"] == feature]
    return rows if clients is None else rows[rows["client_id"].isin(clients)]


def _is_answers(barrier: Barrier) -> bool:
    return barrier.barrier.startswith("answers")


def _barrier_text(barrier: Barrier) -> str:
    kind = "answers" if _is_answers(barrier) else "tickets"
    share = f"{100 * barrier.share:.0f}%"
    return f"{barrier.barrier}: {barrier.tickets} of {barrier.of} {kind} ({share})"


# -- figures for the rules -------------------------------------------------------------


def portfolio_figures(
    usage: FeatureUsage,
    row: Mapping[str, Any],
    times: FeatureTimes,
    found_barriers: list[Barrier] | None,
) -> dict[str, Any]:
    """The named figures of a feature over all customers."""
    pairs = usage.pairs[usage.pairs["feature"] == row["feature"]]
    without = pairs[pairs["adopted"] == 0]
    unaware = ~without["told"].astype(bool) & (without["days_ever"] == 0)
    # who is in its first days is shown everything anyway
    settled = usage.live["tenure_days"].reindex(without["client_id"]) >= usage.settings.paths_days
    unaware &= settled.to_numpy(dtype=bool)
    untold = int(unaware.sum()) if usage.messages_known else None
    once, outcome = int((pairs["days_ever"] == 1).sum()), times.outcome(row["feature"])
    return {
        "rate_percent": percent(row["rate"]),
        "customers": len(pairs),
        "not_adopted": len(without),
        "untold": untold,
        "untold_percent": None if untold is None else _ratio(untold, len(without)),
        "untold_names": _names(usage, without.loc[unaware, "client_id"]),
        "once": once,
        "once_percent": _ratio(once, int((pairs["days_ever"] >= 1).sum())),
        "abandoned": outcome["abandoned"],
        "abandoned_percent": _ratio(outcome["abandoned"], outcome["adopters"]),
        **voice_figures(row, found_barriers),
    }


def _names(usage: FeatureUsage, clients: pd.Series) -> str:
    """The customers' names, those with the most seats first."""
    known = customers(usage.portfolio).reindex(clients)
    names = known["name"] if "name" in known else pd.Series(known.index, known.index)
    seats = usage.live["seats"].reindex(clients).astype(float)
    order = seats.sort_values(ascending=False, kind="stable").index
    return rules.listed(names.reindex(order).fillna(pd.Series(order, order)).astype(str))


def voice_figures(row: Mapping[str, Any], hindrances: list[Barrier] | None) -> dict[str, Any]:
    """The largest topic of its tickets, and satisfaction."""
    topic = next((barrier for barrier in hindrances or [] if not _is_answers(barrier)), None)
    return {
        "tickets": topic and topic.of,
        "topic": topic and topic.barrier,
        "topic_tickets": topic and topic.tickets,
        "topic_percent": topic and 100 * topic.share,
        "satisfaction": number(row["satisfaction"]),
        "satisfaction_n": number(row["satisfaction_n"]),
    }


def _ratio(part: float, total: float) -> float | None:
    return 100 * part / total if total else None


def percent(share: Any) -> float | None:
    """A share in per cent, None where it is missing."""
    share = number(share)
    return None if share is None else 100 * share


# -- little adopted features and recommendations ---------------------------------------


def low_features(
    usage: FeatureUsage, frame: pd.DataFrame, times: FeatureTimes, tested: Effects | None
) -> list[LowFeature]:
    """The little adopted features with their barriers and what to do."""
    parts = []
    rows = _little_adopted(usage, frame)
    for row in rows.sort_values(["rate", "feature"], kind="stable").to_dict("records"):
        hindrances = barriers(usage, row["feature"])
        figures = portfolio_figures(usage, row, times, hindrances)
        held = rules.triggered(TOOL, "action", figures, usage.settings.rules)
        parts.append(low_feature(row, hindrances, promoted(usage, tested, row["feature"], held)))
    return parts


def _little_adopted(usage: FeatureUsage, frame: pd.DataFrame) -> pd.DataFrame:
    """Features under the setting's share, released long enough, that enough customers could use."""
    settings = usage.settings
    released_by = pd.Timestamp(usage.as_of) - pd.Timedelta(
        days=settings.low_adoption_min_released_days
    )
    aged = frame["released_on"].isna() | (frame["released_on"] <= released_by)
    enough = frame["customers"] >= settings.adoption_min_customers
    return frame[(frame["rate"] < settings.low_adoption_share) & aged & enough]


def low_feature(
    row: Mapping[str, Any], hindrances: list[Barrier] | None, held: list[TriggeredRule]
) -> LowFeature:
    texts = None if hindrances is None else [_barrier_text(barrier) for barrier in hindrances]
    return LowFeature(
        feature=row["feature"],
        feature_category=row["category"],
        adoption_rate=rounded(row["rate"]),
        barriers=Figure(texts, "no tickets or answers name a feature"),
        improvement_strategies=[rule.text for rule in held],
        barriers_detail=hindrances,
        total_customers=int(row["customers"]),
    )


def portfolio_recommendations(
    usage: FeatureUsage, frame: pd.DataFrame, times: FeatureTimes, tested: Effects | None
) -> list[Recommendation]:
    """What to promote: the little adopted features, then those furthest below the upper quarter of the tiers in
    proportion, where a rule says what to do; not those whose adoption is associated with churn."""
    little = set(_little_adopted(usage, frame)["feature"])
    least = usage.settings.adoption_min_customers
    tiers = usage.pairs.assign(tier=usage.pairs["client_id"].map(usage.live["tier"].astype(object)))
    ranked = []
    for row in frame.to_dict("records"):
        target, count = _upper_quarter(tiers[tiers["feature"] == row["feature"]], least)
        gap = None if target is None or number(row["rate"]) is None else target - row["rate"]
        low = row["feature"] in little
        if row["customers"] < least or (not low and (gap is None or gap <= 0)):
            continue
        hindrances = barriers(usage, row["feature"])
        figures = portfolio_figures(usage, row, times, hindrances)
        held = rules.triggered(TOOL, "action", figures, usage.settings.rules)
        held = promoted(usage, tested, row["feature"], held)
        if held:
            reason = f"{100 * row['rate']:.0f}% of {row['customers']} customers have adopted it"
            if target is not None:
                reason += f", {100 * target:.0f}% in the tiers that use it most (n = {count} tiers)"
            part = recommendation(usage, row, target, held, tested, reason)
            behind = gap / target if gap and target else 0.0
            ranked.append((not low, row["rate"] if low else -behind, part.feature, part))
    most = usage.settings.recommendations_max_count
    return [part for *_, part in sorted(ranked, key=lambda entry: entry[:3])][:most]


def _upper_quarter(pairs: pd.DataFrame, least: int) -> tuple[float | None, int]:
    """The 75th percentile of the rates of tiers in which enough customers could use the feature."""
    by = pairs.dropna(subset=["tier", "adopted"]).groupby("tier")["adopted"].agg(["mean", "size"])
    rates = np.sort(by.loc[by["size"] >= least, "mean"].to_numpy())
    if len(rates) < 2:
        return None, len(rates)
    return float(rates[order_statistic(len(rates), 0.75)]), len(rates)


def recommendation(
    usage: FeatureUsage,
    row: Mapping[str, Any],
    target: float | None,
    held: list[TriggeredRule],
    tested: Effects | None,
    reason: str,
) -> Recommendation:
    """A feature to promote, by the rules that hold for it."""
    telling = any(rule.rule in TELLING for rule in held)
    impact = told_impact(usage, tested) if telling else None
    days = usage.settings.adoption_message_horizon_days
    retention = None if tested is None else retention_part(usage, tested, row["feature"])
    if retention is not None and retention.found:
        reason += f". {retention.text}"
    return Recommendation(
        feature=row["feature"],
        current_adoption=rounded(row["rate"]),
        target_adoption=rounded(target),
        recommended_actions=[rule.text for rule in held],
        expected_impact=Figure(
            impact and _impact_text(impact, days), _no_impact(tested) if telling else ONLY_TELLING
        ),
        expected_impact_detail=impact,
        rules=held,
        reason=reason,
    )


def promoted(
    usage: FeatureUsage, tested: Effects | None, feature: str, held: list[TriggeredRule]
) -> list[TriggeredRule]:
    """The rules that promote a feature: none where its adoption is significantly associated with churn."""
    row = (None if tested is None else tested.of(feature)) or {}
    most, names = usage.settings.effects_max_q, ("q", "adjusted", "odds_q", "odds_ratio")
    q, adjusted, odds_q, odds = np.array([number(row.get(name)) for name in names], dtype=float)
    is_harmful = (q <= most and adjusted < 0) or (odds_q <= most and odds > 1)  # NaN is neither
    return [] if is_harmful else held


def told_impact(usage: FeatureUsage, tested: Effects | None) -> Impact | None:
    """What telling customers of a feature brought in this portfolio, where that is significant."""
    row = None if tested is None else tested.of("messages")
    if tested is None or row is None or not is_significant(usage, row) or not row["adjusted"] > 0:
        return None
    return Impact(
        lower_percentage_points=round(100 * row["adjusted_lower"], 1),
        upper_percentage_points=round(100 * row["adjusted_upper"], 1),
        interval_level=usage.settings.effects_interval_level,
        n=int(row["n"]),
        basis="customers with a message about a feature that they had not adopted against those without, at equal "
        + ", ".join(tested.adjusted_for),
    )


def _no_impact(tested: Effects | None) -> str:
    row = None if tested is None else tested.of("messages")
    if row is None:
        return "not requested"
    reason = row.get("reason")
    return reason if isinstance(reason, str) else NO_EFFECT


def _impact_text(impact: Impact, horizon_days: int) -> str:
    low, high = impact.lower_percentage_points, impact.upper_percentage_points
    return (
        f"{low:+.1f} to {high:+.1f} percentage points of adoption within {horizon_days} days "
        f"among those told ({100 * impact.interval_level:.0f}%, n = {impact.n:,})"
    )


# -- effects, in words that follow the adjusted figure -------------------------------------


def is_significant(usage: FeatureUsage, row: Mapping[str, Any] | None) -> bool:
    """Whether the false-discovery rate over all hypotheses is small enough to report an effect."""
    if row is None:
        return False
    known = [q for q in (number(row["q"]), number(row["odds_q"])) if q is not None]
    return bool(known) and min(known) <= usage.settings.effects_max_q


def retention_part(usage: FeatureUsage, tested: Effects, feature: str) -> FeatureRetention | None:
    """How adopting a feature goes with retention; None where it was not tested."""
    row = tested.of(feature)
    if row is None:
        return None
    return FeatureRetention(
        **_association(usage, row),
        text=_retention_text(usage, feature, row, tested.adjusted_for),
        odds_ratio_of_leaving=rounded(row.get("odds_ratio")),
        odds_ratio_lower=rounded(row.get("odds_lower")),
        odds_ratio_upper=rounded(row.get("odds_upper")),
        odds_ratio_p=rounded(row.get("odds_p"), 6),
        odds_ratio_q=rounded(row.get("odds_q"), 6),
        churned=integer(row.get("churned")),
        retention_adopters=rounded(row.get("adopters_retention")),
        adopters_n=integer(row.get("adopters_n")),
        retention_others=rounded(row.get("others_retention")),
        others_n=integer(row.get("others_n")),
    )


def correlations(usage: FeatureUsage, tested: Effects) -> Correlations:
    """The three overall figures of the adopted share."""
    parts = {}
    for name in OVERALL:
        row = tested.of(name) or {}
        text = _overall_text(usage, name, row, tested.adjusted_for)
        parts[name] = Association(**_association(usage, row), text=text)
    return Correlations(
        **{name: part.adjusted for name, part in parts.items()},
        detail=parts,
        adjusted_for=tested.adjusted_for,
        not_adjusted_for=tested.not_adjusted_for,
        landmarks=tested.landmarks,
        hypotheses_tried=int(tested.frame[["p", "odds_p"]].notna().sum().sum()),
    )


def effects_frame(tested: Effects | None, usage: FeatureUsage) -> pd.DataFrame:
    """A row a feature: raw and adjusted correlation with retention, odds, rates; largest adjusted first."""
    if tested is None:
        return pd.DataFrame(columns=FRAME_COLUMNS)
    frame = tested.frame[~tested.frame["name"].isin([*OVERALL, "messages"])]
    frame = frame.rename(columns={"adjusted_lower": "lower", "adjusted_upper": "upper"})
    frame["found"] = frame[["q", "odds_q"]].min(axis=1) <= usage.settings.effects_max_q
    order = frame["adjusted"].sort_values(ascending=False, na_position="last", kind="stable").index
    return frame.loc[order].reindex(columns=FRAME_COLUMNS).reset_index(drop=True)


def _association(usage: FeatureUsage, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "adjusted": rounded(row["adjusted"]),
        "lower": rounded(row.get("adjusted_lower")),
        "upper": rounded(row.get("adjusted_upper")),
        "p": rounded(row["p"], 6),
        "q": rounded(row["q"], 6),
        "raw": rounded(row["raw"]),
        "raw_lower": rounded(row.get("raw_lower")),
        "raw_upper": rounded(row.get("raw_upper")),
        "raw_p": rounded(row.get("raw_p"), 6),
        "n": int(row["n"]),
        "customers": int(row["customers"]),
        "events": integer(row["events"]),
        "non_events": integer(row["non_events"]),
        "interval_level": usage.settings.effects_interval_level,
        "found": is_significant(usage, row),
        "reason": word(row.get("reason")),
    }


def at_equal(names: Sequence[str]) -> str:
    """What is held equal, in plain words.

    >>> at_equal(["log seats", "log tenure", "tier"])
    'at equal size, tenure and tier'
    """
    plain = [PLAIN_NAMES.get(name, name) for name in names]
    listed = " and ".join([", ".join(plain[:-1]), plain[-1]]) if len(plain) > 1 else "".join(plain)
    return f"at equal {listed}"


def _interval_text(usage: FeatureUsage, lower: float, upper: float) -> str:
    level = usage.settings.effects_interval_level
    return f"{100 * level:.0f}%: {lower:.2f} to {upper:.2f}"


def _figures_text(usage: FeatureUsage, row: Mapping[str, Any]) -> str:
    interval = _interval_text(usage, row["adjusted_lower"], row["adjusted_upper"])
    return f"r = {row['adjusted']:.2f}, {interval}"


def _overall_text(
    usage: FeatureUsage, name: str, row: Mapping[str, Any], covariates: Sequence[str]
) -> str:
    if number(row["adjusted"]) is None:
        return f"not measured: {row['reason']}"
    figures, equal = _figures_text(usage, row), at_equal(covariates)
    more, less = OUTCOMES[name]
    if is_significant(usage, row):
        n = f"n = {row['n']:,.0f}"
        outcome = more if row["adjusted"] > 0 else less
        return f"Customers that adopt more features {outcome}, also {equal} ({figures}, {n})"
    outcome = more if row["raw"] > 0 else less
    if _raw_significant(usage, row):
        return (
            f"Customers that adopt more features {outcome}, but {equal} the difference is not significant "
            f"({figures}; unadjusted r = {row['raw']:.2f})"
        )
    return f"Whether customers that adopt more features {more} is not clear ({equal}: {figures})"


def _retention_text(
    usage: FeatureUsage, feature: str, row: Mapping[str, Any], covariates: Sequence[str]
) -> str:
    """Retention rates with both n, and what remains of the difference once the rest is equal."""
    if number(row["adjusted"]) is None:
        return f"not measured: {row['reason']}"
    rates = (
        f"{100 * row['adopters_retention']:.0f}% of {row['adopters_n']:,.0f} were retained where "
        f"it was adopted, {100 * row['others_retention']:.0f}% of {row['others_n']:,.0f} where not"
    )
    figures, equal = _figures_text(usage, row), at_equal(covariates)
    if not is_significant(usage, row):
        raw = f"Raw, {rates}; " if _raw_significant(usage, row) else ""
        text = f"{raw}{equal} {_unsure_text(f'adopting {feature}', row, figures)}"
        return text[:1].upper() + text[1:]
    odds = ""
    if number(row.get("odds_ratio")) is not None:
        interval = _interval_text(usage, row["odds_lower"], row["odds_upper"])
        odds = f"; odds of churn in a month × {row['odds_ratio']:.2f} ({interval})"
    side = "retention" if row["adjusted"] > 0 else "churn"
    return f"Adopting {feature} goes with {side} {equal} ({figures}{odds}); {rates}, not adjusted"


def _unsure_text(what: str, row: Mapping[str, Any], figures: str) -> str:
    """An interval that leaves out 0 is not yet a finding where many hypotheses were tested."""
    if row["adjusted_lower"] <= 0 <= row["adjusted_upper"]:
        return f"{what} has no clear association with retention ({figures})"
    return (
        f"{what} may go with retention ({figures}), but it is not significant over all that was "
        f"tested (q = {row['q']:.2g})"
    )


def _raw_significant(usage: FeatureUsage, row: Mapping[str, Any]) -> bool:
    p = number(row.get("raw_p"))
    return p is not None and p < usage.settings.effects_raw_max_p
