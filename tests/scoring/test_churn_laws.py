"""Worlds of other laws than the score's metrics: their truth is true, and they know nothing of healthseg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import _worlds

CUSTOMERS = 60


@pytest.mark.parametrize("law", _worlds.LAWS)
def test_as_many_are_lost_as_the_true_probabilities_say(law):
    expected, variance, lost = 0.0, 0.0, 0
    for seed in (1, 2, 3):
        world = _worlds.make_world(law, seed, CUSTOMERS)
        engagement, friction, day = _worlds.live_through(world)
        truth = _worlds.truth(world, engagement, friction, (30,))
        number = ((truth["date"] - _worlds.START).dt.days).to_numpy()
        event = day[truth["client_id"].str[1:].astype(int)]
        joined = world.signup[truth["client_id"].str[1:].astype(int)] <= number
        at_risk = joined & (event > number) & (number + 30 < _worlds.DAYS)
        p = truth["p30"].to_numpy()[at_risk]
        lost += int((event[at_risk] <= number[at_risk] + 30).sum())
        expected, variance = expected + p.sum(), variance + (p * (1 - p)).sum()
    assert lost > 25 and abs(lost - expected) < 3.5 * np.sqrt(variance)


def test_terms_are_lost_at_renewals_alone_and_tables_tell_when_they_are():
    tables = _worlds.make_tables("terms", 3, CUSTOMERS)
    contracts, customers = tables["contracts"], tables["customers"]
    lost = customers[customers["churned_on"].notna()]
    last = contracts.groupby("client_id")["ends_on"].max()
    assert len(lost) > 5
    assert (last.reindex(lost["client_id"]).to_numpy() == lost["churned_on"].to_numpy()).all()
    assert set(tables) == {"customers", "contracts", "events", "tickets", "surveys", "truth"}
    again = _worlds.make_tables("terms", 3, CUSTOMERS)
    pd.testing.assert_frame_equal(again["contracts"], contracts)


def test_no_law_knows_the_package():
    source = Path(_worlds.__file__).read_text(encoding="utf-8")
    assert "import healthseg" not in source and "from healthseg" not in source
