"""Money in one currency at constant rates, invoices with credit notes and part payments, and identities of revenue."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.metrics.money import (
    PARTS,
    at_constant_rates,
    money,
    movements,
    retention,
    uncontracted,
)
from healthseg.metrics.money_rows import rows_behind
from healthseg.metrics.panels import panel
from healthseg.metrics.profile import profiles
from healthseg.tools.revenue import revenue_by_month
from tests.metrics.test_contracts import LAST, frame, portfolio_of


def live(portfolio, day: dt.date) -> pd.DataFrame:
    rows = profiles(portfolio, [day]).set_index("client_id")
    return rows[rows["live"] & rows["arr"].notna()]


@pytest.fixture(scope="module")
def currencies():
    contracts = frame(
        "client_id starts_on arr currency",
        ("zurich", "2023-01-01", 1_000, "chf"),
        ("basel", "2023-01-01", 3_000, "CHF"),
        ("oslo", "2023-01-01", 10_000, "Nok"),
    )
    fx = frame(
        "currency on rate_to_book",
        ("CHF", "2023-01-01", 1.0),
        ("nok", "2023-01-01", 0.1),
        ("chf", "2025-06-01", 1.2),
    )
    return lambda **settings: portfolio_of(settings, contracts=contracts, fx=fx)


def test_moves_are_at_the_rates_of_the_periods_end(currencies):
    portfolio, then = currencies(reporting_currency="eur"), dt.date(2024, 10, 31)
    before = money(portfolio, live(portfolio, then), then, LAST).amounts
    now = money(portfolio, live(portfolio, LAST), LAST).amounts
    assert before.to_dict() == now.to_dict() == {"zurich": 1_200, "basel": 3_600, "oslo": 1_000}
    assert retention(movements(before, now)).nrr == 1
    alone = money(portfolio, live(portfolio, then), then).amounts
    assert alone["zurich"] == 1_000


def test_past_dates_are_at_the_rates_of_one_day(currencies):
    portfolio = currencies(reporting_currency="EUR")
    days = [dt.date(2024, 10, 31), LAST]
    rows = pd.concat([live(portfolio, day).reset_index() for day in days])
    amounts = pd.Series(at_constant_rates(portfolio, rows, LAST)).groupby(
        rows["client_id"].to_numpy()
    )
    assert amounts.unique().map(list).to_dict() == {
        "basel": [3_600],
        "oslo": [1_000],
        "zurich": [1_200],
    }


def test_one_foreign_currency_is_converted_where_a_reporting_currency_is_set(currencies):
    portfolio = currencies(reporting_currency="EUR")
    swiss = live(portfolio, LAST).loc[["zurich", "basel"]]
    amounts = money(portfolio, swiss, LAST)
    assert (amounts.total(), amounts.currency, amounts.totals(swiss["arr"])) == (
        4_800,
        "EUR",
        {"CHF": 4_000},
    )
    plain = currencies()
    assert (
        money(plain, swiss, LAST).currency == "CHF" and money(plain, swiss, LAST).total() == 4_000
    )


def test_rates_are_relative_to_the_reporting_currency_where_it_has_one(currencies):
    portfolio = currencies(reporting_currency="CHF")
    assert money(portfolio, live(portfolio, LAST), LAST).amounts["oslo"] == pytest.approx(
        1_000 / 1.2
    )


@pytest.mark.slow
def test_an_amount_without_a_rate_is_in_no_total_and_no_tier(currencies):
    euros = frame(
        "currency on rate_to_book", ("EUR", "2023-01-01", 1.0), ("CHF", "2023-01-01", 2.0)
    )
    contracts = frame(
        "client_id starts_on arr currency",
        ("a", "2023-01-01", 100, "CHF"),
        ("b", "2023-01-01", 100, "SEK"),
    )
    for reporting, amounts in (("EUR", {"a": 200}), ("SEK", {"b": 100}), ("USD", {})):
        portfolio = portfolio_of({"reporting_currency": reporting}, contracts=contracts, fx=euros)
        rows = live(portfolio, LAST)
        values = money(portfolio, rows, LAST)
        assert values.amounts.dropna().to_dict() == amounts
        assert values.total() == (sum(amounts.values()) or None)
        tiers = panel(portfolio, [LAST]).set_index("client_id")["tier"]
        assert set(tiers.dropna().index) == set(amounts)
        (note,) = [text for text in portfolio.check().warnings if "no rate from" in text]
        assert f"to {reporting}" in note


def test_without_any_rates_no_amount_of_another_currency_has_a_tier():
    contracts = frame("client_id starts_on arr currency", ("a", "2023-01-01", 100, "CHF"))
    for reporting, tier in ((None, "Micro"), ("CHF", "Micro"), ("EUR", None)):
        portfolio = portfolio_of({"reporting_currency": reporting}, contracts=contracts)
        tiers = panel(portfolio, [LAST]).set_index("client_id")["tier"].dropna()
        assert tiers.to_dict().get("a") == tier


def test_value_tiers_are_cut_in_the_reporting_currency(currencies):
    rows = panel(currencies(reporting_currency="EUR", arr_thresholds=(1_100,)), [LAST])
    tiers = rows.set_index("client_id")["tier"]
    assert (tiers["zurich"], tiers["oslo"]) == ("Enterprise", "SMB")


def test_credit_notes_offset_invoices_with_and_without_a_payment_date_and_parts_are_amounts():
    invoices = frame(
        "client_id invoice_id amount issued_on due_on paid_on paid_amount",
        ("credit", "1", 80, "2025-06-01", "2025-07-01", None, None),
        ("credit", "2", -80, "2025-06-15", "2025-06-15", "2025-06-20", None),
        ("settled", "1", 80, "2025-06-01", "2025-07-01", "2025-06-20", None),
        ("settled", "2", -80, "2025-06-15", "2025-06-15", "2025-06-20", None),
        ("settled", "3", 50, "2025-08-01", "2025-09-01", None, None),
        ("part", "1", 100, "2025-06-01", "2025-07-01", "2025-07-10", 60),
        ("part_credit", "1", 100, "2025-06-01", "2025-07-01", "2025-07-10", 60),
        ("part_credit", "2", -40, "2025-07-20", "2025-07-20", None, None),
        ("whole", "1", 100, "2025-06-01", "2025-07-01", "2025-07-02", 100),
    )
    rows = panel(portfolio_of(invoices=invoices), [LAST]).set_index("client_id")
    overdue = rows["worst_days_overdue"].dropna().to_dict()
    assert overdue == {"credit": 0, "settled": 60, "part": 122, "part_credit": 0, "whole": 0}
    assert rows.loc["part", "paid_on_time_share_365d"] == 0


def test_two_systems_may_use_one_number_and_a_ticket_is_reopened_by_its_later_row():
    invoices = frame(
        "client_id invoice_id system amount issued_on due_on paid_on",
        ("a", "7", "emea", 10, "2025-06-01", "2025-07-01", "2025-06-20"),
        ("a", "7", "apac", 10, "2025-06-01", "2025-10-01", None),
        ("b", "7", None, 10, "2025-06-01", "2025-07-01", "2025-06-20"),
    )
    tickets = frame(
        "client_id ticket_id opened_at resolved_at updated_at",
        ("a", "1", "2025-10-01 09:00:00", None, "2025-10-05 09:00:00"),
        ("a", "1", "2025-10-01 09:00:00", "2025-10-02 09:00:00", "2025-10-02 09:00:00"),
        ("b", "1", "2025-10-01 09:00:00", "2025-10-02 09:00:00", "2025-10-02 09:00:00"),
    )
    rows = panel(portfolio_of(invoices=invoices, tickets=tickets), [LAST]).set_index("client_id")
    assert rows["worst_days_overdue"].dropna().to_dict() == {"a": 30, "b": 0}
    assert rows["open_tickets"].dropna().loc[["a", "b"]].to_dict() == {"a": 1, "b": 0}


amounts = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.integers(0, 50).map(float), max_size=5
)


@given(
    then=amounts, now=amounts, taken=st.dictionaries(st.sampled_from("abc"), st.sampled_from("de"))
)
@settings(max_examples=150)
def test_the_bridge_adds_up_and_retention_follows_from_the_same_rows(then, now, taken):
    before, after = (pd.Series(values, dtype=float) for values in (then, now))
    rows = movements(before, after, pd.Series(taken, dtype=object))
    start, *parts, end = (rows[name].sum() for name in PARTS)
    assert start + sum(parts) == pytest.approx(end)
    assert (start, end) == (before.sum(), after.sum())
    rates = retention(rows)
    if start > 0:
        cohort = rows[rows["start"] > 0]
        parts = cohort[["expansion", "contraction", "churn"]].sum()
        assert rates.nrr == pytest.approx((start + parts.sum()) / start)
        assert rates.grr == pytest.approx((start + parts["contraction"] + parts["churn"]) / start)
        assert rates.grr <= min(1, rates.nrr)


@pytest.fixture(scope="module")
def priced():
    contracts = frame(
        "client_id starts_on ends_on arr",
        ("stays", "2023-11-01", "2026-11-01", 100),
        ("grows", "2023-11-01", "2026-11-01", 100),
        ("grows", "2025-03-01", "2026-11-01", 40),
        ("shrinks", "2023-11-01", "2025-05-01", 90),
        ("shrinks", "2025-05-01", "2026-11-01", 60),
        ("leaves", "2023-11-01", "2026-11-01", 70),
        ("returns", "2023-11-01", "2025-02-01", 30),
        ("returns", "2025-06-15", "2026-11-01", 35),
        ("fresh", "2025-08-10", "2026-11-01", 25),
        ("lapsed", "2024-09-01", "2025-09-01", 15),
    )
    customers = frame(
        "client_id signup_date churned_on name",
        *[
            (name, "2023-11-01", None, name.title())
            for name in ("stays", "grows", "shrinks", "lapsed", "pulse")
        ],
        ("leaves", "2023-11-01", "2025-07-20", "Leaves Ltd"),
        ("returns", "2023-11-01", "2025-02-01", "Returns AG"),
        ("fresh", "2025-08-10", None, "Fresh"),
    )
    return portfolio_of(contracts=contracts, customers=customers)


def test_revenue_by_month_names_who_churned_and_its_months_join(priced):
    by_month, churned, _ = revenue_by_month(priced, LAST, 12)
    assert np.allclose(by_month["end"][:-1], by_month["start"][1:])
    month = by_month.set_index(by_month["month"].dt.strftime("%Y-%m"))
    assert (month.loc["2025-02", "churn"], month.loc["2025-06", "new"]) == (-30, 35)
    assert month.loc["2025-07", "churned_customers"] == "Leaves Ltd"
    assert (month.loc["2025-03", "expansion"], month.loc["2025-05", "contraction"]) == (40, -30)
    last = by_month.iloc[-1]
    start = 100 + 100 + 90 + 70 + 30 + 15
    assert last["nrr"] == pytest.approx((100 + 140 + 60 + 0 + 35 + 15) / start)
    assert last["grr"] == pytest.approx((100 + 100 + 60 + 0 + 30 + 15) / start)
    rows = churned.set_index("client_id")
    assert rows["arr"].to_dict() == {"returns": 30, "leaves": 70}
    assert rows["won_back_on"].tolist() == [pd.Timestamp("2025-06-15"), pd.NaT]
    assert rows["name"].tolist() == ["Returns AG", "Leaves Ltd"]


def test_cohorts_count_who_is_live_so_many_months_after_the_month_in_which_they_began(priced):
    """Seven began in November 2023; one churned in February 2025 and came back in June, one churned in July."""
    cohorts = revenue_by_month(priced, LAST, 24)[2].set_index(["cohort", "months"])
    assert cohorts.index.get_level_values("cohort").unique().strftime("%Y-%m").tolist() == [
        "2023-11",
        "2025-08",
    ]
    first = cohorts.loc[pd.Timestamp("2023-11-01")]
    assert set(first["customers"]) == {7}
    assert first["live"].loc[[0, 14, 15, 18, 19, 20]].tolist() == [7, 7, 6, 6, 7, 6]
    assert first["share"].loc[20] == pytest.approx(6 / 7)
    assert first["arr"].loc[[0, 14, 15]].tolist() == [390, 405, 375]
    assert first["arr_share"].loc[14] == pytest.approx(405 / 390)
    fresh = cohorts.loc[pd.Timestamp("2025-08-01")]
    assert set(fresh["share"]) == {1.0} and set(fresh["arr_share"]) == {1.0}
    shown = hs.portfolio_tiers(priced)
    assert [row["cohort"] for row in shown.cohorts] == ["2025-08-01"] * len(fresh)


def test_the_tiers_add_to_the_total_and_name_what_is_uncontracted_and_what_renews(priced):
    result = hs.portfolio_tiers(priced)
    assert result.total_arr == result.frame("customers")["arr"].sum() == 375
    assert result.total_arr == sum(tier.total_arr or 0 for tier in result.value_tiers)
    assert result.retention.nrr == round(result.frame("revenue_by_month")["nrr"].iloc[-1], 4)
    assert (
        result.uncontracted.client_ids
        == ["lapsed"]
        == uncontracted(priced, LAST)["client_id"].tolist()
    )
    assert result.uncontracted.arr == {"unknown": 15.0}
    assert "Lapsed has had no contract for" in result.uncontracted.summary[0]
    own = hs.segment_by_value_tier(priced, client_id="lapsed").uncontracted
    assert own.customers == 1 and "Uncontracted for" in own.summary[0]
    assert hs.segment_by_value_tier(priced, client_id="stays").uncontracted.customers == 0
    windows = result.frame("renewal_windows")
    everyone = windows[windows["band"] == "all"].set_index("window")
    assert everyone.loc[["overdue", "uncontracted", "next 180 days"], "customers"].tolist() == [
        1,
        1,
        0,
    ]
    assert everyone.loc["2026 Q4" if "2026 Q4" in everyone.index else "overdue", "arr"] > 0
    assert everyone.loc["overdue", "arr"] == 15


def test_the_rows_behind_arr_and_retention_are_named_and_add_up(priced):
    rows = rows_behind(priced, "arr", LAST)
    assert rows["amount"].sum() == hs.portfolio_tiers(priced).total_arr
    grows = rows[rows["client_id"] == "grows"]
    assert set(grows["table"]) == {"contracts"} and grows["key"].tolist() == [
        "2023-11-01",
        "2025-03-01",
    ]
    both = rows_behind(priced, "nrr", LAST)
    sums = both.groupby("date")["amount"].sum()
    assert sums.iloc[1] / sums.iloc[0] == pytest.approx(retention_of(priced))
    assert "fresh" not in set(both["client_id"])
    with pytest.raises(InvalidParameters, match="no rows are known behind 'score'"):
        rows_behind(priced, "score", LAST)


def retention_of(priced) -> float:
    return revenue_by_month(priced, LAST, 1)[0]["nrr"].iloc[-1]


def test_the_rows_behind_invoices_due_are_what_is_still_open():
    invoices = frame(
        "client_id invoice_id amount issued_on due_on paid_on paid_amount",
        ("a", "1", 100, "2025-06-01", "2025-07-01", "2025-07-10", 60),
        ("a", "2", 30, "2025-06-01", "2025-07-01", "2025-06-20", None),
        ("b", "1", 50, "2025-10-01", "2025-11-15", None, None),
    )
    rows = rows_behind(portfolio_of(invoices=invoices), "invoices_due", LAST)
    assert rows[["client_id", "key", "amount"]].values.tolist() == [
        ["a", "1", 40.0],
        ["b", "1", 50.0],
    ]


def test_a_credit_note_leaves_what_it_does_not_cover_of_an_invoice():
    invoices = frame(
        "client_id invoice_id amount issued_on due_on",
        ("a", "1", 100, "2025-06-01", "2025-07-01"),
        ("a", "2", 80, "2025-06-01", "2025-08-01"),
        ("a", "n", -130, "2025-09-01", "2025-09-01"),
    )
    portfolio = portfolio_of(invoices=invoices)
    rows = rows_behind(portfolio, "invoices_due", LAST)
    assert rows[["key", "amount"]].values.tolist() == [["2", 50.0]]
    before = rows_behind(portfolio, "invoices_due", dt.date(2025, 8, 31))
    assert before["amount"].tolist() == [100, 80]


def test_the_rows_behind_arr_are_those_of_the_later_contract_where_it_replaces():
    contracts = frame("client_id starts_on arr", ("a", "2025-01-01", 100), ("a", "2025-02-01", 30))
    for overlap, amounts in (("add", [100, 30]), ("replace", [30])):
        portfolio = portfolio_of({"overlap": overlap}, contracts=contracts)
        assert rows_behind(portfolio, "arr", LAST)["amount"].tolist() == amounts


def test_the_portfolios_health_is_in_the_reporting_currency(currencies):
    health = hs.portfolio_health(currencies(reporting_currency="EUR"))
    assert (health.total_arr, health.currency) == (5_800, "EUR")
    assert health.total_arr_by_currency == {"CHF": 4_000, "NOK": 10_000}
