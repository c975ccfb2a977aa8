"""Facts against a plain, slow recount in pandas; and every row accounted for."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from healthseg.data.portfolio import Portfolio

pytestmark = pytest.mark.slow

ZONES = {
    "acme": "Europe/Berlin",
    "beta": "America/New_York",
    "gamma": "Asia/Kolkata",
    "delta": "Pacific/Auckland",
}
QUICK = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def events_between(start: dt.datetime, end: dt.datetime):
    """Lists of rows of events around a change of the clocks, minutes apart so that sessions form."""
    instants = st.datetimes(start, end).map(
        lambda at: at.replace(microsecond=0, second=0, minute=at.minute // 10 * 10)
    )
    event = st.tuples(
        st.sampled_from(["acme", "beta", "gamma", "delta", "zeta"]),
        st.sampled_from(["ann", "bob", None]),
        instants,
        st.sampled_from(["f", "g", None]),
        st.sampled_from(["ui", "ui", "api", None]),
        st.sampled_from(["s1", None, None]),
        st.sampled_from([1, 2, 5]),
        st.sampled_from([None, 0.0, 90.0, 4000.0]),
    )
    return st.lists(event, min_size=1, max_size=60).filter(
        # a column of midnights alone holds calendar days
        lambda rows: (
            any(row[0] in ZONES for row in rows) and any(row[2].time() != dt.time() for row in rows)
        )
    )


NAMES = [
    "client_id",
    "user_id",
    "occurred_at",
    "feature",
    "source",
    "session_id",
    "count",
    "duration_seconds",
]


def portfolio_of(rows: list[tuple]) -> tuple[Portfolio, Path]:
    folder = Path(tempfile.mkdtemp())
    pd.DataFrame(
        {
            "client_id": list(ZONES),
            "signup_date": ["2025-01-01"] * 4,
            "timezone": list(ZONES.values()),
        }
    ).to_csv(folder / "customers.csv", index=False)
    pd.DataFrame(rows, columns=NAMES).to_csv(
        folder / "events.csv", index=False, date_format="%Y-%m-%d %H:%M:%S"
    )
    return Portfolio.open(folder, {"max_loss_share": 1}), folder


def local(client: str, at: dt.datetime) -> dt.datetime:
    return at.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(ZONES[client]))


def no_person(source: str | None, rows: list[tuple]) -> bool:
    """Whether a source is no person: also an empty one, where other rows name persons."""
    return source == "api" or (source is None and any(row[4] == "ui" for row in rows))


def recount(rows: list[tuple]) -> dict[str, dict[tuple, int]]:
    counts: dict[str, dict[tuple, int]] = {"user_day": {}, "feature_day": {}, "user_hour": {}}

    def add(name, key, n):
        counts[name][key] = counts[name].get(key, 0) + n

    for client, user, at, feature, source, _, n, _ in rows:
        if client not in ZONES:
            continue
        wall = local(client, at)
        if no_person(source, rows):
            add("user_day", (client, user, wall.date()), 0)
            continue
        add("user_day", (client, user, wall.date()), n)
        add("user_hour", (client, user, at.replace(minute=0), wall.date(), wall.hour), n)
        if feature:
            add("feature_day", (client, user, feature, wall.date()), n)
    return counts


def recount_sessions(rows: list[tuple]) -> list[tuple]:
    """(client, user, start, start day, day, seconds, events), by going through each user's events in order.

    Events without a session_id are left out on days of a user's others that have one, and on the days after.
    """
    expected = []
    streams: dict[tuple, list] = {}
    counted = [row for row in rows if row[0] in ZONES and row[1] and not no_person(row[4], rows)]
    with_id = {(row[0], row[1], local(row[0], row[2]).date()) for row in counted if row[5]}
    for client, user, at, _, _, session, n, lasting in counted:
        day = local(client, at).date()
        near = {(client, user, day), (client, user, day - dt.timedelta(days=1))}
        if session or not near & with_id:
            streams.setdefault((client, user, session), []).append((at, lasting or 0, n))
    for (client, user, session), items in streams.items():
        sessions: list[list] = []
        for item in sorted(items):
            gap = (item[0] - sessions[-1][-1][0]).total_seconds() if sessions else None
            if gap is None or gap > (86400 if session else 1800):
                sessions.append([])
            sessions[-1].append(item)
        for members in sessions:
            start = members[0][0]
            for day in sorted({local(client, at).date() for at, *_ in members}):
                until = [item for item in members if local(client, item[0]).date() <= day]
                seconds = int((until[-1][0] - start).total_seconds() + until[-1][1])
                events = sum(n for at, _, n in members if local(client, at).date() == day)
                expected.append(
                    (client, user, start, local(client, start).date(), day, seconds, events)
                )
    return sorted(expected)


@QUICK
@given(
    st.one_of(
        events_between(dt.datetime(2025, 3, 29), dt.datetime(2025, 4, 2)),
        events_between(dt.datetime(2025, 10, 25), dt.datetime(2025, 11, 3)),
        events_between(dt.datetime(2025, 3, 31, 20), dt.datetime(2025, 4, 1, 4)),
    )
)
def test_facts_equal_a_slow_recount(rows):
    portfolio, folder = portfolio_of(rows)
    try:
        connection = portfolio.connection()
        expected = recount(rows)
        for name, keys in (
            ("user_day", "client_id, user_id, day"),
            ("feature_day", "client_id, user_id, feature, day"),
            ("user_hour", "client_id, user_id, hour_utc, day, hour"),
        ):
            counted = connection.execute(f"SELECT {keys}, events FROM {name}").fetchall()
            assert {row[:-1]: row[-1] for row in counted} == expected[name]
            assert len(counted) == len(expected[name])
        sessions = connection.execute(
            "SELECT client_id, user_id, session_start, start_day, day, seconds, events "
            "FROM sessions"
        ).fetchall()
        assert sorted(sessions) == recount_sessions(rows)
        api = sum(row[6] for row in rows if row[0] in ZONES and row[4] == "api")
        assert connection.execute(
            "SELECT CAST(SUM(api_events) AS BIGINT) FROM user_day"
        ).fetchall() == [(api,)]
    finally:
        portfolio.close()
        shutil.rmtree(folder)


words = st.sampled_from(
    [
        "acme",
        "beta",
        "zeta",
        "",
        "a b",
        "2025-03-01",
        "2025-03-01 10:00:00",
        "soon",
        "1970-01-01",
        "3",
        "-1",
        "high",
        "HIGH",
        "x",
        "2025-03-01T10:00:00+02:00",
    ]
)


@QUICK
@given(st.lists(st.tuples(words, words, words, words, words), max_size=30))
def test_every_row_of_a_table_is_kept_or_dropped_for_one_reason(rows):
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "customers.csv").write_text(
            "client_id,signup_date\nacme,2025-01-01\nbeta,2025-01-01\n"
        )
        for table, names in (
            ("events", "client_id,occurred_at,user_id,source,count"),
            ("tickets", "ticket_id,client_id,opened_at,severity,resolved_at"),
            ("surveys", "client_id,kind,score,responded_at,user_id"),
        ):
            (folder / f"{table}.csv").write_text("\n".join([names, *map(",".join, rows)]) + "\n")
        portfolio = Portfolio.open(folder, {"max_loss_share": 1})
        for table in ("events", "tickets", "surveys"):
            report = portfolio.reports[table]
            assert (
                report.read == report.kept + sum(drop.count for drop in report.drops) == len(rows)
            )
            if portfolio.has(table):
                assert len(portfolio.table(table)) == report.kept
    finally:
        shutil.rmtree(folder)
