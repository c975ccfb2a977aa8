"""A move whose criteria are not met is refused, unless it is forced with a reason; and what moves were worth."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.tools import portfolio_lifecycle
from tests.tools.lifecycle_portfolios import Clock, at, changes, customers, portfolio_of, used

manage = hs.manage_lifecycle_stages


@pytest.fixture(scope="module")
def portfolio():
    """a and b are active; b has a critical ticket open. t is on trial, its contract began in June and ended."""
    tickets = pd.DataFrame(
        {"ticket_id": ["1"], "client_id": ["b"], "opened_at": "2025-06-20", "severity": "critical"}
    )
    contracts = pd.DataFrame(
        {"client_id": ["t"], "starts_on": "2025-05-01", "ends_on": "2025-06-15", "arr": 1200}
    )
    stages = changes(
        ("a", "active", "2025-02-01"), ("b", "active", "2025-02-01"), ("t", "trial", "2025-02-01")
    )
    return portfolio_of(
        stages, "a", "b", "t", clock=Clock(at(7, 1)), tickets=tickets, contracts=contracts
    )


def test_a_criterion_that_is_known_not_to_be_met_refuses_the_move_and_names_it(portfolio):
    with pytest.raises(
        InvalidParameters, match="No open high or critical support tickets"
    ) as problem:
        manage(portfolio, "b", "transition", "engaged", "they are keen")
    assert "of 4 criteria" in str(problem.value)
    assert manage(portfolio, "b", "get_stage").current_stage == "active"


def test_force_moves_it_with_a_reason_and_update_stage_corrects_it(portfolio):
    with pytest.raises(InvalidParameters, match="force needs a transition_reason"):
        manage(portfolio, "b", "transition", "engaged", force=True)
    moved = manage(portfolio, "b", "transition", "engaged", "agreed with their board", force=True)
    assert (moved.current_stage, moved.transition_reason) == ("engaged", "agreed with their board")
    assert manage(portfolio, "b", "update_stage", "active", "typed by mistake").changed


def test_the_day_of_the_move_counts(portfolio):
    """The contract was in force on 1 June, and is not today."""
    with pytest.raises(InvalidParameters, match="0 of 1 criteria of onboarding"):
        manage(portfolio, "t", "transition", "onboarding")
    assert manage(portfolio, "t", "transition", "onboarding", effective_at="2025-06-01").changed


def test_the_guard_can_be_left_out_and_a_move_without_criteria_has_none(portfolio):
    free = portfolio_of(
        changes(("t", "trial", "2025-02-01")),
        "t",
        clock=Clock(at(7, 1)),
        settings={"lifecycle": {"guarded": False}},
        contracts=pd.DataFrame(
            {"client_id": ["t"], "starts_on": ["2024-05-01"], "ends_on": "2025-01-15", "arr": 1}
        ),
    )
    assert manage(free, "t", "transition", "onboarding").changed
    assert manage(portfolio, "a", "transition", "at_risk").changed


def test_the_matrix_has_the_arr_of_the_customers_that_moved_each_once():
    """a went from active to at risk twice, b once: 100 and 30 are 130. c moved too, and churned since."""
    who = customers(a="2025-01-01", b="2025-01-01", c="2025-01-01").assign(
        arr=[100.0, 30.0, 7.0], currency="EUR", churned_on=[None, None, "2025-06-01"]
    )
    rows = [
        (client, stage, day)
        for client in "abc"
        for stage, day in (("active", "2025-02-01"), ("at_risk", "2025-03-01"))
    ]
    again = [("a", "active", "2025-04-01"), ("a", "at_risk", "2025-05-01")]
    opened = portfolio_of(changes(*rows, *again), who=who, events=used("a", "b"))
    matrix = portfolio_lifecycle(opened).frame("matrix").set_index(["source", "target"])
    row = matrix.loc[("active", "at_risk")]
    assert (row["n"], row["customers"], row["arr"]) == (4, 3, 130.0)
