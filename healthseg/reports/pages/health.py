"""The page of one customer's health: a function for each question that its reader has."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats, small
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Column,
    Html,
    cards,
    figure,
    footer,
    isolated,
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
    table,
)
from healthseg.reports.pages.health_cards import between, five, odds, share_range
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "actions",
    "components",
    "footer",
    "heading",
    "likelihood",
    "method",
    "movement",
    "open_portfolio",
    "opening",
    "standing",
]


def opening(health: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    who = health.customer
    known = [
        who.industry,
        who.region,
        f"{who.tier} tier" if who.tier else None,
        f"{who.plan} plan" if who.plan else None,
        f"stage {formats.words(who.stage)}" if who.stage else None,
        f"manager {who.csm_id}" if who.csm_id else None,
    ]
    about = [" · ".join(isolated(word) for word in known if word), page.customer_line(health)]
    return page.opening(health, "Customer health", who.name, about, band=health.band or "unknown")


def standing(health: Any) -> Html:
    """How healthy, and how sure?"""
    spread = health.possible_range
    shown = (
        "withheld"
        if health.current_health_score is None
        else f"{health.current_health_score} of 100"
    )
    label = f"Score {shown}; possible from {formats.number(spread.lower)} to {formats.number(spread.upper)}"
    picture = small.strip(
        health.current_health_score, spread.lower, spread.upper, label, health.band_edges
    )
    sure = _sure(health)
    withheld = "Too few inputs are known for a score" if health.current_health_score is None else ""
    ramp = (
        "The customer is new: usage is judged by how long it has been here"
        if health.ramping
        else ""
    )
    frozen = (
        "The customer has left: the score is that of its last day"
        if health.status == "churned"
        else ""
    )
    caps = [f"The score is capped: {formats.words(cap)}" for cap in health.caps]
    return Html(
        cards(five(health))
        + f'<div class="hs-scale">{picture}<p class="hs-ends"><span>critical</span><span>at risk</span>'
        f"<span>healthy</span><span>champion</span></p></div>"
        + paragraph(joined(withheld, sure, ramp, frozen, *caps), "lead"),
        label,
    )


def _sure(health: Any) -> str:
    spread = health.possible_range
    if health.coverage is not None and health.coverage > 0.9999:
        return "All inputs are known: nothing is missing that could change the score"
    return (
        f"{formats.percent(health.coverage)} of the inputs are known; with all of them the score would lie between "
        f"{formats.number(spread.lower)} and {formats.number(spread.upper)}"
    )


def movement(health: Any) -> Html:
    """Why did it move?"""
    change = health.change_explanation
    if change.change is None:
        return Html(
            missing("The change", change.reason or "there is no earlier score to compare with")
        )
    parts = sorted(
        (part for part in change.parts if part.points), key=lambda part: -abs(part.points)
    )
    most = "; ".join(
        f"{formats.plain(part.label, 80)} {formats.signed(part.points, 1)}" for part in parts[:3]
    )
    lead = joined(
        f"From {change.score_then} on {formats.day(change.from_date)} to {change.score_now} on "
        f"{formats.day(change.to_date)}",
        f"Most of it: {most}" if most else "No input moved it",
    )
    columns = [
        Column("label", "Part"),
        Column("kind", "Kind", formats.words),
        Column("then", "Then", formats.plain, True),
        Column("now", "Now", formats.plain, True),
        Column("points", "Points", lambda value: formats.signed(value, 1), True),
    ]
    rows = [
        {
            "label": part.label,
            "kind": part.kind,
            "points": part.points,
            "then": formats.quantity(part.value_then, part.unit),
            "now": formats.quantity(part.value_now, part.unit),
        }
        for part in change.parts
    ]
    return Html(
        paragraph(lead, "lead")
        + figure(health, "change", table(rows, columns, "Parts of the change", "parts")),
        lead,
    )


def heading(health: Any) -> Html:
    """Where is it heading?"""
    trend, lead = health.trend, []
    if trend.slope_per_week is not None:
        lead.append(
            f"{health.health_trend}, {formats.signed(trend.slope_per_week, 1)} points a week over {trend.weeks} weeks "
            f"({formats.percent(trend.interval_level)} interval {between(trend.interval, 1)})"
        )
    last = health.predicted_scores[-1] if health.predicted_scores else None
    if last is not None:
        level = (
            f"{formats.percent(health.forecast.interval_level)} interval"
            if health.forecast
            else "interval"
        )
        lead.append(
            f"The forecast for {formats.day(last.date)} is {last.predicted_score} ({level} {last.lower} to "
            f"{last.upper})"
        )
    lead.append(_tested(health.forecast))
    rows = [
        {"date": score.date, "score": score.score, "kind": "score", "span": score.note or ""}
        for score in health.historical_scores
    ]
    rows += [
        {
            "date": point.date,
            "score": point.predicted_score,
            "kind": "forecast",
            "span": f"{point.lower} to {point.upper}",
        }
        for point in health.predicted_scores or []
    ]
    columns = [
        Column("date", "Date", formats.day),
        Column("kind", "Kind", formats.plain),
        Column("score", "Score", formats.number, True),
        Column("span", "Interval or note", formats.plain),
    ]
    marks = [
        f"{formats.day(mark.date)} · {safe(mark.kind)} · {isolated(mark.label)}"
        for mark in health.marks
    ]
    data = table(rows, columns, "Scores", "dates") + lines(marks, "marks")
    return Html(
        paragraph(joined(*lead), "lead") + figure(health, "history", data) + _no_forecast(health),
        joined(*lead),
    )


def _tested(forecast: Any) -> str:
    if forecast is None:
        return ""
    if forecast.mean_absolute_error is None:
        return "Too few past dates to test it on"
    return (
        f"On {formats.number(forecast.origins)} past forecasts it was off by "
        f"{formats.number(forecast.mean_absolute_error, 1)} points on average, a forecast of no change by "
        f"{formats.number(forecast.naive_mean_absolute_error, 1)}"
    )


def _no_forecast(health: Any) -> str:
    why = health.not_measured.get("$.predicted_scores")
    return missing("The forecast", why) if health.predicted_scores is None and why else ""


def components(health: Any) -> Html:
    """What is behind each component?"""
    tiles = "".join(_tile(part) for part in health.components)
    rows = [
        {**metric.model_dump(), "component": part.component}
        for part in health.components
        for metric in part.metrics
    ]
    columns = [
        Column("label", "Input"),
        Column("component", "Component", formats.words),
        _measured("value", "Value"),
        _measured("target", "Full points at"),
        Column("points", "Points", formats.number, True),
        Column(
            "effective_weight", "Share of the score", lambda value: formats.percent(value, 1), True
        ),
    ]
    unknown: dict[str, list[str]] = {}
    for row in rows:
        if row["points"] is None:
            unknown.setdefault(
                row["missing_reason"] or "the input is not in the portfolio", []
            ).append(row["label"])
    gaps = "".join(missing(", ".join(labels), why) for why, labels in unknown.items())
    return Html(
        f'<div class="hs-tiles">{tiles}</div>{gaps}'
        + figure(health, "components", table(rows, columns, "Inputs", "inputs"))
    )


def _measured(key: str, name: str) -> Column:
    return Column(
        key, name, numeric=True, markup=lambda row: safe(formats.quantity(row[key], row["unit"]))
    )


def _tile(part: Any) -> str:
    known = "" if part.coverage > 0.999 else f", {formats.percent(part.coverage)} known"
    return (
        f'<div class="hs-tile"><b>{formats.number(part.score)}</b><span>{safe(formats.sentence(part.component))}</span>'
        f"<small>{formats.percent(part.weight)} of the weight{known}</small></div>"
    )


def likelihood(health: Any) -> Html:
    """How likely to leave, and why?"""
    risk = health.churn_prediction
    if risk is None:
        return Html(
            missing(
                "The likelihood of leaving",
                health.not_measured.get("$.churn_prediction", "it was not asked for"),
            )
        )
    rows = health.frame("churn").to_dict("records")
    columns = [
        Column("horizon_days", "Within", lambda value: f"{value:.0f} days"),
        Column("kind", "Kind", formats.words),
        Column("probability", "Probability", lambda value: formats.percent(value, 1), True),
        Column("lower", "From", lambda value: formats.percent(value, 1), True),
        Column("upper", "To", lambda value: formats.percent(value, 1), True),
    ]
    signs = [*health.risk_indicators, *(risk.key_risk_factors or [])]
    reasons = _reasons("What speaks for leaving", signs)
    reasons += _reasons("What speaks for staying", risk.protective_factors or [])
    lead = _odds(risk)
    return Html(
        paragraph(lead, "lead")
        + figure(health, "outlook", table(rows, columns, "Likelihood of leaving", "horizons"))
        + f'<div class="hs-two">{reasons}</div>',
        lead,
    )


def _odds(risk: Any) -> str:
    if risk.churn_probability is None:
        return joined(f"No estimate: {risk.reason}")
    level = formats.percent(risk.interval_level)
    if risk.method != "base_rate":
        return joined(
            f"{formats.percent(risk.churn_probability, 1)} within {risk.horizon_days} days ({level} interval "
            f"{share_range(risk.plausible_range)}), {risk.churn_risk_level} against the portfolio; the base rate of such "
            f"customers is {odds(risk.base_rate)}",
            f"Confidence {formats.percent(risk.confidence)}: the chance that the customer’s own probability is within "
            "5 points of it",
        )
    first = (
        f"{odds(risk.churn_probability)} of such customers leave within {risk.horizon_days} days "
        f"({level} interval {share_range(risk.base_rate_interval)})"
    )
    single = (
        f"For a single customer anything from {share_range(risk.plausible_range)} is plausible"
        if risk.plausible_range
        else ""
    )
    seen = f"Seen: {formats.number(risk.leavers)} that left" if risk.leavers is not None else ""
    return joined(first, single, seen, risk.reason)


def _reasons(title: str, texts: list[str]) -> str:
    found = list(dict.fromkeys(texts))
    points = lines(f"<bdi>{prose(text)}</bdi>" for text in found)
    return f"<div><h3>{safe(title)}</h3>{points}</div>" if found else ""


def actions(health: Any) -> Html:
    """What to do, and what it would bring?"""
    todo = lines(
        (_action(fired) for fired in health.recommended_actions_detail), "todo", ordered=True
    )
    if not todo:
        todo = paragraph("No rule asks for anything now.", "lead")
    rows = [part.model_dump() for part in health.improvement_opportunities]
    columns = [
        Column("area", "What could rise"),
        Column("current_state", "Now", formats.plain),
        Column("target_state", "Target", formats.plain),
        Column("points", "Points of the score", lambda value: formats.signed(value, 1), True),
    ]
    gains = f"<h3>What it would bring</h3>{table(rows, columns, label='inputs')}" if rows else ""
    alerts = lines(
        f"{page.severity(alert.severity)} {prose(alert.text)}" for alert in health.alerts
    )
    raised = f"<h3>Alerts</h3>{alerts}" if alerts else ""
    return Html(todo + gains + raised, "; ".join(health.recommended_actions) or "nothing to do")


def _action(fired: Any) -> str:
    because = f"<small>Rule: {safe(formats.words(fired.rule))}</small>"
    return f"{page.severity(fired.severity)} {prose(fired.text)}{because}"


def method(health: Any) -> Html:
    """How was this computed? Behind a fold."""
    weights = ", ".join(
        f"{formats.words(name.removesuffix('_weight'))} {formats.percent(weight)}"
        for name, weight in health.component_weights.items()
    )
    return page.method(
        health,
        "The score is the weighted mean of the components that can be measured; each input becomes 0 to 100 points "
        "along straight lines between the anchors of the scorecard",
        f"Weights: {weights}",
        "Missing inputs are left out, and the range says what they could change; they never count as average",
        "The parts of a change, in order rules, inputs lost, data, inputs gained, caps, add up to it exactly",
        "The history is rebuilt by today's rules from what was known on each date",
        pairs=[
            ("Scoring model", formats.words(health.scoring_model)),
            ("Risk threshold", formats.number(health.risk_threshold)),
            ("Risk level", health.risk_level or "unknown"),
            ("Forecast", formats.words(health.forecast.method) if health.forecast else ""),
            (
                "Likelihood of leaving",
                health.churn_prediction.reason if health.churn_prediction else "",
            ),
        ],
    )
