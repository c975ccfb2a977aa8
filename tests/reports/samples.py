"""A customer's and a portfolio's result with figures that are easy to find again on a page, for tests of what is shown."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from healthseg.tools.base import Interval, TriggeredRule
from healthseg.tools.health.result import (
    ChangeExplanation,
    ChangePart,
    ChurnPrediction,
    ComponentDetail,
    ComponentScores,
    CustomerCard,
    Factor,
    Factors,
    Forecast,
    HealthMetrics,
    HealthScore,
    HistoricalScore,
    HistoryMark,
    MetricDetail,
    Opportunity,
    PortfolioHealth,
    PredictedScore,
    Trend,
)
from healthseg.tools.next_actions import NextAction
from tests.reports.sample_frames import (
    AS_OF,
    change_frame,
    forecast_frame,
    frames,
    history_frame,
    marks_frame,
    metrics_frame,
    portfolio_frames,
)

__all__ = ["AS_OF", "frames", "health", "portfolio", "portfolio_frames"]


def _components() -> list[ComponentDetail]:
    frame, scores, weights = metrics_frame(), COMPONENT_SCORES, WEIGHTS
    return [
        ComponentDetail(
            component=name,
            score=scores[f"{name}_score"],
            weight=weights[name],
            coverage=float(
                group.loc[group["points"].notna(), "weight"].sum() / group["weight"].sum()
            ),
            metrics=[_scored(row) for row in group.to_dict("records")],
        )
        for name, group in frame.groupby("component", sort=False)
    ]


def _scored(row: dict) -> MetricDetail:
    return MetricDetail(
        **{
            key: None if pd.isna(value) else value
            for key, value in row.items()
            if key != "component"
        }
    )


COMPONENT_SCORES = {
    "usage_score": 65,
    "engagement_score": 84,
    "support_score": 53,
    "satisfaction_score": 68,
    "payment_score": 82,
}


WEIGHTS = {"usage": 0.35, "engagement": 0.25, "support": 0.15, "satisfaction": 0.15, "payment": 0.1}


def health(
    name: str = "Brightwater Logistics", client_id: str = "cs_client_123", **changes
) -> HealthScore:
    """A customer at 69 that fell by 6: every figure of it can be looked for on the page."""
    fields = {
        "as_of": AS_OF,
        "data_until": AS_OF,
        "fingerprint": "0123456789abcdef",
        "coverage": 0.91,
        "client_id": client_id,
        "status": "live",
        "warnings": [],
        "not_measured": {
            "health_metrics.nps_score": "nobody answered an NPS survey in the last 365 days"
        },
        "customer": CustomerCard(
            name=name,
            industry="Logistics",
            region="EMEA",
            tier="Mid-Market",
            plan="Team",
            stage="active",
            arr=84_000.0,
            currency="EUR",
            seats=120,
            renewal_on=dt.date(2025, 11, 26),
            days_to_renewal=47,
            tenure_days=412,
            csm_id="csm_04",
            timezone="Europe/Berlin",
        ),
        "calculation_timestamp": "2025-10-10T22:00:00Z",
        "scoring_model": "weighted_composite",
        "component_weights": WEIGHTS,
        "current_health_score": 69,
        "band": "healthy",
        "band_edges": (40.0, 60.0, 80.0),
        "possible_range": Interval(lower=63.0, upper=72.0),
        "ramping": False,
        "caps": [],
        "uncapped_score": 69,
        "health_trend": "declining",
        "trend": Trend(
            slope_per_week=-0.52,
            interval=Interval(lower=-0.8, upper=-0.2),
            interval_level=0.9,
            weeks=13,
            window_days=84,
        ),
        "score_change": -6,
        "component_scores": ComponentScores(**COMPONENT_SCORES),
        "components": _components(),
        "health_metrics": HealthMetrics(
            weekly_active_users=61,
            feature_adoption_rate=0.47,
            support_ticket_count=7,
            open_tickets=3,
            nps_score=None,
            nps_respondents=0,
            payment_status="overdue",
            days_overdue=12,
        ),
        "risk_level": "medium",
        "risk_threshold": 60.0,
        "risk_indicators": ["2 high tickets are open"],
        "risk_indicators_detail": [
            TriggeredRule(
                rule="open_high_tickets",
                text="2 high tickets are open",
                severity="medium",
                figures={"open_high_tickets": 2},
            )
        ],
        "churn_prediction": ChurnPrediction(
            churn_probability=0.042,
            churn_risk_level=None,
            confidence=0.71,
            key_risk_factors=["Seats in use fell from 74% to 62%"],
            protective_factors=["Somebody used it today"],
            method="base_rate",
            reason="the rate of its tier; 31 churned customers are too few for a model",
            horizon_days=90,
            interval_level=0.9,
            base_rate_interval=Interval(lower=0.027, upper=0.064),
            plausible_range=Interval(lower=0.006, upper=0.17),
            by_horizon=[],
            customers_at_risk=204,
            churned=31,
        ),
        "historical_scores": [
            HistoricalScore(
                date=row["date"],
                score=None if pd.isna(row["shown"]) else int(row["shown"]),
                coverage=0.91,
            )
            for row in history_frame().to_dict("records")
        ],
        "predicted_scores": [
            PredictedScore(
                date=row["date"],
                predicted_score=round(row["forecast"]),
                confidence=0.64,
                lower=int(row["lower"]),
                upper=int(row["upper"]),
            )
            for row in forecast_frame().to_dict("records")
        ],
        "forecast": Forecast(
            method="damped trend",
            reason=None,
            interval_level=0.9,
            origins=41,
            mean_absolute_error=3.1,
            naive_mean_absolute_error=3.6,
            interval_coverage=0.88,
        ),
        "change_explanation": ChangeExplanation(
            from_date=dt.date(2025, 9, 10),
            to_date=AS_OF,
            score_then=75,
            score_now=69,
            change=-6,
            parts=[
                ChangePart(
                    kind=row["kind"],
                    metric=None,
                    label=row["label"],
                    points=row["points"],
                    value_then=_none(row["value_then"]),
                    value_now=_none(row["value_now"]),
                    unit=_none(row["unit"]),
                )
                for row in change_frame().iloc[1:-1].to_dict("records")
            ],
        ),
        "contributing_factors": Factors(
            positive=["Sessions per user and week at 3.4, 84 points"],
            negative=["2 high tickets are open, 25 points"],
            positive_detail=[
                Factor(
                    text="Sessions per user and week at 3.4, 84 points",
                    metric="sessions_per_user_per_week_28d",
                    value=3.4,
                    unit="sessions",
                    points=84.0,
                    effect=1.1,
                )
            ],
            negative_detail=[
                Factor(
                    text="2 high tickets are open, 25 points",
                    metric="open_high_tickets",
                    value=2.0,
                    unit="tickets",
                    points=25.0,
                    effect=-2.9,
                )
            ],
        ),
        "improvement_opportunities": [
            Opportunity(
                area="Open high or critical tickets",
                current_state="2 tickets",
                target_state="0 tickets",
                impact="+4.6 points",
                effort="medium",
                metric="open_high_tickets",
                current_value=2.0,
                target_value=0.0,
                points=4.6,
            ),
            Opportunity(
                area="Seats in use",
                current_state="62% of seats",
                target_state="80% of seats",
                impact="+3.4 points",
                effort=None,
                metric="seat_utilisation",
                current_value=0.62,
                target_value=0.8,
                points=3.4,
            ),
        ],
        "recommended_actions": [
            "Agree a date for each of the 2 open high tickets",
            "Invite the 46 seats that nobody uses",
        ],
        "recommended_actions_detail": [
            TriggeredRule(
                rule="open_high_tickets",
                text="Agree a date for each of the 2 open high tickets",
                severity="high",
                figures={"open_high_tickets": 2},
            ),
            TriggeredRule(
                rule="idle_seats",
                text="Invite the 46 seats that nobody uses",
                severity="medium",
                figures={"idle_seats": 46, "seat_utilisation": 0.62},
            ),
        ],
        "next_actions": [
            NextAction(
                client_id="cs_client_123",
                name="Brightwater Logistics",
                action="close_tickets",
                topic="tickets",
                text="Agree a date for each of the 2 open high tickets",
                why="2 high tickets open",
                severity="high",
                owner="csm_02",
                due_on=dt.date(2025, 10, 13),
                arr=86_000.0,
                currency="EUR",
                effect=None,
                figures={"open_high_tickets": 2},
            )
        ],
        "alerts": [],
        "marks": [HistoryMark(**row) for row in marks_frame().to_dict("records")],
        "provisional": False,
    } | changes
    return HealthScore(**fields).with_frames(**frames())


def _none(value):
    return None if pd.isna(value) else value


def _records(frame: pd.DataFrame) -> list[dict]:
    return [{key: _none(value) for key, value in row.items()} for row in frame.to_dict("records")]


def portfolio(**changes) -> PortfolioHealth:
    """A portfolio of sixty customers."""
    shown = portfolio_frames()
    moved = shown["movers"]
    fields = {
        "as_of": AS_OF,
        "data_until": AS_OF,
        "fingerprint": "0123456789abcdef",
        "coverage": 0.9,
        "warnings": [],
        "not_measured": {},
        "total_customers": 60,
        "excluded": {"churned": 4, "not_started": 1, "prospect": 2},
        "scored_customers": 59,
        "currency": "EUR",
        "total_arr": 7_851_000.0,
        "total_arr_by_currency": {"EUR": 7_851_000.0},
        "average_score": 60.3,
        "average_change": -0.4,
        "bands": {"critical": 14, "at_risk": 16, "healthy": 16, "champion": 13},
        "band_edges": (40.0, 60.0, 80.0),
        "arr_by_band": {"critical": 1.8e6, "at_risk": 2.1e6, "healthy": 2.1e6, "champion": 1.8e6},
        "at_risk_customers": 30,
        "at_risk_arr": 3_912_000.0,
        "at_stake": 3_113_000.0,
        "at_stake_basis": "score_and_arr",
        "lookback_period_days": 30,
        "risk_threshold": 60.0,
        "customers": _records(shown["customers"]),
        "movers_up": _records(moved[moved["direction"] == "up"]),
        "movers_down": _records(moved[moved["direction"] == "down"]),
        "disagreements": _records(shown["disagreements"]),
        "input_coverage": _records(shown["coverage"]),
        "alerts": [],
    } | changes
    return PortfolioHealth(**fields).with_frames(**shown)
