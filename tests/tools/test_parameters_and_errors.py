"""Every parameter has its range, and every refusal is the reference's error object."""

from __future__ import annotations

import datetime as dt
import inspect
import socket
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import (
    CalculationError,
    ClientNotFound,
    DataRetrievalError,
    IntegrationError,
    InvalidClientId,
    InvalidParameters,
)
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS, portfolio_health
from healthseg.tools.base import Result

CUSTOM = {"scoring_model": "custom"}
REFUSED = [
    ({"scoring_model": "weigthed_composite"}, "scoring_model", "weighted_composite"),
    ({"scoring_model": 3}, "scoring_model", "weighted_composite"),
    ({"lookback_period_days": 6}, "lookback_period_days", "7"),
    ({"lookback_period_days": 366}, "lookback_period_days", "365"),
    ({"lookback_period_days": "30"}, "lookback_period_days", "integer"),
    ({"lookback_period_days": 30.5}, "lookback_period_days", "integer"),
    ({"lookback_period_days": True}, "lookback_period_days", "integer"),
    ({"risk_threshold": -0.1}, "risk_threshold", "0"),
    ({"risk_threshold": 100.1}, "risk_threshold", "100"),
    ({"risk_threshold": "60"}, "risk_threshold", "number"),
    ({"risk_threshold": float("nan")}, "risk_threshold", ""),
    ({"risk_threshold": None}, "risk_threshold", "number"),
    ({"include_predictions": "yes"}, "include_predictions", "boolean"),
    ({"include_predictions": 1}, "include_predictions", "boolean"),
    ({"component_weights": {"usage_weight": 1}}, "component_weights", "custom"),
    ({**CUSTOM, "component_weights": {"usage": 1}}, "component_weights", "usage_weight"),
    (
        {**CUSTOM, "component_weights": {"usage_weight": -1}},
        "component_weights.usage_weight",
        "negative",
    ),
    (
        {**CUSTOM, "component_weights": {"usage_weight": float("nan")}},
        "component_weights.usage_weight",
        "finite",
    ),
    (
        {**CUSTOM, "component_weights": {"usage_weight": "1"}},
        "component_weights.usage_weight",
        "number",
    ),
    ({**CUSTOM, "component_weights": {"usage_weight": 0}}, "component_weights", "above 0"),
    ({**CUSTOM, "component_weights": {}}, "component_weights", "above 0"),
    ({**CUSTOM, "component_weights": [0.5, 0.5]}, "component_weights", "dictionary"),
    ({"alert_preferences": "all"}, "alert_preferences", "dictionary"),
    ({"alert_preferences": {"threshold": {}}}, "alert_preferences", "thresholds"),
    ({"alert_preferences": {"thresholds": [1]}}, "alert_preferences.thresholds", "mapping"),
    (
        {"alert_preferences": {"thresholds": {"score_belw": 50}}},
        "alert_preferences.thresholds",
        "score_below",
    ),
    (
        {"alert_preferences": {"thresholds": {"inactive": "50"}}},
        "alert_preferences.thresholds.inactive",
        "number",
    ),
    (
        {"alert_preferences": {"minimum_severity": "hihg"}},
        "alert_preferences.minimum_severity",
        "high",
    ),
    ({"alert_preferences": {"cooldown_days": -1}}, "alert_preferences.cooldown_days", "0 to 90"),
    ({"alert_preferences": {"cooldown_days": 91}}, "alert_preferences.cooldown_days", "0 to 90"),
    (
        {"alert_preferences": {"cooldown_days": 1.5}},
        "alert_preferences.cooldown_days",
        "whole number",
    ),
    (
        {"alert_preferences": {"cooldown_days": True}},
        "alert_preferences.cooldown_days",
        "whole number",
    ),
    ({"as_of": "yesterday"}, "as_of", "YYYY-MM-DD"),
    ({"as_of": "2025-02-30"}, "as_of", "YYYY-MM-DD"),
    ({"as_of": dt.datetime(2025, 10, 1, 12)}, "as_of", "date"),
    ({"as_of": 20251010}, "as_of", "a valid string or a valid date"),
    ({"as_of": "2024-04-10"}, "as_of", "2024-04-11"),
    ({"as_of": "2025-10-11"}, "as_of", "2025-10-10"),
]


def error_of(kind, call, *arguments, **named):
    """The error object of a call that is refused."""
    with pytest.raises(kind) as caught:
        call(*arguments, **named)
    reply = caught.value.to_dict()
    assert (
        reply["status"] == "error" and reply["error_code"] == kind.code and reply["error_message"]
    )
    assert reply["details"]["http_status"] == kind.http_status
    return reply


@pytest.mark.parametrize(
    ("parameters", "parameter", "words"), REFUSED, ids=lambda value: str(value)[:60]
)
def test_a_parameter_outside_its_range_is_refused_with_its_name_its_value_and_the_rule(
    demo, parameters, parameter, words
):
    error = error_of(
        InvalidParameters, hs.calculate_health_score, demo, "cs_client_001", **parameters
    )
    details = error["details"]
    assert details["parameter"] == parameter
    assert isinstance(details["value_provided"], str)
    assert words in details["validation_rule"] + error["error_message"]


@pytest.mark.parametrize(
    ("parameters", "suggestion"),
    [
        ({"scoring_model": "weigthed_composite"}, "weighted_composite"),
        ({**CUSTOM, "component_weights": {"usge_weight": 1}}, "usage_weight"),
        ({"alert_preferences": {"minimum_severity": "hihg"}}, "high"),
        ({"alert_preferences": {"cooldown": 3}}, "cooldown_days"),
        ({"alert_preferences": {"thresholds": {"overdue_invoices": 3}}}, "overdue_invoice"),
    ],
)
def test_what_was_nearly_right_is_answered_with_what_was_meant(demo, parameters, suggestion):
    error = error_of(
        InvalidParameters, hs.calculate_health_score, demo, "cs_client_001", **parameters
    )
    assert error["error_message"].endswith(f"did you mean {suggestion}?")


@pytest.mark.parametrize(
    "parameters",
    [
        {"lookback_period_days": 7},
        {"lookback_period_days": 365},
        {"risk_threshold": 0},
        {"risk_threshold": 100},
        {"as_of": "2025-10-10"},
        {"as_of": dt.date(2024, 10, 10)},
        {"as_of": "2025-10-01T00:00:00Z"},
        {"alert_preferences": {}},
    ],
)
def test_the_ends_of_a_range_belong_to_it(demo, parameters):
    assert (
        hs.calculate_health_score(demo, "cs_client_001", **parameters).current_health_score
        is not None
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"lookback_period_days": 0},
        {"risk_threshold": 101},
        {"scoring_model": "best"},
        {"component_weights": {"usage_weight": 1}},
        {"as_of": "soon"},
    ],
)
def test_the_portfolio_refuses_the_same_as_the_customer(demo, parameters):
    error_of(InvalidParameters, portfolio_health, demo, **parameters)


def test_the_registry_names_the_parameters_that_the_functions_take():
    tool = TOOLS["calculate_health_score"]
    for model, function in (
        (tool.parameters, tool.function),
        (tool.portfolio_parameters, tool.portfolio),
    ):
        accepted = set(inspect.signature(function).parameters)
        assert set(model.model_fields) == accepted - {"portfolio"}


# -- the six codes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "client_id", ["cs_client@123", "", "a" * 101, "a b", "ä", "a\n", None, 7.5]
)
def test_an_id_of_other_letters_is_invalid(demo, conform, client_id):
    kind = InvalidClientId if isinstance(client_id, str) else InvalidParameters
    error = error_of(kind, hs.calculate_health_score, demo, client_id)
    assert error["details"]["parameter"] == "client_id"
    assert conform("error", error) == []


def test_an_unknown_id_is_not_found_and_the_nearest_is_named(demo, conform):
    error = error_of(ClientNotFound, hs.calculate_health_score, demo, "cs_clent_001")
    assert error["details"]["did_you_mean"].startswith("cs_client_0")
    assert conform("error", error) == []


def test_a_customer_that_has_not_signed_up_yet_is_not_found_and_the_day_is_said(daily_events):
    customers = pd.DataFrame({"client_id": ["a", "b"], "signup_date": ["2025-01-01", "2025-05-05"]})
    portfolio = tiny_portfolio(daily_events("a", "2025-01-02", "2025-05-06", "u1"), customers)
    error = error_of(ClientNotFound, hs.calculate_health_score, portfolio, "b", as_of="2025-05-04")
    assert "2025-05-05" in error["details"]["signup_date"]
    assert hs.calculate_health_score(portfolio, "b", as_of="2025-05-05").customer.tenure_days == 0


def test_a_model_that_the_portfolio_cannot_carry_is_refused_with_the_reason(demo, conform):
    signed_up = demo.table("customers").sort_values("signup_date")["client_id"].iloc[0]
    for call in (
        lambda **parameters: hs.calculate_health_score(demo, signed_up, **parameters),
        lambda **parameters: portfolio_health(demo, **parameters),
    ):
        error = error_of(CalculationError, call, scoring_model="ml_predictive", as_of="2024-06-20")
        assert "no account-level model" in error["error_message"]
        assert error["details"]["value_provided"] == "ml_predictive"
        assert conform("error", error) == []


def test_a_refused_table_gives_no_number(tmp_path, conform):
    (tmp_path / "customers.csv").write_text("client_id,name,signup_date\na,A,2025-01-01\n")
    (tmp_path / "events.csv").write_text("client_id,occurred_at\na,2025-01-02\na,soon\na,later\n")
    portfolio = hs.Portfolio.open(tmp_path)
    health = hs.calculate_health_score(portfolio, "a")
    assert health.current_health_score is None
    assert "events: refused, 2 of 3" in health.data_quality.summary[0]
    error = error_of(DataRetrievalError, hs.track_usage_engagement, portfolio, "a")
    assert "events" in error["error_message"] and "2 of 3" in error["error_message"]
    assert conform("error", error) == []


def test_a_missing_table_gives_no_number(tmp_path):
    (tmp_path / "customers.csv").write_text("client_id,name,signup_date\na,A,2025-01-01\n")
    portfolio = hs.Portfolio.open(tmp_path)
    error = error_of(DataRetrievalError, hs.track_usage_engagement, portfolio, "a")
    assert "events" in error["error_message"]
    assert hs.calculate_health_score(portfolio, "a").current_health_score is None


def test_a_database_that_does_not_answer_is_an_integration_error(conform):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = error_of(
        IntegrationError,
        hs.Portfolio.open,
        f"postgresql://reader:hidden@127.0.0.1:{port}/portfolio",
    )
    assert "hidden" not in str(error)
    assert conform("error", error) == []


def test_numbers_of_numpy_are_taken_as_weights(demo):
    health = hs.calculate_health_score(
        demo,
        "cs_client_001",
        scoring_model="custom",
        component_weights={"usage_weight": np.int64(3), "payment_weight": np.float64(1)},
    )
    assert health.component_weights["usage_weight"] == 0.75


@pytest.mark.parametrize("name", TOOLS)
def test_a_printed_result_is_its_own_verdict(name):
    """Of each tool, for a customer and for the portfolio: none falls back to the name of its class."""
    for function in (TOOLS[name].function, TOOLS[name].portfolio):
        result = get_type_hints(inspect.unwrap(function))["return"]
        assert result.__str__ is Result.__str__ and result.verdict is not Result.verdict
