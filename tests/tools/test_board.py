"""The board's figures: retention by hand, who churned and with which score, what renews, the accounts to save."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd
import pytest

from healthseg.metrics.money import PARTS
from healthseg.metrics.panels import tiers_at
from healthseg.reports.pages.common import window_notes
from healthseg.scoring.churn.expected import portfolio_base_rates
from healthseg.testing import tiny_portfolio
from healthseg.tools.base import Figure
from healthseg.tools.context import PortfolioContext
from healthseg.tools.overview.board import _outcome, past_predictions
from healthseg.tools.overview.result import PastPredictions
from healthseg.tools.overview.tool import portfolio_board
from healthseg.tools.renewals import renewal_risk

CLIENTS = ["grew", "kept", "lost", "fresh"]
EVENTS = [
    (client, f"{day:%Y-%m-%d} 09:00", f"{client}{user}")
    for client in CLIENTS
    for day in pd.date_range("2024-10-01", "2025-06-30", freq="3D")
    for user in (1, 2)
    if not (client == "lost" and day > pd.Timestamp("2025-03-31"))
    and not (client == "fresh" and day < pd.Timestamp("2025-01-01"))
]
CUSTOMERS = pd.DataFrame(
    {
        "client_id": CLIENTS,
        "name": [f"{client.title()} Ltd" for client in CLIENTS],
        "signup_date": ["2023-01-01", "2023-01-01", "2023-01-01", "2025-01-01"],
        "churned_on": [None, None, "2025-04-01", None],
        "currency": "EUR",
    }
)
CHANGES = pd.DataFrame(
    [
        ("grew", "2023-01-01", 100_000.0),
        ("grew", "2025-02-01", 120_000.0),
        ("kept", "2023-01-01", 50_000.0),
        ("lost", "2023-01-01", 50_000.0),
        ("fresh", "2025-01-01", 30_000.0),
    ],
    columns=["client_id", "effective_on", "arr"],
)


@pytest.fixture(scope="module")
def board():
    return portfolio_board(tiny_portfolio(EVENTS, CUSTOMERS, arr_changes=CHANGES))


def test_retention_is_what_the_customers_of_a_year_ago_pay_now(board) -> None:
    # of 200 thousand: 120 + 50 remain, without the rise 100 + 50
    assert (board.nrr, board.grr) == (pytest.approx(0.85), pytest.approx(0.75))
    assert board.total_arr == 200_000 and board.customers == 3
    assert board.verdict() == (
        "NRR is 85% against a target of 110%, GRR 75% against 90%; 1 customer with EUR\xa050k ARR churned in a year"
    )


def test_the_bridge_adds_up_and_names_the_largest_of_each_bar(board) -> None:
    sums = board.frame("bridge")[list(PARTS)].sum()
    assert sums["start"] + sums[["new", "expansion", "contraction", "churn"]].sum() == sums["end"]
    assert {(row.part, row.name, row.arr) for row in board.bridge} == {
        ("new", "Fresh Ltd", 30_000),
        ("expansion", "Grew Ltd", 20_000),
        ("churn", "Lost Ltd", -50_000),
    }


def test_who_churned_is_named_with_the_score_of_a_quarter_before(board) -> None:
    (lost,) = board.churned
    assert (lost.name, lost.arr, lost.churned_on.date()) == (
        "Lost Ltd",
        50_000,
        dt.date(2025, 4, 1),
    )
    assert lost.score is not None and 0 <= lost.score <= 100
    assert board.churned_arr == 50_000
    assert [(row.reason, row.customers, row.arr) for row in board.reasons] == [
        ("unknown", 1, 50_000)
    ]
    event = board.frame("months").dropna(subset="event")
    assert event["event"].tolist() == ["Lost Ltd −EUR\xa050k"]


def test_who_churned_in_the_first_days_of_the_year_is_not_forgotten() -> None:
    """On 15 June the year begins on 15 June of the year before, not at that month's end."""
    customers = CUSTOMERS.assign(
        churned_on=[None, None, "2024-06-20", None],
        signup_date=["2023-01-01", "2023-01-01", "2023-01-01", "2025-01-01"],
    )
    stages = pd.DataFrame(
        {
            "client_id": ["lost", "lost"],
            "stage": ["active", "churned"],
            "effective_at": ["2024-01-01 09:00", "2024-06-20 09:00"],
            "reason": ["contract", "price"],
        }
    )
    portfolio = tiny_portfolio(EVENTS, customers, arr_changes=CHANGES, stage_changes=stages)
    board = portfolio_board(portfolio, as_of="2025-06-15")
    (lost,) = board.churned
    assert (lost.client_id, lost.arr, lost.reason) == ("lost", 50_000, "price")
    churned = -board.frame("bridge")["churn"].sum()
    assert churned == board.churned_arr == 50_000


def test_the_outcome_says_on_which_side_of_the_range_it_lies() -> None:
    sides = [_outcome(amount, 10.0, 20.0) for amount in (9.0, 10.0, 20.0, 21.0, None)]
    assert sides == ["below", "within", "within", "above", None]
    assert _outcome(5.0, Figure(None, "unknown"), Figure(None, "unknown")) is None


def test_what_was_predicted_stands_beside_what_happened(board) -> None:
    past = board.predicted
    assert (past.until - past.predicted_on).days == 90
    assert (past.churned, past.churned_arr) == (1, 50_000)
    days = [(row.predicted_on, row.until) for row in board.predictions]
    assert all(earlier[1] == later[0] for later, earlier in itertools.pairwise(days))
    assert board.predictions[0] == past and len(days) <= 4


def test_a_notice_within_the_horizon_is_what_was_predicted() -> None:
    noticed = CUSTOMERS.assign(notice_on=[None, "2025-06-01", None, None])
    past = portfolio_board(tiny_portfolio(EVENTS, noticed, arr_changes=CHANGES)).predicted
    assert (past.churned, past.churned_arr) == (2, 100_000)


def test_of_a_day_without_known_arr_no_amount_is_said_to_have_churned() -> None:
    """The ARR of today says nothing of an earlier day: 0 would read as if nothing of it churned."""
    past = portfolio_board(tiny_portfolio(EVENTS, CUSTOMERS.assign(arr=10_000.0))).predicted
    assert (past.churned, past.churned_arr, past.expected_arr, past.outcome) == (
        1,
        None,
        None,
        None,
    )


def test_past_predictions_say_how_to_read_the_next_one(board) -> None:
    """Expected 100 and churned 60 in two quarters: too high, whether or not both ranges were missed; 60 and 100 too low."""

    def together(*quarters: tuple[float, float]) -> PastPredictions | None:
        rows = [
            board.predicted.model_copy(
                update={
                    "expected_arr": expected,
                    "churned_arr": churned,
                    "outcome": _outcome(churned, expected, expected),
                }
            )
            for expected, churned in quarters
        ]
        return past_predictions(rows, 1.25)

    high, low = together((60.0, 25.0), (40.0, 35.0)), together((60.0, 90.0), (0.0, 10.0))
    assert high is not None and (high.expected_arr, high.churned_arr) == (100.0, 60.0)
    assert (high.reads, high.within, high.quarters) == ("too high", 0, 2)
    assert low is not None and low.reads == "too low"
    one_missed = together((60.0, 20.0), (40.0, 40.0))
    assert one_missed is not None and (one_missed.reads, one_missed.within) == ("too high", 1)
    for quarters in (
        ((50.0, 60.0), (50.0, 50.0)),
        ((50.0, 52.0), (50.0, 55.0)),
    ):
        near = together(*quarters)
        assert near is not None and near.reads == "about right"
    assert together((50.0, 60.0)) is None


def test_accounts_to_save_are_the_largest_expected_losses_each_with_a_play(board) -> None:
    losses = [row.expected_churned_arr for row in board.accounts]
    assert losses == sorted(losses, reverse=True)
    assert all(row.play and row.why for row in board.accounts)
    assert board.change.of_accounts == pytest.approx(sum(losses), abs=0.05)


def test_the_gap_to_the_target_is_an_amount_and_expected_churn_has_a_range(board) -> None:
    # 110% of 200 thousand are 220 thousand, of which the customers of a year ago pay 170
    assert board.change.nrr_gap_arr == pytest.approx(50_000)
    assert (board.nrr_gap, board.grr_gap) == (pytest.approx(-25), pytest.approx(-15))
    change = board.change
    assert change.lower <= change.expected_churned_arr <= change.upper
    assert change.accounts_points == pytest.approx(change.of_accounts / 2_000, abs=0.05)
    (then,) = (row for row in board.months if row.month.date() == board.compared_on)
    assert board.compared_on.month % 3 == 0 and then.month.is_quarter_end
    assert 60 <= (board.as_of - board.compared_on).days < 153
    assert board.arr_change == pytest.approx(board.months[-1].end - then.end)


def test_a_new_customer_is_no_account_to_save() -> None:
    customers = CUSTOMERS.assign(
        signup_date=["2023-01-01", "2023-01-01", "2023-01-01", "2025-06-20"]
    )
    events = [row for row in EVENTS if row[0] != "fresh" or row[1] >= "2025-06-20"]
    changes = CHANGES.replace("2025-01-01", "2025-06-20")
    accounts = portfolio_board(tiny_portfolio(events, customers, arr_changes=changes)).accounts
    assert {row.client_id for row in accounts} == {"grew", "kept"}


def test_an_empty_past_has_no_retention_and_says_why() -> None:
    board = portfolio_board(tiny_portfolio([("a", "2025-03-03 09:00", "u1")]))
    assert board.nrr is None and board.not_measured["$.nrr"]
    assert "retention is unknown: no table holds ARR as of this date" in board.verdict()
    reasons = {board.not_measured[name] for name in ("$.total_arr", "$.nrr", "$.grr")}
    assert reasons == {"no table holds ARR as of this date"}
    assert not any("currencies" in reason for reason in board.not_measured.values())


@pytest.fixture(scope="module")
def renewing():
    """Four months of events, one loss in May; of three live customers one gave notice and renews in 20 days, the others in
    80 and 170."""
    clients, last = ["leaves", "soon", "later", "lost"], pd.Timestamp("2025-06-29")
    events = [
        (client, f"{day:%Y-%m-%d} 09:00", f"{client}1")
        for client in clients
        for day in pd.date_range("2025-03-01", last, freq="2D")
        if not (client == "lost" and day >= pd.Timestamp("2025-05-20"))
    ]
    customers = pd.DataFrame(
        {
            "client_id": clients,
            "signup_date": "2024-01-01",
            "churned_on": [None, None, None, "2025-05-20"],
            "notice_on": ["2025-06-20", None, None, None],
        }
    )
    ends = [last + pd.Timedelta(days=days) for days in (20, 80, 170)]
    contracts = pd.DataFrame(
        {
            "client_id": clients[:3],
            "starts_on": "2024-07-01",
            "ends_on": ends,
            "arr": [1e3, 2e3, 4e3],
        }
    )
    return tiny_portfolio(events, customers, contracts=contracts)


def test_a_window_of_renewals_has_the_churn_expected_by_its_own_end(renewing) -> None:
    board = portfolio_board(renewing)
    windows = {row.window: row for row in board.renewals if row.band == "all"}
    day = dt.date(2025, 6, 29)
    tier = tiers_at(renewing, {"soon": day})["soon"]
    rates = portfolio_base_rates(renewing, day, 90, 93).of("soon", tier)
    chance = rates.set_index("horizon_days")["probability"].round(4)
    assert 0.1 < chance[90] < chance[93] < 0.7
    for name, days in (("next 30 days", 30), ("next 60 days", 60)):  # the one that gave notice
        row = windows[name]
        assert (row.customers, row.horizon_days, row.note) == (1, days, "")
        assert (row.expected_customers, row.expected, row.lower, row.upper) == (1, 1e3, 1e3, 1e3)
    for name, days in (("next 90 days", 90), ("2025 Q3", 93)):
        row = windows[name]
        assert (row.customers, row.horizon_days) == (2, days)
        assert row.expected_customers == pytest.approx(1 + chance[days])
        assert row.expected == pytest.approx(1e3 + 2e3 * chance[days], abs=0.2)
        assert (row.lower, row.upper) == (1e3, 3e3)


def test_the_largest_account_is_named_with_its_plays_and_in_each_window_it_renews_in(
    renewing,
) -> None:
    """Of 7 thousand "later" pays 4 and renews in 170 days; the others renew before."""
    board = portfolio_board(renewing)
    largest = board.largest
    assert largest is not None and largest.client_id == "later"
    assert (largest.arr, largest.share, largest.days_to_renewal) == (4e3, round(4 / 7, 4), 170)
    assert largest.plays[0].action == "sponsor_account"
    assert largest.renewal_risk is None  # customers were watched for fewer days
    within = {row.window for row in board.renewals if row.of_largest == 4e3}
    assert within == {"next 180 days", "2025 Q4"}
    assert "one customer, later, is 57% of ARR and renews on 16" in board.verdict() or (
        "revenue retention is unknown" in board.verdict()
    )


def test_nothing_is_expected_beyond_the_days_for_which_customers_were_watched(renewing) -> None:
    board = portfolio_board(renewing)
    row = next(row for row in board.renewals if row.window == "next 180 days")
    assert (row.customers, row.arr, row.horizon_days) == (3, 7e3, 180)
    assert (row.expected_customers, row.expected, row.lower, row.upper) == (None,) * 4
    assert row.note == "not measured beyond 121 days, as long as customers were watched"
    assert board.not_measured["$.renewals[*].expected"] == row.note
    rows = [dict(row) for row in board.renewals]
    at = [
        n for n, row in enumerate(rows) if row["note"] and row["band"] == "all" and row["customers"]
    ]
    assert [rows[n]["window"] for n in at] == ["next 180 days", "2025 Q4"]
    assert window_notes(rows, "renewals") == (
        f"{{renewals[{at[0]}].window}} and {{renewals[{at[1]}].window}}: {{renewals[{at[0]}].note}}",
    )


def test_of_a_renewal_beyond_the_horizon_what_may_churn_by_then_is_known() -> None:
    """Watched for 200 days: of who renews in 120 days it is the tier's rate within 180 days, × 1,000; of the others there is none."""
    last, clients = pd.Timestamp("2025-06-29"), ["soon", "later", "gone"]
    events = [
        (client, f"{last - pd.Timedelta(days=day):%Y-%m-%d} 09:00", client)
        for client in clients
        for day in range(0 if client != "gone" else 60, 200, 9)
    ]
    customers = pd.DataFrame(
        {
            "client_id": clients,
            "signup_date": "2024-01-01",
            "churned_on": [None, None, "2025-04-20"],
        }
    )
    ends = [last + pd.Timedelta(days=days) for days in (20, 120)]
    contracts = pd.DataFrame(
        {"client_id": clients[:2], "starts_on": "2024-07-01", "ends_on": ends, "arr": 1e3}
    )
    portfolio = tiny_portfolio(events, customers, contracts=contracts)
    context = PortfolioContext.of(portfolio, last.date())
    risk = renewal_risk(context, "later")
    rates = portfolio_base_rates(portfolio, last.date(), 180).of(
        "later", tiers_at(portfolio, {"later": last.date()})["later"]
    )
    chance = rates.set_index("horizon_days")["probability"][180]
    assert risk is not None and risk.horizon_days == 180
    assert risk.churn_probability == pytest.approx(chance, abs=1e-4)
    assert risk.arr == pytest.approx(1e3 * chance, abs=0.01)
    assert risk.lower < chance < risk.upper
    assert renewal_risk(context, "soon") is None
