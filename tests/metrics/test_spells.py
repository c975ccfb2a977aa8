"""Losses and win-backs: one loss a spell, kept in history, labels and base rates, as known on each day."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.metrics.profile import customers_as_of, profiles
from healthseg.metrics.spells import (
    ARR,
    CHURNED_ON,
    CONTRACT,
    STAGE,
    Fact,
    Spell,
    merged_into,
    spells,
    spells_as_of,
)
from healthseg.scoring.churn.base_rates import exposure
from healthseg.statistics.effects import labels
from tests.metrics.test_contracts import LAST, frame, on, portfolio_of


@pytest.fixture(scope="module")
def returns():
    customers = frame(
        "client_id signup_date churned_on notice_on",
        ("contract", "2022-01-01", "2024-05-10", "2024-04-01"),
        ("same_day", "2022-01-01", "2024-05-10", None),
        ("arr", "2022-01-01", None, None),
        ("stage", "2022-01-01", "2024-05-10", None),
        ("left", "2022-01-01", "2024-05-10", None),
        ("partly", "2022-01-01", None, None),
        ("nightly", "2022-01-01", "2024-05-10", None),
        ("pulse", "2022-01-01", None, None),
    )
    contracts = frame(
        "client_id starts_on ends_on arr",
        ("contract", "2023-05-10", "2024-05-10", 100),
        ("contract", "2024-09-01", "2026-09-01", 130),
        ("same_day", "2023-05-10", "2024-05-10", 100),
        ("same_day", "2024-05-10", "2026-05-10", 80),
    )
    changes = frame(
        "client_id effective_on arr reason",
        ("arr", "2023-01-01", 500, "new"),
        ("arr", "2024-05-10", None, "churn"),
        ("arr", "2024-09-01", 400, None),
        ("partly", "2023-01-01", 500, "new"),
        ("partly", "2024-05-10", 200, "churn"),
    )
    stages = frame(
        "client_id stage effective_at",
        ("stage", "active", "2023-01-01 10:00:00"),
        ("stage", "churned", "2024-05-12 10:00:00"),
        ("stage", "onboarding", "2024-09-01 10:00:00"),
        *[("nightly", "active", f"2024-05-{day:02d} 02:00:00") for day in range(1, 30)],
    )
    return portfolio_of(
        customers=customers, contracts=contracts, arr_changes=changes, stage_changes=stages
    )


@pytest.mark.parametrize("client", ["contract", "arr", "stage"])
def test_a_win_back_keeps_its_loss_and_begins_the_next_spell(returns, client):
    frame = spells_as_of(returns, LAST)
    rows = frame[frame["client_id"] == client]
    assert rows["churned_on"].tolist() == [pd.Timestamp("2024-05-10"), pd.NaT]
    assert rows["signup_date"].astype(str).tolist() == ["2022-01-01", "2024-09-01"]
    days = ("2024-05-09", "2024-05-10", "2024-08-31", "2024-09-01", "2025-10-31")
    assert [on(returns, client, day)["live"] for day in days] == [True, False, False, True, True]
    assert pd.isna(customers_as_of(returns, LAST)["churned_on"][client])


def test_a_notice_belongs_to_the_spell_in_which_it_was_given(returns):
    assert on(returns, "contract", "2024-04-11")["days_since_notice"] == 10
    assert pd.isna(on(returns, "contract", "2024-09-02")["days_since_notice"])


def test_a_contract_from_the_very_day_of_the_loss_continues_the_spell(returns):
    frame = spells_as_of(returns, LAST)
    assert frame[frame["client_id"] == "same_day"]["churned_on"].isna().all()
    assert [on(returns, "same_day", day)["arr"] for day in ("2024-05-09", "2024-05-10")] == [
        100,
        80,
    ]


@pytest.mark.parametrize("source", [ARR, STAGE, CONTRACT])
@pytest.mark.parametrize(("began", "lives"), [(90, 1), (99, 1), (100, 2), (101, 2)])
def test_what_began_before_the_loss_and_was_recorded_after_it_is_no_return(source, began, lives):
    lost, late = Fact(100, 100, CHURNED_ON, 0), Fact(began, 120, source, 1)
    lives -= source == STAGE and began == 100  # a stage of the very day is that of before
    assert len(spells([lost, late], 0, 130)) == lives
    assert spells([lost, late], 0, 110) == [Spell(0, 100, CHURNED_ON)]


def test_a_churn_that_leaves_arr_is_a_contraction(returns):
    assert on(returns, "partly", "2024-05-10")["live"]
    assert on(returns, "partly", "2025-10-31")["arr"] == 200


def test_a_stage_that_is_repeated_every_night_brings_nobody_back(returns):
    assert not on(returns, "nightly", "2025-10-31")["live"]
    assert not on(returns, "left", "2025-10-31")["live"]


def test_a_label_of_a_past_date_does_not_change_by_a_later_win_back(returns):
    rows = pd.DataFrame(
        {
            "client_id": ["contract", "arr", "stage", "contract"],
            "date": pd.to_datetime(["2024-04-20", "2024-04-20", "2024-04-20", "2024-10-01"]),
        }
    )
    rows.loc[0, "date"] = pd.Timestamp("2024-03-15")
    outcome = {
        as_of: labels(rows, spells_as_of(returns, as_of), as_of, 30)["outcome"].tolist()
        for as_of in (dt.date(2024, 8, 1), dt.date(2025, 10, 31))
    }
    assert outcome[dt.date(2024, 8, 1)][:3] == [1, 1, 1]
    assert outcome[dt.date(2025, 10, 31)] == [1, 1, 1, 0]


def test_base_rates_count_each_loss_once_and_both_spells_days(returns):
    table = spells_as_of(returns, LAST).assign(tier="SMB")
    at_risk = exposure(table, LAST, dt.date(2024, 1, 1))
    own = at_risk[at_risk["client_id"] == "arr"]
    assert own["events"].tolist() == [1, 0]
    first = (dt.date(2024, 5, 10) - dt.date(2024, 1, 1)).days + 1
    second = (LAST - dt.date(2024, 9, 1)).days + 1
    assert (own["steps"] * 30).round(6).tolist() == [first, second]


facts = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.integers(0, 15),
        st.sampled_from([CHURNED_ON, ARR, STAGE, CONTRACT]),
        st.integers(0, 2),
    ),
    max_size=8,
)


@given(facts=facts, day=st.integers(0, 80), later=st.integers(0, 40))
@settings(max_examples=200)
def test_spells_follow_each_other_and_what_is_learnt_later_takes_no_known_loss_back(
    facts, day, later
):
    known = [
        Fact(
            at, at + lag, source, 1 if source == CONTRACT else 0 if source == CHURNED_ON else level
        )
        for at, lag, source, level in facts
    ]
    first = spells(known, 0, day)
    ends = [spell.lost for spell in first[:-1]]
    assert None not in ends
    assert all(a.lost < b.began for a, b in itertools.pairwise(first))
    # returns that become known after the day, and nothing else, are added
    returns = [Fact(day + later + 1, day + later + 1, CONTRACT, 1)]
    seen = [fact for fact in known if fact.visible <= day]
    second = spells([*seen, *returns], 0, day + later + 1)
    assert [spell.lost for spell in second][: len(ends)] == ends
    assert first[-1].lost is None or second[len(ends)].lost == first[-1].lost


def test_an_account_that_was_merged_into_its_parent_is_no_churn():
    customers = frame(
        "client_id signup_date parent_id churned_on",
        ("group", "2022-01-01", None, None),
        ("bought", "2022-01-01", "group", "2025-04-01"),
        ("failed", "2022-01-01", "group", "2025-08-01"),
        ("pulse", "2022-01-01", None, None),
    )
    changes = frame(
        "client_id effective_on arr",
        ("group", "2023-01-01", 1_000),
        ("group", "2025-04-10", 1_280),
        ("bought", "2023-01-01", 300),
        ("failed", "2023-01-01", 300),
    )
    portfolio = portfolio_of(customers=customers, arr_changes=changes)
    assert merged_into(portfolio, LAST).to_dict() == {"bought": "group"}
    assert merged_into(portfolio, dt.date(2025, 4, 5)).empty  # not known yet
    rows = labels(
        pd.DataFrame(
            {
                "client_id": ["bought", "failed"],
                "date": pd.to_datetime(["2025-03-20", "2025-07-20"]),
            }
        ),
        spells_as_of(portfolio, LAST),
        LAST,
        30,
    )
    assert rows["outcome"].tolist() == [0, 1]
    assert not profiles(portfolio, [LAST]).set_index("client_id").loc["bought", "live"]


def test_all_who_left_are_losses_also_where_most_of_them_came_back():
    clients = [f"w{at}" for at in range(40)]
    rows = [(client, "2022-01-01", "2024-03-01") for client in clients]
    customers = frame("client_id signup_date churned_on", *rows, ("pulse", "2022-01-01", None))
    contracts = frame(
        "client_id starts_on arr", *[(name, "2024-06-01", 10) for name in clients[4:]]
    )
    table = spells_as_of(portfolio_of(customers=customers, contracts=contracts), LAST)
    assert table["churned_on"].notna().sum() == 40
    assert table[table["is_last"] & table["churned_on"].notna()]["client_id"].nunique() == 4
