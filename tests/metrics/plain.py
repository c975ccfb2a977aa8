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
    given = ratings(portfolio, client, start, end)
    return statistics.fmean(given) if given else NAN


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
    """Invoices open at the end of the last day, less what the open credit notes cover, oldest first."""
    rows = [
        row
        for row in portfolio.of("invoices", client)
        if portfolio.date(row["issued_on"]) < end
        and (row.get("paid_on") is None or portfolio.date(row["paid_on"]) >= end)
    ]
    credit = -sum(row["amount"] for row in rows if row["amount"] < 0)
    out = []
    for row in sorted(
        (row for row in rows if row["amount"] > 0),
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


def metric(portfolio: Plain, name: str, client: str, start: dt.date, end: dt.date) -> float:
    if name in {*NEED_LIFE, *oracle.NEED_LIFE} and not portfolio.measured(client, start, end):
        return NAN
    return float(METRICS[name](portfolio, client, start, end))


# -- the panel's profile ------------------------------------------------------------------


def contract_of(portfolio: Plain, client: str, day: dt.date) -> dict:
    rows = [
        row
        for row in portfolio.of("contracts", client)
        if portfolio.date(row["starts_on"]) <= day
        and (row.get("ends_on") is None or day < portfolio.date(row["ends_on"]))
        and (row.get("signed_on") is None or portfolio.date(row["signed_on"]) <= day)
    ]
    return max(rows, key=lambda row: str(row["starts_on"])) if rows else {}


def end_of(portfolio: Plain, contract: dict) -> Any:
    """When a contract ends that does not roll on from month to month."""
    end = portfolio.date(contract.get("ends_on"))
    return (
        end
        if end is not None and (end - portfolio.date(contract["starts_on"])).days >= 60
        else None
    )


def changed(portfolio: Plain, client: str, name: str, day: dt.date) -> Any:
    rows = [
        row
        for row in portfolio.of("customer_changes", client)
        if row["field"] == name
        and portfolio.date(row["effective_on"]) <= day
        and (row.get("recorded_at") is None or portfolio.day(client, row["recorded_at"]) <= day)
    ]
    return max(rows, key=lambda row: str(row["effective_on"]))["value"] if rows else None


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def left_on(portfolio: Plain, client: str, day: dt.date) -> dt.date | None:
    """When a customer that had left by ``day`` left: ``churned_on`` unless a contract or a stage began after it, else
    the last change of ARR if it ended it, else the last stage if it is churned."""
    said = portfolio.date(portfolio.customers[client].get("churned_on"))
    begun = portfolio.date(contract_of(portfolio, client, day).get("starts_on"))
    stage = stage_of(portfolio, client, day)
    staged = portfolio.day(client, stage["effective_at"]) if stage else None
    if said is not None and said <= day:
        back = (begun is not None and begun > said) or (
            stage and stage["stage"] != "churned" and staged > said
        )
        if not back:
            return said
    arrs = [
        row
        for row in portfolio.of("arr_changes", client)
        if portfolio.date(row["effective_on"]) <= day
    ]
    if arrs:
        last = max(arrs, key=lambda row: (str(row["effective_on"]), float(row["arr"])))
        paid = max(float(row["arr"]) for row in arrs) > 0
        if (float(last["arr"]) == 0 and paid) or last.get("reason") == "churn":
            return portfolio.date(last["effective_on"])
    return staged if stage and stage["stage"] == "churned" else None


def stage_of(portfolio: Plain, client: str, day: dt.date) -> dict:
    rows = [
        row
        for row in portfolio.of("stage_changes", client)
        if portfolio.day(client, row["effective_at"]) <= day
        and (row.get("recorded_at") is None or portfolio.day(client, row["recorded_at"]) <= day)
    ]
    return max(rows, key=lambda row: str(row["effective_at"])) if rows else {}


def profile(portfolio: Plain, client: str, day: dt.date) -> dict[str, Any]:
    known = portfolio.customers[client]
    today = known if day >= portfolio.last else {}
    contract = contract_of(portfolio, client, day)
    gone = left_on(portfolio, client, day)
    arrs = [
        row
        for row in portfolio.of("arr_changes", client)
        if portfolio.date(row["effective_on"]) <= day
    ]
    arr = max(arrs, key=lambda row: str(row["effective_on"]))["arr"] if arrs else None
    arr = first(arr, contract.get("arr"), changed(portfolio, client, "arr", day), today.get("arr"))
    arr = arr if gone is None else 0
    renewal = portfolio.date(
        first(
            contract.get("renews_on"),
            end_of(portfolio, contract),
            changed(portfolio, client, "renewal_date", day),
            today.get("renewal_date"),
        )
    )
    return {
        "live": portfolio.signup(client) <= day and gone is None,
        "tenure_days": (day - portfolio.signup(client)).days,
        "arr": arr,
        "tier": None if arr is None else next(name for edge, name in TIERS if float(arr) <= edge),
        "seats": first(
            contract.get("seats"), changed(portfolio, client, "seats", day), today.get("seats")
        ),
        "plan": first(
            contract.get("plan"), changed(portfolio, client, "plan", day), today.get("plan")
        ),
        "days_to_renewal": None if renewal is None else (renewal - day).days,
        "stage": stage_of(portfolio, client, day).get("stage"),
    }


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
    found: dict[str, Any], expected: dict[str, Any], close: float = 1e-9
) -> dict[str, tuple]:
    """What differs, by column; a missing value equals a missing value."""
    out = {}
    for name, value in expected.items():
        given = found[name]
        if missing(value) or missing(given):
            same = missing(value) and missing(given)
        elif isinstance(given, str):
            same = given == value
        else:
            same = math.isclose(float(given), float(value), rel_tol=close, abs_tol=close)
        if not same:
            out[name] = (given, value)
    return out
