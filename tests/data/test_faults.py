"""What is wrong with a table is named with its file, line and value; a refused table gives no numbers."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound, DataRetrievalError, InvalidClientId, InvalidParameters
from healthseg.settings.data import LONGEST_TEXT

LOOSE = {"max_loss_share": 0.9}


def only_drop(portfolio, table):
    (drop,) = portfolio.reports[table].drops
    return drop


@pytest.mark.parametrize(
    ("row", "reason", "example"),
    [
        ("acme,2025-03-03 25:00:00", "occurred_at is not a timestamp", "2025-03-03 25:00:00"),
        ("acme,03/04/2025", "occurred_at is not a timestamp", "03/04/2025"),
        ("acme,", "occurred_at is missing", None),
        (",2025-03-03 10:00:00", "client_id is missing", None),
        ("a b,2025-03-03 10:00:00", "client_id does not match", "a b"),
        ("gone,2025-03-03 10:00:00", "client_id is not in customers", "gone"),
        ("acme,1970-01-01 00:00:00", "occurred_at is missing", "1970-01-01 00:00:00"),
        ("acme,1985-05-01 00:00:00", "occurred_at is an impossible date", "1985-05-01 00:00:00"),
        ("acme,2031-01-01 00:00:00", "more than 30 days after", "2031-01-01 00:00:00"),
        (
            "acme,2025-03-03 10:00:00,1",
            "does not have the header's columns",
            "acme,2025-03-03 10:00:00,1",
        ),
    ],
)
def test_a_bad_event_is_dropped_with_its_reason_value_and_line(
    make_portfolio, row, reason, example
):
    portfolio = make_portfolio(
        LOOSE,
        events=f"client_id,occurred_at\nacme,2025-03-03 10:00:00\n{row}\nacme,2025-03-03 11:00:00\n",
    )
    report = portfolio.reports["events"]
    drop = only_drop(portfolio, "events")
    assert (report.read, report.kept, drop.count, drop.file) == (3, 2, 1, "events.csv")
    assert reason in drop.reason
    if example is not None:
        assert (drop.example, drop.line) == (example, 3)


@pytest.mark.parametrize(
    ("header", "row", "table", "reason"),
    [
        (
            "ticket_id,client_id,opened_at,resolved_at",
            "2,acme,2025-03-05 10:00:00,2025-03-04 10:00:00",
            "tickets",
            "resolved_at lies before opened_at",
        ),
        (
            "client_id,starts_on,ends_on,arr",
            "acme,2025-01-01,2024-01-01,5",
            "contracts",
            "ends_on lies before starts_on",
        ),
        (
            "client_id,starts_on,ends_on,arr",
            "acme,2025-01-01,2026-01-01,-5",
            "contracts",
            "arr is below 0",
        ),
        (
            "client_id,kind,score,responded_at",
            "acme,nps,11,2025-03-01",
            "surveys",
            "score is outside its scale",
        ),
        (
            "client_id,kind,score,responded_at",
            "acme,nps,7.5,2025-03-01",
            "surveys",
            "score is outside its scale",
        ),
        (
            "client_id,kind,score,responded_at",
            "acme,csat,101,2025-03-01",
            "surveys",
            "score is outside its scale",
        ),
        (
            "client_id,kind,score,responded_at",
            "acme,mood,3,2025-03-01",
            "surveys",
            "kind must be one of nps, csat",
        ),
        (
            "client_id,stage,effective_at",
            "acme,happy,2025-03-01",
            "stage_changes",
            "stage must be one of",
        ),
        (
            "invoice_id,client_id,amount,issued_on,due_on",
            "1,acme,ten,2025-03-01,2025-04-01",
            "invoices",
            "amount is not a number",
        ),
        ("feature,category", "search,unheard", "features", "category must be one of core"),
    ],
)
def test_a_bad_row_of_a_small_table_is_dropped_with_its_reason(
    make_portfolio, header, row, table, reason
):
    portfolio = make_portfolio({"max_loss_share": 1}, **{table: f"{header}\n{row}\n"})
    drop = only_drop(portfolio, table)
    assert reason in drop.reason and drop.line == 2
    assert portfolio.reports[table].kept == 0


def test_an_unusable_optional_value_becomes_empty_and_is_counted(make_portfolio):
    portfolio = make_portfolio(
        {"csat_scale": "1-5"},
        tickets="ticket_id,client_id,opened_at,severity,csat,first_response_at\n"
        "1,acme,2025-03-01,HIGH,4,2025-03-02\n2,acme,2025-03-01,someday,9,2025-02-02\n",
        customers="client_id,signup_date,timezone,arr,seats\nacme,2025-01-01,Mars/One,-5,many\n",
    )
    assert portfolio.reports["tickets"].corrected == {
        "severity": 1,
        "first_response_at": 1,
        "csat": 1,
    }
    assert portfolio.reports["customers"].corrected == {"arr": 1, "seats": 1, "timezone": 1}
    tickets = portfolio.table("tickets")
    assert tickets["severity"].tolist()[0] == "high" and tickets["severity"].isna().tolist() == [
        False,
        True,
    ]


def test_a_text_is_read_up_to_a_length_and_a_longer_id_is_shown_up_to_it(make_portfolio):
    long = "x" * (LONGEST_TEXT + 1)
    portfolio = make_portfolio(
        LOOSE | {"max_loss_share": 1},
        tickets=f"ticket_id,client_id,opened_at,topic\n1,acme,2025-03-01,{long}\n2,{long},2025-03-01,short\n",
    )
    assert portfolio.table("tickets")["topic"].str.len().tolist() == [LONGEST_TEXT]
    assert only_drop(portfolio, "tickets").example == long[:-1]


def test_of_identical_rows_one_is_kept_and_of_conflicting_ones_the_later(make_portfolio):
    lines = [
        "1,acme,2025-03-01,low",
        "1,acme,2025-03-01,low",
        "2,acme,2025-03-01,low",
        "2,acme,2025-03-02,high",
    ]
    for order in (lines, lines[::-1]):
        portfolio = make_portfolio(
            LOOSE, tickets="ticket_id,client_id,opened_at,severity\n" + "\n".join(order) + "\n"
        )
        assert [
            (drop.count, drop.reason.split(" (")[0]) for drop in portfolio.reports["tickets"].drops
        ] == [(1, "identical to another row"), (1, "another row has the same ticket_id")]
        assert portfolio.table("tickets")["opened_at"].astype(str).tolist() == [
            "2025-03-01",
            order[-1].split(",")[2] if order is lines else "2025-03-01",
        ]


def test_identical_events_of_one_instant_are_one_and_of_one_calendar_day_are_several(
    make_portfolio, rows
):
    events = (
        "client_id,user_id,occurred_at\n"
        + "acme,ann,2025-03-03 10:00:00\n" * 3
        + "acme,ann,2025-03-04\n" * 3
    )
    portfolio = make_portfolio(LOOSE, events=events)
    assert rows(portfolio, "user_day", "CAST(day AS VARCHAR), events") == [
        ("2025-03-03", 1),
        ("2025-03-04", 3),
    ]
    assert len(portfolio.table("events")) == 4 and only_drop(portfolio, "events").count == 2
    identical = make_portfolio({**LOOSE, "keep_identical_events": True})
    assert identical.reports["events"].kept == 2


def test_events_of_one_minute_are_several_where_no_time_has_seconds(make_portfolio, rows):
    minutes = [f"acme,ann,2025-03-03 10:{minute:02d}" for minute in range(20)]
    header = "client_id,user_id,occurred_at\n"
    whole = "\n".join([*minutes, *minutes[:3]]) + "\n"
    assert rows(make_portfolio(LOOSE, events=header + whole), "user_day", "events") == [(23,)]
    exact = header + whole + "acme,ann,2025-03-03 11:00:07\n"
    assert rows(make_portfolio(LOOSE, events=exact), "user_day", "events") == [(21,)]


def test_counted_rows_of_one_file_are_never_taken_for_repeats(make_portfolio, rows):
    portfolio = make_portfolio(
        events="client_id,user_id,occurred_at,count\nacme,ann,2025-03-03 10:00:00,5\nacme,ann,2025-03-03 10:00:00,5\n"
    )
    assert rows(portfolio, "user_day", "events") == [(10,)]


def test_repeats_are_found_across_files(make_portfolio, tmp_path):
    folder = tmp_path / "portfolio" / "events"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text("client_id,occurred_at\nacme,2025-03-03 10:00:00\n")
    portfolio = make_portfolio(LOOSE, events=None)
    assert (portfolio.reports["events"].read, portfolio.reports["events"].kept) == (2, 1)


@pytest.mark.parametrize("day", ["2025-03-03", "2025-03-03 10:00:00"])
def test_an_export_with_counts_that_is_given_twice_counts_once(make_portfolio, rows, tmp_path, day):
    folder = tmp_path / "portfolio" / "events"
    folder.mkdir(parents=True)
    ann, new = f"acme,ann,{day},5\n", "acme,ann,2025-03-04,2\n"
    texts = {"a": ann * 2, "b": ann * 2 + new, "c": ann + new}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(f"client_id,user_id,occurred_at,count\n{text}")
    portfolio = make_portfolio(LOOSE, events=None)
    assert rows(portfolio, "user_day", "CAST(day AS VARCHAR), events") == [
        ("2025-03-03", 10),
        ("2025-03-04", 2),
    ]
    assert only_drop(portfolio, "events").count == 4 and len(portfolio.table("events")) == 3
    identical = make_portfolio({**LOOSE, "keep_identical_events": True}, events=None)
    assert identical.reports["events"].kept == 7


def test_where_events_have_an_id_repeats_go_by_it(make_portfolio, rows):
    portfolio = make_portfolio(
        LOOSE,
        events="client_id,user_id,occurred_at,count,event_id\n"
        + "acme,ann,2025-03-03 10:00:00,,1\nacme,ann,2025-03-03 10:00:00,,2\n" * 2
        + "acme,ann,2025-03-04,5,3\nacme,ann,2025-03-04,5,3\nacme,ann,2025-03-04,5,4\n",
    )
    assert rows(portfolio, "user_day", "CAST(day AS VARCHAR), events") == [
        ("2025-03-03", 2),
        ("2025-03-04", 10),
    ]
    assert only_drop(portfolio, "events").count == 3


def test_a_missing_column_is_named_with_the_near_one(make_portfolio):
    portfolio = make_portfolio(events="client_id,occured_at\nacme,2025-03-03\n")
    assert not portfolio.has("events")
    assert (
        "has no column occurred_at; did you mean occured_at?" in portfolio.reports["events"].reason
    )
    with pytest.raises(DataRetrievalError, match="occurred_at"):
        portfolio.require("events")
    assert portfolio.check().to_dict()["tables"]["events"]["refused"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tickets.csv", b"", "is empty: not even a header"),
        (
            "tickets.csv",
            "ticket_id,client_id,opened_at,topic\n1,acme,2025-03-01,caf\u00e9\n".encode()
            + "2,acme,2025-03-01,caf\u00e9\n".encode("latin-1"),
            "line 3 is not UTF-8, other lines are",
        ),
        ("tickets.csv", b"ticket_id\0,client_id,opened_at\n", "NUL bytes"),
        ("tickets.csv", bytes(range(1, 256)), "neither|not UTF-8 or Windows-1252"),
        ("tickets.parquet", b"ticket_id,client_id,opened_at\n", "not a Parquet file"),
        ("tickets.parquet", b"PAR1 and then nothing", "is cut off"),
        ("tickets.csv.gz", b"no gzip at all", "not a whole gzip file"),
        (
            "tickets.csv.gz",
            gzip.compress(b"ticket_id,client_id,opened_at\n" * 99, mtime=0)[:-12],
            "not a whole gzip file",
        ),
        ("tickets.csv", b"just some words\n", "has no column ticket_id"),
    ],
)
def test_a_file_that_is_no_table_is_refused_and_the_rest_goes_on(
    make_portfolio, name, content, reason
):
    portfolio = make_portfolio(**{name: content})
    assert not portfolio.has("tickets") and portfolio.check().usable
    with pytest.raises(DataRetrievalError, match=reason):
        portfolio.table("tickets")
    assert portfolio.connection().execute("SELECT COUNT(*) FROM tickets").fetchall() == [(0,)]


def test_customers_that_are_no_table_make_the_portfolio_unusable(make_portfolio):
    portfolio = make_portfolio(**{"customers.csv": b"\xff\xfe\x00"})
    check = portfolio.check()
    assert not check.usable and "NOT USABLE" in check.to_text()
    with pytest.raises(DataRetrievalError, match="customers"):
        portfolio.connection()


def test_a_table_that_loses_too_much_is_refused_with_the_reason(make_portfolio):
    tickets = "ticket_id,client_id,opened_at\n1,acme,2025-03-01\n2,acme,soon\n3,acme,later\n"
    portfolio = make_portfolio(tickets=tickets)
    assert not portfolio.has("tickets")
    assert "2 of 3 rows cannot be used (66.7%; at most 20%" in portfolio.reports["tickets"].reason
    assert make_portfolio(LOOSE).has("tickets")


def test_a_header_without_rows_is_a_table_without_rows(make_portfolio):
    portfolio = make_portfolio(tickets="ticket_id,client_id,opened_at\n")
    assert portfolio.has("tickets") and len(portfolio.table("tickets")) == 0
    assert not make_portfolio(events="client_id,occurred_at\n").has("events")


def test_other_columns_and_other_files_are_noted(make_portfolio, tmp_path):
    portfolio = make_portfolio(
        tikets="a,b\n1,2\n", customers="client_id,signup_date,colour\nacme,2025-01-01,red\n"
    )
    text = portfolio.check().to_text()
    assert "tikets.csv is not one of the tables and is not read; did you mean tickets?" in text
    assert "not read: colour" in text


def test_a_misnamed_required_table_is_pointed_out(make_portfolio):
    portfolio = make_portfolio(
        events=None, **{"event.csv": "client_id,occurred_at\nacme,2025-03-03\n"}
    )
    with pytest.raises(DataRetrievalError, match="did you mean events"):
        portfolio.table("events")


def test_a_wrong_column_type_in_parquet_is_refused(make_portfolio):
    frame = pd.DataFrame({"ticket_id": ["1"], "client_id": ["acme"], "opened_at": [[1, 2]]})
    assert "opened_at holds BIGINT[]" in make_portfolio(tickets=frame).reports["tickets"].reason


def test_a_customer_is_found_or_the_error_names_the_near_one(make_portfolio):
    portfolio = make_portfolio()
    assert portfolio.client("acme")["timezone"] == "UTC"
    with pytest.raises(ClientNotFound, match="did you mean acme"):
        portfolio.client("acne")
    with pytest.raises(InvalidClientId, match="letters"):
        portfolio.client("acme; --")
    with pytest.raises(InvalidParameters, match="did you mean tickets"):
        portfolio.has("ticket")


def test_as_of_outside_the_data_names_both_ends(make_portfolio):
    portfolio = make_portfolio()
    assert (portfolio.first_event_day.isoformat(), portfolio.data_until.isoformat()) == (
        "2025-03-03",
        "2025-03-04",
    )
    for day in ("2025-03-02", "2025-03-05"):
        with pytest.raises(InvalidParameters, match="2025-03-03 to 2025-03-04"):
            portfolio.as_of(day)
    assert (
        portfolio.as_of("2025-03-03").isoformat() == "2025-03-03"
        and portfolio.as_of() == portfolio.data_until
    )


def test_the_last_whole_day_needs_its_last_hour_or_calendar_days(make_portfolio):
    head = "client_id,occurred_at\nacme,2025-03-03 10:00:00\n"
    assert (
        make_portfolio(events=head + "acme,2025-03-05 22:59:59\n").data_until.isoformat()
        == "2025-03-04"
    )
    assert (
        make_portfolio(events=head + "acme,2025-03-05 23:00:00\n").data_until.isoformat()
        == "2025-03-05"
    )
    assert make_portfolio(events=head + "acme,2025-03-05\n").data_until.isoformat() == "2025-03-05"


def test_sources_that_disagree_are_listed(make_portfolio):
    portfolio = make_portfolio(
        customers="client_id,signup_date,arr,churned_on\nacme,2025-03-04,100,\nbeta,2025-01-01,50,2025-02-01\n",
        arr_changes="client_id,effective_on,arr,reason\nacme,2025-01-01,90,new\nbeta,2025-02-03,0,churn\n",
        events="client_id,occurred_at\nacme,2025-03-03 10:00:00\nbeta,2025-03-04 23:10:00\n",
    )
    warnings = "\n".join(portfolio.check().warnings)
    assert "1 customers have events before their signup_date, for example acme" in warnings
    assert "1 customers have events on or after churned_on, for example beta" in warnings
    assert (
        "1 customers whose ARR differs" in warnings
        and "1 customers whose churn differs" in warnings
    )


def test_an_unknown_setting_is_refused(make_portfolio):
    with pytest.raises(InvalidParameters, match="did you mean session_gap_minutes"):
        make_portfolio({"session_gap_minute": 5})


def test_nothing_at_a_path_is_said_with_a_near_name(make_portfolio, tmp_path):
    make_portfolio()
    with pytest.raises(DataRetrievalError, match="did you mean portfolio"):
        Portfolio.open(tmp_path / "portfolo")
    with pytest.raises(InvalidParameters, match="is not a portfolio"):
        Portfolio.open(tmp_path / "portfolio" / "events.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRetrievalError, match="holds no tables"):
        Portfolio.open(tmp_path / "empty")
