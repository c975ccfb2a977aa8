"""Personas: planted ones are found and named by what sets them apart; users of one taste are one crowd."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from healthseg.clustering.personas import log_ratios, personas
from healthseg.settings import Settings

FEATURES = ["alerts", "board", "charts", "docs", "export", "forms"]


def users(count, tastes, seed):
    """Feature-days of users of 20 customers, of whom half lack the last feature; and each user's taste."""
    random = np.random.default_rng(seed)
    taste, rows = random.integers(0, len(tastes), count), []
    for user in range(count):
        weights = np.array(tastes[taste[user]], dtype=float)
        client = user % 20
        if client < 10:
            weights[-1] = 0
        for feature, days in zip(
            FEATURES, random.multinomial(40, weights / weights.sum()), strict=True
        ):
            if days:
                rows.append((f"c{client:02d}", f"u{user:03d}", feature, int(days)))
    return pd.DataFrame(rows, columns=["client_id", "user_id", "feature", "days"]), taste


def test_planted_personas_are_found_whatever_their_customers_can_use():
    rows, taste = users(300, [[6, 6, 1, 1, 1, 2], [1, 1, 6, 6, 1, 2], [1, 1, 1, 1, 9, 2]], 1)
    result = personas(rows, Settings())
    own = taste[[int(user[1:]) for _, user in result.labels.index]]
    assert adjusted_rand_score(result.labels.to_numpy(), own) > 0.9
    assert {
        feature for persona in range(3) for feature, _ in result.set_apart_by(persona, 1)
    } <= set(FEATURES[:5])


def test_shares_of_personas_sum_to_100():
    rows, _ = users(300, [[6, 6, 1, 1, 1, 2], [1, 1, 6, 6, 1, 2]], 2)
    assert sum(personas(rows, Settings()).shares) == pytest.approx(100)


def test_users_of_one_taste_are_no_personas():
    results = [personas(users(300, [[3, 2, 2, 1, 1, 1]], seed)[0], Settings()) for seed in range(3)]
    assert all(each.labels is None and each.reason for each in results)


def test_few_users_are_too_few():
    rows, _ = users(20, [[1, 1, 1, 1, 1, 1]], 3)
    assert personas(rows, Settings()).reason == "20 users with enough events, 40 are needed"


def test_a_user_who_does_as_the_portfolio_does_has_no_ratio():
    index = pd.MultiIndex.from_tuples([("a", "u1"), ("b", "u2")])
    ratios = log_ratios(pd.DataFrame({"x": [10, 20], "y": [10, 20]}, index=index), 5.0)
    assert np.allclose(ratios, 0)
