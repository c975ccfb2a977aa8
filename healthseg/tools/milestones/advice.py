"""What to do next, milestone by milestone; and what speaks for and against success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthseg import rules
from healthseg.metrics.milestone_plan import date_of
from healthseg.tools.milestones.blockers import acceleration, sooner, words_of
from healthseg.tools.milestones.figures import OPEN, TOOL, Figures
from healthseg.tools.milestones.result import Calibration, Progress, Recommendation, TimeToValue
from healthseg.tools.milestones.result import Success as Told
from healthseg.tools.milestones.success import Success
from healthseg.tools.rounding import number, rounded

MOST = 5


def recommendations(
    figures: Figures, rows: list[dict[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> list[Recommendation]:
    """Open milestones for which a rule says what to do: overdue and required ones first."""
    found = []
    for row in rows:
        if row["status"] in OPEN:
            fired = rules.fired(TOOL, "action", words_of(row, figures, own))
            if fired:
                found.append((_order(row), _recommended(figures, row, fired)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])[:MOST]]


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["status"] != "overdue", not row["required"], row["target_day"], row["milestone_id"])


def _recommended(
    figures: Figures, row: Mapping[str, Any], fired: list[dict[str, Any]]
) -> Recommendation:
    faster = acceleration(figures, row)
    return Recommendation(
        milestone=row["name"],
        milestone_id=row["milestone_id"],
        current_status=row["status"],
        recommended_actions=[rule["text"] for rule in fired],
        estimated_acceleration=sooner(faster),
        estimated_acceleration_detail=faster,
        rules=fired,
    )


def success(
    figures: Figures,
    model: Success,
    client_id: str,
    done: Progress,
    value: TimeToValue,
    rows: list[dict[str, Any]],
) -> tuple[Told, str | None]:
    """The likelihood with what speaks for and against it; and why there is none."""
    chance, words = model.of(client_id), _words(figures, client_id, done, value, rows)
    against, favour = (rules.fired(TOOL, kind, words) for kind in ("risk", "strength"))
    by_day = model.by_day(client_id)
    fitted = model.model if chance.basis == "model" else None
    return Told(
        overall_success_likelihood=rounded(chance.value),
        lower=rounded(chance.lower),
        upper=rounded(chance.upper),
        interval_level=figures.level,
        basis=chance.basis,
        by_date=date_of(by_day),
        portfolio_share=rounded(model.share),
        past_customers=model.past,
        past_failures=model.failures,
        calibration=calibration(model) if fitted is not None else None,
        risk_factors=[rule["text"] for rule in against],
        positive_factors=[rule["text"] for rule in favour],
        rules=[*against, *favour],
    ), chance.reason


def calibration(model: Success) -> Calibration | None:
    fitted = model.model
    return (
        None
        if fitted is None
        else Calibration(
            brier=rounded(fitted.brier),
            brier_of_share=rounded(fitted.base_brier),
            slope=rounded(fitted.slope),
            intercept=rounded(fitted.intercept),
            customers=model.past,
            failures=model.failures,
        )
    )


def _words(
    figures: Figures, client_id: str, done: Progress, value: TimeToValue, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    row = figures.panel_rows.get(client_id, {})
    ages = [one["day"] - one["blocked_day"] for one in rows if one["blocked"]]
    detail = {one.mark: one for one in value.detail}
    activation = detail.get("activation")
    words = {f"{name}_word": one.word for name, one in detail.items()}
    gap = None
    if (
        activation is not None
        and activation.days is not None
        and activation.target_days is not None
    ):
        gap = round(activation.days - activation.target_days, 1)
    lived = figures.present_spells.loc[client_id, "live"]
    return {
        **words,
        "overdue_required": done.overdue_required,
        "overdue": done.overdue_milestones,
        "completed": done.completed_milestones,
        "total": done.total_milestones,
        "blocked": len(ages),
        "oldest_blocker": max((age for age in ages if age == age), default=None),
        "activation_days": None if activation is None else activation.days,
        "activation_target": None if activation is None else activation.target_days,
        "activation_late": gap,
        "first_value_days": value.first_value_days,
        "first_value_target": detail["first_value"].target_days
        if "first_value" in detail
        else None,
        **{
            name: number(row.get(column)) if lived else None
            for name, column in (
                ("sessions", "sessions_per_user_per_week_28d"),
                ("stickiness", "stickiness_30d"),
                ("silent_days", "days_since_last_person_event"),
                ("active_users", "monthly_active_users"),
            )
        },
    }
