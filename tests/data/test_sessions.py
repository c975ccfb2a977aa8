"""Sessions, hand-counted: gaps, ids, midnight, the border of a month, durations."""

from __future__ import annotations

COLUMNS = "user_id, CAST(session_start AS VARCHAR), CAST(start_day AS VARCHAR), CAST(day AS VARCHAR), seconds, events"


def events(*rows: str, head: str = "client_id,user_id,occurred_at") -> str:
    return head + "\n" + "".join(f"acme,{row}\n" for row in rows)


def test_a_gap_longer_than_the_setting_begins_a_session(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00",
        "ann,2025-03-03 10:30:00",
        "ann,2025-03-03 11:00:01",
        "bob,2025-03-03 10:10:00",
    )
    assert rows(make_portfolio(events=lines), "sessions", COLUMNS) == [
        ("ann", "2025-03-03 10:00:00", "2025-03-03", "2025-03-03", 1800, 2),
        ("ann", "2025-03-03 11:00:01", "2025-03-03", "2025-03-03", 0, 1),
        ("bob", "2025-03-03 10:10:00", "2025-03-03", "2025-03-03", 0, 1),
    ]
    assert len(rows(make_portfolio({"session_gap_minutes": 31}), "sessions", COLUMNS)) == 2


def test_a_session_over_midnight_has_a_row_a_day_with_the_length_until_then(make_portfolio, rows):
    lines = events("ann,2025-03-03 23:50:00", "ann,2025-03-03 23:55:00", "ann,2025-03-04 00:05:00")
    assert rows(make_portfolio(events=lines), "sessions", COLUMNS) == [
        ("ann", "2025-03-03 23:50:00", "2025-03-03", "2025-03-03", 300, 2),
        ("ann", "2025-03-03 23:50:00", "2025-03-03", "2025-03-04", 900, 1),
    ]


def test_a_session_over_the_border_of_a_month_is_one(make_portfolio, rows):
    lines = events(
        "ann,2025-03-31 23:40:00",
        "ann,2025-03-31 23:59:00",
        "ann,2025-04-01 00:10:00",
        "ann,2025-04-01 00:50:00",
    )
    assert rows(make_portfolio(events=lines), "sessions", COLUMNS) == [
        ("ann", "2025-03-31 23:40:00", "2025-03-31", "2025-03-31", 1140, 2),
        ("ann", "2025-03-31 23:40:00", "2025-03-31", "2025-04-01", 1800, 1),
        ("ann", "2025-04-01 00:50:00", "2025-04-01", "2025-04-01", 0, 1),
    ]


def test_midnight_is_the_accounts_own(make_portfolio, rows):
    lines = "client_id,user_id,occurred_at\nbeta,bea,2025-06-30 21:50:00\nbeta,bea,2025-06-30 22:10:00\n"
    assert rows(make_portfolio(events=lines), "sessions", COLUMNS) == [
        ("bea", "2025-06-30 21:50:00", "2025-06-30", "2025-06-30", 0, 1),
        ("bea", "2025-06-30 21:50:00", "2025-06-30", "2025-07-01", 1200, 1),
    ]


def test_a_session_id_holds_across_gaps_and_sets_devices_apart(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00,s1",
        "ann,2025-03-03 12:00:00,s1",
        "ann,2025-03-03 10:00:00,s2",
        head="client_id,user_id,occurred_at,session_id",
    )
    assert rows(make_portfolio(events=lines), "sessions", f"session_id, {COLUMNS}") == [
        ("s1", "ann", "2025-03-03 10:00:00", "2025-03-03", "2025-03-03", 7200, 2),
        ("s2", "ann", "2025-03-03 10:00:00", "2025-03-03", "2025-03-03", 0, 1),
    ]


def test_a_lost_session_id_begins_no_session_beside_a_users_others(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00,s1",
        "ann,2025-03-03 15:00:00,",
        "ann,2025-03-04 10:00:00,",
        "ann,2025-03-06 10:00:00,",
        "bob,2025-03-03 10:00:00,",
        head="client_id,user_id,occurred_at,session_id",
    )
    assert rows(make_portfolio(events=lines), "sessions", f"session_id, {COLUMNS}") == [
        ("s1", "ann", "2025-03-03 10:00:00", "2025-03-03", "2025-03-03", 0, 1),
        (None, "ann", "2025-03-06 10:00:00", "2025-03-06", "2025-03-06", 0, 1),
        (None, "bob", "2025-03-03 10:00:00", "2025-03-03", "2025-03-03", 0, 1),
    ]


def test_a_session_id_that_comes_back_after_more_than_a_day_is_another_session(
    make_portfolio, rows
):
    lines = events(
        "ann,2025-03-03 10:00:00,s1",
        "ann,2025-03-04 10:00:00,s1",
        "ann,2025-03-05 10:00:01,s1",
        head="client_id,user_id,occurred_at,session_id",
    )
    assert rows(
        make_portfolio(events=lines), "sessions", "CAST(session_start AS VARCHAR), seconds"
    ) == [
        ("2025-03-03 10:00:00", 0),
        ("2025-03-03 10:00:00", 86400),
        ("2025-03-05 10:00:01", 0),
    ]


def test_the_last_events_duration_is_added(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00,600",
        "ann,2025-03-03 10:20:00,5",
        "ann,2025-03-03 10:20:00,90.7",
        "ann,2025-03-03 10:20:00,",
        head="client_id,user_id,occurred_at,duration_seconds",
    )
    assert rows(make_portfolio(events=lines), "sessions", "seconds, events") == [(1290, 4)]


def test_api_calls_unknown_users_and_calendar_days_make_no_session(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00,api",
        ",2025-03-03 10:01:00,ui",
        "ann,2025-03-03,ui",
        "ann,2025-03-03 10:02:00,UI",
        head="client_id,user_id,occurred_at,source",
    )
    portfolio = make_portfolio(events=lines)
    assert rows(portfolio, "sessions", "CAST(session_start AS VARCHAR)") == [
        ("2025-03-03 10:02:00",)
    ]
    assert rows(portfolio, "user_day", "user_id, events, api_events") == [
        ("ann", 2, 1),
        (None, 1, 0),
    ]


def test_counted_rows_weigh_in_events_not_in_length(make_portfolio, rows):
    lines = events(
        "ann,2025-03-03 10:00:00,5",
        "ann,2025-03-03 10:10:00,7",
        head="client_id,user_id,occurred_at,count",
    )
    assert rows(make_portfolio(events=lines), "sessions", "seconds, events") == [(600, 12)]


def test_what_a_day_added_to_a_session_is_known_over_midnight_and_the_border_of_a_month(
    make_portfolio, rows
):
    lines = events(
        "ann,2025-03-31 23:40:00",
        "ann,2025-03-31 23:59:00",
        "ann,2025-04-01 00:10:00",
        "ann,2025-04-01 00:50:00",
        "bob,2025-03-31 23:55:00",
        "bob,2025-04-01 00:05:00",
    )
    assert rows(
        make_portfolio(events=lines),
        "sessions",
        "user_id, CAST(day AS VARCHAR), seconds, added_seconds",
    ) == [
        ("ann", "2025-03-31", 1140, 1140),
        ("ann", "2025-04-01", 0, 0),
        ("ann", "2025-04-01", 1800, 660),
        ("bob", "2025-03-31", 0, 0),
        ("bob", "2025-04-01", 600, 600),
    ]
