"""The sections about days, hours, messages, tickets and unusual days, from what their finders give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.rhythms import hour_ranges
from healthseg.clustering.temporal import PeaksAndLows, peaks_and_lows
from healthseg.clustering.unusual_days import anomalies_of
from healthseg.data.memory import remember
from healthseg.metrics.counting import customers
from healthseg.tools.patterns.missing import NOT_ASKED
from healthseg.tools.patterns.result import Anomaly, Communication, Support, Temporal
from healthseg.tools.patterns.scope import SINGLE
from healthseg.tools.patterns.study import Study
from healthseg.tools.rounding import records, rounded, word

MOST_ANOMALIES = 50
ABOUT = {
    "people": ("users", "users came"),
    "doing": ("person_events", "events of those who came"),
    "calls": ("api_events", "calls of the API"),
}
WEEK = ["weekday", "hour", "user_hours"]


def temporal(
    study: Study, reasons: dict[str, str], least: float
) -> tuple[Temporal | None, pd.DataFrame]:
    """The section, and user-hours by weekday and hour over an hour's mean."""
    if "temporal" not in study.categories:
        reasons["$.temporal_patterns"] = NOT_ASKED
        return None, pd.DataFrame(columns=WEEK)
    found = study.time
    told = (
        peaks_and_lows(study.judged, least)
        if found.reason is None
        else PeaksAndLows(None, None, None)
    )
    if found.reason:
        reasons |= dict.fromkeys(
            (
                f"$.temporal_patterns.{name}"
                for name in ("peak_activity_days", "peak_activity_hours", "low_activity_periods")
            ),
            found.reason,
        )
    said = [text for one in found.seasons if (text := _season(one))]
    if not said:
        reasons["$.temporal_patterns.seasonal_trends"] = "; ".join(
            f"{one.cycle}: {one.reason or 'no cycle beyond chance'}"
            for one in found.seasons
            if one.cycle != "week"
        )
    trend = found.trend
    detail = {
        "user_hours": found.user_hours,
        "weeks": found.weeks,
        "trend": None
        if trend is None
        else {
            "direction": trend.direction,
            "weekly_growth_rate": rounded(trend.weekly_growth_rate),
            "lower": rounded(trend.lower),
            "upper": rounded(trend.upper),
            "weeks": trend.weeks,
        },
        "seasons": [
            {
                "cycle": one.cycle,
                "found": one.found,
                "cycles_seen": rounded(one.cycles_seen, 1),
                "strength": rounded(one.strength),
                "p": rounded(one.p),
                "reason": one.reason,
            }
            for one in found.seasons
        ],
    }
    return Temporal(
        peak_activity_days=told.peak_days,
        peak_activity_hours=told.peak_hours,
        low_activity_periods=told.low_periods,
        seasonal_trends="; ".join(said) or None,
        detail=detail,
    ), _week(found.grid)


def _season(one: Any) -> str | None:
    """A season longer than a week that is no chance, in words."""
    if not one.found or one.cycle == "week":
        return None
    (high, most), (low, least) = one.high, one.low
    return (
        f"{one.cycle}: {100 * (most - 1):+.0f} % in week {high + 1} of it, {100 * (least - 1):+.0f} % in week "
        f"{low + 1}"
    ).replace("-", "−")


def _week(grid: np.ndarray) -> pd.DataFrame:
    day, hour = np.indices(grid.shape)
    return pd.DataFrame(
        {"weekday": day.ravel(), "hour": hour.ravel(), "user_hours": grid.ravel().astype(float)}
    )


def communication(study: Study, reasons: dict[str, str]) -> Communication | None:
    if "communication" not in study.categories:
        reasons["$.communication_patterns"] = NOT_ASKED
        return None
    found = study.messages
    if found.reason:
        reasons["$.communication_patterns"] = found.reason
        return None
    best = {one.content: one.best for one in found.frequency or [] if one.best}
    if not best:
        told = {one.reason for one in found.frequency or [] if one.reason}
        reasons["$.communication_patterns.optimal_frequency"] = (
            "; ".join(sorted(told)) or "contents are no categories"
        )
    if found.contents is None:
        reasons["$.communication_patterns.engagement_rate_by_content"] = (
            "contents are texts, no categories"
        )
    tables = {
        name: records(getattr(found, name))
        for name in ("channels", "contents", "weekdays")
        if getattr(found, name) is not None
    }
    return Communication(
        preferred_channels=_rates(found.channels),
        optimal_frequency=best or None,
        engagement_rate_by_content=_rates(found.contents),
        detail={"sent": found.sent, **tables},
    )


def _rates(frame: pd.DataFrame | None) -> dict[str, float | None] | None:
    return (
        None
        if frame is None
        else {
            str(row.name_): rounded(row.rate)
            for row in frame.rename(columns={"name": "name_"}).itertuples()
        }
    )


def support(study: Study, reasons: dict[str, str], least: float) -> Support | None:
    if "support" not in study.categories:
        reasons["$.support_patterns"] = NOT_ASKED
        return None
    found, path = study.tickets, "$.support_patterns"
    if found.resolution is None:
        reasons[path] = found.sequences_reason or "there is no tickets table"
        return None
    if found.sequences_reason:
        reasons[f"{path}.common_issue_sequences"] = found.sequences_reason
    if found.self_service.reason:
        reasons[f"{path}.self_service_adoption"] = found.self_service.reason
    times, rows = found.resolution, study.judged
    rows = rows[
        (rows["kind"] == "support")
        & rows["passes"]
        & (rows["confidence"].fillna(0) >= least)
        & (rows["lift"] > 1)
    ]
    if times.direction is None:
        reasons[f"{path}.time_to_resolution_trends"] = times.reason or "half are never resolved"
    names = rows.sort_values(["support", "key"], ascending=[False, True], kind="stable")[
        "key"
    ].tolist()
    return Support(
        common_issue_sequences=None if found.sequences_reason else names,
        time_to_resolution_trends=_resolution(times),
        self_service_adoption=rounded(found.self_service.share),
        detail={
            "tickets": found.tickets,
            "first_half_hours": rounded(times.first_hours, 1),
            "second_half_hours": rounded(times.second_hours, 1),
            "ratio": rounded(times.ratio),
            "ratio_lower": rounded(times.lower),
            "ratio_upper": rounded(times.upper),
            "interval_level": times.level,
            "first_half_tickets": times.first_tickets,
            "second_half_tickets": times.second_tickets,
            "still_open": times.open_tickets,
            "self_service_users": found.self_service.helped_themselves,
            "users_seeking_help": found.self_service.users,
        },
    )


def _resolution(times: Any) -> str | None:
    if times.direction is None:
        return None
    return (
        f"{times.direction[:1].upper()}{times.direction[1:]} (half were resolved within {times.first_hours:.0f} h "
        f"in the first half of the window, within {times.second_hours:.0f} h in the second)"
    )


# -- patterns in words ------------------------------------------------------------------------


def name(kind: str, key: str) -> str | None:
    """The name of a pattern of days, messages or tickets; None for other kinds."""
    if kind == "temporal":
        what, value = key.split(":", 1)
        return hour_ranges([int(value)])[0] if what == "hour" else value
    if kind == "communication":
        what, value = key.split(":", 1)
        said = value.replace("_", " ").replace("/", ": ")
        return {"opened": f"Opening of {said}", "weekday": f"Messages on {said}"}.get(
            what, f"Messages about {said}"
        )
    return f"Tickets: {key.replace('_', ' ')}" if kind == "support" else None


def described(kind: str, key: str, row: dict[str, Any]) -> str | None:
    """What was found, in figures; None for other kinds."""
    times = f"{row['lift']:.1f} times" if row["lift"] >= 1 else f"{row['lift']:.2f} times"
    if kind == "temporal":
        beside = {"day": "days", "hour": "hours"}.get(
            key.split(":")[0], "the same part of other days"
        )
        shown = f"; {row['support']:.0f} of {row['n']:.0f} show it" if row["n"] else ""
        return f"{times} the active user-hours of the mean of {beside} in use{shown}"
    if kind == "communication":
        return (
            f"{times} as many answers as other messages of the same channel; {row['support']:.0f} of "
            f"{row['n']:.0f} customers show it"
        )
    if kind == "support":
        return (
            f"{row['support']:.0f} of {row['n']:.0f} customers with two tickets or more; {times} as often as their "
            "own topics in any order"
        )
    return None


def insight(kind: str, key: str, row: dict[str, Any]) -> str | None:
    more = row["lift"] > 1
    if kind == "temporal":
        return "Reach people then" if more else "Leave it free of messages; good for maintenance"
    if kind == "communication":
        return (
            "Send more of what is answered, at this time"
            if more
            else "Send less of it, or on another day"
        )
    if kind == "support":
        return f"Answer {key.split(' → ')[1].replace('_', ' ')} before it is asked: add it to the answer to the first"
    return None


# -- unusual days ---------------------------------------------------------------------------


def anomalies(study: Study, reasons: dict[str, str]) -> list[Anomaly] | None:
    """Unusual days of the scope's sum, and of single customers; the largest first."""
    if "temporal" not in study.categories:
        reasons["$.anomalies"] = NOT_ASKED
        return None
    scope = study.scope
    key = (
        "pattern anomalies",
        scope.kind,
        scope.client_id,
        scope.segment_id,
        scope.start,
        scope.end,
    )
    found = remember(
        study.portfolio,
        key,
        lambda: anomalies_of(study.portfolio, scope.clients, scope.start, scope.end),
    )
    found = found.assign(of_all=found["client_id"].isna()).sort_values(
        ["of_all", "return_days", "first_day", "client_id"],
        ascending=[False, False, True, True],
        kind="stable",
    )
    names = (
        customers(study.portfolio)["name"].dropna().to_dict()
        if "name" in customers(study.portfolio)
        else {}
    )
    return [_anomaly(row, scope, names) for row in found.head(MOST_ANOMALIES).to_dict("records")]


def _anomaly(row: dict[str, Any], scope: Any, names: dict[str, str]) -> Anomaly:
    own = word(row["client_id"])
    series, told = ABOUT[row["about"]]
    day = pd.Timestamp(row["date"]).date()
    last = pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=int(row["last_day"]))
    change = "as many" if row["value"] == row["expected"] else f"{row['ratio']:.1f} times as many"
    text = f"{told[:1].upper()}{told[1:]}: {row['value']:,.0f}, {row['expected']:,.0f} were to be expected ({change})"
    whose = (
        "customer"
        if own or scope.kind == SINGLE
        else {"segment": "segment"}.get(scope.kind, "portfolio")
    )
    client = own or scope.client_id
    return Anomaly(
        anomaly_type=row["anomaly_type"],
        date=day,
        description=text,
        likely_cause=word(row["likely_cause"]),
        action_required=bool(row["action_required"]),
        scope=whose,
        client_id=client,
        customer_name=names.get(client),
        series=series,
        until=last.date(),
        return_days=rounded(min(row["return_days"], 1e12), 0),
        factor=rounded(row["ratio"]),
    )
