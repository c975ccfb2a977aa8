"""Small portfolios with stages that can be followed by hand, and a clock that says what it is set to."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from healthseg.data.portfolio import Portfolio
from healthseg.testing import tiny_portfolio

UNTIL = "2025-06-30"
COLUMNS = ["client_id", "stage", "effective_at", "recorded_at", "reason", "automated", "actor"]


def at(month: int, day: int, hour: int = 12) -> dt.datetime:
    return dt.datetime(2025, month, day, hour, tzinfo=dt.UTC)


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now


def used(*clients: str, start: str = "2025-01-01", end: str = UNTIL) -> list[tuple]:
    days = pd.date_range(start, end).strftime("%Y-%m-%d 09:00:00")
    return [(client, day, f"{client}-1", "plan") for client in clients for day in days]


def changes(*rows: tuple) -> pd.DataFrame:
    """Imported changes: client, stage, day, and the day on which it was known (default the same)."""
    return pd.DataFrame(
        [
            (
                client,
                stage,
                f"{day} 12:00:00",
                f"{(known or [day])[0]} 12:00:00",
                "seen",
                False,
                "csm",
            )
            for client, stage, day, *known in rows
        ],
        columns=COLUMNS,
    )


def customers(**signup: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "client_id": list(signup),
            "signup_date": list(signup.values()),
            "name": [f"Customer {client}" for client in signup],
        }
    )


def portfolio_of(
    stages: pd.DataFrame | None,
    *clients: str,
    clock: Clock | None = None,
    settings: dict | None = None,
    who: pd.DataFrame | None = None,
    events: list[tuple] | None = None,
    **tables: pd.DataFrame,
) -> Portfolio:
    """A portfolio to 2025-06-30 whose customers use it daily."""
    frames = tables | ({} if stages is None else {"stage_changes": stages})
    who = customers(**dict.fromkeys(clients, "2025-01-01")) if who is None else who
    written = tiny_portfolio(
        events or used(*who["client_id"]), who, {"data_until": UNTIL, **(settings or {})}, **frames
    )
    return Portfolio.open(written.path, written.settings, clock or Clock(at(7, 1)))


def actions(response) -> list[tuple]:
    return [
        (action.action, action.status, action.scheduled_for)
        for action in response.automated_actions_triggered
    ]
