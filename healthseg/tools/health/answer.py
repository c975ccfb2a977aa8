"""One customer's health score, put together from what was counted, judged and foreseen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg import rules
from healthseg.periods import end_of_day_utc
from healthseg.scoring import risk_level
from healthseg.settings import COMPONENTS
from healthseg.tools.alerts import preferences, raised
from healthseg.tools.health import change as changes
from healthseg.tools.health import details, outlook, predictive
from healthseg.tools.health.marks import marks
from healthseg.tools.health.result import Fired, HealthScore, HistoricalScore, Range
from healthseg.tools.health.subject import Subject
from healthseg.tools.health.words import TOOL
from healthseg.tools.rounding import integer, number

WITHHELD = "withheld: nothing is known of usage and engagement, or too little in all"
NOT_A_DAY = "the customer left on the day it signed up"


def answer(portfolio: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any) -> HealthScore:
    """The response for a customer that had signed up by ``as_of``; ``asked`` are the validated parameters."""
    wishes = preferences(asked.alert_preferences)
    subject = Subject(portfolio, customer, as_of, asked)
    ahead = outlook.ahead(subject)
    metrics, history, change = (
        details.metrics(subject),
        changes.history(subject),
        changes.change(subject),
    )
    past = changes.historical(subject, history)
    found = marks(portfolio, subject.client_id, history["date"].min(), subject.day)
    opportunities, no_opportunities = details.opportunities(subject)
    risks = rules.fired(TOOL, "risk", subject.figures)
    actions = [] if subject.churned else rules.fired(TOOL, "action", subject.figures)
    alerts = (
        []
        if subject.churned
        else raised(TOOL, wishes, subject.figures, subject.figures_before, as_of)
    )
    now = subject.now
    response = HealthScore(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=round(float(now["coverage"]), 4),
        warnings=_warnings(subject),
        not_measured=_not_measured(subject, ahead, past, no_opportunities),
        client_id=subject.client_id,
        status="churned" if subject.churned else "live",
        customer=details.card(subject),
        calculation_timestamp=end_of_day_utc(as_of, subject.zone).strftime("%Y-%m-%dT%H:%M:%SZ"),
        scoring_model=asked.scoring_model,
        component_weights=details.component_weights(subject),
        current_health_score=integer(now["shown"]),
        band=now["band"],
        band_edges=subject.settings.band_edges,
        possible_range=Range(lower=round(now["lowest"], 1), upper=round(now["highest"], 1)),
        ramping=bool(now["ramping"]),
        caps=details.caps(subject),
        health_trend=subject.trend["trend"],
        trend=details.trend(subject),
        score_change=_score_change(subject),
        component_scores=details.component_scores(subject),
        components=details.components(subject, metrics),
        health_metrics=details.health_metrics(subject),
        risk_level=risk_level(number(now["shown"]), asked.risk_threshold),
        risk_threshold=asked.risk_threshold,
        risk_indicators=_texts(risks),
        risk_indicators_detail=_fired(risks),
        churn_prediction=ahead.churn,
        historical_scores=past,
        predicted_scores=ahead.predicted,
        forecast=ahead.forecast,
        change_explanation=change,
        contributing_factors=details.factors(subject),
        improvement_opportunities=opportunities,
        recommended_actions=_texts(actions),
        recommended_actions_detail=_fired(actions),
        alerts=_fired(alerts),
        marks=found,
    )
    return response.with_frames(
        history=history,
        forecast=ahead.fan,
        change=changes.waterfall(change),
        metrics=metrics,
        churn=ahead.rates,
        marks=pd.DataFrame(
            [mark.model_dump() for mark in found], columns=["date", "kind", "label"]
        ),
    )


def _texts(found: list[dict[str, Any]]) -> list[str]:
    return [rule["text"] for rule in found]


def _fired(found: list[dict[str, Any]]) -> list[Fired]:
    return [Fired(**rule) for rule in found]


def _score_change(subject: Subject) -> int | None:
    """Between the shown scores at both ends of the look-back, by today's rules."""
    now, then = subject.now["shown"], None if subject.then is None else subject.then["shown"]
    return None if then is None or pd.isna(now) or pd.isna(then) else int(now - then)


def _warnings(subject: Subject) -> list[str]:
    found = []
    if not isinstance(subject.customer.get("timezone"), str):
        found.append(
            f"the customer has no time zone: days are those of {subject.settings.default_timezone}"
        )
    if subject.client_id in subject.judged.notes:
        found.append(
            f"past scores use {subject.judged.notes[subject.client_id]}: no earlier ones are known"
        )
    if subject.churned:
        left = pd.Timestamp(subject.customer["churned_on"]).date()
        found.append(f"churned on {left}: everything is shown as of the day before")
    return found


def _why_withheld(subject: Subject) -> str:
    if not subject.now["live"]:
        return NOT_A_DAY
    return predictive.WITHHELD if subject.rules.predictive else WITHHELD


def _not_measured(
    subject: Subject,
    ahead: outlook.Outlook,
    past: list[HistoricalScore],
    no_opportunities: str | None,
) -> dict[str, str]:
    """Why a key is null or empty, by its path."""
    found, now = dict(ahead.not_measured), subject.now
    if pd.isna(now["shown"]):
        found |= dict.fromkeys(("$.current_health_score", "$.risk_level"), _why_withheld(subject))
    if any(one.score is None for one in past):
        found["$.historical_scores[*].score"] = (
            predictive.WITHHELD
            if subject.rules.predictive
            else "withheld where too little was known"
        )
    if subject.trend["trend"] is None:
        found["$.health_trend"] = (
            f"{int(subject.trend['weeks'])} weekly scores, at least 6 are needed"
        )
    if _score_change(subject) is None:
        found["$.score_change"] = "no score at one end of the look-back"
    if no_opportunities:
        found["$.improvement_opportunities"] = no_opportunities
    measured = {
        "weekly_active_users": "weekly_active_users",
        "feature_adoption_rate": "feature_adoption_rate_30d",
        "support_ticket_count": "open_tickets",
        "nps_score": "nps_365d",
        "payment_status": "payment_status",
    }
    found |= {
        f"$.health_metrics.{key}": "no data" for key, name in measured.items() if pd.isna(now[name])
    }
    found |= {
        f"$.component_scores.{name}_score": "none of its metrics is measured"
        for name in COMPONENTS
        if pd.isna(now[f"{name}_score"])
    }
    return dict(sorted(found.items()))
