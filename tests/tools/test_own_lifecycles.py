"""Lifecycles beside the customers' own: stages, criteria and record of their own, and the panel knows nothing of them."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import HealthsegError, InvalidParameters
from healthseg.metrics import panels
from healthseg.metrics.stages import of_lifecycle
from healthseg.reports import portfolio_page
from healthseg.tools.lifecycle.moves import apply, plan
from tests.tools.lifecycle_portfolios import at, changes, portfolio_of

JOURNEY = {
    "stages": ["kick_off", "rollout", "live"],
    "transitions": {"kick_off": ["rollout"], "rollout": ["live", "kick_off"]},
    "edges": [
        {
            "source": "kick_off",
            "target": "rollout",
            "criteria": [
                {"text": "Used daily", "when": "active_days_28d >= 20", "figure": "active_days_28d"}
            ],
        }
    ],
    "stuck_stages": ["kick_off"],
}
RISK = {"stages": ["watched", "escalated", "closed"]}


@pytest.fixture
def portfolio():
    return portfolio_of(
        changes(("a", "active", "2025-02-01")),
        "a",
        "b",
        settings={"lifecycles": {"journey": JOURNEY, "risk": RISK}},
    )


def moved(portfolio, client, stage, month, day, lifecycle="journey", **more):
    return hs.manage_lifecycle_stages(
        portfolio,
        client,
        "transition",
        stage,
        lifecycle=lifecycle,
        effective_at=at(month, day),
        **more,
    )


def test_each_lifecycle_has_its_own_stage_and_record(portfolio):
    moved(portfolio, "a", "kick_off", 3, 1)
    moved(portfolio, "a", "rollout", 4, 1)
    moved(portfolio, "a", "watched", 3, 15, "risk")
    stages = {
        name: hs.manage_lifecycle_stages(portfolio, "a", "get_history", lifecycle=name)
        for name in ("", "journey", "risk")
    }
    assert {name: each.current_stage for name, each in stages.items()} == {
        "": "active",
        "journey": "rollout",
        "risk": "watched",
    }
    assert [each.stage for each in stages["journey"].stage_progression] == ["kick_off", "rollout"]
    assert stages["journey"].days_in_previous_stage == 31 and stages["journey"].disagreements == []
    ledger = portfolio.ledger()
    assert [event.lifecycle for event in ledger.stage_events("a")] == ["journey", "risk", "journey"]
    assert ledger.verify()["stage_events"] == 3
    row = panels.panel(portfolio, [dt.date(2025, 6, 30)]).set_index("client_id").loc["a"]
    assert row["stage"] == "active"


def test_moves_follow_its_own_transitions_and_criteria(portfolio):
    moved(portfolio, "a", "kick_off", 6, 20)
    with pytest.raises(InvalidParameters, match="from there it can go to rollout, not to live"):
        moved(portfolio, "a", "live", 6, 25)
    with pytest.raises(InvalidParameters, match="did you mean rollout"):
        moved(portfolio, "a", "rolout", 6, 25)
    with pytest.raises(InvalidParameters, match="did you mean journey"):
        moved(portfolio, "a", "live", 6, 25, "jurney")
    steps = plan(of_lifecycle(portfolio, "journey"), portfolio.data_until, present=True)
    assert [(step.client_id, step.source, step.target) for step in steps] == [
        ("a", "kick_off", "rollout")
    ]
    assert apply(of_lifecycle(portfolio, "journey"), steps)[0]["outcome"] == "moved"
    own = hs.manage_lifecycle_stages(portfolio, "a", "get_stage", lifecycle="journey")
    assert own.current_stage == "rollout" and own.automated
    # no edge guards the way back
    portfolio.clock.now = at(7, 2)
    assert moved(portfolio, "a", "kick_off", 7, 2).changed


def test_the_portfolio_of_a_lifecycle_counts_its_stages_setbacks_and_moves(portfolio):
    for client, day in (("a", 1), ("b", 10)):
        moved(portfolio, client, "kick_off", 5, day)
        moved(portfolio, client, "rollout", 5, day + 14, force=True, transition_reason="seen")
    moved(portfolio, "b", "kick_off", 6, 20)
    journey = hs.portfolio_lifecycle(portfolio, lifecycle="journey")
    assert journey.stage_counts == {"kick_off": 1, "rollout": 1, "live": 0}
    assert [(row["client_id"], row["source"]) for row in journey.setbacks] == [("b", "rollout")]
    matrix = journey.frame("matrix").set_index(["source", "target"])["n"]
    assert matrix.to_dict() == {("kick_off", "rollout"): 2, ("rollout", "kick_off"): 1}
    assert "2 customers in 2 stages" in str(journey) and journey.setbacks_recovered == 0
    page = portfolio_page("manage_lifecycle_stages", portfolio=portfolio, lifecycle="journey")
    shown = page.opening()._repr_mimebundle_()["text/html"]
    assert "journey" in shown and "at risk" not in shown
    assert page.section("stages") is not None
    assert hs.portfolio_lifecycle(portfolio).stage_counts["active"] == 1
    moved(portfolio, "b", "rollout", 6, 25, force=True, transition_reason="seen")
    later = hs.portfolio_lifecycle(portfolio, lifecycle="journey")
    assert (later.setbacks, later.setbacks_recovered) == ([], 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"lifecycles": {"j": {"stages": ["x", "y"], "stuck_stages": ["z"]}}},
            "'z' is not a stage",
        ),
        ({"lifecycle": {"stages": ["x", "y"]}}, "is one of lifecycles"),
        ({"lifecycle": {"stuck_stages": ["trail"]}}, "did you mean trial"),
        ({"lifecycles": {"My Journey": {"stages": ["x", "y"]}}}, "pattern"),
    ],
)
def test_stages_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(HealthsegError, match=said):
        portfolio_of(changes(("a", "active", "2025-02-01")), "a", settings=settings)


def test_a_change_without_stages_stated_is_as_it_was():
    assert hs.Settings().lifecycle.transitions["trial"] == ("onboarding", "active")
    assert pd.Series(hs.Settings().lifecycle.stages).is_unique
