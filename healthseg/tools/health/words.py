"""Figures of the health score in a reader's words; the sentences of metrics are the catalogue's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg import rules
from healthseg.charts import formats
from healthseg.metrics import catalog
from healthseg.tools.health.result import Factor, Opportunity
from healthseg.tools.values import in_percent, number, plain_figures, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

TOOL = "calculate_health_score"
MISSING = {
    "ramp": "too new: no baseline of its own yet",
    "silence": "no ticket, or nobody active",
}


def _ratio(value: float) -> str:
    if abs(value - 1) < 0.005:
        return "level with"
    return f"{formats.percent(abs(value - 1))} {'above' if value > 1 else 'below'}"


# the catalogue's formats, as those of pages
FORMS: dict[str, str] = {
    "percent": "percent",
    "days": "number day",
    "hours": "number hour",
    "tickets": "number ticket",
    "count": "number",
    "number": "number.1",
    "money": "number",
    "word": "",
    "signed": "signed",
}


def area(metric: str, label: str) -> str:
    entry = catalog.entry(metric)
    return entry.short or label if entry else label


def effort(metric: str) -> str | None:
    entry = catalog.entry(metric)
    return entry.effort if entry else None


def why_missing(metric: str, reason: str, absence: Callable[[str], str | None]) -> str:
    """Why a metric is missing; ``absence`` says why a table can't be used (``Portfolio.absence``)."""
    entry = catalog.entry(metric)
    if reason != "unmeasured":
        return MISSING[reason]
    if entry is None:
        return "no data"
    absent = [text for text in map(absence, entry.tables) if text]
    if absent and len(absent) == len(entry.tables):
        return absent[0]
    lost = [*absent, *(text for text in map(absence, entry.withheld_by) if text)]
    return next((text for text in lost if "withheld" in text or "refused" in text), entry.missing)


def why_each_is_missing(metrics: pd.DataFrame, portfolio: Portfolio, client_id: str) -> pd.Series:
    """Of a customer's metrics with their ``missing_reason``, the reason as a reader meets it."""
    reasons = [
        why_missing(row.metric, row.missing_reason, lambda name: portfolio.absence(name, client_id))
        if isinstance(row.missing_reason, str)
        else None
        for row in metrics.itertuples()
    ]
    return pd.Series(reasons, index=metrics.index, dtype=object)


def why_withheld(metrics: pd.DataFrame, portfolio: Portfolio, least: float) -> str:
    """Why a customer's metrics give no score (``least`` is the share that has to be known), and what would."""
    known = metrics["value"].notna()
    used = known & metrics["component"].isin(("usage", "engagement"))
    share = metrics.loc[known, "weight"].sum()
    why = f"{share:.0%} of the inputs are known, and {least:.0%} are needed"
    why = why if used.any() else "nothing is known of usage and engagement"
    return f"withheld: {why}{brought(metrics[~known], portfolio)}"


def with_renewal(reason: str, renewal_days: float | None, soon: int, noticed: bool = False) -> str:
    """A customer's reason, and that its contract renews soon, after a notice ends, where that is not said yet.

    >>> with_renewal("NPS is 0", 8, 90), with_renewal("Renewal in 8 days with a score of 51", 8, 90)
    ('NPS is 0; renews in 8 days', 'Renewal in 8 days with a score of 51')
    >>> with_renewal("Notice was given 2 days ago", 8, 90, noticed=True)
    'Notice was given 2 days ago; ends in 8 days'
    """
    reason = formats.sentence(reason)
    if renewal_days is None or not 0 <= renewal_days <= soon or "renewal" in reason.lower():
        return reason
    return f"{reason}; {'ends' if noticed else 'renews'} in {rules.counted(renewal_days, 'day')}"


def no_scores(new: int, unknown: int) -> str:
    """How many customers have no score, and why.

    >>> no_scores(17, 0), no_scores(1, 2)
    ('17 new customers have no score yet', '1 new customer has no score yet; 2 customers have no score, because too little is known of them')
    """
    parts = []
    if new:
        parts.append(
            f"{rules.counted(new, 'new customer')} {'has' if new == 1 else 'have'} no score yet"
        )
    if unknown:
        who, them = ("has", "it") if unknown == 1 else ("have", "them")
        parts.append(
            f"{rules.counted(unknown, 'customer')} {who} no score, because too little is known of {them}"
        )
    return "; ".join(parts)


def brought(missing: pd.DataFrame, portfolio: Portfolio) -> str:
    """How much of the score's inputs each table would bring that the portfolio lacks, by unknown ``metric`` and ``weight``."""
    shares: dict[str, float] = {}
    for metric, weight in zip(missing["metric"], missing["weight"], strict=True):
        entry = catalog.entry(metric)
        lacking = [name for name in entry.tables if not portfolio.has(name)] if entry else []
        for name in lacking[:1]:
            shares[name] = shares.get(name, 0.0) + weight
    listed = [f"{name} {share:.0%}" for name, share in shares.items() if share > 0]
    if not listed:
        return ""
    first, _, amount = listed[0].rpartition(" ")
    rest = "".join(f", {each}" for each in listed[1:])
    return f"; the table {first} would bring {amount} of the inputs{rest}"


def of_components(metrics: pd.DataFrame) -> dict[str, str]:
    """By key of ``component_scores``, why the component is missing where it is."""
    reasons = metrics.groupby("component")["missing_reason"].unique()
    return {
        f"{name}_score": "; ".join(filter(None, texts)) or "none of its metrics is measured"
        for name, texts in reasons.items()
    }


def written_value(metric: str, value: float) -> str:
    """A metric's value as a reader meets it.

    >>> written_value("seat_utilisation", 0.64), written_value("usage_vs_own_baseline", 0.8)
    ('64%', '20% below')
    >>> written_value("days_since_last_person_event", 1)
    '1\\xa0day'
    """
    entry = catalog.entry(metric)
    form = entry.format if entry else "number"
    return _ratio(value) if form == "ratio" else formats.written(value, FORMS[form])


def measured(metric: str, label: str, value: float, usual: float) -> str:
    """A metric's value beside the usual one, as a driver of a model.

    >>> measured("open_high_tickets", "Open high tickets", 3, 0)
    'Open high tickets: 3\\xa0tickets, usually 0\\xa0tickets'
    """
    if metric == "tier":
        return label if value == 1 else "Its value tier"
    now = "not measured" if value != value else written_value(metric, value)
    often = written_value(metric, usual)
    return f"{label}: {now}" + ("" if now == often else f", usually {often}")


def differs(driver: Mapping[str, Any]) -> bool:
    """Whether a driver's value reads differently from the usual one.

    >>> differs({"metric": "open_high_tickets", "value": 0.1, "usual": 0.0})
    False
    """
    metric = str(driver["metric"])
    return metric == "tier" or written_value(metric, driver["value"]) != written_value(
        metric, driver["usual"]
    )


def factor(metric: str, label: str, value: float, side: str) -> str:
    """A metric that holds the score up (``positive``) or pulls it down, as a sentence.

    >>> factor("worst_days_overdue", "", 0, "positive")
    'No invoice is overdue'
    """
    entry = catalog.entry(metric)
    sentence = (entry.above if side == "positive" else entry.below) if entry else ""
    words = written_value(metric, value)
    text = rules.words(sentence or f"{label}: {{value}}", {"value": words})
    return text.replace(f"{words} ago", "today") if value == 0 else text


def of_change(
    kind: str, label: str, metric: str | None, then: float | None, now: float | None
) -> str:
    """A part of a score's change, as a reason."""
    if kind == "newly_missing":
        return f"{label} is no longer measured"
    if kind == "newly_known":
        return f"{label} is measured now"
    if kind == "configuration":
        return f"{label}: the rules changed"
    if kind == "data" and metric and then is not None and now is not None:
        return f"{area(metric, label)} {written_value(metric, then)} → {written_value(metric, now)}"
    return label


# -- the rules' figures ------------------------------------------------------------------


def rule_figures(
    now: Mapping[str, Any],
    then: Mapping[str, Any] | None,
    earlier: Mapping[str, Any] | None,
    trend: Mapping[str, Any] | None,
    lookback_days: int,
    risk_threshold: float,
    settings: Settings,
) -> dict[str, Any]:
    """The named figures that the rules read, of a customer on a date: the panel's metrics, and these."""
    figures = plain_figures(now)
    change, arr_change = _difference(now, then, "shown"), _difference(now, earlier, "arr")
    arr_before = number(earlier["arr"]) if earlier is not None else None
    share = 100 * arr_change / arr_before if arr_change is not None and arr_before else None
    slope = number(trend["slope_per_week"]) if trend is not None else None
    baseline = figures.get("usage_vs_own_baseline")
    return {
        **figures,
        "score": figures.get("shown"),
        "score_change": change,
        "score_drop": _negative(change),
        "lookback_days": lookback_days,
        "risk_threshold": risk_threshold,
        **settings.limits_in_rules,
        "health_trend": trend["trend"] if trend is not None else None,
        "slope_per_week_down": _negative(slope),
        "usage_drop_percent": None if baseline is None else 100 * (1 - baseline),
        "arr_change_90d": arr_change,
        "arr_change_percent_90d": share,
        "arr_drop_percent_90d": _negative(share),
        "arr_change_min_percent": 100 * settings.min_arr_change_share,
        "healthy_score": settings.band_edges[1],
        "renewal_days": figures.get("days_to_renewal"),
        "gave_notice": int(figures.get("days_since_notice") is not None),
        "champion_percent": in_percent(figures.get("champion_share")),
        "top_user_percent": in_percent(figures.get("top_user_share_28d")),
        "seat_percent": in_percent(figures.get("seat_utilisation")),
    }


def _difference(now: Mapping[str, Any], then: Mapping[str, Any] | None, name: str) -> float | None:
    if then is None or pd.isna(now[name]) or pd.isna(then[name]):
        return None
    return float(now[name]) - float(then[name])


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def factor_of(row: Any, side: str) -> Factor:
    effect = row.contribution if side == "positive" else -row.lost
    return Factor(
        text=factor(row.metric, row.label, row.value, side),
        metric=row.metric,
        unit=row.unit,
        value=rounded(row.value),
        points=rounded(row.points),
        effect=round(effect, 2),
    )


def opportunity_of(row: Any, group: str) -> Opportunity:
    target = written_value(row.metric, row.target)
    return Opportunity(
        area=area(row.metric, row.label),
        current_state=written_value(row.metric, row.value),
        target_state=f"{target}, as at least a quarter of the peers ({group})",
        impact=f"+{row.impact:.1f} points health score",
        effort=effort(row.metric),
        metric=row.metric,
        current_value=rounded(row.value),
        target_value=rounded(row.target),
        points=round(row.impact, 2),
    )


def newly_below(rows: Sequence[Mapping[str, Any]], threshold: float, days: int) -> str:
    """How many customers fell below the threshold within the look-back.

    >>> newly_below([{"score": 50, "score_before": 70}, {"score": 50, "score_before": 40}], 60, 30)
    ', 1 of them new in 30 days'
    """
    known = [(number(row["score"]), number(row.get("score_before"))) for row in rows]
    new = sum(
        now is not None and then is not None and now < threshold <= then for now, then in known
    )
    return f", {new} of them new in {days} days" if new else ""


def expected_loss(amount: float | None, currency: str | None, basis: str | None) -> str:
    """The ARR that is expected to churn, where its basis is a probability within so many days."""
    horizon = re.match(r"probability of churn in (\d+ days)", basis or "")
    if not amount or horizon is None:
        return ""
    return f"; {formats.brief_money(amount, currency)} expected to churn in {horizon[1]}"
