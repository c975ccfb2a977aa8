"""What contracts, amendments, renewals and changes of ARR add up to on a day, on tables that can be counted by hand."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pandas as pd
import pytest

from healthseg.data.contracts import end_convention
from healthseg.data.portfolio import Portfolio
from healthseg.metrics.money import money, uncontracted
from healthseg.metrics.profile import profiles
from healthseg.testing import tiny_portfolio

LAST = dt.date(2025, 10, 31)
PULSE = [("pulse", f"{day:%Y-%m-%d} 23:30:00", "p") for day in pd.date_range("2025-10-20", LAST)]


def frame(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def portfolio_of(settings: dict[str, Any] | None = None, **tables: pd.DataFrame) -> Portfolio:
    clients = {client for table in tables.values() for client in table.get("client_id", [])}
    customers = tables.pop("customers", None)
    if customers is None:
        customers = pd.DataFrame(
            {"client_id": sorted(clients | {"pulse"}), "signup_date": "2022-01-01"}
        )
    return tiny_portfolio(PULSE, customers, settings, **tables)


def on(portfolio: Portfolio, client: str, day: str) -> dict[str, Any]:
    rows = profiles(portfolio, [dt.date.fromisoformat(day)])
    return rows[rows["client_id"] == client].iloc[0].to_dict()


def test_a_base_and_its_add_ons_add_up_and_the_plan_is_the_largest_ones():
    contracts = frame(
        "client_id starts_on ends_on arr seats plan",
        ("north", "2025-01-01", "2026-01-01", 40_000, 80, "business"),
        ("north", "2025-04-01", "2025-10-01", 6_000, 15, "add-on"),
        ("north", "2025-06-01", "2026-06-01", 1_500, None, "support"),
    )
    portfolio = portfolio_of(contracts=contracts)
    sums = {day: on(portfolio, "north", day) for day in ("2025-03-31", "2025-06-01", "2025-10-01")}
    assert [(row["arr"], row["seats"], row["plan"]) for row in sums.values()] == [
        (40_000, 80, "business"),
        (47_500, 95, "business"),
        (41_500, 80, "business"),
    ]
    later = portfolio_of({"overlap": "replace"}, contracts=contracts)
    assert on(later, "north", "2025-06-01")["arr"] == 1_500


def test_seats_of_an_add_on_are_not_those_of_a_base_without_any():
    contracts = frame(
        "client_id starts_on arr seats", ("x", "2025-01-01", 90, None), ("x", "2025-02-01", 10, 3)
    )
    row = on(portfolio_of(contracts=contracts), "x", "2025-03-01")
    assert row["arr"] == 100 and pd.isna(row["seats"])


@pytest.mark.parametrize("order", [1, -1])
def test_an_amendment_is_a_version_of_its_contract_whatever_the_order_of_rows(order):
    contracts = frame(
        "client_id contract_id starts_on ends_on arr seats",
        ("y", "C-7", "2025-01-01", "2026-01-01", 10_000, 10),
        ("y", "C-7", "2025-05-01", "2026-01-01", 14_000, 14),
        ("y", "C-8", "2025-02-01", "2026-02-01", 500, 1),
    )[::order]
    portfolio = portfolio_of(contracts=contracts)
    assert [on(portfolio, "y", f"2025-{month:02d}-01")["arr"] for month in (1, 2, 4, 5)] == [
        10_000,
        10_500,
        10_500,
        14_500,
    ]


def test_a_version_counts_from_the_day_it_was_recorded():
    contracts = frame(
        "client_id contract_id starts_on ends_on arr recorded_at",
        ("z", "1", "2025-01-01", "2026-01-01", 300, "2024-12-20 10:00:00"),
        ("z", "1", "2025-01-01", "2026-01-01", 270, "2025-03-10 10:00:00"),
        ("z", "1", "2025-01-01", "2025-09-01", 270, "2025-08-01 10:00:00"),
    )
    portfolio = portfolio_of(contracts=contracts)
    days = ("2025-03-09", "2025-03-10", "2025-08-31")
    assert [on(portfolio, "z", day)["arr"] for day in days] == [300, 270, 270]
    cut_short = on(portfolio, "z", "2025-09-01")
    assert (cut_short["uncontracted_days"], cut_short["arr"]) == (1, 270)


def test_rows_with_one_start_and_end_are_versions_and_the_later_row_counts():
    contracts = frame(
        "client_id starts_on ends_on arr",
        ("v", "2025-01-01", "2026-01-01", 900),
        ("v", "2025-01-01", "2026-01-01", 100),
    )
    portfolio = portfolio_of(contracts=contracts)
    assert on(portfolio, "v", "2025-05-05")["arr"] == 100
    (issue,) = [
        issue for issue in portfolio.reports["contracts"].issues if issue.kind == "conflict"
    ]
    assert issue.count == 1 and issue.clients == {"v": 1}


def test_an_early_renewal_takes_the_place_of_the_contracts_that_it_names():
    contracts = frame(
        "client_id contract_id replaces starts_on ends_on arr",
        ("w", "A", None, "2025-01-01", "2026-01-01", 1_000),
        ("w", "B", None, "2025-02-01", "2026-02-01", 200),
        ("w", "C", "A; B", "2025-08-01", "2026-08-01", 1_400),
    )
    portfolio = portfolio_of(contracts=contracts)
    assert [on(portfolio, "w", day)["arr"] for day in ("2025-07-31", "2025-08-01")] == [
        1_200,
        1_400,
    ]


def consecutive(first_end: str, second_start: str) -> pd.DataFrame:
    rows = [(client, "2024-03-01", first_end, 500) for client in "ab"]
    rows += [(client, second_start, "2026-02-28", 600) for client in "ab"]
    return frame("client_id starts_on ends_on arr", *rows)


@pytest.mark.parametrize(
    ("contracts", "setting", "last", "after"),
    [
        (consecutive("2025-02-28", "2025-03-01"), "detect", 500, 600),
        (consecutive("2025-03-01", "2025-03-01"), "detect", 500, 600),
        (
            frame("client_id starts_on ends_on arr", ("a", "2024-03-01", "2025-02-28", 500)),
            "detect",
            0,
            1,
        ),
        (
            frame("client_id starts_on ends_on arr", ("a", "2024-03-01", "2025-03-01", 500)),
            "detect",
            0,
            1,
        ),
        (
            frame("client_id starts_on ends_on arr", ("a", "2024-03-05", "2025-02-28", 500)),
            "inclusive",
            0,
            1,
        ),
    ],
)
def test_the_last_day_of_a_contract_is_read_from_consecutive_contracts_or_whole_months(
    contracts, setting, last, after
):
    portfolio = portfolio_of({"contract_ends": setting}, contracts=contracts)
    before, then = (on(portfolio, "a", day) for day in ("2025-02-28", "2025-03-01"))
    if last:
        assert (before["arr"], then["arr"]) == (last, after)
        assert pd.isna(before["uncontracted_days"]) and pd.isna(then["uncontracted_days"])
    else:
        assert pd.isna(before["uncontracted_days"]) and then["uncontracted_days"] == after


def test_a_customer_past_its_contract_is_uncontracted_with_its_days_and_arr():
    contracts = frame(
        "client_id starts_on ends_on arr signed_on auto_renews currency",
        ("lapsed", "2024-09-01", "2025-09-01", 700, None, None, "eur"),
        ("signed", "2024-09-01", "2025-09-01", 700, None, None, "EUR"),
        ("signed", "2025-11-15", "2026-11-15", 800, "2025-09-20", None, "EUR"),
        ("rolls", "2024-09-01", "2025-09-01", 700, None, True, "EUR"),
        ("runs", "2025-09-01", "2026-09-01", 700, None, None, "EUR"),
    )
    portfolio = portfolio_of(contracts=contracts)
    assert uncontracted(portfolio, LAST).to_dict("records") == [
        {"client_id": "lapsed", "days": 61, "arr": 700.0, "currency": "EUR"}
    ]
    assert on(portfolio, "lapsed", "2025-10-31")["days_to_renewal"] == -60  # overdue, not absent
    assert on(portfolio, "rolls", "2025-10-31")["days_to_renewal"] == 305


def test_the_newest_statement_of_arr_wins_by_its_day_and_then_by_its_record():
    contracts = frame(
        "client_id starts_on ends_on arr",
        ("c", "2024-01-01", "2025-01-01", 100),
        ("c", "2025-01-01", "2026-01-01", 200),
    )
    changes = frame(
        "client_id effective_on arr reason",
        ("c", "2024-06-01", 150, None),
        ("c", "2025-06-01", 250, None),
    )
    others = frame("client_id field value effective_on", ("c", "arr", "175", "2024-09-01"))
    portfolio = portfolio_of(contracts=contracts, arr_changes=changes, customer_changes=others)
    days = ("2024-05-31", "2024-06-01", "2024-09-01", "2025-01-01", "2025-06-01")
    assert [on(portfolio, "c", day)["arr"] for day in days] == [100, 150, 175, 200, 250]
    (issue,) = [
        issue for issue in portfolio.quality.reports["customers"].issues if "ARR" in issue.reason
    ]
    assert (
        "c: 250.00 by arr_changes, 200.00 by contracts, 175.00 by customer_changes" in issue.reason
    )


def test_seats_and_plan_of_a_later_change_stand_over_the_contract():
    contracts = frame(
        "client_id starts_on ends_on arr seats plan",
        ("s", "2025-01-01", "2026-01-01", 100, 10, "team"),
    )
    changes = frame(
        "client_id field value effective_on",
        ("s", "seats", "12", "2025-05-01"),
        ("s", "plan", "old", "2024-05-01"),
    )
    portfolio = portfolio_of(contracts=contracts, customer_changes=changes)
    assert [on(portfolio, "s", day)["seats"] for day in ("2025-04-30", "2025-05-01")] == [10, 12]
    assert on(portfolio, "s", "2025-05-01")["plan"] == "team"


def test_check_reports_overlaps_under_both_readings_beside_the_customers_table():
    contracts = frame(
        "client_id starts_on ends_on arr",
        ("d", "2025-01-01", "2026-01-01", 1_000),
        ("d", "2025-03-01", "2026-03-01", 50),
        ("e", "2025-01-01", "2026-01-01", 1_000),
    )
    customers = pd.DataFrame(
        {"client_id": ["d", "e", "pulse"], "signup_date": "2022-01-01", "arr": [1_050, 1_000, None]}
    )
    portfolio = portfolio_of(contracts=contracts, customers=customers)
    (note,) = [text for text in portfolio.check().warnings if "at once" in text]
    assert "1 customer has several contracts at once, which add up: ARR of" in note
    assert (
        "1,050 in all, 50 by the later ones alone; the table customers has 1,050 and agrees" in note
    )
    assert "setting" not in note


def test_of_a_history_of_customers_the_row_that_holds_last_is_todays():
    customers = frame(
        "client_id signup_date plan seats valid_from valid_to",
        ("h", "2022-01-01", "big", 9, "2025-02-01", None),
        ("h", "2022-01-01", "small", 2, "2022-01-01", "2025-02-01"),
        ("pulse", "2022-01-01", None, 1, "2022-01-01", None),
    )
    portfolio = portfolio_of(customers=customers)
    row = portfolio.table("customers").set_index("client_id").loc["h"]
    assert (row["plan"], row["seats"]) == ("big", 9)
    assert {issue.kind for issue in portfolio.reports["customers"].issues} == {"version"}
    assert not portfolio.reports["customers"].refused


def test_contracts_of_one_customer_in_several_currencies_add_up_where_there_are_rates():
    contracts = frame(
        "client_id starts_on arr currency",
        ("q", "2025-01-01", 100, "USD"),
        ("q", "2025-02-01", 40, "eur"),
    )
    fx = frame("currency on rate_to_book", ("EUR", "2024-01-01", 1.5), ("USD", "2024-01-01", 0.75))
    row = on(portfolio_of(contracts=contracts, fx=fx), "q", "2025-06-01")
    assert (row["arr"], row["currency"]) == (180, "USD")
    without = portfolio_of(contracts=contracts)
    assert pd.isna(on(without, "q", "2025-06-01")["arr"])
    assert any("no rate between EUR, USD" in text for text in without.check().warnings)


@pytest.mark.parametrize("reporting", [None, "gbp", "EUR"])
def test_contracts_are_converted_as_totals_are(reporting):
    """The currency without a rate of its own is the base of the others, unless another one is."""
    contracts = frame(
        "client_id starts_on arr currency",
        ("q", "2025-01-01", 100, "GBP"),
        ("q", "2025-02-01", 40, "EUR"),
        ("r", "2025-02-01", 60, "EUR"),
    )
    fx = frame("currency on rate_to_book", ("EUR", "2024-01-01", 0.5))
    portfolio = portfolio_of({"reporting_currency": reporting}, contracts=contracts, fx=fx)
    rows = profiles(portfolio, [LAST]).set_index("client_id").loc[["q", "r"]]
    total = money(portfolio, rows, LAST)
    if reporting == "gbp":
        assert rows["arr"].tolist() == [120, 60] and total.amounts.tolist() == [120, 30]
    else:  # nothing says what a pound is
        assert pd.isna(rows["arr"]["q"])
        assert total.amounts["r"] == 60


def test_monthly_contracts_with_inclusive_ends_leave_no_hole():
    months = pd.date_range("2025-01-01", "2025-10-01", freq="MS")
    rows = [("m", f"{day:%F}", f"{day + pd.offsets.MonthEnd(0):%F}", 120) for day in months]
    portfolio = portfolio_of(contracts=frame("client_id starts_on ends_on arr", *rows))
    dates = [day.date() for day in pd.date_range("2025-01-01", "2025-10-31")]
    every = profiles(portfolio, dates)
    every = every[every["client_id"] == "m"]
    assert set(every["arr"]) == {120} and every["uncontracted_days"].isna().all()
    (note,) = [text for text in portfolio.check().warnings if "ends_on" in text]
    assert "9 contracts start on the day after another's end" in note


@pytest.fixture(scope="module")
def renewing():
    columns = "client_id starts_on ends_on arr seats auto_renews renews_on"
    year = ("2023-01-01", "2023-12-31", 100, 10, True, None)
    contracts = frame(
        columns,
        ("year", *year),
        ("yearly", *year),  # a row a year, each said to renew by itself
        ("yearly", "2024-01-01", "2024-12-31", 110, 10, True, None),
        ("late", *year),
        ("late", "2024-01-20", "2026-01-19", 110, 10, True, None),
        ("early", *year),
        ("early", "2023-12-01", "2025-12-31", 110, 10, True, None),
        ("add_on", *year),
        ("add_on", "2024-07-01", "2026-06-30", 20, 2, False, None),
        ("ends", "2023-01-01", "2023-12-31", 100, 10, False, None),
        ("open", "2023-01-01", None, 100, 10, True, "2023-12-31"),
        ("lost", *year),
        ("back", *year),
        ("back", "2025-06-01", "2026-05-31", 70, 7, True, None),
    )
    churned = {"lost": "2025-03-01", "back": "2025-03-01"}
    names = [*contracts["client_id"].unique(), "pulse"]
    customers = frame(
        "client_id signup_date churned_on",
        *((name, "2022-01-01", churned.get(name)) for name in names),
    )
    return portfolio_of(customers=customers, contracts=contracts)


@pytest.mark.parametrize(
    ("client", "arr", "seats", "renewal"),
    [
        ("year", 100, 10, "2025-12-31"),
        ("yearly", 110, 10, "2025-12-31"),
        ("late", 110, 10, "2026-01-19"),
        ("early", 110, 10, "2025-12-31"),
        ("add_on", 120, 12, "2025-12-31"),
        ("ends", 100, 10, "2023-12-31"),
        ("open", 100, 10, "2025-12-31"),
        ("back", 70, 7, "2026-05-31"),
    ],
)
def test_a_contract_that_renews_by_itself_runs_on_by_whole_terms(
    renewing, client, arr, seats, renewal
):
    row = on(renewing, client, "2025-10-31")
    assert (row["arr"], row["seats"]) == (arr, seats)
    assert row["days_to_renewal"] == (dt.date.fromisoformat(renewal) - LAST).days
    assert pd.isna(row["uncontracted_days"]) == (client != "ends")


def test_a_term_that_renews_by_itself_ends_on_its_last_day_and_keeps_its_length(renewing):
    days = {day: on(renewing, "year", day) for day in ("2023-12-31", "2024-01-01", "2024-12-31")}
    assert [row["days_to_renewal"] for row in days.values()] == [0, 365, 0]
    assert {row["contract_term_days"] for row in days.values()} == {364}


def test_a_loss_ends_what_renews_by_itself(renewing):
    assert on(renewing, "lost", "2025-02-28")["arr"] == 100
    row = on(renewing, "lost", "2025-10-31")
    assert row["arr"] == 0 and row["days_to_renewal"] < 0


@pytest.mark.parametrize(
    ("start", "arr", "plan", "expected"),
    [
        ("2025-05-20", 900, "sms", 12_900),  # small, of another plan, before the term's end
        ("2025-07-20", 900, "sms", 12_900),  # or after it
        ("2025-07-01", 900, "sms", 900),  # on the day: what it was renewed to
        ("2025-05-20", 9_000, "sms", 9_000),  # no small part: an early renewal
        ("2025-05-20", 900, "base", 900),  # the same plan for less
    ],
)
def test_an_add_on_runs_beside_a_contract_that_renewed_by_itself(start, arr, plan, expected):
    contracts = frame(
        "client_id contract_id starts_on ends_on arr plan auto_renews",
        ("north", "b", "2024-07-01", "2025-06-30", 12_000, "base", True),
        ("north", "a", start, "2027-06-30", arr, plan, False),
    )
    portfolio = portfolio_of({"contract_ends": "inclusive"}, contracts=contracts)
    assert on(portfolio, "north", "2025-10-31")["arr"] == expected
    assert portfolio.quality.arr == {} or portfolio.quality.arr["north"] == expected


def test_changes_of_amounts_are_read_in_one_way_or_not_at_all():
    columns = "client_id field value effective_on"
    readable = frame(
        columns,
        ("x", "ARR", "12,500.50", "2025-02-01"),
        ("x", "Seats", "1,200", "2025-02-01"),
        ("x", "plan", "gold, yearly", "2025-02-01"),
    )
    row = on(portfolio_of(customer_changes=readable), "x", "2025-10-31")
    assert (row["arr"], row["seats"], row["plan"]) == (12_500.5, 1_200, "gold, yearly")
    doubtful = frame(columns, ("x", "arr", "9000", "2025-02-01"), ("x", "arr", "9k", "2025-03-01"))
    portfolio = portfolio_of(customer_changes=doubtful)
    assert pd.isna(on(portfolio, "x", "2025-10-31")["arr"])
    assert portfolio.reports["customer_changes"].corrected == {"value": 1}


def test_whether_a_customer_churned_is_unknown_where_its_day_cannot_be_read():
    customers = pd.DataFrame(
        {"client_id": ["x", "pulse"], "signup_date": "2022-01-01", "churned_on": ["soon", None]}
    )
    contracts = frame("client_id starts_on arr", ("x", "2025-01-01", 90), ("x", "2025-02-01", 10))
    portfolio = portfolio_of(customers=customers, contracts=contracts)
    assert portfolio.quality.arr == {"x": 100.0}
    (line,) = [text for text in portfolio.quality.of("x").summary if "churned_on" in text]
    assert "whether 1 customer churned is unknown" in line


def test_one_accidental_pair_does_not_turn_the_ends_of_all_contracts():
    """Six years that end on the day after their last, and a contract that happens to begin a day after another's end."""
    years = [(client, 0.0, 366.0) for client in range(6)]
    rows = pd.DataFrame(
        [*years, (6, 0.0, 100.0), (6, 101.0, 300.0)], columns=["k", "starts", "ends"]
    )
    rows = rows.assign(known=rows["starts"].astype(int), starts=rows["starts"].astype(int))
    assert end_convention(rows[6:], "detect").word == "inclusive"  # nothing else is known
    days = pd.Timestamp("2024-01-01") - pd.Timestamp("1970-01-01")
    moved = rows.assign(
        starts=rows["starts"] + days.days,
        ends=rows["ends"] + days.days,
        known=rows["known"] + days.days,
    )
    assert end_convention(moved, "detect").word == "exclusive"


def test_terms_that_repeat_are_read_as_ends_are_on_the_day_that_is_asked_for():
    """The first quarter with its last day is three months, without it 89 days; from June on the ends of others say which."""
    columns = "client_id starts_on ends_on arr auto_renews"
    quarter = ("a", "2025-01-01", "2025-03-31", 1_200, True)
    days = ["2025-05-01", "2025-06-01", "2025-07-01", "2025-08-01"]
    others = [("b", *term, 100, False) for term in itertools.pairwise(days)]
    alone = on(portfolio_of(contracts=frame(columns, quarter)), "a", "2025-07-15")
    beside = on(portfolio_of(contracts=frame(columns, quarter, *others)), "a", "2025-07-15")
    assert (alone["days_to_renewal"], beside["days_to_renewal"]) == (77, 72)


@pytest.mark.parametrize(
    ("first", "changed", "renewal", "term"),
    [
        # a year with its last day, changed four weeks before its third end, renews a year later
        (("2023-05-07", "2024-05-06"), ("2026-04-03", "2026-05-06"), "2027-05-06", 364),
        # with the day after as its end, by years of 365 days
        (("2021-09-20", "2022-09-20"), ("2025-01-10", "2025-09-19"), "2026-09-19", 365),
        # a month of 30 days
        (("2024-01-01", "2024-01-31"), ("2025-08-30", "2025-09-22"), "2025-11-21", 30),
        # a year that becomes a month on the day on which it renews
        (("2024-09-01", "2025-09-01"), ("2025-09-01", "2025-10-01"), "2026-11-01", 30),
        # and one that becomes half a year within its term, with an end of its own
        (("2025-01-01", "2026-01-01"), ("2025-05-10", "2025-11-10"), "2026-11-10", 184),
    ],
)
def test_a_contract_that_was_changed_within_a_term_renews_as_before(first, changed, renewal, term):
    contracts = frame(
        "client_id contract_id starts_on ends_on renews_on arr auto_renews",
        ("z", "C-1", *first, first[1], 10_000, True),
        ("z", "C-1", *changed, changed[1], 12_000, True),
    )
    day = dt.date.fromisoformat(renewal) - dt.timedelta(days=20)
    pulse = [("pulse", f"{day} 12:00:00", "p")]
    customers = pd.DataFrame({"client_id": ["pulse", "z"], "signup_date": "2021-01-01"})
    ends = {"contract_ends": "inclusive" if term == 364 else "exclusive"}
    portfolio = tiny_portfolio(pulse, customers, ends, contracts=contracts)
    row = on(portfolio, "z", str(day))
    assert (row["arr"], row["contract_term_days"]) == (12_000, term)
    assert row["days_to_renewal"] == 20
