"""The metrics that the demo portfolio's oracle counts too: counted by it, from a plain portfolio."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd

from healthseg.demo import oracle
from healthseg.demo.activity import SimulatedEvents
from healthseg.demo.schema import NEVER
from tests.metrics.plain_usage import DAY, NAN, Event, Plain, sessions_of, timed, users_of

Metric = Callable[[Plain, str, dt.date, dt.date], float]
# spans end at most this long after the last event
DAYS_AFTER = 500


def inputs(portfolio: Plain, client: str) -> oracle.Inputs:
    """What the oracle counts one customer's metrics from."""
    if ("oracle", client) not in portfolio.cache:
        signup = (portfolio.signup(client) - portfolio.first_day).days
        portfolio.cache["oracle", client] = oracle.Inputs(
            np.array([signup]),
            counts(portfolio, client),
            seats=np.empty((1, 0)),
            eligible=np.empty((1, 0)),
            high_tickets=high_tickets(portfolio, client),
            nps_answers=nps_answers(portfolio, client),
            invoices=pd.DataFrame(),
        )
    return portfolio.cache["oracle", client]


def counts(portfolio: Plain, client: str) -> oracle.Counts:
    persons = [event for event in portfolio.events[client] if event.person]
    sessions = sessions_of(portfolio, client, dt.date(9999, 1, 1))
    in_sessions = {id(event) for session in sessions for event in session}
    blocks = [[event for event in persons if id(event) not in in_sessions], *sessions]
    rows = [(number - 1, event) for number, block in enumerate(blocks) for event in block]
    users = sorted(users_of(persons)) or [""]
    days = [(event.day - portfolio.first_day).days for _, event in rows]
    zeros = np.zeros(len(rows), int)

    def user_code(event: Event) -> int:
        return -1 if event.user is None else users.index(event.user)

    events = SimulatedEvents(
        client=zeros,
        user=np.array([user_code(event) for _, event in rows], int),
        feature=zeros,
        name=zeros,
        session=np.array([number for number, _ in rows], int),
        utc_ms=zeros,
        day=np.array(days, int),
        source=zeros,
        calls=np.array([event.count for _, event in rows], int),
        seconds=zeros,
    )
    return oracle.count(events, np.array([0]), len(users), 1, max(days, default=0) + DAYS_AFTER)


def day_number(portfolio: Plain, client: str, value: object) -> int:
    day = portfolio.day(client, value)
    return NEVER if day is None else (day - portfolio.first_day).days


def high_tickets(portfolio: Plain, client: str) -> pd.DataFrame:
    """Tickets of high severity, open from the day on which this is known."""
    rows = [
        {
            "client": 0,
            "opened_at": max(
                day_number(portfolio, client, row["opened_at"]),
                day_number(portfolio, client, row.get("severity_set_at") or row["opened_at"]),
            ),
            "resolved_at": day_number(portfolio, client, row.get("resolved_at")),
        }
        for row in portfolio.of("tickets", client)
        if row["severity"] in ("high", "critical")
    ]
    return pd.DataFrame(rows, columns=["client", "opened_at", "resolved_at"], dtype=int)


def nps_answers(portfolio: Plain, client: str) -> pd.DataFrame:
    answers = [row for row in portfolio.of("surveys", client) if row["kind"] == "nps"]
    answers.sort(key=lambda row: (str(row["responded_at"]), row["score"]))
    users = sorted({row["user_id"] for row in answers if row.get("user_id") is not None})
    rows = [
        {
            "client": 0,
            "user": -1 if row.get("user_id") is None else users.index(row["user_id"]),
            "score": int(row["score"]),
            "responded_at": order,
            "day": day_number(portfolio, client, row["responded_at"]),
        }
        for order, row in enumerate(answers)
    ]
    return pd.DataFrame(rows, columns=["client", "user", "score", "responded_at", "day"], dtype=int)


def counted_by(metric: Callable[..., np.ndarray], *, by_window: bool = True) -> Metric:
    """The metric of one customer over a span, or as of its end."""

    def recount(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
        at = np.array([(end - DAY - portfolio.first_day).days])
        window = {"days": (end - start).days} if by_window else {}
        return float(metric(inputs(portfolio, client), at, **window)[0, 0])

    return recount


def open_high_tickets(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if not portfolio.has("tickets") or end <= portfolio.signup(client):
        return NAN
    return counted_by(oracle.open_high_tickets, by_window=False)(portfolio, client, start, end)


def days_since_last_person_event(
    portfolio: Plain, client: str, start: dt.date, end: dt.date
) -> float:
    if end <= max(portfolio.first_day, portfolio.signup(client)):
        return NAN
    metric = oracle.days_since_last_person_event
    return counted_by(metric, by_window=False)(portfolio, client, start, end)


def sessions_per_user_per_week(
    portfolio: Plain, client: str, start: dt.date, end: dt.date
) -> float:
    if not timed(portfolio, end):
        return NAN
    return counted_by(oracle.sessions_per_user_per_week)(portfolio, client, start, end)


NEED_LIFE: dict[str, Metric] = {
    "stickiness": counted_by(oracle.stickiness),
    "usage_vs_own_baseline": counted_by(oracle.usage_vs_own_baseline),
    "sessions_per_user_per_week": sessions_per_user_per_week,
}
METRICS: dict[str, Metric] = NEED_LIFE | {
    "days_since_last_person_event": days_since_last_person_event,
    "open_high_tickets": open_high_tickets,
    "nps": counted_by(oracle.nps),
}
