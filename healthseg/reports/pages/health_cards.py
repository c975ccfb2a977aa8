"""The five figures at the head of a customer's health page, and how intervals are said."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats, small
from healthseg.reports.html.page import Card


def five(health: Any) -> list[Card]:
    """Score, trend, likelihood of leaving, ARR and renewal."""
    who, past = health.customer, health.frame("history")
    return [
        _score_card(health, past),
        _trend_card(health),
        _leaving_card(health),
        _arr_card(who),
        _renewal_card(who),
    ]


def _score_card(health: Any, past: Any) -> Card:
    known = health.current_health_score is not None
    spark = (
        small.sparkline(list(past["score"]), "The score over the look-back") if len(past) else ""
    )
    return Card(
        "Health score",
        str(health.current_health_score) if known else formats.DASH,
        _window(health),
        _moved(health.score_change),
        _direction(health.score_change),
        (health.band or "") if known else "",
        spark,
    )


def _window(health: Any) -> str:
    return (
        ""
        if health.score_change is None
        else f"since {formats.day(health.change_explanation.from_date)}"
    )


def _moved(change: int | None) -> str:
    return "" if change is None else "unchanged" if change == 0 else f"{formats.signed(change)}"


def _direction(change: float | None) -> str:
    return "" if not change else "up" if change > 0 else "down"


def _trend_card(health: Any) -> Card:
    trend = health.trend
    if trend.slope_per_week is None:
        return Card("Trend", formats.DASH, "too few weeks to tell")
    return Card(
        "Trend",
        formats.words(health.health_trend),
        f"{trend.weeks} weeks; {formats.percent(trend.interval_level)} interval {between(trend.interval, 1)}",
        f"{formats.signed(trend.slope_per_week, 1)} a week",
        "" if health.health_trend == "stable" else _direction(trend.slope_per_week),
    )


def between(interval: Any, decimals: int = 0) -> str:
    """An interval of a change."""
    if interval is None or interval.lower is None:
        return "unknown"
    return (
        f"{formats.signed(interval.lower, decimals)} to {formats.signed(interval.upper, decimals)}"
    )


def share_range(interval: Any) -> str:
    """An interval of a probability."""
    if interval is None or interval.lower is None:
        return "unknown"
    return f"{odds(interval.lower)} to {odds(interval.upper)}"


def odds(share: float) -> str:
    """A probability, with a decimal where it is small."""
    return formats.percent(share, 1 if share < 0.2 else 0)


def _leaving_card(health: Any) -> Card:
    risk = health.churn_prediction
    if risk is None or risk.churn_probability is None:
        return Card("Likelihood of leaving", formats.DASH, "not estimated")
    if risk.method != "base_rate":
        return Card(
            f"Leaving in {risk.horizon_days} days",
            odds(risk.churn_probability),
            f"{formats.percent(risk.interval_level)} interval {share_range(risk.plausible_range)}; such customers "
            f"{odds(risk.base_rate)}",
            f"{risk.churn_risk_level} risk",
        )
    kind = "its tier's rate"
    return Card(
        f"Leaving in {risk.horizon_days} days",
        odds(risk.churn_probability),
        f"{kind}; for one customer {share_range(risk.plausible_range)} is plausible",
    )


def _arr_card(who: Any) -> Card:
    return Card(
        "ARR",
        formats.brief_money(who.arr, who.currency),
        " · ".join(filter(None, [who.tier, who.plan])) or "",
    )


def _renewal_card(who: Any) -> Card:
    if who.days_to_renewal is None:
        return Card("Renewal", formats.DASH, "no contract tells")
    words = (
        f"{formats.number(who.days_to_renewal)} days"
        if who.days_to_renewal >= 0
        else f"{formats.number(-who.days_to_renewal)} days ago"
    )
    return Card(
        "Renewal in" if who.days_to_renewal >= 0 else "Renewal passed",
        words,
        formats.day(who.renewal_on),
    )
