"""What precedes leaving: features that keep customers by themselves, and those that only make them broader."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy

from healthseg.clustering.patterns import PatternLimits
from healthseg.tools.patterns.leaving import Leaving
from healthseg.tools.patterns.study import USED, _share_of_others

CUSTOMERS, MONTHS, FEATURES = 1500, 10, 6


def months(cause: float, of_breadth: float) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Customers use features by how broad they are; leaving depends on the first feature and on how many are used."""
    random = np.random.default_rng(11)
    customer = np.repeat(np.arange(CUSTOMERS), MONTHS)
    broad = random.normal(size=CUSTOMERS)
    used = (random.normal(size=(CUSTOMERS, FEATURES)) + 1.2 * broad[:, None] > 0).astype(float)[
        customer
    ]
    odds = -2.2 - cause * used[:, 0] - of_breadth * (used.mean(axis=1) - 0.5)
    left = (random.random(len(customer)) < scipy.special.expit(odds)).astype(float)
    rows = pd.DataFrame(
        {
            "client_id": [f"c{one:04d}" for one in customer],
            "tier": "growth",
            "seats": 20.0,
            "date": np.tile(pd.date_range("2025-01-31", periods=MONTHS, freq="ME"), CUSTOMERS),
            "tenure_days": 400.0 + np.tile(np.arange(MONTHS) * 30.0, CUSTOMERS),
            "seat_utilisation": 0.7,
            "person_events_28d": 100.0,
            "outcome": left,
        }
    )
    return rows, {f"{USED}f{place}": used[:, place] for place in range(FEATURES)}


def tried(cause: float, of_breadth: float) -> pd.DataFrame:
    rows, uses = months(cause, of_breadth)
    family = Leaving(rows, PatternLimits(), 0.95, at_equal_activity=True).family(
        "habit", uses, {key: _share_of_others(key, uses, len(rows)) for key in uses}
    )
    return family.tried.set_index("key")


def test_features_of_broad_customers_are_not_advised_where_only_breadth_keeps_them():
    found = tried(cause=0.0, of_breadth=1.0)
    assert (found["lift"] < 0.9).all()  # plainly, whoever uses any of them leaves less
    assert (found["sure_lift"] > 0.8).all()


def test_a_feature_that_keeps_customers_is_told_from_those_that_come_along_with_it():
    found = tried(cause=1.0, of_breadth=0.0)
    assert found.index[found["sure_lift"] <= 0.8].tolist() == [f"{USED}f0"]
    assert (
        found.loc[f"{USED}f0", "hazard_lower"]
        < np.exp(-1.0)
        < found.loc[f"{USED}f0", "hazard_upper"]
    )


def test_the_share_of_other_features_leaves_out_those_of_the_habit_and_those_not_open():
    uses = {
        f"{USED}a": np.array([1.0, 1.0]),
        f"{USED}b": np.array([1.0, 0.0]),
        f"{USED}c": np.array([np.nan, 1.0]),
    }
    assert _share_of_others(f"{USED}a", uses, 2).tolist() == [1.0, 0.5]
    assert _share_of_others("took up a → b", uses, 2).tolist() == pytest.approx([1.0, 1.0])
