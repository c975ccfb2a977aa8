"""The dirty portfolio against its list of faults: every fault is accounted for, and nothing else is."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.demo import make_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dirty(tmp_path_factory) -> tuple[hs.Portfolio, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("dirty-accounting")
    make_demo(folder, clients=120, months=6, scenario="dirty", events="light")
    return hs.Portfolio.open(folder), pd.read_parquet(folder / "truth" / "dirt.parquet")


def test_as_many_rows_are_dropped_as_were_spoiled(dirty) -> None:
    portfolio, dirt = dirty
    spoiled = dirt[dirt["expected"] == "dropped"].groupby("table")["row"].nunique()
    dropped = {
        name: report.read - report.kept
        for name, report in portfolio.reports.items()
        if report.read != report.kept
    }
    assert dropped == spoiled.to_dict()


def test_every_row_is_kept_or_dropped_with_a_reason(dirty) -> None:
    portfolio, _ = dirty
    for report in portfolio.reports.values():
        assert report.read == report.kept + sum(drop.count for drop in report.drops)
        assert all(drop.reason and drop.file for drop in report.drops)


def test_as_many_values_are_corrected_as_were_spoiled(dirty) -> None:
    portfolio, dirt = dirty
    spoiled = dirt[dirt["expected"] == "corrected"].groupby("table").size()
    corrected = {
        name: sum(report.corrected.values())
        for name, report in portfolio.reports.items()
        if report.corrected
    }
    assert corrected == spoiled.to_dict()


def test_the_dirty_portfolio_scores_as_well_as_the_clean_one(dirty, tmp_path) -> None:
    portfolio, _ = dirty
    make_demo(tmp_path, clients=120, months=6, events="light")
    clean = hs.Portfolio.open(tmp_path)
    live = clean.table("customers").query("churned_on != churned_on")
    # a new customer has no score yet
    client = live.sort_values("signup_date", kind="stable")["client_id"].iloc[0]
    assert portfolio.data_until == clean.data_until
    assert (
        abs(
            hs.calculate_health_score(portfolio, client).current_health_score
            - hs.calculate_health_score(clean, client).current_health_score
        )
        <= 5
    )
