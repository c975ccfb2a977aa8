from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.statistics.effects import event_of_rows, label_event_dates, labels
from healthseg.statistics.peers import order_statistic, peer_standing, peers_of
from healthseg.statistics.rates import wilson


def portfolio(values, industry="retail", tier="SMB", prefix="c"):
    clients = [f"{prefix}{at:02d}" for at in range(len(values))]
    usage = np.array(values, dtype=float)
    return pd.DataFrame({"client_id": clients, "industry": industry, "tier": tier, "usage": usage})


def test_a_customer_is_ranked_among_the_others_by_mid_rank():
    standing = peer_standing(portfolio([10, 20, 20, 30, 40, 50, 60, 70, 80]), "usage").set_index(
        "client_id"
    )
    middle = standing.loc["c01"]  # 20: of 8 others one below, one equal, six above
    assert (middle["peer_group"], middle["peer_label"], middle["n"]) == (
        "industry×tier",
        "retail · SMB",
        8,
    )
    assert middle["percentile"] == 100 * 1.5 / 8
    assert (middle["lower"], middle["upper"]) == tuple(
        100 * float(edge) for edge in wilson(1.5, 8, 0.9)
    )
    # of the others 10 20 30 40 50 60 70 80 the second, fourth and sixth
    assert middle[["p25", "p50", "p75"]].tolist() == [20, 40, 60]
    assert standing.loc["c00", ["p25", "p50", "p75"]].tolist() == [
        20,
        40,
        60,
    ]  # 20 20 30 40 50 60 70 80
    assert standing.loc["c08", ["p25", "p50", "p75"]].tolist() == [
        20,
        30,
        50,
    ]  # 10 20 20 30 40 50 60 70


def test_peers_fall_back_from_industry_to_tier_to_the_portfolio():
    frame = pd.concat(
        [
            portfolio(range(9), prefix="a"),
            portfolio(range(8), industry="steel", prefix="b"),
            portfolio(range(3), industry="steel", tier="Enterprise", prefix="d"),
        ]
    )
    standing = peer_standing(frame, "usage").set_index("client_id")
    assert standing["peer_group"].loc[["a00", "b00", "d00"]].tolist() == [
        "industry×tier",
        "tier",
        "portfolio",
    ]
    assert standing["n"].loc[["a00", "b00", "d00"]].tolist() == [8, 16, 19]


def test_a_customer_of_unknown_tier_has_the_portfolio_for_peers():
    frame = pd.concat([portfolio(range(9)), portfolio([4], tier=None, prefix="x")])
    assert peer_standing(frame, "usage").set_index("client_id").loc[
        "x00", ["peer_group", "n"]
    ].tolist() == ["portfolio", 9]


def test_missing_values_are_no_peers_and_too_few_have_no_rank():
    standing = peer_standing(portfolio([1, 2, 3, 4, 5, 6, 7, 8, np.nan]), "usage")
    assert standing["peer_group"].isna().all()
    assert standing[["n", "percentile", "p75"]].isna().all(axis=None)
    enough = peer_standing(portfolio([1, 2, 3, 4, 5, 6, 7, 8, 9, np.nan]), "usage")
    assert enough["n"].tolist()[:9] == [8] * 9
    assert np.isnan(enough["percentile"].iloc[9])


@given(st.lists(st.integers(0, 20), min_size=9, max_size=40))
def test_quartiles_of_the_others_are_what_sorting_the_others_gives(values):
    standing = peer_standing(portfolio(values), "usage")
    for at in range(len(values)):
        others = sorted(values[:at] + values[at + 1 :])
        assert standing.loc[at, "p75"] == others[order_statistic(len(others), 0.75)]
        below = (
            sum(value < values[at] for value in others)
            + sum(value == values[at] for value in others) / 2
        )
        assert standing.loc[at, "percentile"] == pytest.approx(100 * below / len(others))


KINDS = st.tuples(
    st.integers(0, 9), st.sampled_from(["retail", "steel", None]), st.sampled_from(["SMB", None])
)


@settings(max_examples=40)
@given(st.lists(KINDS, min_size=5, max_size=25))
def test_one_customers_peers_are_those_it_is_ranked_among(rows):
    values, industries, tiers = (list(column) for column in zip(*rows, strict=True))
    frame = portfolio(values).assign(industry=industries, tier=tiers)
    for _, row in peer_standing(frame, "usage").iterrows():
        label, peers = peers_of(frame, row["client_id"])
        assert label == row["peer_label"]
        assert len(peers) == (0 if label is None else row["n"])
        assert row["client_id"] not in peers["client_id"].tolist()
        if label is not None:
            assert sorted(peers["usage"])[order_statistic(len(peers), 0.75)] == row["p75"]


CUSTOMERS = pd.DataFrame(
    {
        "client_id": ["a", "b", "c", "d"],
        "churned_on": ["2025-05-01", None, "2025-03-10", None],
        "notice_on": ["2025-04-01", "2025-06-20", None, None],
    }
)


def test_a_loss_is_the_earlier_of_notice_and_leaving():
    events = label_event_dates(CUSTOMERS)
    assert events.dt.strftime("%m-%d").tolist() == ["04-01", "06-20", "03-10", np.nan]
    assert label_event_dates(CUSTOMERS[["client_id"]]).isna().all()
    assert label_event_dates(CUSTOMERS.drop(columns="notice_on")).count() == 2


def test_labels_count_the_window_after_the_lead_and_only_once_it_is_over():
    rows = pd.DataFrame(
        {
            "client_id": ["a", "a", "a", "c", "d", "d", "b"],
            "date": [
                "2025-01-01",
                "2025-03-01",
                "2025-03-25",
                "2025-03-10",
                "2025-03-01",
                "2025-05-01",
                "2025-03-01",
            ],
        }
    )
    labelled = labels(
        rows, label_event_dates(CUSTOMERS), dt.date(2025, 6, 1), horizon_days=60, lead_days=14
    )
    # a leaves 31 Mar: after 14 Jan + 60 days = 16 Mar it is 0; in (15 Mar, 14 May] 1; within 14 days of 25 Mar too soon
    assert labelled["status"].tolist() == [
        "labelled",
        "labelled",
        "in_lead",
        "after_event",
        "labelled",
        "immature",
        "labelled",
    ]
    assert labelled["outcome"].fillna(-1).tolist() == [0, 1, -1, -1, 0, -1, 0]


def test_an_event_after_as_of_is_not_read():
    rows = pd.DataFrame({"client_id": ["b"], "date": ["2025-06-01"]})
    events = label_event_dates(CUSTOMERS)
    assert labels(rows, events, dt.date(2025, 6, 25), 10)["status"].item() == "labelled"
    early = labels(rows, events, dt.date(2025, 6, 15), 10)
    assert (early["status"].item(), early["outcome"].item()) == ("labelled", 0.0)
    assert labels(rows, events, dt.date(2025, 6, 15), 30)["status"].item() == "immature"
    assert (
        labels(rows, events, dt.date(2025, 6, 15), 30, lead_days=25)["status"].item() == "immature"
    )


def test_no_rows_have_no_events():
    spells = pd.DataFrame(
        {"client_id": ["a"], "signup_date": pd.Timestamp("2024-01-01"), "churned_on": pd.NaT}
    )
    rows = pd.DataFrame({"client_id": ["a"], "date": pd.Timestamp("2024-03-01")})
    assert len(event_of_rows(rows[:0], spells)) == 0 < len(event_of_rows(rows, spells))
