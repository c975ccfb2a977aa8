"""docs/metrics.md once more in plain Python: support, satisfaction, payments, the profile, and a whole row."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from typing import Any

from tests.metrics import plain_oracle as oracle
from tests.metrics import plain_people as people
from tests.metrics import plain_usage as usage
from tests.metrics.plain_usage import DAY, NAN, Plain, missing, share

TIERS = (
    (10_000, "Micro"),
    (50_000, "SMB"),
    (100_000, "Mid-Market"),
    (250_000, "Corporate"),
    (math.inf, "Enterprise"),
)


def open_now(portfolio: Plain, client: str, end: dt.date) -> list[dict]:
    return [
        row
        for row in portfolio.of("tickets", client)
        if portfolio.day(client, row["opened_at"]) < end
        and (row.get("resolved_at") is None or portfolio.day(client, row["resolved_at"]) >= end)
    ]


def ticketed(portfolio: Plain, client: str, end: dt.date, value: float) -> float:
    return value if portfolio.has("tickets") and end > portfolio.signup(client) else NAN


def open_tickets(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return ticketed(portfolio, client, end, len(open_now(portfolio, client, end)))


def tickets_opened(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    days = [portfolio.day(client, row["opened_at"]) for row in portfolio.of("tickets", client)]
    return ticketed(portfolio, client, end, sum(start <= day < end for day in days))


def resolved(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> list[dict]:
    return [
        row
        for row in portfolio.of("tickets", client)
        if row.get("resolved_at") is not None
        and start <= portfolio.day(client, row["resolved_at"]) < end
    ]


def median_resolution_hours(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    both = [
        (portfolio.instant(row["opened_at"]), portfolio.instant(row["resolved_at"]))
        for row in resolved(portfolio, client, start, end)
    ]
    hours = [
        (late - early).total_seconds() / 3600
        for early, late in both
        if early is not None and late is not None
    ]
    return statistics.median(hours) if hours else NAN


def answers(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> list[float]:
    """The latest NPS of each respondent, and every anonymous one."""
    rows = [
        row
        for row in portfolio.of("surveys", client)
        if row["kind"] == "nps" and start <= portfolio.day(client, row["responded_at"]) < end
    ]
    latest = {}
    for row in sorted(rows, key=lambda row: (str(row["responded_at"]), row["score"])):
        if row.get("user_id") is not None:
            latest[row["user_id"]] = row["score"]
    return [*latest.values(), *(row["score"] for row in rows if row.get("user_id") is None)]


def nps_respondents(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return len(answers(portfolio, client, start, end)) if portfolio.has("surveys") else NAN


def ratings(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> list[float]:
    surveys = [
        row["score"]
        for row in portfolio.of("surveys", client)
        if row["kind"] == "csat" and start <= portfolio.day(client, row["responded_at"]) < end
    ]
    return surveys + [
        row["csat"]
        for row in resolved(portfolio, client, start, end)
        if row.get("csat") is not None
    ]


def csat(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    scores = ratings(portfolio, client, start, end)
    return statistics.fmean(scores) if len(scores) >= 3 else NAN


def csat_responses(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return (
        len(ratings(portfolio, client, start, end))
        if portfolio.has("surveys") or portfolio.has("tickets")
        else NAN
    )


def invoices_issued(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if not portfolio.has("invoices"):
        return NAN
    return sum(portfolio.date(row["issued_on"]) < end for row in portfolio.of("invoices", client))


def owed(portfolio: Plain, client: str, end: dt.date) -> list[dict]:
    """Invoices open at the end of the last day, less what credit notes cover, oldest first; a note with a payment date
    has settled what was paid on that date."""
    rows = [
        row for row in portfolio.of("invoices", client) if portfolio.date(row["issued_on"]) < end
    ]

    def paid_on(row: dict) -> dt.date | None:
        day = portfolio.date(row.get("paid_on"))
        return day if day is not None and day < end else None

    credit = 0
    for day in {paid_on(row) for row in rows}:
        notes = -sum(row["amount"] for row in rows if row["amount"] < 0 and paid_on(row) == day)
        paid = sum(row["amount"] for row in rows if row["amount"] > 0 and paid_on(row) == day)
        credit += notes if day is None else max(0, notes - paid)
    out = []
    for row in sorted(
        (row for row in rows if row["amount"] > 0 and paid_on(row) is None),
        key=lambda row: (str(row["due_on"]), row["invoice_id"]),
    ):
        if credit >= row["amount"]:
            credit -= row["amount"]
        else:
            credit = 0
            out.append(row)
    return out


def worst_days_overdue(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if not invoices_issued(portfolio, client, start, end) > 0:
        return NAN
    return max(
        [
            0,
            *(
                (end - DAY - portfolio.date(row["due_on"])).days
                for row in owed(portfolio, client, end)
            ),
        ]
    )


def payment_status(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    worst = worst_days_overdue(portfolio, client, start, end)
    return worst if missing(worst) else 2 if worst > 0 else 1 if owed(portfolio, client, end) else 0


def paid_on_time_share(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    grace = portfolio.setting("paid_late_days", 5) * DAY
    punctual = []
    for row in portfolio.of("invoices", client):
        due, paid = portfolio.date(row["due_on"]), portfolio.date(row.get("paid_on"))
        if row["amount"] > 0 and start <= due < end:
            is_paid = paid is not None and paid < end
            if is_paid or end - DAY > due + grace:
                punctual.append(is_paid and paid <= due + grace)
    return share(sum(punctual), len(punctual))


NEED_LIFE = {
    each.__name__: each
    for each in (
        usage.person_events,
        usage.api_events,
        usage.other_events,
        usage.api_only,
        usage.active_days,
        usage.active_users,
        usage.daily_active_users,
        usage.sessions,
        usage.average_session_minutes,
        usage.unique_features_used,
    )
}
METRICS = (
    NEED_LIFE
    | people.METRICS
    | oracle.METRICS
    | {
        each.__name__: each
        for each in (
            usage.features_entitled,
            usage.features_adopted,
            usage.feature_adoption_rate,
            usage.top_user_share,
            usage.champion_share,
            usage.champion_departed,
            open_tickets,
            tickets_opened,
            median_resolution_hours,
            nps_respondents,
            csat,
            csat_responses,
            invoices_issued,
            worst_days_overdue,
            payment_status,
            paid_on_time_share,
        )
    }
)


NEED_USERS = (
    *("active_users", "daily_active_users", "stickiness", "champion_departed"),
    *("sessions", "sessions_per_user_per_week"),
    *("power_users", "regular_users", "at_risk_users", "inactive_users", "activated_users"),
    *("new_users", "returning_users", "resurrected_users", "dormant_users"),
)


def metric(portfolio: Plain, name: str, client: str, start: dt.date, end: dt.date) -> float:
    if name in {*NEED_LIFE, *oracle.NEED_LIFE} and not portfolio.measured(client, start, end):
        return NAN
    if name in NEED_USERS and not usage.users_are_named(portfolio, client, start, end):
        return NAN
    if name == "nps" and not nps_respondents(portfolio, client, start, end) >= 3:
        return NAN
    often = name in ("stickiness", "sessions_per_user_per_week")
    if often and (end - portfolio.signup(client)).days <= 14:
        return NAN
    return float(METRICS[name](portfolio, client, start, end))


# -- the panel's profile ------------------------------------------------------------------


def exclusive_end(row: dict, portfolio: Plain) -> dt.date:
    return portfolio.date(row.get("ends_on")) or dt.date.max


def contracts_of(portfolio: Plain, client: str, day: dt.date) -> dict:
    """What the contracts of a day add up to: those in force, else those that ended last. The random portfolios have no
    consecutive contracts, and end the day before ``ends_on``."""
    every = [
        row
        for row in portfolio.of("contracts", client)
        if row.get("signed_on") is None or portfolio.date(row["signed_on"]) <= day
    ]
    begun = [row for row in every if portfolio.date(row["starts_on"]) <= day]
    # of a contract that was amended the last version holds
    amended = {
        row["contract_id"]: row
        for row in sorted(begun, key=lambda row: str(row["starts_on"]))
        if row.get("contract_id") is not None
    }
    begun = [row for row in begun if amended.get(row.get("contract_id"), row) is row]
    if not begun:
        return {}
    running = [row for row in begun if exclusive_end(row, portfolio) > day]
    last = max(exclusive_end(row, portfolio) for row in begun)
    chosen = running or [row for row in begun if exclusive_end(row, portfolio) == last]

    def known(row: dict) -> dt.date:
        return portfolio.date(row.get("signed_on")) or portfolio.date(row["starts_on"])

    largest = max(
        chosen, key=lambda row: (row["arr"], str(row["starts_on"]), known(row), str(row["ends_on"]))
    )
    starts = max(portfolio.date(row["starts_on"]) for row in chosen)
    ends = [exclusive_end(row, portfolio) for row in begun if exclusive_end(row, portfolio) <= day]
    ahead = any(known(row) <= day < portfolio.date(row["starts_on"]) for row in every)
    seats = [row["seats"] for row in chosen if row.get("seats") is not None]
    return {
        "arr": sum(row["arr"] for row in chosen),
        "seats": sum(seats) if largest.get("seats") is not None else None,
        "plan": largest.get("plan"),
        "running": bool(running),
        "since": max([starts, *(ends if running else [])]),
        "recorded": max(known(row) for row in chosen),
        "ended": None if running else last,
        "lapsed": None if running or ahead else last,
        "renewal": first(largest.get("renews_on"), end_of(portfolio, largest)) if running else last,
    }


def end_of(portfolio: Plain, contract: dict) -> Any:
    """When a contract ends that does not roll on from month to month."""
    end = portfolio.date(contract.get("ends_on"))
    return (
        end
        if end is not None and (end - portfolio.date(contract["starts_on"])).days >= 60
        else None
    )


def change_of(portfolio: Plain, client: str, name: str, day: dt.date) -> dict:
    rows = [
        row
        for row in portfolio.of("customer_changes", client)
        if row["field"] == name
        and portfolio.date(row["effective_on"]) <= day
        and (row.get("recorded_at") is None or portfolio.day(client, row["recorded_at"]) <= day)
    ]
    return max(rows, key=lambda row: str(row["effective_on"])) if rows else {}


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def turns(portfolio: Plain, client: str, day: dt.date) -> list[tuple]:
    """All that loses the customer (0) or brings it back (1), by day: (day, which, source, the fact's own day)."""
    out = []
    churned = portfolio.date(portfolio.customers[client].get("churned_on"))
    if churned is not None and churned <= day:
        out.append((churned, 0, 0, churned))
    levels = {}
    changes = [row for row in portfolio.of("customer_changes", client) if row["field"] == "arr"]
    for row in changes + list(portfolio.of("arr_changes", client)):
        on, recorded = portfolio.date(row["effective_on"]), row.get("recorded_at")
        seen = max(on, portfolio.day(client, recorded)) if recorded is not None else on
        rank = (0 if recorded is None else 1, str(recorded)) if "field" in row else (0, "z")
        if seen <= day and rank >= levels.get(on, ((-1, ""),))[0]:
            amount = float(row["value"] if "field" in row else row["arr"])
            levels[on] = rank, amount, seen, row.get("reason") == "churn"
    highest = 0
    for on, (_, amount, seen, ended) in sorted(levels.items()):
        highest = max(highest, amount)
        if amount == 0 and (highest > 0 or ended):
            out.append((on, 0, 1, on))
        elif amount > 0:
            out.append((seen, 1, 1, on))
    stages = {}
    for row in portfolio.of("stage_changes", client):
        on, recorded = portfolio.day(client, row["effective_at"]), row.get("recorded_at")
        seen = max(on, portfolio.day(client, recorded)) if recorded is not None else on
        if seen <= day:
            stages[on] = max(stages.get(on, ("",)), (str(row["effective_at"]), row["stage"], seen))
    before = None
    for on, (_, stage, seen) in sorted(stages.items()):
        if stage != before:
            out.append((on, 0, 2, on) if stage == "churned" else (seen, 1, 2, on))
        before = stage
    for row in portfolio.of("contracts", client):
        begun = portfolio.date(row["starts_on"])
        seen = max(begun, portfolio.date(row.get("signed_on")) or begun)
        if seen <= day:
            out.append((seen, 1, 3, begun))
    signup = portfolio.signup(client)
    return sorted(turn for turn in out if turn[1] or turn[0] >= signup)


def life(portfolio: Plain, client: str, day: dt.date) -> tuple[dt.date, dt.date | None]:
    """When the customer's present or last spell began, and when it was lost."""
    began, lost, by = portfolio.signup(client), None, None
    for on, back, source, since in turns(portfolio, client, day):
        if not back:
            if lost is None or source < by:
                lost, by = on, source
        elif lost is None or since < lost + (source == 2) * DAY:
            continue
        elif on == lost:
            lost = by = None
        else:
            began, lost, by = on, None, None
    return began, lost


def stage_of(portfolio: Plain, client: str, day: dt.date) -> dict:
    rows = [
        row
        for row in portfolio.of("stage_changes", client)
        if portfolio.day(client, row["effective_at"]) <= day
        and (row.get("recorded_at") is None or portfolio.day(client, row["recorded_at"]) <= day)
    ]
    return max(rows, key=lambda row: str(row["effective_at"])) if rows else {}


def newest(*statements: tuple[Any, Any, Any]) -> Any:
    """Of (value, effective, recorded) the value that is effective last, then recorded last, then first in the list."""
    best = None
    for value, on, recorded in statements:
        if value is not None and (best is None or (on, recorded) > best[1:]):
            best = (value, on, recorded)
    return None if best is None else best[0]


def profile(portfolio: Plain, client: str, day: dt.date) -> dict[str, Any]:
    known = portfolio.customers[client]
    today = known if day >= portfolio.last else {}
    contract = contracts_of(portfolio, client, day)
    began, left = life(portfolio, client, day)
    arrs = [
        row
        for row in portfolio.of("arr_changes", client)
        if portfolio.date(row["effective_on"]) <= day
    ]

    def change(name: str) -> tuple:
        row = change_of(portfolio, client, name, day)
        if not row:
            return None, None, None
        on, recorded = portfolio.date(row["effective_on"]), row.get("recorded_at")
        return row["value"], on, on if recorded is None else portfolio.day(client, recorded)

    last = max(arrs, key=lambda row: str(row["effective_on"])) if arrs else {}
    effective = portfolio.date(last.get("effective_on"))
    of_contract = (
        contract.get("since"),
        max((d for d in (contract.get("since"), contract.get("recorded")) if d), default=None),
    )
    statements = (
        (last.get("arr"), effective, effective),
        (contract.get("arr"), *of_contract),
        change("arr"),
    )
    arr = newest(*statements)
    ended = contract.get("ended")
    if ended is not None and _is_contract(statements):
        arr = today.get("arr") if today.get("arr") is not None else arr if ended > began else None
    arr = first(arr, today.get("arr"))
    arr = arr if left is None else 0
    running = contract if contract.get("running") else {}
    changed = portfolio.date(change("renewal_date")[0])
    other = first(changed, portfolio.date(today.get("renewal_date")))
    renewal = portfolio.date(contract.get("renewal"))
    if ended is not None and other is not None and other > renewal:
        renewal = other
    renewal = first(renewal, other)
    seats = newest((running.get("seats"), *of_contract), change("seats"))
    plan, plan_on, _ = change("plan")
    if plan is None or (running.get("plan") is not None and plan_on <= running["since"]):
        plan = first(running.get("plan"), plan)
    return {
        "live": portfolio.signup(client) <= day and left is None,
        "tenure_days": (day - portfolio.signup(client)).days,
        "arr": arr,
        "tier": None if arr is None else next(name for edge, name in TIERS if float(arr) <= edge),
        "seats": first(seats, today.get("seats"), contract.get("seats")),
        "plan": first(plan, today.get("plan"), contract.get("plan")),
        "days_to_renewal": None if renewal is None else (renewal - day).days,
        "uncontracted_days": None
        if contract.get("lapsed") is None or left is not None
        else (day - contract["lapsed"]).days + 1,
        "stage": stage_of(portfolio, client, day).get("stage"),
    }


def _is_contract(statements: tuple) -> bool:
    """Whether the contracts' statement, the second of three, is the newest."""
    marked = [
        (number, *rest) for number, (value, *rest) in enumerate(statements) if value is not None
    ]
    return newest(*marked) == 1


def panel_row(
    portfolio: Plain, client: str, day: dt.date, columns: dict[str, tuple[str, int]]
) -> dict[str, Any]:
    row = profile(portfolio, client, day)
    for name, (figure, days) in columns.items():
        row[name] = metric(portfolio, figure, client, day - (days - 1) * DAY, day + DAY)
    row["payment_status"] = {0: "current", 1: "due", 2: "overdue"}.get(row["payment_status"])
    users = row["monthly_active_users"]
    row["seat_utilisation"] = share(users, float(row["seats"] or 0))
    row["tickets_per_10_mau_90d"] = share(row["tickets_90d"] * 10, users)
    row["weekly_active_users_per_seat"] = share(
        row["weekly_active_users"], float(row["seats"] or 0)
    )
    row["tenure_months"] = row["tenure_days"] / 30.4375
    return row


def differences(
    actual: dict[str, Any], expected: dict[str, Any], close: float = 1e-9
) -> dict[str, tuple]:
    """What differs, by column; a missing value equals a missing value."""
    out = {}
    for name, value in expected.items():
        figure = actual[name]
        if missing(value) or missing(figure):
            same = missing(value) and missing(figure)
        elif isinstance(figure, str):
            same = figure == value
        else:
            same = math.isclose(float(figure), float(value), rel_tol=close, abs_tol=close)
        if not same:
            out[name] = (figure, value)
    return out
