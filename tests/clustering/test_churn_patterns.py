"""Features and churn: those that reduce it by themselves, and those that only come with broad use."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy

from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_patterns import USED, ChurnHypotheses, share_of_other_features
from healthseg.clustering.churn_signs import SIGNS
from healthseg.clustering.sequences import ARROW
from healthseg.settings import Settings
from healthseg.statistics.spells import earliest_lead
from healthseg.tools.patterns.churn import ChurnPatterns

CUSTOMERS, MONTHS, FEATURES = 1500, 10, 6


def months(cause: float, of_breadth: float) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Customers use features by how broad they are; churn depends on the first feature and on how many are used."""
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
            "client_id": [f"c{number:04d}" for number in customer],
            "tier": "growth",
            "seats": 20.0,
            "date": np.tile(pd.date_range("2025-01-31", periods=MONTHS, freq="ME"), CUSTOMERS),
            "tenure_days": 400.0 + np.tile(np.arange(MONTHS) * 30.0, CUSTOMERS),
            "person_events_before": 100.0,
            "outcome": left,
        }
    )
    return rows, {f"{USED}f{feature}": used[:, feature] for feature in range(FEATURES)}


def tried(cause: float, of_breadth: float) -> pd.DataFrame:
    rows, uses = months(cause, of_breadth)
    beside = {key: share_of_other_features(key, uses, len(rows)) for key in uses}
    hypotheses = ChurnHypotheses(rows, Settings())
    family = hypotheses.family("habit", uses, beside)
    return family.tried.set_index("key")


def test_features_are_not_recommended_where_only_breadth_reduces_churn():
    results = tried(cause=0.0, of_breadth=1.0)
    assert (results["lift"] < 0.9).all()  # unadjusted, customers that use any of them churn less
    assert (results["sure_lift"] > 0.8).all()


def test_a_feature_that_reduces_churn_is_distinguished_from_those_that_accompany_it():
    results = tried(cause=1.0, of_breadth=0.0)
    assert results.index[results["sure_lift"] <= 0.8].tolist() == [f"{USED}f0"]
    assert (
        results.loc[f"{USED}f0", "hazard_lower"]
        < np.exp(-1.0)
        < results.loc[f"{USED}f0", "hazard_upper"]
    )


def test_a_feature_that_comes_with_activity_alone_is_not_recommended():
    """Who is active in a month uses the first feature, and churns less; the feature itself does nothing."""
    random = np.random.default_rng(5)
    rows, uses = months(cause=0.0, of_breadth=0.0)
    active = random.normal(size=len(rows))
    rows["outcome"] = random.random(len(rows)) < scipy.special.expit(-2.4 - 0.8 * active)
    uses[f"{USED}f0"] = (active + 0.5 * random.normal(size=len(rows)) > 0).astype(float)
    beside = {key: share_of_other_features(key, uses, len(rows)) for key in uses}
    sure = {}
    for known in (False, True):
        counted = rows.assign(person_events_28d=np.exp(3 + active)) if known else rows
        family = ChurnHypotheses(counted, Settings()).family("habit", uses, beside)
        sure[known] = family.tried.set_index("key").loc[f"{USED}f0", "sure_lift"]
    assert sure[False] < 0.6 and sure[True] > 0.8


def test_the_share_of_other_features_excludes_those_of_the_habit_and_those_not_entitled():
    uses = {
        f"{USED}a": np.array([1.0, 1.0]),
        f"{USED}b": np.array([1.0, 0.0]),
        f"{USED}c": np.array([np.nan, 1.0]),
    }
    assert share_of_other_features(f"{USED}a", uses, 2).tolist() == [1.0, 0.5]
    assert share_of_other_features("took up a → b", uses, 2).tolist() == pytest.approx([1.0, 1.0])


def test_what_leads_to_a_feature_that_goes_with_churn_is_not_recommended():
    habits = tried(
        cause=-1.0, of_breadth=0.0
    ).reset_index()  # the first feature drives customers away
    assert habits.loc[habits["key"] == f"{USED}f0", "lift"].item() > 1.3
    weeks = pd.DataFrame({metric: [0.0] for sign in SIGNS for metric, _, _ in sign.parts})
    study = SimpleNamespace(
        settings=Settings(), history=SimpleNamespace(weeks=weeks), tried=lambda kind: habits
    )
    churn = ChurnPatterns(study, habits, None)
    assert churn.goes_with_churn("bundle", PLUS.join(["f0", "f1"]))
    assert churn.goes_with_churn("sequence", ARROW.join(["f1", "f0"]))
    assert not churn.goes_with_churn("sequence", ARROW.join(["f0", "f1"]))  # f0 is used already
    assert not churn.goes_with_churn("bundle", PLUS.join(["f1", "f2"]))


def test_the_earliest_lead_is_the_first_day_from_which_a_sign_separates_until_churn():
    """Of 100 churned customers: the error of a share of half is 0.05, so that a gap of 0.1 is two spreads."""
    gaps = {
        "silence": [0.5, 0.4, 0.3, 0.05],  # from 21 days on; by far the widest gap, at 7 days
        "fewer_users": [0.2, 0.2, 0.05, 0.4],  # a gap at 28 that does not last: from 14 on
        "idle_seats": [0.2, 0.2, 0.2, 0.05],  # from 21 on too, by less
    }
    curves = pd.DataFrame(
        [
            {"sign": sign, "lead_days": lead, "churned": 0.5, "n": 100, "gap": gap}
            for sign, row in gaps.items()
            for lead, gap in zip((7, 14, 21, 28), row, strict=True)
        ]
    )
    curves = curves.sample(frac=1, random_state=1)
    assert earliest_lead(curves, 20, 1.96) == ("silence", 21)
    without = curves[curves["sign"] == "fewer_users"]
    assert earliest_lead(without, 20, 1.96) == ("fewer_users", 14)
    assert earliest_lead(without, 101, 1.96) == (None, None)  # too few customers
    assert earliest_lead(without, 20, 5.0) == (None, None)
