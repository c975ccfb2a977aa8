"""Real series: the M3 competition's, where the data are at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import m3


@pytest.fixture(scope="module")
def data():
    try:
        return m3.folder()
    except m3.DataAbsent as absent:
        pytest.skip(str(absent))


def test_a_sample_of_the_competition_is_forecast_as_well_as_its_best_and_covered(data):
    rows = m3.table(m3.run(processes=1, every=20))
    assert rows.loc["ALL", "series"] == 152
    assert rows.loc["ALL", "sMAPE"] < 13.5
    assert rows.loc["ALL", "MASE"] < 1.45
    assert 0.86 <= rows.loc["ALL", "coverage"] <= 0.94


def test_the_scoring_gives_the_published_scores_of_the_naive_method(data):
    """Naive2 is the naive forecast where no season is taken off: on yearly and other series."""
    scores = [
        {"period": kind, **m3.scores(1, train, test, *np.full((3, len(test)), train[-1]))}
        for _, kind, train, test in m3.series()
        if kind in ("YEARLY", "OTHER")
    ]
    means = pd.DataFrame(scores).groupby("period")[["sMAPE", "MASE"]].mean()
    published = pd.read_csv(data / "m3_method_scores_recomputed.csv", index_col="method").loc[
        "NAIVE2"
    ]
    for kind, row in means.iterrows():
        assert row["sMAPE"] == pytest.approx(published[f"sMAPE_{kind}"], abs=0.001)
        assert row["MASE"] == pytest.approx(published[f"MASE_{kind}"], abs=0.001)


def test_absent_data_is_said_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HEALTHSEG_SHARED_DATA", str(tmp_path))
    with pytest.raises(m3.DataAbsent, match="HEALTHSEG_SHARED_DATA"):
        m3.folder()
