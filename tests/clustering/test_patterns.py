"""One false-discovery family for everything tried; held-out time; resamples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.clustering.patterns import (
    PatternFamily,
    PatternLimits,
    evaluate_patterns,
    resample_weights,
)
from healthseg.settings import Settings


def tried(**columns):
    rows = len(columns["p"])
    plain = {
        "key": [f"k{at}" for at in range(rows)],
        "support": 50,
        "n": 100,
        "prevalence": 0.5,
        "base_rate": 0.25,
        "lift": 2.0,
        "lower": 1.5,
        "upper": 2.5,
    }
    return pd.DataFrame({**plain, **columns})


def again_of(shows: np.ndarray, base: float):
    """Hypotheses as columns of a table of units: support counts them, lift is their share over ``base``."""

    def again(weights, rows):
        support = weights @ shows[:, rows]
        return support, support / weights.sum(axis=1, keepdims=True) / base

    return again


def test_the_q_of_a_hypothesis_counts_those_of_every_family():
    first, other = tried(p=[0.001]), tried(p=[0.5] * 9)
    alone, together = (
        evaluate_patterns([PatternFamily("bundle", first)], Settings()),
        evaluate_patterns(
            [PatternFamily("bundle", first), PatternFamily("sequence", other)], Settings()
        ),
    )
    assert alone["q"].tolist() == [0.001]
    assert together["q"].iloc[0] == pytest.approx(0.01)
    assert together["kind"].tolist() == ["bundle"] + ["sequence"] * 9


def test_a_pattern_that_does_not_come_back_on_held_out_time_does_not_pass():
    frame = tried(p=[1e-9, 1e-9, 1e-9, 1e-9])
    later = pd.DataFrame(
        {"key": ["k0", "k1", "k2"], "lift": [1.8, 1.8, 0.6], "p": [0.01, 0.2, 0.01]}
    )
    evaluated = evaluate_patterns([PatternFamily("bundle", frame, held_out=later)], Settings())
    assert evaluated["found_again"].tolist() == [True, False, False, False]
    assert evaluated["passes"].tolist() == [True, False, False, False]
    assert not evaluate_patterns([PatternFamily("bundle", frame)], Settings())["passes"].any()


def test_limits_hold_either_way_from_the_base_rate():
    frame = tried(p=[1e-9] * 4, support=[50, 19, 50, 50], lift=[1.3, 1.3, 0.5, 0.9])
    later = pd.DataFrame({"key": frame["key"], "lift": frame["lift"], "p": 0.001})
    assert evaluate_patterns([PatternFamily("temporal", frame, held_out=later)], Settings())[
        "passes"
    ].tolist() == [
        True,
        False,
        True,
        False,
    ]


def test_confidence_is_the_share_of_resamples_that_reach_the_limits():
    units = [f"c{at}" for at in range(100)]
    shows = np.zeros((100, 2))
    shows[:60, 0] = 1  # 60 of 100: a resample hardly ever has fewer than 20
    shows[:26, 1] = 1  # 26 of 100 over .2: 1.3 times, about half of the resamples have 1.25 times
    frame = tried(p=[1e-9, 1e-9], support=[60, 26], lift=[3.0, 1.3])
    later = pd.DataFrame({"key": frame["key"], "lift": [3.0, 1.3], "p": 0.001})
    family = PatternFamily("bundle", frame, units, again_of(shows, 0.2), later)
    confidence = evaluate_patterns([family], Settings())["confidence"]
    assert confidence.iloc[0] == 1.0
    assert 0.35 < confidence.iloc[1] < 0.75
    stricter = PatternFamily(
        "bundle", frame, units, again_of(shows, 0.2), later, PatternLimits(support=60)
    )
    assert 0.3 < evaluate_patterns([stricter], Settings())["confidence"].iloc[0] < 0.7


def test_a_hundred_families_of_chance_alone_hardly_ever_show_a_pattern():
    random, hits = np.random.default_rng(5), 0
    for _ in range(100):
        p, later = random.random(400), random.random(400)
        frame = tried(p=p)
        held_out = pd.DataFrame({"key": frame["key"], "lift": 1.5, "p": later})
        hits += evaluate_patterns([PatternFamily("bundle", frame, held_out=held_out)], Settings())[
            "passes"
        ].any()
    assert hits <= 2


def test_the_same_seed_draws_the_same_and_kinds_draw_apart():
    assert (resample_weights(30, 5, 7, "bundle") == resample_weights(30, 5, 7, "bundle")).all()
    assert (resample_weights(30, 5, 7, "bundle") != resample_weights(30, 5, 7, "sequence")).any()
    assert (resample_weights(30, 5, 7, "bundle").sum(axis=1) == 30).all()


def test_a_key_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="'x' occurs twice"):
        evaluate_patterns(
            [PatternFamily("bundle", tried(p=[0.1, 0.2], key=["x", "x"]))], Settings()
        )


def test_nothing_tried_is_an_empty_frame_with_the_same_columns():
    assert len(evaluate_patterns([], Settings())) == 0
    assert "passes" in evaluate_patterns(
        [PatternFamily("bundle", tried(p=np.zeros(0)))], Settings()
    )
