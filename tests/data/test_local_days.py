"""Days are the account's own, whole across daylight saving; hand-counted."""

from __future__ import annotations

import pytest

# UTC instants around a change of the clock, and the local day and hour that a wall clock there shows.
INSTANTS = {
    "Europe/Berlin": [
        ("2025-03-29 22:59:59", "2025-03-29", 23),
        ("2025-03-29 22:59:59.999600", "2025-03-29", 23),
        ("2025-03-29 23:00:00", "2025-03-30", 0),
        ("2025-03-30 00:59:59", "2025-03-30", 1),
        ("2025-03-30 01:00:00", "2025-03-30", 3),
        ("2025-03-30 21:59:59", "2025-03-30", 23),
        ("2025-03-30 22:00:00", "2025-03-31", 0),
        ("2025-10-26 00:30:00", "2025-10-26", 2),
        ("2025-10-26 01:30:00", "2025-10-26", 2),
        ("2025-10-26 22:59:59", "2025-10-26", 23),
        ("2025-10-26 23:00:00", "2025-10-27", 0),
    ],
    "America/New_York": [
        ("2025-03-09 04:59:59", "2025-03-08", 23),
        ("2025-03-09 05:00:00", "2025-03-09", 0),
        ("2025-03-09 07:00:00", "2025-03-09", 3),
        ("2025-03-10 03:59:59", "2025-03-09", 23),
        ("2025-03-10 04:00:00", "2025-03-10", 0),
        ("2025-11-02 05:30:00", "2025-11-02", 1),
        ("2025-11-02 06:30:00", "2025-11-02", 1),
        ("2025-11-03 04:59:59", "2025-11-02", 23),
    ],
    # Lord Howe moves by half an hour, from +10:30 to +11:00.
    "Australia/Lord_Howe": [
        ("2025-04-05 12:59:59", "2025-04-05", 23),
        ("2025-04-05 13:00:00", "2025-04-06", 0),
        ("2025-04-05 15:15:00", "2025-04-06", 1),
        ("2025-04-06 13:29:59", "2025-04-06", 23),
        ("2025-04-06 13:30:00", "2025-04-07", 0),
        ("2025-10-04 13:29:59", "2025-10-04", 23),
        ("2025-10-04 15:30:00", "2025-10-05", 2),
        ("2025-10-05 12:59:59", "2025-10-05", 23),
    ],
}


@pytest.mark.parametrize("zone", INSTANTS)
def test_days_and_hours_are_those_of_the_wall_clock(make_portfolio, rows, zone):
    instants = INSTANTS[zone]
    portfolio = make_portfolio(
        customers=f"client_id,signup_date,timezone\nacme,2025-01-01,{zone}\n",
        events="client_id,user_id,occurred_at\n"
        + "".join(f"acme,u{k:02d},{at}\n" for k, (at, *_) in enumerate(instants)),
    )
    hourly = rows(
        portfolio, "user_hour", "user_id, CAST(day AS VARCHAR), hour, CAST(hour_utc AS VARCHAR)"
    )
    assert hourly == [
        (f"u{k:02d}", day, hour, at[:14] + "00:00") for k, (at, day, hour) in enumerate(instants)
    ]
    assert rows(portfolio, "user_day", "user_id, CAST(day AS VARCHAR)") == [
        (row[0], row[1]) for row in hourly
    ]
    assert rows(portfolio, "events", "user_id, CAST(occurred_day AS VARCHAR)") == [
        (row[0], row[1]) for row in hourly
    ]


def test_a_calendar_day_is_that_day_in_every_zone_and_has_no_hour(make_portfolio, rows):
    portfolio = make_portfolio(
        customers="client_id,signup_date,timezone\nacme,2025-01-01,America/New_York\nbeta,2025-01-01,Asia/Tokyo\n",
        events="client_id,user_id,occurred_at\nacme,ann,2025-04-01\nbeta,bea,2025-04-01\n",
    )
    assert {day for (day,) in rows(portfolio, "user_day", "CAST(day AS VARCHAR)")} == {"2025-04-01"}
    assert rows(portfolio, "user_hour", "*") == [] and rows(portfolio, "sessions", "*") == []


def test_mixed_offsets_and_naive_instants_meet_in_utc(make_portfolio, rows):
    portfolio = make_portfolio(
        events="client_id,user_id,occurred_at\nacme,a,2025-03-03T23:30:00Z\nacme,b,2025-03-04T01:30:00+02:00\n"
        "acme,c,2025-03-03 18:30:00-0500\nacme,d,2025-03-03 23:30:00\n"
    )
    assert rows(portfolio, "events", "DISTINCT CAST(occurred_at AS VARCHAR)") == [
        ("2025-03-03 23:30:00",)
    ]


def test_a_customer_without_a_zone_has_the_portfolios(make_portfolio, rows):
    portfolio = make_portfolio(
        {"default_timezone": "Asia/Tokyo"}, customers="client_id,signup_date\nacme,2025-01-01\n"
    )
    assert rows(portfolio, "user_day", "CAST(day AS VARCHAR)") == [("2025-03-03",), ("2025-03-05",)]


def test_days_of_other_tables_are_local_too(make_portfolio, rows):
    portfolio = make_portfolio(
        tickets="ticket_id,client_id,opened_at,resolved_at\n1,beta,2025-03-03 23:30:00,2025-03-05\n"
    )
    columns = "CAST(opened_day AS VARCHAR), opened_has_time, CAST(resolved_day AS VARCHAR), resolved_has_time"
    assert rows(portfolio, "tickets", columns) == [("2025-03-04", True, "2025-03-05", False)]


def test_a_month_of_local_days_is_whole_at_both_ends(make_portfolio, rows):
    portfolio = make_portfolio(
        customers="client_id,signup_date,timezone\nacme,2025-01-01,Pacific/Kiritimati\nbeta,2025-01-01,Pacific/Niue\n",
        events="client_id,user_id,occurred_at,feature\nacme,a,2025-03-31 10:00:00,f\nbeta,b,2025-04-01 10:59:59,f\n",
    )
    assert rows(portfolio, "feature_day", "client_id, CAST(day AS VARCHAR)") == [
        ("acme", "2025-04-01"),
        ("beta", "2025-03-31"),
    ]
