"""track_adoption_milestones on simulated portfolios: it recovers what was planted to the day, and every key is there."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.metrics.milestone_times import blocker_effects
from healthseg.metrics.milestones import states
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.tools import TOOLS, portfolio_milestones
from healthseg.tools.milestones.milestone_day import MilestoneDay


@pytest.fixture(scope="module")
def overall(demo):
    return portfolio_milestones(demo)


def test_every_status_start_and_completion_of_the_truth_is_recovered_to_the_day(demo, truth):
    planted = truth("milestone_status")
    for date, rows in planted.groupby("as_of"):
        results = states(demo, date)
        merged = rows.merge(
            results[results["live"]],
            on=["client_id", "milestone_id"],
            how="outer",
            indicator=True,
            suffixes=("_true", ""),
        )
        assert (merged["_merge"] == "both").all() and (
            merged["status"] == merged["status_true"]
        ).all()
        for column, day in (("started_on", "started_day"), ("completed_on", "completed_day")):
            known = (pd.to_datetime(merged[column]) - pd.Timestamp(0)).dt.days.astype(float)
            np.testing.assert_array_equal(known, merged[day])
        np.testing.assert_allclose(merged["progress_true"].astype(float), merged["progress"])
    assert planted["status"].nunique() == 5 and planted["as_of"].nunique() == 5


def test_the_spells_of_blockers_are_those_of_the_truth(demo, truth):
    results = states(demo, demo.as_of())
    results = results[results["blocker"].notna()][
        ["client_id", "milestone_id", "blocker", "blocked_day", "cleared_day"]
    ]
    planted = truth("blocker_spells")
    merged = planted.merge(
        results,
        on=["client_id", "milestone_id"],
        how="outer",
        indicator=True,
        suffixes=("_true", ""),
    )
    assert (merged["_merge"] == "both").all() and (
        merged["blocker"] == merged["blocker_true"]
    ).all()
    for column, day in (("from", "blocked_day"), ("to", "cleared_day")):
        known = (pd.to_datetime(merged[column]) - pd.Timestamp(0)).dt.days.astype(float)
        np.testing.assert_array_equal(known, merged[day])


def test_the_planted_cost_of_a_blocker_lies_in_its_interval(demo, truth):
    law = truth("blocker_law")
    results = blocker_effects(demo, demo.as_of(), 0.95).merge(law, on="blocker")
    true = np.exp(results["log_time_ratio"])
    assert (
        len(results) == 4 and ((results["lower"] <= true) & ~(results["upper"] < true)).sum() >= 3
    )
    assert results.sort_values("log_time_ratio")["factor"].iloc[-1] > 1.5


def test_the_response_has_every_key_of_the_reference(demo, conform):
    least = {
        "milestone_category": "adoption",
        "include_overdue": False,
        "include_recommendations": False,
    }
    for client in demo.table("customers")["client_id"].tolist()[::9]:
        for parameters in ({}, least):
            response = hs.track_adoption_milestones(demo, client, **parameters)
            assert conform("track_adoption_milestones", response.to_dict()) == []
            json.dumps(response.to_dict(), allow_nan=False)


def test_null_keys_have_their_reasons(demo):
    for client in demo.table("customers")["client_id"].tolist()[::9]:
        response = hs.track_adoption_milestones(demo, client)
        reasons = response.not_measured
        for mark in ("first_value", "activation", "full_adoption"):
            assert (
                getattr(response.time_to_value, f"{mark}_days") is not None
                or f"$.time_to_value.{mark}_days" in reasons
            )
        likely = "$.success_probability.overall_success_likelihood"
        assert (
            response.success_probability.overall_success_likelihood is not None or reasons[likely]
        )


def test_the_funnel_counts_the_same_as_the_customers_responses(demo, overall):
    responses = [
        hs.track_adoption_milestones(demo, row["client_id"])
        for row in demo.table("customers").to_dict("records")
        if pd.isna(row["churned_on"])
    ]
    for name in ("completed", "in_progress", "overdue", "not_started", "skipped"):
        counted = sum(
            getattr(response.overall_progress, f"{name}_milestones") for response in responses
        )
        assert sum(row[name] for row in overall.funnel) == counted
    assert overall.tracked_customers == len(responses) == overall.total_customers
    assert overall.customers_blocked == sum(bool(response.blockers) for response in responses)
    assert overall.customers_late == sum(
        not response.overall_progress.on_track for response in responses
    )


def test_late_customers_with_required_milestones_come_first_by_arr(overall):
    current = [row for row in overall.late if not row["stale"]]
    required = [row for row in current if row["overdue_required"]]
    assert overall.customers_late == len(required)
    assert overall.customers_late_optional == len(current) - len(required)
    for long in (False, True):
        rows = [row for row in current if row["long_overdue"] == long]
        optional = [row["overdue_required"] == 0 for row in rows]
        assert optional == sorted(optional)
        arr = [row["arr"] for row in rows if row["overdue_required"] and row["arr"] is not None]
        assert arr == sorted(arr, reverse=True)
        assert all((row["worst_days"] > overall.record_days) == long for row in rows)


def test_records_to_close_are_apart_from_what_is_late(demo, overall):
    """Who completed 7 of 8 and left one open for half a year has a record to close, not a step to take."""
    stale = [row["client_id"] for row in overall.late if row["stale"]]
    assert overall.customers_to_close == len(stale) > 0
    assert not {action.client_id for action in overall.next_actions} & set(stale)
    assert sum(row["late"] + row["to_close"] for row in overall.funnel) == sum(
        row["overdue"] for row in overall.funnel
    )
    own = hs.track_adoption_milestones(demo, stale[0])
    assert own.overall_progress.on_track and own.overall_progress.records_to_close
    assert "to close" in own.verdict() and "overdue" not in own.verdict()
    assert own.recommendations[0].rules[0].rule == "close_record"
    assert "Nothing is overdue" not in str(own.success_probability.positive_factors)
    drawn = str(own.charts()["plan"].to_dict())
    assert "record to close" in drawn and "overdue" not in drawn
    page = ReportPage(page_spec("track_adoption_milestones", portfolio=False), own, demo)
    shown = [page.section(name)._repr_mimebundle_()["text/html"] for name in page.names]
    assert "Close the record" in str(shown) and "overdue: Close" not in re.sub(
        "<[^>]*>", "", str(shown)
    )


def test_a_customer_is_not_among_the_quarter_that_it_is_compared_with(demo):
    began = MilestoneDay.of(demo, demo.as_of()).cohort("first_value")
    fullest = began[began["quarter"] == began["quarter"].mode()[0]]
    own = hs.track_adoption_milestones(demo, fullest["client_id"].iloc[-1])
    curves, compared = own.frame("value"), 0
    for part in own.time_to_value.detail:
        others = curves[(curves["mark"] == part.mark) & (curves["name"] == part.quarter)]
        if len(others):
            assert others["n"].unique().tolist() == [part.cohort_n]
            compared += 1
    assert compared


def test_two_openings_give_the_same_bytes(demo_folder, demo, overall):
    other = hs.Portfolio.open(demo_folder)
    for client in ("cs_client_003", "cs_client_010"):
        first, second = (
            hs.track_adoption_milestones(portfolio, client).to_json() for portfolio in (demo, other)
        )
        assert first == second
    assert portfolio_milestones(other).to_json() == overall.to_json()


def test_an_observed_outcome_is_what_the_days_say(demo):
    model = MilestoneDay.of(demo, demo.as_of()).success_model
    for client in model.ids[::7]:
        response = hs.track_adoption_milestones(demo, client)
        success, details = response.success_probability, response.milestone_details
        if success.basis == "observed":
            needed = [
                part for part in details if part.required and part.milestone_category != "expansion"
            ]
            done = all(
                part.completion_date is not None
                and part.completion_date[:10] <= str(success.by_date)
                for part in needed
                if part.status != "skipped"
            )
            assert success.succeeded == done and success.overall_success_likelihood is None


def test_the_registry_has_the_tool_with_its_parameters():
    tool = TOOLS["track_adoption_milestones"]
    assert set(tool.parameters.model_fields) == {
        "client_id",
        "milestone_category",
        "include_overdue",
        "include_recommendations",
        "as_of",
    }
    assert tool.function is hs.track_adoption_milestones
