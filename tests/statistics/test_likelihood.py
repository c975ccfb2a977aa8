from __future__ import annotations

import numpy as np
from scipy.special import expit

from healthseg.statistics.effects import likelihood


def sample(seed, slope, customers=300, rows=5):
    """Customers looked at several times: where they stand, and how they ended."""
    rng = np.random.default_rng(seed)
    stand = rng.standard_normal((customers, 1))
    ended = (rng.random(customers) < expit(0.5 + slope * stand[:, 0])).astype(float)
    return (
        np.repeat(stand, rows, axis=0),
        np.repeat(ended, rows),
        np.repeat(np.arange(customers), rows),
    )


def test_a_law_is_found_and_its_chances_happen_as_often_as_said():
    fitted = likelihood(*sample(1, 1.5))
    assert (
        fitted.is_useful(2.33)
        and fitted.brier < fitted.base_brier - 0.03
        and 0.8 < fitted.slope < 1.2
    )
    value, lower, upper = fitted.at(np.array([1.0]), 0.90)
    assert lower < expit(2.0) < upper and lower < value < upper


def test_intervals_of_chances_hold_the_true_chance_in_most_samples():
    covered = 0
    for seed in range(40):
        _, lower, upper = likelihood(*sample(seed, 1.0)).at(np.array([0.5]), 0.90)
        covered += lower <= expit(1.0) <= upper
    assert covered >= 32


def test_rows_of_one_customer_count_once_in_the_interval():
    once, often = (
        likelihood(*sample(3, 1.0, rows=rows)).at(np.array([0.0]), 0.90) for rows in (1, 20)
    )
    assert abs((often[2] - often[1]) / (once[2] - once[1]) - 1) < 0.1


def test_where_the_standing_tells_nothing_it_is_seldom_called_useful():
    useful = [likelihood(*sample(seed, 0.0)).is_useful(2.33) for seed in range(20)]
    assert sum(useful) <= 1


def test_there_is_none_where_all_ended_alike():
    columns, ended, customer = sample(4, 1.0)
    assert likelihood(columns, np.ones_like(ended), customer) is None
