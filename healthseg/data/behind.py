"""The rows of one customer that figures are counted from, as ``Result.trace`` shows them."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

# reads of rows that stay in memory: the figures of a response share their windows
READ_LAST = 4
PERSON = "(source IS NULL OR source = 'ui')"
# what is read of a customer, over account-local days ``$start`` to before ``$end``
ROWS = {
    "person_events": f"SELECT * FROM events WHERE client_id = $client AND {PERSON} "
    "AND occurred_day >= $start AND occurred_day < $end ORDER BY occurred_at, user_id, feature",
    "api_events": "SELECT * FROM events WHERE client_id = $client AND source = 'api' "
    "AND occurred_day >= $start AND occurred_day < $end ORDER BY occurred_at, user_id",
    "sessions": "SELECT * FROM sessions WHERE client_id = $client AND start_day >= $start AND day < $end "
    "ORDER BY session_start, user_id, day",
    "tickets_opened": "SELECT * FROM tickets WHERE client_id = $client AND opened_day >= $start AND opened_day < $end "
    "ORDER BY opened_at, ticket_id",
    "tickets_open": "SELECT * FROM tickets WHERE client_id = $client AND opened_day < $end "
    "AND (resolved_day IS NULL OR resolved_day >= $end) ORDER BY opened_at, ticket_id",
    "tickets_resolved": "SELECT * FROM tickets WHERE client_id = $client AND resolved_day >= $start "
    "AND resolved_day < $end AND opened_has_time AND resolved_has_time ORDER BY resolved_at, ticket_id",
    "nps": "SELECT * FROM surveys WHERE client_id = $client AND kind = 'nps' AND responded_day >= $start "
    "AND responded_day < $end QUALIFY user_id IS NULL OR ROW_NUMBER() OVER (PARTITION BY user_id "
    "ORDER BY responded_at DESC, score DESC) = 1 ORDER BY responded_at, score",
    "nps_each": "SELECT * FROM surveys WHERE client_id = $client AND kind = 'nps' AND responded_day >= $start "
    "AND responded_day < $end ORDER BY responded_at, score",
    "csat": "SELECT 'surveys' AS source_table, responded_day AS day, score FROM surveys WHERE client_id = $client "
    "AND kind = 'csat' AND responded_day >= $start AND responded_day < $end UNION ALL SELECT 'tickets', resolved_day, csat "
    "FROM tickets WHERE client_id = $client AND csat IS NOT NULL AND resolved_day >= $start AND resolved_day < $end "
    "ORDER BY ALL",
    "invoices": "SELECT * FROM invoices WHERE client_id = $client AND issued_on < $end ORDER BY issued_on, invoice_id",
    "invoices_due": "SELECT * FROM invoices WHERE client_id = $client AND amount > 0 AND due_on >= $start AND due_on < $end "
    "ORDER BY due_on, invoice_id",
    "stage_changes": "SELECT * FROM stage_changes WHERE client_id = $client AND effective_day < $end "
    "ORDER BY effective_at, recorded_at",
    "milestone_progress": "SELECT * FROM milestone_progress WHERE client_id = $client ORDER BY milestone_id",
}
# what is read of all customers
ALL_ROWS = {
    "tickets_opened": "SELECT * FROM tickets WHERE opened_day >= $start AND opened_day < $end ORDER BY ALL",
    "user_days": "SELECT client_id, user_id, day FROM user_day WHERE events > 0 AND user_id IS NOT NULL "
    "AND day >= $start AND day < $end ORDER BY ALL",
}


def rows_of_all(portfolio: Portfolio, name: str, start: dt.date, end: dt.date) -> pd.DataFrame:
    """The rows of all customers over days ``[start, end)``."""
    return portfolio.connection().execute(ALL_ROWS[name], {"start": start, "end": end}).df()


def rows_of(
    portfolio: Portfolio, name: str, client_id: str, start: dt.date, end: dt.date
) -> pd.DataFrame:
    """The rows of a customer over days ``[start, end)``; internal and test users, by the settings, are left out."""
    rows = portfolio.cache.get(
        "rows_behind",
        (name, client_id, start, end),
        lambda: _read(portfolio, name, client_id, start, end),
        disk=False,
        limit=READ_LAST,
    )
    return rows.copy()


def _read(
    portfolio: Portfolio, name: str, client_id: str, start: dt.date, end: dt.date
) -> pd.DataFrame:
    query = ROWS[name]
    values = {"client": client_id, "start": start, "end": end}
    known = {key: value for key, value in values.items() if f"${key}" in query}
    in_events = name in ("person_events", "api_events")
    with (
        portfolio.with_events(client_id)
        if in_events
        else nullcontext(portfolio.connection()) as connection
    ):
        rows = connection.execute(query, known).df()
    excluded = portfolio.settings.exclude_users
    if excluded and "user_id" in rows and name in ("person_events", "api_events", "sessions"):
        rows = rows[~rows["user_id"].astype("str").isin(excluded)].reset_index(drop=True)
    return rows


def how_many(portfolio: Portfolio, name: str, client_id: str, start: dt.date, end: dt.date) -> int:
    """How many rows of a customer there are over days ``[start, end)``; of events, how many they count, from the facts."""
    query, column = ROWS[name], {"person_events": "events", "api_events": "api_events"}.get(name)
    if column is not None:
        query = f"SELECT {column} FROM user_day WHERE client_id = $client AND day >= $start AND day < $end"
    number = "COUNT(*)" if column is None else f"COALESCE(SUM({column}), 0)"
    values = {"client": client_id, "start": start, "end": end}
    known = {key: value for key, value in values.items() if f"${key}" in query}
    return int(
        portfolio.connection().execute(f"SELECT {number} FROM ({query})", known).fetchall()[0][0]
    )
