"""Charts of engagement patterns: what stands on a scale of ratios, also where nothing was seen."""

from __future__ import annotations

import pandas as pd

from healthseg.charts import patterns, theme


def row(lift: float, lower: float, upper: float) -> dict:
    return {
        "type": "temporal",
        "name": "few on Sundays",
        "lift": lift,
        "lift_lower": lower,
        "lift_upper": upper,
        "support": 0,
        "n": 40,
    }


def test_a_pattern_of_nothing_at_all_stands_at_the_edge_of_the_scale():
    for rows in (
        [row(0.0, 0.0, 0.1), row(2.0, 1.5, 3.0)],
        [row(0.0, 0.0, 0.0)],
        [row(0.0, float("nan"), 0.2)],
    ):
        drawn = theme.svg(patterns.lifts(pd.DataFrame(rows)))
        assert "few on Sundays" in drawn and "0.00 ×" in drawn and "NaN" not in drawn
