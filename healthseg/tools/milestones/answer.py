"""The response of track_adoption_milestones for a customer, put together from what was counted and judged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.counting import EPOCH
from healthseg.metrics.milestone_plan import date_of
from healthseg.tools.milestones import advice, details, missing, value
from healthseg.tools.milestones.blockers import blockers
from healthseg.tools.milestones.figures import NO_PLAN, OPEN, Figures
from healthseg.tools.milestones.result import AdoptionMilestones, Forecast
from healthseg.tools.milestones.success import Success

FRAME = [
    "milestone_id",
    "name",
    "category",
    "status",
    "required",
    "target_days",
    "anchor_day",
    "target_day",
    "started_day",
    "completed_day",
    "completed_by",
    "days",
    "skipped_day",
    "reached",
    "users",
    "blocker",
    "blocked",
    "blocked_day",
    "owner",
    "day",
    "median_day",
    "lower_day",
    "upper_day",
    "began_day",
]


def success_of(figures: Figures) -> Success:
    """The model of a day, made once."""
    return remember(
        figures.portfolio, ("milestone success", figures.as_of), lambda: Success(figures)
    )


def of_one(
    portfolio: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any
) -> AdoptionMilestones:
    """The response for a customer that had signed up by ``as_of``; one that left is shown as of its last day."""
    figures, client_id = Figures.of(portfolio, as_of), str(customer["client_id"])
    every = figures.rows_of.get(client_id, [])
    own, known = (
        {row["milestone_id"]: row for row in every},
        figures.plan is not None and bool(every),
    )
    rows = [row for row in every if asked.milestone_category in ("all", row["category"])]
    shown = [row for row in rows if asked.include_overdue or row["status"] != "overdue"]
    coming = _coming(figures, client_id, rows)
    done, times = details.progress(rows, known), value.time_to_value(figures, client_id)
    likely, why = _success(figures, client_id, done, times, every, known)
    response = AdoptionMilestones(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        client_id=client_id,
        customer_name=str(customer.get("name") or client_id),
        milestone_category=asked.milestone_category,
        began_on=date_of(figures.present_spells.loc[client_id, "began_day"])
        if client_id in figures.present_spells.index
        else None,
        day_kind=figures.settings.milestone_days,
        overall_progress=done,
        milestone_details=[
            details.detail(row, figures.count, figures.names, coming.get(row["milestone_id"]))
            for row in shown
        ]
        if known
        else None,
        category_progress=details.by_category(rows) if known else None,
        time_to_value=times,
        blockers=blockers(figures, shown, own) if known else None,
        recommendations=_advice(figures, client_id, shown, own, known, asked),
        success_probability=likely,
        expected_full_adoption=_all(figures, client_id) if known else None,
        warnings=_warnings(figures, customer, as_of, client_id),
    )
    reasons = missing.reasons(figures, asked, response, why, known)
    response = response.model_copy(
        update={"not_measured": reasons, "coverage": missing.coverage(response)}
    )
    marks = _marks(figures, client_id)
    return response.with_frames(
        milestones=_frame(figures, client_id, coming, asked.milestone_category),
        marks=marks,
        value=value.curves(figures, marks["quarter"].unique().tolist()),
    )


def _coming(
    figures: Figures, client_id: str, rows: list[dict[str, Any]]
) -> dict[str, Forecast | None]:
    """The forecasts of open milestones; of a customer that left there are none."""
    if not rows or not rows[0]["live"]:
        return {}
    return {
        row["milestone_id"]: details.expected(figures, row) for row in rows if row["status"] in OPEN
    }


def _success(
    figures: Figures, client_id: str, done: Any, times: Any, rows: list[dict[str, Any]], known: bool
) -> tuple[Any, str | None]:
    if not known:
        names = (
            "overall_success_likelihood",
            "lower",
            "upper",
            "basis",
            "by_date",
            "portfolio_share",
            "calibration",
        )
        return advice.Told(
            **dict.fromkeys(names),
            interval_level=figures.level,
            past_customers=0,
            past_failures=0,
            risk_factors=[],
            positive_factors=[],
            rules=[],
        ), missing.unknown(figures)
    return advice.success(figures, success_of(figures), client_id, done, times, rows)


def _advice(
    figures: Figures,
    client_id: str,
    shown: list[dict[str, Any]],
    own: Mapping[str, Any],
    known: bool,
    asked: Any,
) -> Any:
    if not known or not asked.include_recommendations:
        return None
    return (
        advice.recommendations(figures, shown, own)
        if figures.present_spells.loc[client_id, "live"]
        else []
    )


def _all(figures: Figures, client_id: str) -> Forecast | None:
    found = success_of(figures).all_of(client_id)
    return None if found is None else details.told(found, figures.level)


def _warnings(
    figures: Figures, customer: Mapping[str, Any], as_of: dt.date, client_id: str
) -> list[str]:
    found = [NO_PLAN] if figures.plan is None else list(figures.plan.warnings)
    left = customer.get("churned_on")
    if left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of):
        day = pd.Timestamp(left).date()
        found.append(f"churned on {day}: shown as of {day - dt.timedelta(days=1)}")
    if client_id in figures.present_spells.index:
        life = figures.present_spells.loc[client_id]
        if life["began_day"] > life["signup_day"]:
            found.append(
                f"came back on {date_of(life['began_day'])}: what was done before does not count"
            )
    return found


# -- frames -------------------------------------------------------------------------------------


def _frame(
    figures: Figures, client_id: str, coming: Mapping[str, Forecast | None], category: str
) -> pd.DataFrame:
    """A row a milestone, unrounded; days since 1970, those to come included."""
    rows = figures.by_customer.get(client_id)
    if rows is None:
        return pd.DataFrame(columns=FRAME)

    def day(name: str, which: str) -> float:
        one = coming.get(name)
        date = None if one is None else getattr(one, which)
        return float("nan") if date is None else float((date - EPOCH).days)

    rows = rows[(rows["category"] == category) | (category == "all")]
    made = {
        f"{which}_day": [day(name, which) for name in rows["milestone_id"]]
        for which in ("median", "lower", "upper")
    }
    return rows.assign(**made)[FRAME].reset_index(drop=True)


def _marks(figures: Figures, client_id: str) -> pd.DataFrame:
    """The customer's own times: mark, days (so far, where not reached), happened, target_days."""
    found = [
        row for mark in figures.marks if (row := figures.value_of(client_id, mark)) is not None
    ]
    rows = [
        {
            "mark": row["mark"],
            "days": row["time"],
            "happened": bool(row["happened"]),
            "quarter": row["quarter"],
            "target_days": float(figures.count.between(row["began_day"], row["target_day"])),
        }
        for row in found
    ]
    return pd.DataFrame(rows, columns=["mark", "days", "happened", "quarter", "target_days"])
