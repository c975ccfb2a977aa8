"""Two scorecards, dates and portfolios side by side, and a score whose inputs were others."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.scoring.comparison import TOO_FEW
from tests.metrics.portfolios import write_tables

LAST = dt.date(2025, 6, 30)
START = dt.date(2024, 5, 1)
WEEKS = [START + dt.timedelta(days=7 * week) for week in range(61)]


def tables() -> dict[str, pd.DataFrame]:
    """24 customers that use the product alike; the eight whose NPS is 0 churn, two each second month."""
    ids = [f"c{k:02d}" for k in range(24)]
    months = [
        dt.date(2024, 11, 20),
        dt.date(2025, 1, 20),
        dt.date(2025, 3, 20),
        dt.date(2025, 5, 20),
    ]
    churned = {client: months[k // 2] for k, client in enumerate(ids[:8])}
    events = [
        (client, f"{client}-u{user}", f"{day}T10:00:00")
        for k, client in enumerate(ids)
        for user in range(3 + k % 3)
        for day in WEEKS
        if day < churned.get(client, LAST)
    ]
    surveys = [
        (client, "nps", 0 if client in churned else 10, f"{day}T09:00:00", f"{client}-u{user}")
        for client in ids
        for user in range(3)
        for day in (START + dt.timedelta(days=30), START + dt.timedelta(days=150))
    ]
    return {
        "customers": pd.DataFrame(
            {
                "client_id": ids,
                "signup_date": "2024-01-01",
                "churned_on": [churned.get(client) for client in ids],
            }
        ),
        "contracts": pd.DataFrame(
            {"client_id": ids, "starts_on": "2024-01-01", "arr": 1000, "seats": 6}
        ),
        "events": pd.DataFrame(events, columns=["client_id", "user_id", "occurred_at"]),
        "surveys": pd.DataFrame(
            surveys, columns=["client_id", "kind", "score", "responded_at", "user_id"]
        ),
    }


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    write_tables(folder, tables())
    return hs.Portfolio.open(folder, {"data_until": LAST})


USAGE = {"scorecard": {"components": {"satisfaction": False}}}
NPS = {"scorecard": {"components": {"satisfaction": {"weight": 5}}}}


@pytest.fixture(scope="module")
def compared(portfolio):
    return hs.compare_scorecards(portfolio, USAGE, NPS, draws=40)


def test_two_scorecards_are_compared_customer_by_customer(compared):
    table = compared.frame("customers").set_index("client_id")
    assert len(table) == 16 and (table["change"] > 0).all()  # those that stayed are satisfied
    assert (table["change"] == table["score_b"] - table["score_a"]).all()
    assert table["why"].str.contains("NPS").all()


def test_the_parts_of_each_customers_change_add_up(compared):
    sums = compared.frame("parts").groupby("client_id")["points"].sum()
    changes = compared.frame("customers").set_index("client_id")["change"]
    assert np.allclose(sums.reindex(changes.index), changes)


def test_the_scorecard_that_reads_what_decides_predicts_better(compared):
    card = compared.frame("report_card").set_index("side")
    assert card.loc["b", "auc"] > 0.9 and card.loc["a", "auc"] < 0.75
    assert card.loc["a", "churned"] == card.loc["b", "churned"] == 8
    gain, low, high = compared.gain
    assert 0 < low <= gain <= high and gain == pytest.approx(
        card.loc["b", "auc"] - card.loc["a", "auc"], abs=1e-9
    )
    assert str(compared).startswith("16 of 16 customers move")


def test_two_dates_are_compared(portfolio):
    earlier = dt.date(2025, 2, 1)
    result = hs.compare_scorecards(portfolio, earlier, draws=20)
    assert result.as_of == (earlier, LAST) and len(result.frame("customers")) == 16


def test_two_portfolios_are_compared_by_the_customers_of_both(portfolio, tmp_path):
    some = tables()
    ids = set(some["customers"]["client_id"].iloc[4:20])
    write_tables(
        tmp_path, {name: frame[frame["client_id"].isin(ids)] for name, frame in some.items()}
    )
    other = hs.Portfolio.open(tmp_path, {"data_until": LAST})
    result = hs.compare_scorecards(portfolio, b=other, draws=20)
    assert result.frame("customers")["change"].tolist() == [0] * 12
    assert result.gain is None and result.not_measured["report_card"] == TOO_FEW


def test_another_frame_or_date_is_refused(portfolio, compared):
    with pytest.raises(InvalidParameters, match="customers"):
        compared.frame("customer")
    with pytest.raises(InvalidParameters, match="after the data"):
        hs.compare_scorecards(portfolio, b="2030-01-01")


# -- what if ---------------------------------------------------------------------------------


def test_what_is_derived_follows_and_the_parts_add_up(portfolio):
    result = hs.what_if(portfolio, "c09", {"monthly_active_users": 6})
    assert result.score_if > result.score
    metrics = result.parts.set_index("metric")
    assert metrics.loc["seat_utilisation", ["value_then", "value_now"]].tolist() == [0.5, 1.0]
    assert result.parts["points"].sum() == pytest.approx(result.score_if - result.score)
    assert "would be" in str(result) and result.probability is None and result.reason


def test_nothing_changed_changes_nothing(portfolio):
    result = hs.what_if(portfolio, "c09", {})
    assert result.score_if == result.score and not len(result.parts)


def test_what_cannot_be_is_refused(portfolio):
    with pytest.raises(InvalidParameters, match="seats"):
        hs.what_if(portfolio, "c09", {"seat": 1})
    with pytest.raises(InvalidParameters, match="live customer"):
        hs.what_if(portfolio, "c00", {"seats": 1})
