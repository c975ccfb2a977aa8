"""Each definition of docs/metrics.md on a frame that can be counted by hand: support, satisfaction, money, profile."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.testing import tiny_portfolio
from tests.metrics.test_definitions import NAN, TRACKED, check, uses

BEFORE, NEXT = dt.date(2025, 3, 30), dt.date(2025, 4, 1)


def table(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns.split(), dtype=object)


def portfolio_of(
    *clients: str,
    customers: pd.DataFrame | None = None,
    settings: Any = None,
    **tables: pd.DataFrame,
) -> Portfolio:
    """A portfolio whose only events are the machine's, and one by each customer's only user on 31 March."""
    events = [
        *TRACKED[:1],
        *(event for client in clients for event in uses(client, "u", ["2025-03-31"])),
        ("z", "2025-04-01", None, None, "api"),
    ]
    return tiny_portfolio(events, customers, settings, **tables)


def test_tickets_are_open_until_the_day_they_are_resolved():
    tickets = table(
        "ticket_id client_id opened_at resolved_at severity csat",
        ("1", "a", "2025-03-31 23:59:59", None, "high", None),
        ("2", "a", "2025-04-01 00:00:00", None, "critical", None),
        ("3", "a", "2025-01-01 01:00:00", "2025-03-31 13:00:00", "critical", 2),
        ("4", "a", "2024-12-31 23:59:59", "2025-04-01 00:00:00", "critical", 5),
        ("5", "a", "2025-03-30", "2025-03-31", "low", 4),
        ("6", "a", "2025-03-30 06:00:00", "2025-03-30 16:00:00", "low", None),
        ("7", "b", "2025-03-30 06:00:00", "2025-03-30 16:00:00", "low", None),
        ("8", "b", "2025-03-30 06:00:00", "2025-03-31 02:00:00", "low", None),
    )
    portfolio = portfolio_of("a", "b", tickets=tickets)
    # open: 1 and 4, resolved tomorrow; the 90 days begin on 1 January: 1, 3, 5, 6
    check(
        portfolio,
        "a",
        open_tickets=2,
        open_high_tickets=2,
        tickets_90d=4,
        tickets_per_10_mau_90d=40,
        median_resolution_hours_90d=(10 + 89 * 24 + 12) / 2,
        csat_180d=NAN,  # of two answers
        csat_responses_180d=2,
    )
    check(
        portfolio,
        "a",
        BEFORE,
        open_tickets=3,
        median_resolution_hours_90d=10,
        csat_responses_180d=0,
        csat_180d=NAN,
    )
    check(portfolio, "b", median_resolution_hours_90d=15, open_tickets=0, csat_180d=NAN)
    check(
        portfolio, "z", tickets_90d=0, median_resolution_hours_90d=NAN, tickets_per_10_mau_90d=NAN
    )
    check(portfolio_of("a"), "a", open_tickets=NAN, tickets_90d=NAN, csat_responses_180d=NAN)


@pytest.mark.parametrize(("answers", "is_known"), [(1, False), (2, False), (3, True)])
def test_nps_and_csat_of_one_or_two_answers_are_no_figures(answers, is_known):
    rows = [
        ("a", kind, score, "2025-03-01 09:00:00", f"u{at}")
        for kind, score in (("nps", 10), ("csat", 4))
        for at in range(answers)
    ]
    portfolio = portfolio_of("a", surveys=table("client_id kind score responded_at user_id", *rows))
    check(
        portfolio,
        "a",
        nps_365d=100 if is_known else NAN,
        nps_respondents_365d=answers,
        csat_180d=4 if is_known else NAN,
        csat_responses_180d=answers,
    )


def test_nps_is_each_respondents_latest_answer_and_every_anonymous_one():
    surveys = table(
        "client_id kind score responded_at user_id",
        ("a", "nps", 0, "2024-04-01 00:00:00", "old"),
        ("a", "nps", 0, "2024-03-31 23:59:59", "older"),
        ("a", "nps", 0, "2025-01-01 09:00:00", "u1"),
        ("a", "nps", 10, "2025-03-31 09:00:00", "u1"),
        ("a", "nps", 0, "2025-04-01 00:00:00", "u1"),
        ("a", "nps", 8, "2025-03-01 09:00:00", None),
        ("a", "nps", 9, "2025-03-02 09:00:00", None),
        ("b", "nps", 3, "2025-03-01 09:00:00", "u"),
        ("b", "nps", 9, "2025-03-01 10:00:00", "u"),
        ("b", "csat", 1, "2024-10-03 00:00:00", "u"),
        ("b", "csat", 4.5, "2025-03-31", "u"),
        ("b", "csat", 2, "2025-03-31", "v"),
        ("b", "csat", 5, "2024-10-02 23:59:59", "u"),
    )
    portfolio = portfolio_of("a", "b", surveys=surveys)
    # 365 days begin on 1 April 2024: old 0, u1 10 (not yet the 0 of tomorrow), 8, 9 of nobody
    check(portfolio, "a", nps_365d=100 * (2 - 1) / 4, nps_respondents_365d=4)
    check(
        portfolio, "a", BEFORE, nps_365d=100 * (1 - 3) / 5, nps_respondents_365d=5
    )  # older and u1's first answer are in
    check(
        portfolio,
        "b",
        nps_365d=NAN,  # of one respondent
        nps_respondents_365d=1,
        csat_180d=(1 + 4.5 + 2) / 3,
        csat_responses_180d=3,
    )
    check(portfolio, "z", nps_365d=NAN, nps_respondents_365d=0, csat_responses_180d=0)
    check(portfolio_of("a"), "a", nps_365d=NAN, nps_respondents_365d=NAN)


@pytest.fixture(scope="module")
def money() -> Portfolio:
    rows = [
        ("late", 100, "2025-03-30", None),
        ("today", 100, "2025-03-31", None),
        ("tomorrow", 100, "2025-03-01", "2025-04-01"),
        ("paid", 100, "2025-03-01", "2025-03-31"),
        ("credit", 100, "2025-01-01", None),
        ("credit", 100, "2025-02-01", None),
        ("credit", -100, "2025-03-01", None),
        ("half", 100, "2025-01-01", None),
        ("half", -50, "2025-03-01", None),
        ("spent", 100, "2025-01-01", None),
        ("spent", -100, "2025-02-01", "2025-03-01"),
        ("punctual", 10, "2025-03-01", "2025-03-06"),
        ("punctual", 10, "2025-03-02", "2025-03-08"),
        ("punctual", 10, "2025-03-25", None),
        ("punctual", 10, "2025-03-26", None),
        ("year", 10, "2024-04-01", "2024-04-01"),
        ("year", 10, "2024-03-31", None),
    ]
    invoices = pd.DataFrame(
        [
            (f"i{k}", client, amount, min(due, "2025-02-01"), due, paid)
            for k, (client, amount, due, paid) in enumerate(rows)
        ]
        + [("i99", "later", 10, "2025-04-01", "2025-05-01", None)],
        columns=["invoice_id", "client_id", "amount", "issued_on", "due_on", "paid_on"],
    )
    return portfolio_of(*dict.fromkeys(invoices["client_id"]), "nobody", invoices=invoices)


@pytest.mark.parametrize(
    ("client", "worst", "status"),
    [
        ("late", 1, "overdue"),
        ("today", 0, "due"),
        ("tomorrow", 30, "overdue"),
        ("paid", 0, "current"),
        ("credit", 58, "overdue"),  # the note covers the older one; the other was due on 1 February
        ("half", 89, "overdue"),  # half a note covers nothing whole
        ("spent", 0, "current"),  # a note that was paid out covers nothing
        ("later", NAN, None),
        ("nobody", NAN, None),
    ],
)
def test_what_is_overdue_is_open_past_its_day_after_credit(money, client, worst, status):
    check(money, client, worst_days_overdue=worst, payment_status=status)


def test_an_invoice_paid_tomorrow_is_unpaid_today(money):
    check(money, "tomorrow", NEXT, worst_days_overdue=0, payment_status="current")


def test_punctual_is_at_most_five_days_late_and_undecided_until_then(money):
    # on 5 days after: in time; 6 days after: late; 6 days open: late; 5 days open: nobody knows yet
    check(money, "punctual", paid_on_time_share_365d=1 / 3, worst_days_overdue=6)
    check(money, "punctual", NEXT, paid_on_time_share_365d=1 / 4)
    check(money, "year", paid_on_time_share_365d=1)  # 31 March 2024 lies before the 365 days
    check(money, "today", paid_on_time_share_365d=NAN)


@pytest.fixture(scope="module")
def profiles() -> Portfolio:
    clients = ["signed", "moved", "snapped", "told", "staged", "gone", "ended", "renews"]
    known = pd.DataFrame(
        {
            "client_id": ["z", *clients],
            "signup_date": "2024-01-01",
            "seats": None,
            "arr": None,
            "churned_on": None,
            "plan": None,
        },
        dtype=object,
    )
    known.loc[known["client_id"] == "snapped", ["seats", "arr", "plan"]] = [5, 250_000, "pro"]
    known.loc[known["client_id"] == "gone", ["churned_on"]] = "2025-03-31"
    contracts = table(
        "client_id starts_on ends_on signed_on arr seats plan renews_on",
        ("signed", "2025-03-01", "2026-03-01", "2025-03-31", 60_000, 10, "team", None),
        ("moved", "2025-01-01", None, None, 20_000, 4, None, None),
        ("gone", "2025-01-01", None, None, 20_000, 4, None, None),
        ("ended", "2025-01-01", "2025-03-31", None, 20_000, 3, None, None),
        ("renews", "2025-01-01", "2026-01-01", None, 20_000, 3, None, "2025-04-30"),
        ("renews", "2025-03-31", "2026-03-31", None, 30_000, 6, None, None),
    )
    changes = table(
        "client_id field value effective_on recorded_at",
        ("told", "seats", "7", "2025-03-01", "2025-03-31 12:00:00"),
        ("told", "seats", "2", "2025-01-01", None),
        ("told", "plan", "big", "2025-03-31", None),
    )
    arrs = table(
        "client_id effective_on arr reason", ("moved", "2025-03-31", 10_000, "contraction")
    )
    stages = table(
        "client_id stage effective_at recorded_at",
        ("staged", "onboarding", "2025-01-01 09:00:00", None),
        ("staged", "active", "2025-03-01 09:00:00", "2025-03-31 09:00:00"),
    )
    return portfolio_of(
        *clients,
        customers=known,
        contracts=contracts,
        customer_changes=changes,
        arr_changes=arrs,
        stage_changes=stages,
    )


def test_a_contract_is_known_from_the_day_it_is_signed(profiles):
    check(profiles, "signed", BEFORE, seats=NAN, arr=NAN, tier=None, plan=None, days_to_renewal=NAN)
    check(
        profiles,
        "signed",
        seats=10,
        arr=60_000,
        tier="Mid-Market",
        plan="team",
        days_to_renewal=335,
        seat_utilisation=0.1,
    )


def test_two_contracts_add_up_and_one_that_ended_is_kept_but_marked(profiles):
    check(profiles, "renews", BEFORE, seats=3, arr=20_000, days_to_renewal=31)
    check(profiles, "renews", seats=9, arr=50_000, days_to_renewal=365)
    check(profiles, "ended", BEFORE, seats=3, arr=20_000, uncontracted_days=NAN)
    check(profiles, "ended", seats=3, arr=20_000, uncontracted_days=1, days_to_renewal=0)


def test_arr_changes_stand_over_contracts(profiles):
    check(profiles, "moved", BEFORE, arr=20_000, tier="SMB", seats=4)
    check(
        profiles, "moved", arr=10_000, tier="Micro", seats=4
    )  # an upper edge belongs to the lower tier


def test_todays_values_are_read_on_the_last_day_alone(profiles):
    check(profiles, "snapped", seats=NAN, arr=NAN, plan=None)
    check(profiles, "snapped", NEXT, seats=5, arr=250_000, tier="Corporate", plan="pro")


def test_a_change_counts_from_the_day_it_was_recorded(profiles):
    check(profiles, "told", BEFORE, seats=2, plan=None)
    check(profiles, "told", seats=7, plan="big")
    check(profiles, "staged", BEFORE, stage="onboarding")
    check(profiles, "staged", stage="active")


def test_who_has_left_is_not_live_and_has_no_arr(profiles):
    check(profiles, "gone", BEFORE, live=True, arr=20_000)
    check(profiles, "gone", live=False, arr=0)
