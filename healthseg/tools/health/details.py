"""What stands behind one score: the customer's card, components and metrics, factors, opportunities."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from healthseg.metrics import panel as panels
from healthseg.metrics.counting import EPOCH, epoch_day
from healthseg.scoring import factors as score_factors
from healthseg.scoring import opportunities as score_opportunities
from healthseg.scoring import trend_window_days
from healthseg.settings import COMPONENTS
from healthseg.statistics.peers import peers_of
from healthseg.tools.health import predictive, words
from healthseg.tools.health.result import (
    ComponentDetail,
    ComponentScores,
    CustomerCard,
    Factor,
    Factors,
    HealthMetrics,
    MetricDetail,
    Opportunity,
    Range,
    Trend,
)
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import integer, number, rounded, word

METRICS = [
    "component",
    "metric",
    "label",
    "unit",
    "value",
    "points",
    "weight",
    "effective_weight",
    "target",
    "missing_reason",
]
FLOATS = ["value", "points", "weight", "effective_weight", "target"]


def card(subject: Subject) -> CustomerCard:
    row, given = subject.now, subject.customer
    renewal = number(row["renewal_day"])
    today = subject.as_of >= subject.portfolio.data_until  # who managed it before is not known
    return CustomerCard(
        name=str(given.get("name") or subject.client_id),
        industry=word(given.get("industry")),
        region=word(given.get("region")),
        tier=word(row["tier"]),
        plan=word(row["plan"]),
        stage=word(row["stage"]),
        arr=number(row["arr"]),
        currency=word(row["currency"])
        or word(given.get("currency"))
        or subject.settings.reporting_currency,
        seats=integer(row["seats"]),
        renewal_on=None if renewal is None else EPOCH + dt.timedelta(days=int(renewal)),
        days_to_renewal=None if renewal is None else int(renewal) - epoch_day(subject.as_of),
        tenure_days=int(row["tenure_days"]),
        csm_id=word(given.get("csm_id")) if today else None,
        timezone=subject.zone,
    )


def component_weights(subject: Subject) -> dict[str, float]:
    """The weights in force, normalised."""
    if subject.weights is not None:
        return {name: round(weight, 6) for name, weight in subject.weights.items()}
    known = subject.points.drop_duplicates("component").set_index("component")["component_weight"]
    return {f"{name}_weight": round(float(known.get(name, 0.0)), 6) for name in COMPONENTS}


def component_scores(subject: Subject) -> ComponentScores:
    return ComponentScores(
        **{f"{name}_score": integer(subject.now[f"{name}_score"]) for name in COMPONENTS}
    )


def metrics(subject: Subject) -> pd.DataFrame:
    """The metrics' frame: the scorecard's rows with values, points, targets and reasons of missing ones."""
    frame = subject.points[METRICS].copy()
    frame["target"] = frame["target"].where(frame["points"].notna())
    reasons = [
        words.why_missing(row.metric, row.missing_reason, subject.portfolio.has)
        if isinstance(row.missing_reason, str)
        else None
        for row in frame.itertuples()
    ]
    frame["missing_reason"] = pd.Series(reasons, index=frame.index, dtype=object)
    return frame.astype(dict.fromkeys(FLOATS, float))


def components(subject: Subject, frame: pd.DataFrame) -> list[ComponentDetail]:
    found = []
    for name, rows in frame.groupby("component", sort=False):
        total, known = rows["weight"].sum(), rows.loc[rows["points"].notna(), "weight"].sum()
        found.append(
            ComponentDetail(
                component=name,
                score=integer(subject.now[f"{name}_score"]),
                weight=round(total, 6),
                coverage=round(known / total, 4) if total else 0.0,
                metrics=[_scored(row) for row in rows.drop(columns="component").to_dict("records")],
            )
        )
    return found


def _scored(row: dict) -> MetricDetail:
    return MetricDetail(**{**row, **{name: rounded(row[name]) for name in FLOATS}})


def health_metrics(subject: Subject) -> HealthMetrics:
    row = subject.now
    opened = panels.span_of(
        subject.portfolio, subject.client_id, subject.day, subject.lookback_days, "tickets_opened"
    )
    return HealthMetrics(
        weekly_active_users=integer(row["weekly_active_users"]),
        feature_adoption_rate=rounded(row["feature_adoption_rate_30d"]),
        support_ticket_count=integer(opened),
        open_tickets=integer(row["open_tickets"]),
        nps_score=integer(row["nps_365d"]),
        nps_respondents=integer(row["nps_respondents_365d"]),
        payment_status=word(row["payment_status"]),
        days_overdue=integer(row["worst_days_overdue"]),
    )


def caps(subject: Subject) -> list[str]:
    row = subject.now
    if pd.isna(row["cap"]):
        return []
    return [
        f"capped at {row['cap']:.0f}: an invoice is {row['worst_days_overdue']:.0f} days overdue"
    ]


def trend(subject: Subject) -> Trend:
    row = subject.trend
    known = number(row["lower"]) is not None
    interval = Range(lower=rounded(row["lower"]), upper=rounded(row["upper"])) if known else None
    return Trend(
        slope_per_week=rounded(row["slope_per_week"]),
        interval=interval,
        weeks=int(row["weeks"]),
        interval_level=subject.settings.interval_level,
        window_days=trend_window_days(subject.lookback_days),
    )


def factors(subject: Subject) -> Factors:
    """What holds the score up (points it brings) and what pulls it down (points it costs)."""
    if subject.rules.predictive:
        return predictive.factors(subject)
    rows = score_factors(subject.points, subject.settings)
    sides = {
        side: [_factor(row, side) for row in rows[rows["side"] == side].itertuples()]
        for side in ("positive", "negative")
    }
    return Factors(
        positive=[factor.text for factor in sides["positive"]],
        negative=[factor.text for factor in sides["negative"]],
        positive_detail=sides["positive"],
        negative_detail=sides["negative"],
    )


def _factor(row, side: str) -> Factor:
    effect = row.contribution if side == "positive" else -row.lost
    return Factor(
        text=words.factor(row.metric, row.label, row.value, side),
        metric=row.metric,
        unit=row.unit,
        value=rounded(row.value),
        points=rounded(row.points),
        effect=round(effect, 2),
    )


def opportunities(subject: Subject) -> tuple[list[Opportunity], str | None]:
    """The next steps that peers show to be within reach; or the reason why there can be none."""
    if subject.churned or subject.rules.predictive:
        return [], predictive.NO_OPPORTUNITIES if subject.rules.predictive else None
    today = panels.panel(subject.portfolio, [subject.as_of])
    least = subject.settings.peers_min
    group, peers = peers_of(today[today["live"].astype(bool)], subject.client_id, least)
    if group is None:
        return [], f"fewer than {least} peers to take targets from"
    values = {metric: peers[metric].to_numpy(dtype=float) for metric in subject.points["metric"]}
    found = score_opportunities(subject.points, subject.now, values, subject.settings)
    return [_opportunity(row, group) for row in found.itertuples()], None


def _opportunity(row, group: str) -> Opportunity:
    return Opportunity(
        area=words.area(row.metric, row.label),
        current_state=words.said(row.metric, row.value),
        target_state=f"{words.said(row.metric, row.target)}, as at least a quarter of the peers ({group})",
        impact=words.impact(row.impact),
        effort=words.effort(row.metric),
        metric=row.metric,
        current_value=rounded(row.value),
        target_value=rounded(row.target),
        points=round(row.impact, 2),
    )
