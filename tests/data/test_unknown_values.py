"""Unknown is never good: spoiled values of a demo portfolio raise no points, activity, ARR or coverage."""

from __future__ import annotations

from benchmarks.unknown_values import study


def test_a_value_that_became_unknown_makes_nothing_better():
    done, wrong = study(clients=25, months=3, draws=25, seed=5)
    assert done == 25
    assert wrong == []
