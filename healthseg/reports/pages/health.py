"""The page of one customer's health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import formats, small, theme
from healthseg.reports.document import Drawing, Markup
from healthseg.reports.html.writer import safe
from healthseg.reports.pages.common import actions_section
from healthseg.reports.spec import (
    Block,
    Card,
    Cards,
    Chart,
    Columns,
    Custom,
    Fold,
    Heading,
    Missing,
    Note,
    Page,
    Points,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.base import Interval
    from healthseg.tools.health.result import ChurnPrediction, HealthScore

# Below this a probability has a decimal.
SMALL_SHARE = 0.2


def _about(health: HealthScore) -> str:
    """What is known of the customer."""
    parts = {
        "industry": "{customer.industry:Words}",
        "region": "{customer.region}",
        "tier": "{customer.tier} tier",
        "plan": "{customer.plan} plan",
        "stage": "stage {customer.stage:words}",
        "csm_id": "manager {customer.csm_id:manager}",
    }
    return " · ".join(text for name, text in parts.items() if getattr(health.customer, name))


def _share(path: str, share: float) -> str:
    """A probability, with a decimal where it is small."""
    return f"{{{path}:{'percent.1' if share < SMALL_SHARE else 'percent'}}}"


def _range(path: str, interval: Interval | None) -> str:
    """An interval of a probability."""
    if interval is None or interval.lower is None or interval.upper is None:
        return "unknown"
    lower = _share(f"{path}.lower", interval.lower)
    return f"{lower} to {_share(f'{path}.upper', interval.upper)}"


SLOPE = "{trend.slope_per_week:signed.1}"
SLOPE_INTERVAL = (
    "{trend.interval_level:percent} interval {trend.interval.lower:signed.1} to "
    "{trend.interval.upper:signed.1}"
)


def _through_renewal(health: HealthScore) -> str:
    """The probability through a renewal that lies beyond the horizon: most churn happens there."""
    risk, days = health.churn_prediction, health.customer.days_to_renewal
    if risk is None or days is None or days <= risk.horizon_days or risk.method == "base_rate":
        return ""
    later = [at for at, row in enumerate(risk.by_horizon) if row["horizon_days"] >= days]
    if not later:
        return ""
    path = f"churn_prediction.by_horizon[{later[0]}]"
    chance = _share(f"{path}.churn_probability", risk.by_horizon[later[0]]["churn_probability"])
    return f"{chance} within {{{path}.horizon_days:number day}}, through its renewal"


def _churn_card(health: HealthScore) -> Card:
    risk = health.churn_prediction
    if risk is None or risk.churn_probability is None:
        return Card("Probability of churn", "", "not estimated")
    range_ = _range("churn_prediction.plausible_range", risk.plausible_range)
    if risk.method == "base_rate":
        note, change = f"its tier’s rate; for one customer {range_} is plausible", ""
    else:
        base = _share("churn_prediction.base_rate", risk.base_rate or 0.0)
        note = (
            f"{{churn_prediction.interval_level:percent}} interval {range_}; such customers {base}"
        )
        change = _through_renewal(health) or "{churn_prediction.churn_risk_level} churn risk"
    return Card(
        "Churn in {churn_prediction.horizon_days:number day}",
        _share("churn_prediction.churn_probability", risk.churn_probability),
        note,
        change,
    )


def _renewal_card(health: HealthScore) -> Card:
    days = health.customer.days_to_renewal
    if health.status == "churned" and health.customer.renewal_on is not None:
        return Card("Contract ended", "{customer.renewal_on:day}")
    if days is None:
        return Card("Renewal", "", "no contract is known")
    return Card(
        ("Contract ends in" if health.gave_notice else "Renewal in")
        if days >= 0
        else "Renewal passed",
        "{customer.days_to_renewal:number day}" if days >= 0 else "{customer.renewal_on:day}",
        "{customer.renewal_on:day}" if days >= 0 else "{customer.days_to_renewal:number day}",
    )


def _trend_card(health: HealthScore) -> Card:
    known = health.trend.slope_per_week is not None
    return Card(
        "Trend",
        "{health_trend:words}",
        f"{{trend.weeks:number week}}; {SLOPE_INTERVAL}" if known else "too few weeks to tell",
        f"{SLOPE} a week",
        "" if health.health_trend == "stable" else "trend.slope_per_week",
    )


def _customer_cards(health: HealthScore) -> tuple[Card, ...]:
    moved, who = health.score_change, health.customer
    score = Card(
        "Health score",
        "{current_health_score:number}",
        "since {change_explanation.from_date:day}" if moved is not None else "",
        "" if moved is None else "{score_change:signed}" if moved else "unchanged",
        "score_change",
        "band" if health.current_health_score is not None else "",
        "frames.history.score",
        "score over the look-back",
    )
    return (
        *(() if health.provisional else (score,)),
        *(() if health.ends or health.provisional else (_trend_card(health),)),
        *(() if health.ends or health.provisional else (_churn_card(health),)),
        Card(
            "ARR",
            "{customer.reported.arr:brief_money}",
            " · ".join(f"{{customer.{name}}}" for name in ("tier", "plan") if getattr(who, name)),
        ),
        _renewal_card(health),
    )


def _strip(health: HealthScore) -> Markup:
    """The score on the four bands, with the range that missing inputs allow."""
    score, spread = health.current_health_score, health.possible_range
    shown = "withheld" if score is None else f"{score} of 100"
    label = (
        f"Score {shown}; possible from {formats.number(spread.lower)} to "
        f"{formats.number(spread.upper)}"
    )
    names = "".join(f"<span>{safe(formats.words(band))}</span>" for band in theme.BANDS)
    picture = small.strip(score, spread.lower, spread.upper, label, health.band_edges)
    html = f'<div class="hs-scale">{picture}<p class="hs-ends">{names}</p></div>'
    return Markup(html, (Drawing(picture),))


def _standing_blocks(health: HealthScore) -> tuple[Block, ...]:
    return () if health.provisional else (Custom(_strip),)


def _no_score(health: HealthScore) -> str:
    """Why there is no score, and which tables would bring one."""
    reason = health.not_measured.get("$.current_health_score", "")
    return reason.replace("withheld: ", "No score: ") or "Too few inputs are known for a score"


def _standing(health: HealthScore) -> tuple[str, ...]:
    """How sure the score is, and what holds or caps it."""
    if health.ends and health.caps:
        return (
            "The customer churned: the score is that of its last day"
            if health.status == "churned"
            else "",
            *(f"{{caps[{index}]:sentence}}" for index in range(len(health.caps))),
            "Without that it would be {uncapped_score:number}",
        )
    complete = health.coverage is not None and health.coverage > 0.9999
    return (
        "The customer is too new for a score: its first days say too little"
        if health.provisional
        else _no_score(health)
        if health.current_health_score is None
        else "",
        ""
        if health.provisional
        else "All inputs are known: nothing is missing that could change the score"
        if complete
        else "{coverage:percent} of the inputs are known; the others could not move the score"
        if formats.number(health.possible_range.lower)
        == formats.number(health.possible_range.upper)
        else "{coverage:percent} of the inputs are known; with all of them the score would lie "
        "between {possible_range.lower:number} and {possible_range.upper:number}"
        if health.coverage
        else "None of its inputs is known",
        "The customer is new: usage is scored by how long it has been here"
        if health.ramping and not health.provisional
        else "",
        "The customer churned: the score is that of its last day"
        if health.status == "churned"
        else "",
        *(f"{{caps[{index}]:sentence}}" for index in range(len(health.caps))),
    )


CHANGE_COLUMNS: Columns = {
    "Part": "label",
    "Kind": "kind:words",
    "Then": "value_then:quantity",
    "Now": "value_now:quantity",
    "Points": "points:signed.1",
}


def _movement(health: HealthScore) -> tuple[str, ...]:
    """From where to where the score moved, and the three largest parts of that."""
    change = health.change_explanation
    if change.change is None:
        return ()
    moved = [(-abs(part.points), index) for index, part in enumerate(change.parts) if part.points]
    largest = [f"change_explanation.parts[{index}]" for _, index in sorted(moved)[:3]]
    most = "; ".join(f"{{{part}.label}} {{{part}.points:signed.1}}" for part in largest)
    return (
        "From {change_explanation.score_then:number} on {change_explanation.from_date:day} to "
        "{change_explanation.score_now:number} on {change_explanation.to_date:day}",
        f"Most of it: {most}" if most else "No input moved it",
    )


def _movement_blocks(health: HealthScore) -> tuple[Block, ...]:
    if health.provisional:
        return ()
    if health.change_explanation.change is None:
        reason = (
            "{change_explanation.reason:sentence}"
            if health.change_explanation.reason
            else "there is no earlier score to compare with"
        )
        return (Missing("The change", reason=reason),)
    table = Table("change_explanation.parts", CHANGE_COLUMNS, "Parts of the change", "parts")
    return (Chart("change", table),)


def _outlook(health: HealthScore) -> tuple[str, ...]:
    """The trend, the last forecast, and how well forecasts did in the past; or why there is none."""
    if health.status == "churned":
        return ("The customer churned: the chart ends with its last day",)
    if health.provisional:
        return ()
    if health.gave_notice:
        return (
            "There is no forecast: notice was given",
            "The contract ends on {customer.renewal_on:day}" if health.customer.renewal_on else "",
        )
    ahead = f"predicted_scores[{len(health.predicted_scores or ()) - 1}]"
    level = "{forecast.interval_level:percent} interval" if health.forecast else "interval"
    tested = health.forecast and health.forecast.mean_absolute_error is not None
    return (
        f"{{health_trend:sentence}}, {SLOPE} points a week over {{trend.weeks:number week}} "
        f"({SLOPE_INTERVAL})"
        if health.trend.slope_per_week is not None
        else "",
        f"The forecast for {{{ahead}.date:day}} is {{{ahead}.predicted_score:number}} ({level} "
        f"{{{ahead}.lower:number}} to {{{ahead}.upper:number}})"
        if health.predicted_scores
        else "",
        "No method has forecast better than assuming that the score stays where it is, which was off by "
        "{forecast.mean_absolute_error:number.1} points on average ({forecast.origins:number date})"
        if tested and health.forecast and health.forecast.method == "no change"
        else "On {forecast.origins:number past forecast} it was off by "
        "{forecast.mean_absolute_error:number.1} points on average, a forecast of no change by "
        "{forecast.naive_mean_absolute_error:number.1}"
        if tested
        else "Too few past dates to test it on"
        if health.forecast
        else "",
    )


def _outlook_blocks(health: HealthScore) -> tuple[Block, ...]:
    if health.provisional:
        return ()
    scores = Table(
        "historical_scores",
        {"Date": "date:day", "Score": "score:number", "Note": "note"},
        label="dates",
    )
    forecast = Table(
        "predicted_scores",
        {"Date": "date:day", "Forecast": "predicted_score:number", "Interval": INTERVAL},
        label="dates",
    )
    events = Points("marks", "{date:day} · {kind:words} · {label:words}")
    unknown = Missing("The forecast", "predicted_scores")
    known = health.predicted_scores is None and "$.predicted_scores" in health.not_measured
    return (
        Chart("history", scores),
        *(() if health.ends else (Fold("The forecast as a table", (forecast,)),)),
        Fold("Events on the time axis", (events,)),
        *((unknown,) if known and not health.ends else ()),
    )


FULL = 100
INTERVAL = "{lower:number} to {upper:number}"
INPUT_COLUMNS: Columns = {
    "Input": "label",
    "Component": "component:words",
    "Value": "value:quantity",
    "Full points at": lambda row: "reached" if row["points"] == FULL else "{target:quantity}",
    "Points": "points:number",
    "Share of the score": "effective_weight:percent.1",
}


def _component_cards(health: HealthScore) -> tuple[Card, ...]:
    return tuple(
        Card(
            f"{{components[{index}].component:Words}}",
            f"{{components[{index}].score:number}}",
            f"{{components[{index}].weight:percent}} of the weight"
            + (
                f", {{components[{index}].coverage:percent}} known"
                if part.coverage <= 0.999
                else ""
            ),
        )
        for index, part in enumerate(health.components)
    )


def _unknown_inputs(health: HealthScore) -> tuple[Note, ...]:
    """A line for each reason why inputs are not measured."""
    labels: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for at, part in enumerate(health.components):
        for index, metric in enumerate(part.metrics):
            path, why = f"components[{at}].metrics[{index}]", metric.missing_reason
            if metric.points is None:
                labels.setdefault(why or "", []).append(f"{{{path}.label}}")
                reasons[why or ""] = (
                    f"{{{path}.missing_reason:sentence}}" if why else "Not in the portfolio"
                )
    return tuple(
        Note((f"{', '.join(names)}: not measured", reasons[why])) for why, names in labels.items()
    )


def _component_blocks(health: HealthScore) -> tuple[Block, ...]:
    if health.provisional:  # points of a few days would read as a score
        return (KNOWN_SO_FAR,)
    unknown = _unknown_inputs(health)
    return (
        Cards(_component_cards(health)),
        *_measured_inputs(health),
        *((Heading("What could rise?"), OPPORTUNITIES) if health.improvement_opportunities else ()),
        *((Heading("What is not measured?"), *unknown) if unknown else ()),
    )


KNOWN_SO_FAR = Table(
    "components[*].metrics[*]",
    {"What is known so far": "label", "Value": "value:quantity"},
    label="inputs",
    where=lambda row: row["value"] is not None,
    empty="Nothing is known yet.",
)
OPPORTUNITIES = Table(
    "improvement_opportunities",
    {
        "Input": "area",
        "Now": "current_state:prose",
        "Target": "target_state:prose",
        "Points of the score": "points:signed.1",
    },
    label="inputs",
)


def _measured_inputs(health: HealthScore) -> tuple[Block, ...]:
    """What each input has in points, where any is known."""
    if not health.coverage:
        return ()
    return (
        Chart("components", Table("components[*].metrics[*]", INPUT_COLUMNS, "Inputs", "inputs")),
    )


def _churn(health: HealthScore) -> tuple[str, ...]:
    """How likely the customer churns, and what that rests on."""
    risk = health.churn_prediction
    if risk is None:
        return ()
    if risk.churn_probability is None:
        if health.gave_notice:
            return ("Notice was given: it churns unless it is won back",)
        return ("No estimate: {churn_prediction.reason:prose}",)
    if health.provisional:
        path = "base_rate" if risk.base_rate is not None else "churn_probability"
        rate = _share(f"churn_prediction.{path}", getattr(risk, path))
        return (
            f"It is too new for an estimate of its own: {rate} of such customers churn within "
            "{churn_prediction.horizon_days:number day}",
        )
    probability = _share("churn_prediction.churn_probability", risk.churn_probability)
    within = "within {churn_prediction.horizon_days:number day}"
    level = "{churn_prediction.interval_level:percent} interval"
    single = _range("churn_prediction.plausible_range", risk.plausible_range)
    if risk.method == "base_rate":
        return _base_rate(risk, f"{probability} of such customers churn {within}", level, single)
    base = _share("churn_prediction.base_rate", risk.base_rate or 0.0)
    return (
        f"{{churn_prediction.churn_probability:percent.1}} {within} ({level} {single}), "
        "{churn_prediction.churn_risk_level} against the portfolio; the base rate of such customers "
        f"is {base}",
        _through_renewal(health),
        "Confidence {churn_prediction.confidence:percent}: the chance that the customer’s own "
        "probability is within 5 points of it",
    )


def _base_rate(risk: ChurnPrediction, rate: str, level: str, single: str) -> tuple[str, ...]:
    own = _range("churn_prediction.base_rate_interval", risk.base_rate_interval)
    return (
        f"{rate} ({level} {own})",
        f"For a single customer anything from {single} is plausible"
        if risk.plausible_range
        else "",
        "The rate rests on {churn_prediction.churned:number customer} that churned",
        "{churn_prediction.reason:sentence}",
    )


def _churn_blocks(health: HealthScore) -> tuple[Block, ...]:
    risk = health.churn_prediction
    if risk is None:
        return (Missing("The probability of churn", "churn_prediction", "it was not requested"),)
    table = Table(
        "frames.churn",
        {
            "Within": "horizon_days:number day",
            "Kind": "kind:words",
            "Probability": "probability:percent.1",
            "From": "lower:percent.1",
            "To": "upper:percent.1",
        },
        "Probability of churn",
        "horizons",
    )
    signs, drivers = health.risk_indicators, "churn_prediction.key_risk_factors"
    against = "Risk factors"
    listed = Points("risk_indicators", "{page_item:prose}", heading=against if signs else "")
    if health.gave_notice:
        return ()
    if health.provisional:
        return (listed,)
    said = {name for rule in health.risk_indicators_detail for name in rule.figures}
    twice = {row.text for row in risk.key_risk_factors_detail or () if row.metric in said}
    return (
        *(() if risk.churn_probability is None else (Chart("outlook", table),)),
        listed,
        Points(
            drivers,
            "{page_item:prose}",
            heading=against if risk.key_risk_factors and not signs else "",
            where=lambda text: text not in {*signs, *twice},
        ),
        Points(
            "churn_prediction.protective_factors",
            "{page_item:prose}",
            heading="Protective factors",
        ),
    )


def _weights(health: HealthScore) -> str:
    """The weights in force."""
    return "Weights: " + ", ".join(
        f"{formats.words(name.removesuffix('_weight'))} {{component_weights.{name}:percent}}"
        for name in health.component_weights
    )


CUSTOMER = Page(
    tool="calculate_health_score",
    kind="Customer health",
    summary="One customer's health: the score and how sure it is, why it moved, where it goes, what is "
    "behind it, and what to do.",
    title="{customer.name}",
    about=(_about, "As of {as_of:day} · {client_id}"),
    cards=_customer_cards,
    band="band",
    sections=(
        actions_section(
            "actions",
            *(
                "notice",
                "renewal",
                "score",
                "tickets",
                "support",
                "invoice",
                "surveys",
                "usage",
                "champion",
            ),
            more=lambda health: (
                Points("alerts", "{text:prose}", severity="severity", heading="Alerts"),
            ),
        ),
        Section("standing", "How healthy, and how sure?", _standing, _standing_blocks),
        Section("movement", "Why did it move?", _movement, _movement_blocks),
        Section("outlook", "Where is it heading?", _outlook, _outlook_blocks),
        Section("components", "What is behind each component?", blocks=_component_blocks),
        Section("churn", "How likely to churn, and why?", _churn, _churn_blocks),
    ),
    method=(
        "The score is the weighted mean of the components that can be measured; each input becomes "
        "0 to 100 points along straight lines between the anchors of the scorecard",
        _weights,
        "Missing inputs are left out, and the range says what they could change; they never count as "
        "average",
        "The parts of a change, in order rules, inputs lost, data, inputs gained, caps, add up to it "
        "exactly",
        "The history is rebuilt by today’s rules from what was known on each date",
    ),
    method_facts={
        "Scoring model": "{scoring_model:words}",
        "Risk threshold": "{risk_threshold:number}",
        "Risk level": "{risk_level:?unknown}",
        "Forecast": "{forecast.method:words}",
        "Probability of churn": "{churn_prediction.reason:prose}",
    },
)
