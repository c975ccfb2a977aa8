"""Stages of the simulated portfolio against what was planted in it: stays, doors, disagreements."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.metrics.stages import history, portfolio_stage_spells, portfolio_time_in_stage
from healthseg.tools import manage_lifecycle_stages, portfolio_lifecycle


@pytest.fixture(scope="module")
def lifecycle(demo):
    return portfolio_lifecycle(demo)


@pytest.fixture(scope="module")
def planted(truth):
    spells = truth("stage_spells")
    return spells.assign(
        entered_at=pd.to_datetime(spells["entered_at"]), left_at=pd.to_datetime(spells["left_at"])
    )


def test_every_stay_is_the_planted_one_to_the_day(demo, planted):
    spells = portfolio_stage_spells(demo, history(demo), demo.data_until, None)
    spells = spells[spells["stage"] != "churned"]
    ours = list(
        zip(
            spells["client_id"],
            spells["stage"],
            spells["start"],
            spells["end"].astype(object),
            strict=True,
        )
    )
    over = planted["left_at"].where(planted["left_at"] <= pd.Timestamp(demo.data_until))
    theirs = list(
        zip(
            planted["client_id"],
            planted["stage"],
            planted["entered_at"],
            over.astype(object),
            strict=True,
        )
    )
    assert [(*row[:3], None if pd.isna(row[3]) else row[3]) for row in ours] == [
        (*row[:3], None if pd.isna(row[3]) else row[3])
        for row in sorted(theirs, key=lambda row: (row[0], row[2]))
    ]


def test_disagreements_with_contracts_are_exactly_the_planted_ones(lifecycle, truth):
    planted = truth("stage_disagreements")
    spells = lifecycle.frame("disagreements")
    spells = spells[spells["kind"] == "contract"]
    assert {
        (row.client_id, row.recorded, row.suggests, str(row.since)[:10])
        for row in spells.itertuples()
    } == {
        (row.client_id, row.recorded, row.by_contract, str(row.since)[:10])
        for row in planted.itertuples()
    }


def test_curves_hold_the_medians_of_the_planted_law(demo, truth):
    law, rng = truth("stage_law"), np.random.default_rng(7)
    curves, inside, tried = (
        portfolio_time_in_stage(demo, history(demo), demo.data_until, None),
        0,
        0,
    )
    for stage, rows in law.groupby("stage"):
        if stage not in curves or curves[stage].n < 30 or curves[stage].median.upper is None:
            continue
        routes = [eval_law(text) for text in rows["parameters"]]
        door = rng.choice(len(routes), 20_000, p=[route["chance"] for route in routes])
        days = np.array([route["median_days"] for route in routes])[door] * np.exp(
            np.array([route["sd_log"] for route in routes])[door] * rng.standard_normal(20_000)
        )
        median = np.median(np.maximum(1, np.round(days)))
        tried += 1
        inside += (
            curves[stage].median.lower - 4 <= median <= curves[stage].median.upper + 4
        )  # leaving shortens them
    assert tried >= 4 and inside >= tried - 1


def eval_law(text: str) -> dict:
    import json

    return json.loads(text)


def test_shares_over_time_add_up_to_the_live_customers_of_each_date(lifecycle, demo):
    by_date = lifecycle.frame("over_time").groupby("date")["customers"].sum()
    assert by_date.iloc[-1] == lifecycle.total_customers + lifecycle.excluded["prospect"]
    assert (
        sum(lifecycle.stage_counts.values()) + lifecycle.without_stage == lifecycle.total_customers
    )
    assert sum(lifecycle.stage_arr.values()) == pytest.approx(lifecycle.total_arr, abs=1)
    today = lifecycle.frame("over_time").query("date == date.max()").set_index("stage")["arr"]
    stages = {stage: arr for stage, arr in lifecycle.stage_arr.items() if arr}
    assert today[today > 0].to_dict() == pytest.approx(stages)  # in one currency, as today's sums


def test_the_matrix_adds_up_to_one_from_each_stage(lifecycle):
    matrix = lifecycle.frame("matrix")
    assert np.allclose(matrix.groupby("source")["share"].sum(), 1.0)
    assert (matrix.groupby("source")["n"].sum() == matrix.groupby("source")["of"].first()).all()
    assert (matrix["lower"] <= matrix["share"]).all() and (matrix["share"] <= matrix["upper"]).all()


def test_the_portfolios_page_and_the_customers_response_say_the_same(lifecycle, demo):
    stuck = {row["client_id"] for row in lifecycle.stuck_customers}
    apart = {row["client_id"] for row in lifecycle.disagreements}
    for client in [*sorted(stuck | apart), *demo.table("customers")["client_id"].head(8)]:
        response = manage_lifecycle_stages(demo, client, "get_stage")
        live = response.customer_name and client not in set(left_ones(demo))
        assert (client in stuck) == bool(live and response.position and response.position.stuck)
        assert (client in apart) == bool(response.disagreements)


def left_ones(demo) -> list[str]:
    rows = demo.table("customers")
    return rows.loc[rows["churned_on"].notna(), "client_id"].tolist()


def test_a_customers_response_conforms_to_the_reference(demo, conform):
    for client in demo.table("customers")["client_id"].head(5):
        assert (
            conform(
                "manage_lifecycle_stages",
                manage_lifecycle_stages(demo, client, "get_stage").to_dict(),
            )
            == []
        )


def test_the_plan_to_advance_moves_exactly_those_whose_criteria_are_met(demo):
    from healthseg.tools.lifecycle.moves import plan

    steps = {step.client_id: step for step in plan(demo, demo.data_until)}
    for client in demo.table("customers")["client_id"].head(20):
        coming = manage_lifecycle_stages(
            demo, client, "get_stage", as_of=demo.data_until
        ).next_stage_criteria
        met = bool(coming.criteria_detail) and all(
            criterion.met for criterion in coming.criteria_detail
        )
        assert met == (client in steps and steps[client].target == coming.target_stage), client
