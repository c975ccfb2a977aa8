"""Portfolios that are nearly nothing, or odd: they get a panel, or an error that says what is wrong."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.errors import InvalidParameters
from healthseg.metrics import catalog
from healthseg.metrics.panels import build, panel
from healthseg.metrics.spans import over
from healthseg.testing import tiny_portfolio

D = dt.date(2025, 3, 31)


def span(
    client: str = "a", start: dt.date = D, end: dt.date = D + dt.timedelta(days=1)
) -> pd.DataFrame:
    return pd.DataFrame({"client_id": [client], "span_id": [0], "start": [start], "end": [end]})


@pytest.mark.parametrize(
    "event",
    [
        ("a", "2025-03-31 09:00"),
        ("a", "2025-03-31"),
        ("a", "2025-03-31 09:00", "u", "f"),
        ("a", "2025-03-31", None, None, "api"),
    ],
)
def test_one_customer_and_one_event_make_a_row(event):
    row = panel(tiny_portfolio([event]), [D]).iloc[0]
    person = event[-1] != "api"
    assert row["tenure_days"] == 455 and row["days_since_last_person_event"] == 0
    assert np.isnan(row["person_events_28d"]) and row["payment_status"] is np.nan
    figures = over(tiny_portfolio([event]), span(), catalog.over_spans()).iloc[0]
    assert figures["person_events"] == person and figures["api_events"] == (not person)
    assert figures["active_users"] == 1 if "u" in event else np.isnan(figures["active_users"])
    assert np.isnan(figures["open_tickets"])


def test_spans_by_user_where_no_event_has_one_are_no_rows():
    for by, key in (("user", "user_id"), ("feature", "feature")):
        rows = over(tiny_portfolio([("a", "2025-03-31 09:00")]), span(), ["person_events"], by=by)
        assert (
            rows.columns.tolist() == ["client_id", "span_id", "start", "end", key, "person_events"]
            and rows.empty
        )


def test_a_feature_that_nobody_named_used_has_no_users_rather_than_an_unknown_number():
    rows = over(
        tiny_portfolio([("a", "2025-03-31 09:00", None, "f")]),
        span(),
        ["person_events", "active_users"],
        by="feature",
    )
    assert rows[["feature", "person_events", "active_users"]].values.tolist() == [["f", 1.0, 0.0]]


def test_no_spans_are_no_rows():
    portfolio = tiny_portfolio([("a", "2025-03-31 09:00")])
    assert (
        over(portfolio, span().iloc[:0], ["person_events"]).columns.tolist()[-1] == "person_events"
    )
    assert over(portfolio, span(), ["person_events"], clients=[]).empty


def test_a_customer_of_many_years_is_counted_to_the_day():
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["1999-12-31"]})
    events = [
        ("a", "2024-01-01 09:00", "u"),
        *(("a", f"2025-{month:02d}-20 09:00", "u") for month in (1, 2, 3)),
        ("a", "2025-03-31 09:00", "u"),
    ]
    portfolio = tiny_portfolio(events, customers)
    row = panel(portfolio, [D]).iloc[0]
    assert row["tenure_days"] == 9222 and row["person_events_28d"] == 2
    long = over(
        portfolio, span(start=dt.date(2024, 1, 1)), ["person_events", "active_users", "active_days"]
    ).iloc[0]
    assert long[["person_events", "active_users", "active_days"]].tolist() == [5, 1, 5]


def test_money_in_three_currencies_stays_in_its_own():
    contracts = pd.DataFrame(
        {
            "client_id": ["a", "b", "c"],
            "starts_on": "2025-01-01",
            "arr": [20_000, 20_000.5, 3_000_000],
            "currency": ["EUR", "USD", "JPY"],
        }
    )
    rows = panel(
        tiny_portfolio(
            [(client, "2025-03-31 09:00", "u") for client in "abc"], contracts=contracts
        ),
        [D],
    )
    assert rows[["currency", "arr"]].values.tolist() == [
        ["EUR", 20_000],
        ["USD", 20_000.5],
        ["JPY", 3_000_000],
    ]


def test_a_customer_of_the_past_or_future_of_its_span_is_not_measured():
    customers = pd.DataFrame({"client_id": ["a", "b"], "signup_date": ["2025-01-01", "2025-04-30"]})
    portfolio = tiny_portfolio(
        [("a", "2025-03-01 09:00", "u"), ("a", "2025-03-31 09:00", "u")],
        customers,
        tickets=pd.DataFrame({"ticket_id": ["1"], "client_id": ["a"], "opened_at": ["2025-03-01"]}),
    )
    assert panel(portfolio, [D])["client_id"].tolist() == ["a"]
    rows = over(
        portfolio,
        pd.concat([span("a"), span("b")]),
        ["active_users", "open_tickets", "days_since_last_person_event"],
    )
    assert rows.iloc[0, 4:].tolist() == [1, 1, 0] and rows.iloc[1, 4:].isna().all()


def test_a_metric_that_there_is_not_is_answered_with_the_nearest():
    portfolio = tiny_portfolio([("a", "2025-03-31 09:00")])
    with pytest.raises(
        InvalidParameters, match=r"unknown metric 'activ_users'.*did you mean.*active_users"
    ):
        over(portfolio, span(), ["activ_users"])
    with pytest.raises(InvalidParameters, match="'sessions' is not counted by user"):
        over(portfolio, span(), ["sessions"], by="user")
    with pytest.raises(InvalidParameters, match="unknown by 'team'"):
        over(portfolio, span(), ["person_events"], by="team")


def test_spans_of_nobody_or_of_no_days_are_refused():
    portfolio = tiny_portfolio([("a", "2025-03-31 09:00")])
    with pytest.raises(InvalidParameters, match="unknown customer 'nobody'"):
        over(portfolio, span("nobody"), ["person_events"])
    with pytest.raises(InvalidParameters, match="must end after it starts"):
        over(portfolio, span(end=D), ["person_events"])


def test_a_customer_asked_for_twice_has_one_row():
    portfolio = tiny_portfolio([("a", "2025-03-31 09:00"), ("b", "2025-03-31 09:00")])
    assert panel(portfolio, [D, D], ["b", "b"])["client_id"].tolist() == ["b"]
    assert build(portfolio, [D], ["b", "a"])["client_id"].tolist() == ["a", "b"]


def test_counts_leave_out_the_last_day_where_it_is_not_whole_as_means_do():
    days = pd.date_range("2025-09-01", "2025-09-30")
    rows = [("west", f"{day:%Y-%m-%d} {hour}:30:00", "u") for day in days for hour in (10, 23)]
    customers = pd.DataFrame(
        {"client_id": ["west"], "signup_date": "2025-01-01", "timezone": "America/Los_Angeles"}
    )
    portfolio = tiny_portfolio(rows, customers, {"data_until": None})
    spans = pd.DataFrame(
        {
            "client_id": "west",
            "span_id": [0, 1],
            "start": [dt.date(2025, 9, 20), dt.date(2025, 9, 30)],
            "end": dt.date(2025, 10, 1),
        }
    )
    names = ["person_events", "active_days", "daily_active_users"]
    counted = over(portfolio, spans, names)[names]
    assert counted.iloc[0].tolist() == [20, 10, 1]
    assert counted.iloc[1].isna().all()
    of_users = over(portfolio, spans[:1], ["active_days"], by="user")
    assert of_users["active_days"].tolist() == [10]
