"""Dirt of one customer: check and a tool answer, and nobody else's figures move."""

from __future__ import annotations

import pytest

from benchmarks.kinds_of_dirt import kinds, study

pytestmark = pytest.mark.slow


def test_dirt_in_one_customers_rows_moves_no_other_customers_figures():
    assert len(kinds()) + 8 >= 60
    tried, wrong = study(clients=24, months=3, seed=7, only="contracts.", tools=1)
    assert tried >= 6
    assert wrong == []
