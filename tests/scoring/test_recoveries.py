"""From at risk to healthy: what recovers by itself is no success of an intervention; what helps is measured as helping."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.scoring.recoveries import recoveries
from healthseg.settings import Settings

FIRST, WEEKS, WELL = pd.Timestamp("2024-01-01"), 40, 70.0
SHALLOW, DEEP = 57.0, 44.0  # scores at the beginning of a spell


def scores_of(client, low, recovers):
    """Ten weeks well, then low: for five weeks, or to the end."""
    shown = np.r_[[WELL] * 10, [low] * 5, [WELL if recovers else low] * (WEEKS - 15)]
    return pd.DataFrame(
        {
            "client_id": client,
            "date": FIRST + pd.to_timedelta(7 * np.arange(WEEKS), unit="D"),
            "shown": shown,
            "tier": "SMB",
            "live": True,
        }
    )


def result_of(rates, seed=1):
    """``rates``: (score, treated): customers, share that recovers. The treated have a call on the tenth day."""
    random, scores, calls = np.random.default_rng(seed), [], []
    for at, ((low, treated), (many, share)) in enumerate(rates.items()):
        for number in range(many):
            client = f"c{at}_{number:03d}"
            scores.append(scores_of(client, low + random.normal(0, 0.5), random.random() < share))
            calls += [(client, "call", FIRST + pd.Timedelta(days=80))] if treated else []
    interventions = pd.DataFrame(calls, columns=["client_id", "kind", "happened_at"])
    return recoveries(
        pd.concat(scores, ignore_index=True), interventions, Settings(), seed=7, level=0.9
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_to_customers_that_recover_anyway_are_no_success(seed):
    result = result_of(
        {
            (SHALLOW, True): (60, 0.8),
            (SHALLOW, False): (60, 0.8),
            (DEEP, True): (5, 0.1),
            (DEEP, False): (120, 0.1),
        },
        seed,
    )
    untreated = result.spells.loc[~result.spells["treated"], "recovered"].mean()
    assert result.success_rate - untreated > 0.3  # what a plain comparison would call a success
    assert result.difference_lower < 0 < result.difference_upper
    assert result.matched_success_rate == pytest.approx(0.75, abs=0.12) and result.treated == 65


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_that_help_are_measured_though_they_went_to_the_hard_cases(seed):
    result = result_of(
        {
            (DEEP, True): (60, 0.6),
            (DEEP, False): (80, 0.1),
            (SHALLOW, True): (10, 0.9),
            (SHALLOW, False): (120, 0.8),
        },
        seed,
    )
    untreated = result.spells.loc[~result.spells["treated"], "recovered"].mean()
    assert result.success_rate - untreated < 0.25  # a plain comparison sees half of it, or none
    assert result.difference_lower > 0.2 and result.difference == pytest.approx(0.45, abs=0.15)
    assert result.median_days == 35 and result.kinds.loc[0, ["kind", "size"]].tolist() == [
        "call",
        70,
    ]


def test_a_spell_is_matched_within_its_tier_first():
    scores = [scores_of(f"a{at:02d}", DEEP, True).assign(tier="Enterprise") for at in range(25)]
    scores += [scores_of(f"b{at:02d}", DEEP, True).assign(tier="Enterprise") for at in range(25)]
    scores += [scores_of(f"c{at:02d}", DEEP, False) for at in range(25)]
    calls = pd.DataFrame(
        {
            "client_id": [f"a{at:02d}" for at in range(25)],
            "kind": "call",
            "happened_at": FIRST + pd.Timedelta(days=80),
        }
    )
    result = recoveries(pd.concat(scores, ignore_index=True), calls, Settings(), seed=7, level=0.9)
    assert (result.success_rate, result.matched_success_rate, result.difference) == (1.0, 1.0, 0.0)


def test_nineteen_spells_on_either_side_are_too_few():
    result = result_of({(DEEP, True): (19, 0.5), (DEEP, False): (60, 0.5)})
    assert result.success_rate is None and result.matched_success_rate is None
    assert (
        result.reason
        == "too few: 19 spells with an intervention and 60 without, 20 of each are needed"
    )
