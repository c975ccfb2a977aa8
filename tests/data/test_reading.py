"""How words, ids, numbers and dates are read: in one way for a whole column, and what stands for no value."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest

HEAD = "client_id,signup_date"


def _customers(portfolio, column: str) -> list:
    values = portfolio.table("customers")[column].astype(object)
    return [None if pd.isna(value) else value for value in values]


def _with(column: str, *values: str) -> str:
    rows = [f'c{n:02d},2025-01-01,"{value}"' for n, value in enumerate(values)]
    return "\n".join([f"{HEAD},{column}", *rows]) + "\n"


@pytest.fixture
def column_of(make_portfolio):
    """A column of customers as read, from its values in the file."""

    def read(column: str, *values: str, **settings):
        portfolio = make_portfolio(settings, customers=_with(column, *values), events=None)
        return _customers(portfolio, column), portfolio

    return read


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("1250", "12.5", "7,000.25"), [1250, 12.5, 7000.25]),
        (("2.000", "31.500,75", "18"), [2000, 31500.75, 18]),
        (("€ 1.200,50", "€ 900"), [1200.5, 900]),
        (("USD 4,000", "USD 250.5"), [4000, 250.5]),
        (("1 250 000", "17"), [1250000, 17]),
        (("4'200.5", "3"), [4200.5, 3]),
        (("50%", "12.5 %"), [0.5, 0.125]),
        (("1e5", "3"), [100000, 3]),
        (("0.532", "12.500"), [0.532, 12.5]),
    ],
)
def test_numbers_are_read_where_the_column_has_one_reading(column_of, values, expected):
    assert column_of("arr", *values)[0] == expected


def test_a_column_with_two_readings_is_not_read_and_asks_for_formats(column_of):
    values, portfolio = column_of("arr", "12.500", "7.250", "3.100")
    assert values == [None, None, None]
    notes = [
        issue.reason for issue in portfolio.reports["customers"].issues if issue.kind == "note"
    ]
    assert notes == [
        "arr is not read: '12.500' can be read as 1,234.56 or 1.234,56; "
        "say which in [formats] of portfolio.toml: customers.arr"
    ]
    formats = {"customers.arr": "1.234,56"}
    assert column_of("arr", "12.500", "7.250", formats=formats)[0] == [12500, 7250]
    assert column_of("arr", "12.500", "7.250", formats={"numbers": "1,234.56"})[0] == [12.5, 7.25]


def test_one_value_with_another_reading_spoils_no_other(column_of):
    plain = [str(100 + n) for n in range(12)]
    assert column_of("arr", *plain, "12.500")[0] == [*map(float, plain), None]
    assert column_of("seats", "10", "50", "1.000")[0] == [10, 50, None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("2025-02-01", "2025/02/03"), ["2025-02-01", "2025-02-03"]),
        (("13/02/2025", "03/04/2025"), ["2025-02-13", "2025-04-03"]),
        (("02/13/2025", "03/04/2025"), ["2025-02-13", "2025-03-04"]),
        (("03.04.2025", "5.6.2025"), ["2025-04-03", "2025-06-05"]),
        (("4 Mar 2025", "Mar 5, 2025"), ["2025-03-04", "2025-03-05"]),
        (("03/04/2025", "05/06/2025", "07/08/2025"), [None, None, None]),
        (("13/02/2025", "02/14/2025"), [None, None]),
        (("20250201", "20250303"), ["2025-02-01", "2025-03-03"]),
    ],
)
def test_dates_are_read_where_the_column_has_one_reading(column_of, values, expected):
    read = column_of("renewal_date", *values)[0]
    assert [None if day is None else str(day)[:10] for day in read] == expected


def test_dates_with_two_readings_are_read_as_the_setting_says(column_of):
    formats = {"dates": "month first"}
    read = column_of("renewal_date", "03/04/2025", "05/06/2025", formats=formats)[0]
    assert [str(day)[:10] for day in read] == ["2025-03-04", "2025-05-06"]


def test_dates_that_stand_for_no_date_are_gone_before_dates_are_compared(make_portfolio):
    tickets = "ticket_id,client_id,opened_at,resolved_at\n" + "".join(
        f"t{n},acme,2025-03-02 10:00:00,{day}\n"
        for n, day in enumerate(
            ["1900-01-01", "0000-00-00 00:00:00", "9999-12-31 23:59:59", "1970-01-01T00:00:00Z"]
        )
    )
    portfolio = make_portfolio(tickets=tickets)
    assert portfolio.table("tickets")["resolved_at"].isna().all()
    assert (portfolio.reports["tickets"].kept, portfolio.reports["tickets"].issues) == (4, [])


@pytest.mark.parametrize("word", ["NULL", "None", "nan", "\\N", "N/A", "  "])
def test_words_for_no_value_are_missing_in_every_column_of_words(column_of, word):
    assert column_of("industry", word, "Retail")[0] == [None, "Retail"]


def test_words_are_normalised(column_of):
    decomposed = unicodedata.normalize("NFD", "Café Zürich")
    assert column_of("region", f"\t{decomposed} ", "Café\u00a0 Zürich")[0] == ["Café Zürich"] * 2


def test_ids_from_a_column_of_floats_are_the_same_ids(make_portfolio):
    customers = pd.DataFrame({"client_id": [501.0, 502.0], "signup_date": ["2025-01-01"] * 2})
    events = (
        "client_id,user_id,occurred_at\n501,7.0,2025-03-03 10:00:00\n502.0,7,2025-03-04 23:00:00\n"
    )
    portfolio = make_portfolio(customers=customers, events=events)
    assert portfolio.table("events")["client_id"].tolist() == ["501", "502"]
    assert portfolio.table("events")["user_id"].tolist() == ["7", "7"]
    assert portfolio.client(501)["client_id"] == portfolio.client("501")["client_id"] == "501"


def test_an_enum_is_text_and_a_decimal_a_number(make_portfolio):
    frame = pd.DataFrame(
        {"client_id": ["acme"], "signup_date": ["2025-01-01"], "plan": pd.Categorical(["pro"])}
    )
    assert _customers(make_portfolio(customers=frame, events=None), "plan") == ["pro"]


@pytest.mark.parametrize(
    ("word", "severity"),
    [("Urgent", "critical"), ("P2", "high"), ("sev-1", "critical"), ("Normal", "medium"),
     ("3 - Moderate", "medium"), ("HIGH", "high"), ("Trivial", "low"), ("1", None), ("odd", None)],
)  # fmt: skip
def test_severities_of_other_systems_are_known(make_portfolio, word, severity):
    rows = (
        f"ticket_id,client_id,opened_at,severity\n1,acme,2025-03-01,{word}\n2,acme,2025-03-02,low\n"
    )
    read = make_portfolio(tickets=rows).table("tickets")["severity"].tolist()[0]
    assert (None if pd.isna(read) else read) == severity


def test_synonyms_can_be_added(make_portfolio):
    rows = "ticket_id,client_id,opened_at,severity\n1,acme,2025-03-01,Dringend\n"
    portfolio = make_portfolio({"synonyms": {"severity": {"dringend": "high"}}}, tickets=rows)
    assert portfolio.table("tickets")["severity"].tolist() == ["high"]


def test_currencies_are_codes_whatever_their_case(column_of):
    values = column_of("currency", "eur", "€", "Usd", "doubloons")[0]
    assert values == ["EUR", "EUR", "USD", None]


def test_a_giant_value_empties_itself_alone(column_of):
    giant = ["1e300", "inf", "-0.0", "9223372036854775807", "250"]
    assert column_of("arr", *giant)[0] == [None, None, 0.0, None, 250.0]


def test_counts_that_are_unknown_or_negative_are_left_out_and_zero_is_no_activity(make_portfolio):
    rows = ["5", "0", "-3", "many", "9000000000000000000", ""]
    events = "client_id,user_id,occurred_at,count\n" + "".join(
        f"acme,u{n},2025-03-0{n + 1},{count}\n" for n, count in enumerate(rows)
    )
    portfolio = make_portfolio({"max_loss_share": 1}, events=events)
    assert portfolio.table("events")["count"].tolist() == [5, 0]
    facts = portfolio.connection().execute("SELECT user_id, events FROM user_day").fetchall()
    assert facts == [("u0", 5)]


def test_events_of_bots_and_of_unknown_sources_are_no_persons(make_portfolio):
    events = "client_id,user_id,occurred_at,source\n" + "".join(
        f"acme,u{n},2025-03-04 23:0{n}:00,{source}\n"
        for n, source in enumerate(["ui", "Web", "api", "webhook", "", "Bot"])
    )
    portfolio = make_portfolio(events=events)
    query = "SELECT SUM(events), SUM(api_events), SUM(other_events) FROM user_day"
    assert portfolio.connection().execute(query).fetchall() == [(2, 1, 3)]
    assert portfolio.reports["events"].corrected == {"source": 1}


def test_events_without_a_word_for_persons_are_persons(make_portfolio):
    events = "client_id,user_id,occurred_at,source\nacme,u,2025-03-04 23:00:00,\nacme,v,2025-03-04 23:00:00,api\n"
    portfolio = make_portfolio(events=events)
    query = "SELECT SUM(events), SUM(api_events), SUM(other_events) FROM user_day"
    assert portfolio.connection().execute(query).fetchall() == [(1, 1, 0)]


def test_a_churn_row_without_arr_ends_it(make_portfolio):
    changes = (
        "client_id,effective_on,arr,reason\nacme,2025-01-01,500,new\nacme,2025-02-01,,Cancelled\n"
    )
    frame = make_portfolio(arr_changes=changes).table("arr_changes")
    assert frame["arr"].tolist() == [500, 0] and frame["reason"].tolist() == ["new", "churn"]


@pytest.mark.parametrize("seconds", ["1735862400", "1735862400000", "1735862400000000"])
def test_seconds_since_1970_and_their_thousandths_are_times(make_portfolio, seconds):
    customers = f"client_id,signup_date\nacme,{seconds}\n"
    tickets = f"ticket_id,client_id,opened_at\n1,acme,{seconds}\n2,acme,2025-01-05 10:00:00\n"
    portfolio = make_portfolio(customers=customers, tickets=tickets, events=None)
    assert str(portfolio.table("customers")["signup_date"].iloc[0])[:10] == "2025-01-03"
    query = "SELECT opened_at, opened_has_time FROM tickets ORDER BY ticket_id LIMIT 1"
    assert str(portfolio.connection().execute(query).fetchall()[0][0]) == "2025-01-03 00:00:00"


def test_time_zones_are_read_in_any_case(column_of):
    zones, _ = column_of("timezone", "europe/berlin", "AMERICA/NEW_YORK", "utc")
    assert zones == ["Europe/Berlin", "America/New_York", "UTC"]
