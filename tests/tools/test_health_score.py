"""One customer's response: its shape, and that every figure in it agrees with the others."""

from __future__ import annotations

import datetime as dt
import json
import re

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg import rules
from healthseg.rules import action_rules
from healthseg.rules.expressions import Condition
from healthseg.settings import COMPONENTS, DEFAULT_SCORECARD
from healthseg.testing import tiny_portfolio

TOOL = "calculate_health_score"
INTEGER, NUMBER, TEXT, TEXTS = int, (int, float), str, [str]
REFERENCE = {  # the reference's keys; each may be null
    "client_id": TEXT,
    "calculation_timestamp": TEXT,
    "current_health_score": INTEGER,
    "health_trend": TEXT,
    "score_change": INTEGER,
    "component_scores": {f"{name}_score": INTEGER for name in COMPONENTS},
    "health_metrics": {
        "weekly_active_users": INTEGER,
        "feature_adoption_rate": NUMBER,
        "support_ticket_count": INTEGER,
        "nps_score": INTEGER,
        "payment_status": TEXT,
    },
    "risk_level": TEXT,
    "risk_indicators": TEXTS,
    "churn_prediction": {
        "churn_probability": NUMBER,
        "churn_risk_level": TEXT,
        "confidence": NUMBER,
        "key_risk_factors": TEXTS,
        "protective_factors": TEXTS,
    },
    "historical_scores": [{"date": TEXT, "score": INTEGER}],
    "predicted_scores": [{"date": TEXT, "predicted_score": INTEGER, "confidence": NUMBER}],
    "contributing_factors": {"positive": TEXTS, "negative": TEXTS},
    "improvement_opportunities": [
        dict.fromkeys(("area", "current_state", "target_state", "impact", "effort"), TEXT)
    ],
    "recommended_actions": TEXTS,
}
KINDS = ("healthy", "withheld", "ramping", "capped", "frozen")


def differences(want, got, path="$"):
    """Where a response lacks a key of the reference, or has another type there."""
    if got is None:
        return []
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return [path]
        return [
            bad
            for key in want
            for bad in (
                differences(want[key], got[key], f"{path}.{key}")
                if key in got
                else [f"{path}.{key}"]
            )
        ]
    if isinstance(want, list):
        if not isinstance(got, list):
            return [path]
        return [
            bad
            for at, element in enumerate(got)
            for bad in differences(want[0], element, f"{path}[{at}]")
        ]
    return [] if isinstance(got, want) and not isinstance(got, bool) else [path]


def nulls(want, got, path="$"):
    """The paths of the reference's keys that are null, ``[*]`` for any element of a list."""
    if got is None:
        return {path}
    if isinstance(want, dict):
        return set().union(*(nulls(want[key], got[key], f"{path}.{key}") for key in want))
    if isinstance(want, list):
        return set().union(*(nulls(want[0], element, f"{path}[*]") for element in got))
    return set()


def found_at(response, path):
    """What stands at a path of ``not_measured``: all of it for ``[*]``; raises KeyError where there is no such key."""
    at = [response]
    for name, star in re.findall(r"\.(\w+)(\[\*\])?", path):
        at = [each[name] for each in at]
        at = [element for group in at for element in group] if star else at
    return at


def of_kind(kinds, kind):
    return hs.calculate_health_score(kinds[kind], "a")


# -- shape -------------------------------------------------------------------------------


def test_every_response_has_the_references_keys_and_types(responses):
    assert len(responses) == 60
    assert [
        bad for health in responses.values() for bad in differences(REFERENCE, health.to_dict())
    ] == []


def test_every_response_conforms_to_the_references_example(responses, conform):
    assert [
        problem for health in responses.values() for problem in conform(TOOL, health.to_dict())
    ] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_of_any_kind_conforms_to_the_references_example(kinds, conform, kind):
    assert conform(TOOL, of_kind(kinds, kind).to_dict()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_null_has_its_reason_and_what_has_a_reason_is_null(kinds, kind):
    response = of_kind(kinds, kind).to_dict()
    assert nulls(REFERENCE, response) <= set(response["not_measured"])
    for path, reason in response["not_measured"].items():
        assert reason and any(value in (None, []) for value in found_at(response, path)), path


def test_in_a_portfolio_with_everything_what_is_null_has_its_reason_too(responses):
    for health in responses.values():
        response = health.to_dict()
        assert nulls(REFERENCE, response) <= set(response["not_measured"]), health.client_id
        for path in response["not_measured"]:
            assert any(value in (None, []) for value in found_at(response, path)), (
                health.client_id,
                path,
            )


def test_there_is_no_figure_in_a_response_that_json_does_not_know(responses, kinds):
    for health in [*responses.values(), *(of_kind(kinds, kind) for kind in KINDS)]:
        text = json.dumps(health.to_dict(), allow_nan=False, ensure_ascii=False, indent=2)
        assert text == health.to_json()
        words = " ".join([*health.risk_indicators, *health.recommended_actions, health.verdict()])
        assert not re.search(r"\bnan\b|None|unknown", words)


def test_a_response_cannot_be_changed(response):
    health = response("cs_client_001")
    with pytest.raises(ValueError, match="frozen"):
        health.current_health_score = 100
    frame = health.frame("history")
    frame["score"] = 0
    assert health.frame("history")["score"].max() > 0


def test_jupyter_shows_the_verdict_and_escapes_what_customers_are_called():
    customers = pd.DataFrame(
        {"client_id": ["a"], "name": "<script>alert(1)</script>", "signup_date": ["2024-01-01"]}
    )
    health = hs.calculate_health_score(
        tiny_portfolio([("a", "2025-01-02 09:00:00", "u")], customers), "a"
    )
    shown = health._repr_mimebundle_()
    assert "<script>" not in shown["text/html"] and "&lt;script&gt;" in shown["text/html"]
    assert shown["text/plain"].startswith("<script>alert(1)</script>: ")


# -- the score -----------------------------------------------------------------------------


def test_the_score_is_the_weighted_mean_of_the_metrics_that_are_measured(responses):
    for health in responses.values():
        metrics = health.frame("metrics")
        known = metrics[metrics["points"].notna()]
        by_hand, total = 0.0, 0.0
        for _, rows in known.groupby("component"):
            weight = metrics.loc[metrics["component"] == rows["component"].iloc[0], "weight"].sum()
            by_hand += weight * (rows["points"] * rows["weight"]).sum() / rows["weight"].sum()
            total += weight
        capped = min([100.0, *(float(text.split()[2].rstrip(":")) for text in health.caps)])
        score = health.frame("history")["score"].iloc[-1]
        if health.current_health_score is None:
            assert np.isnan(score)
        else:
            assert score == pytest.approx(min(by_hand / total, capped), abs=1e-8)
            assert (known["effective_weight"] * known["points"]).sum() == pytest.approx(
                by_hand / total, abs=1e-8
            )
            assert known["effective_weight"].sum() == pytest.approx(1)


def test_shown_scores_are_the_frames_scores_rounded_half_up(responses):
    for health in responses.values():
        history = health.frame("history")
        by_date = dict(zip(history["date"].dt.date, history["score"], strict=True))
        for past in health.historical_scores:
            exact = by_date[past.date]
            assert past.score == (None if np.isnan(exact) else int(np.floor(exact + 0.5)))
        assert health.current_health_score == health.historical_scores[-1].score


def test_coverage_is_the_share_of_weight_that_is_measured_and_bounds_what_the_rest_can_do(
    responses,
):
    seen = set()
    for health in responses.values():
        if health.provisional:  # of a new customer the days to come are unknown as well
            continue
        metrics = health.frame("metrics")
        known = metrics[metrics["points"].notna()]
        assert health.coverage == pytest.approx(known["weight"].sum(), abs=1e-4)
        lowest = (known["weight"] * known["points"]).sum()
        spread = health.possible_range
        assert spread.upper <= lowest + 100 * (1 - health.coverage) + 0.06
        if (
            not health.caps
            and not metrics.loc[metrics["metric"] == "worst_days_overdue", "points"].isna().any()
        ):
            assert spread.lower == pytest.approx(lowest, abs=0.06)
            assert spread.upper == pytest.approx(lowest + 100 * (1 - health.coverage), abs=0.06)
        if health.current_health_score is not None:
            assert spread.lower - 0.5 <= health.current_health_score <= spread.upper + 0.5
            seen.add(health.coverage < 1)
    assert seen == {True, False}


def test_components_and_their_metrics_carry_the_configured_weights(response):
    health = response("cs_client_001")
    assert {part.component: part.weight for part in health.components} == {
        name: part.weight for name, part in DEFAULT_SCORECARD.components.items()
    }
    for part in health.components:
        assert sum(metric.weight for metric in part.metrics) == pytest.approx(part.weight)
        assert getattr(health.component_scores, f"{part.component}_score") == part.score


def test_custom_weights_are_normalised_and_what_is_left_out_weighs_nothing(demo):
    health = hs.calculate_health_score(
        demo, "cs_client_001", "custom", {"usage_weight": 3, "support_weight": 1}
    )
    assert health.component_weights == {
        "usage_weight": 0.75,
        "engagement_weight": 0,
        "support_weight": 0.25,
        "satisfaction_weight": 0,
        "payment_weight": 0,
    }
    exact = health.frame("metrics").pipe(
        lambda rows: (rows["effective_weight"] * rows["points"]).sum()
    )
    assert health.frame("history")["score"].iloc[-1] == pytest.approx(exact)
    plain = hs.calculate_health_score(demo, "cs_client_001")
    assert health.component_scores == plain.component_scores
    assert health.current_health_score != plain.current_health_score


def test_custom_without_weights_is_the_scorecards_own(demo, response):
    custom = hs.calculate_health_score(demo, "cs_client_001", "custom")
    assert custom.current_health_score == response("cs_client_001").current_health_score
    assert custom.component_weights == response("cs_client_001").component_weights


def test_the_bands_include_their_lower_end(responses):
    for health in responses.values():
        score = health.current_health_score
        edges = [
            band
            for band, low in (("critical", 0), ("at_risk", 40), ("healthy", 60), ("champion", 80))
            if score is not None and score >= low
        ]
        assert health.band == (edges[-1] if edges else None)


@pytest.mark.parametrize("threshold", [0, 45.5, 60, 100])
def test_the_risk_level_follows_the_threshold_that_was_asked_for(demo, response, threshold):
    score = response("cs_client_002").current_health_score
    edges = [min(max(threshold + shift, 0), 100) for shift in (-20, 0, 20)]
    expected = ("critical", "high", "medium", "low")[sum(score >= edge for edge in edges)]
    assert (
        hs.calculate_health_score(demo, "cs_client_002", risk_threshold=threshold).risk_level
        == expected
    )


def test_a_customer_of_whom_little_is_known_has_no_score_but_a_range(kinds):
    health = of_kind(kinds, "withheld")
    assert (health.current_health_score, health.band, health.risk_level) == (None, None, None)
    assert health.coverage < 0.3 and health.possible_range.lower < health.possible_range.upper
    assert (
        "withheld" in health.not_measured["$.current_health_score"]
        and "no score" in health.verdict()
    )


def test_an_overdue_invoice_caps_the_score_and_says_so(kinds):
    health = of_kind(kinds, "capped")
    assert health.current_health_score == 59 and health.band == "at_risk"
    assert health.caps == ["capped at 59: an invoice is 90 days overdue"]
    assert "An invoice is 90 days overdue; the score is capped" in health.risk_indicators
    assert of_kind(kinds, "healthy").current_health_score > 59


def test_a_new_customer_is_held_to_what_its_tenure_allows(kinds):
    health = of_kind(kinds, "ramping")
    assert health.ramping and health.customer.tenure_days == 29
    assert health.provisional and health.band is None
    metrics = health.frame("metrics").set_index("metric")
    assert metrics.loc["usage_vs_own_baseline", "missing_reason"].startswith(
        "fewer than 28 tracked days"
    )
    # 1 of 2 seats is 60 points at full tenure; a third of the ramp asks for a third of it
    assert metrics.loc["seat_utilisation", "value"] == 0.5
    assert metrics.loc["seat_utilisation", "points"] == 100


# -- the change, the history, the future -------------------------------------------------------


@pytest.mark.parametrize("lookback", [7, 30, 90, 365])
def test_the_parts_of_a_change_add_up_to_it_and_the_waterfall_closes(demo, responses, lookback):
    for client in sorted(responses)[:: 1 if lookback == 30 else 6]:
        health = (
            responses[client]
            if lookback == 30
            else hs.calculate_health_score(
                demo, client, lookback_period_days=lookback, include_predictions=False
            )
        )
        change = health.change_explanation
        assert (change.to_date - change.from_date).days == lookback
        if change.change is None:
            assert change.parts == [] and change.reason and not len(health.frame("change"))
            continue
        assert (
            round(sum(part.points for part in change.parts), 6)
            == change.change
            == health.score_change
        )
        steps = health.frame("change")
        assert (steps["end"].iloc[0], steps["end"].iloc[-1]) == (
            change.score_then,
            change.score_now,
        )
        inner = steps.iloc[1:-1]
        assert np.allclose(inner["start"], steps["end"].iloc[:-2])
        assert np.allclose(inner["end"] - inner["start"], inner["points"])
        assert np.isclose(steps["end"].iloc[-2], change.score_now)


def test_the_history_lies_on_weeks_back_from_the_date_and_begins_with_the_look_back(responses):
    for health in responses.values():
        last = health.change_explanation.to_date
        grid = {last - dt.timedelta(days=7 * back) for back in range(5)} | {
            last - dt.timedelta(days=30)
        }
        dates = [past.date for past in health.historical_scores]
        assert dates == sorted(dates) and set(dates) <= grid
        signup = last - dt.timedelta(days=health.customer.tenure_days)
        assert set(dates) >= {date for date in grid if date >= max(signup, dt.date(2024, 4, 11))}
        assert min(dates) >= min(signup, dt.date(2024, 4, 11)) or min(dates) >= signup


def test_the_year_before_is_in_the_frame(response):
    dates = response("cs_client_001").frame("history")["date"].dt.date.tolist()
    weekly = [dt.date(2025, 10, 10) - dt.timedelta(days=7 * back) for back in range(53, -1, -1)]
    assert [date for date in dates if date in weekly] == weekly


def test_predictions_stand_at_30_60_and_90_days_within_their_bounds(responses):
    live = [health for health in responses.values() if health.status == "live"]
    assert len(live) > 30
    for health in live:
        assert [(each.date - health.as_of).days for each in health.predicted_scores] == [30, 60, 90]
        for forecast in health.predicted_scores:
            assert 0 <= forecast.lower <= forecast.predicted_score <= forecast.upper <= 100
            assert 0 < forecast.confidence < 1
        widths = [forecast.upper - forecast.lower for forecast in health.predicted_scores]
        assert widths == sorted(widths)
        assert health.forecast.method and health.forecast.mean_absolute_error > 0
        assert 0.8 <= health.forecast.interval_coverage <= 1


def test_without_a_model_the_churn_prediction_is_the_tiers_rate_and_says_so(demo):
    early, by_tier = (
        dt.date(2024, 8, 1),
        {},
    )  # four months of tracking: no model has been held out yet
    for client in sorted(demo.table("customers")["client_id"])[:12]:
        if demo.client(client)["signup_date"] > early:
            continue
        health = hs.calculate_health_score(demo, client, as_of=early)
        prediction = health.churn_prediction
        if health.status == "churned" or prediction.churn_probability is None:
            continue
        assert (
            prediction.method == "base_rate"
            and prediction.churn_risk_level is None
            and prediction.key_risk_factors is None
        )
        assert not prediction.gate.eligible and prediction.gate.reason[1:] in prediction.reason
        by_tier.setdefault(health.customer.tier, set()).add(prediction.churn_probability)
        rate, own = prediction.base_rate_interval, prediction.plausible_range
        assert own.lower < rate.lower < prediction.churn_probability < rate.upper < own.upper
        assert prediction.horizon_days == 90 and 0 < prediction.confidence < 1
        rising = [horizon["churn_probability"] for horizon in prediction.by_horizon]
        assert rising == sorted(set(rising)) and [
            horizon["horizon_days"] for horizon in prediction.by_horizon
        ] == [30, 90, 180, 365]
    assert len(by_tier) > 2 and all(len(rates) == 1 for rates in by_tier.values())


def test_predictions_that_were_not_asked_for_are_null_with_that_reason(demo, response):
    health = hs.calculate_health_score(demo, "cs_client_001", include_predictions=False)
    assert (
        health.predicted_scores is None
        and health.churn_prediction is None
        and health.forecast is None
    )
    assert (
        health.not_measured["$.predicted_scores"]
        == health.not_measured["$.churn_prediction"]
        == "not requested"
    )
    assert not len(health.frame("forecast")) and not len(health.frame("churn"))
    same = {
        key: value
        for key, value in health.to_dict().items()
        if key not in ("predicted_scores", "churn_prediction", "forecast", "not_measured")
    }
    assert same.items() <= response("cs_client_001").to_dict().items()


# -- customers that have left ----------------------------------------------------------------


def test_a_churned_customer_is_frozen_on_its_last_day(demo, responses):
    churned = [health for health in responses.values() if health.status == "churned"]
    assert len(churned) > 10
    for health in churned:
        left = pd.Timestamp(demo.client(health.client_id)["churned_on"]).date()
        last = left - dt.timedelta(days=1)
        assert health.historical_scores[-1].date == last
        assert health.predicted_scores is None and health.churn_prediction is None
        assert health.not_measured["$.churn_prediction"] == "the customer has churned"
        assert health.alerts == [] and health.recommended_actions == []
        assert any(str(left) in warning for warning in health.warnings)


def test_the_frozen_score_is_the_one_of_the_last_day_whenever_it_is_asked_for(demo, responses):
    client = next(
        name
        for name, response in responses.items()
        if response.status == "churned" and response.current_health_score
    )
    left = pd.Timestamp(demo.client(client)["churned_on"]).date()
    before = hs.calculate_health_score(demo, client, as_of=left - dt.timedelta(days=1))
    assert before.status == "live" and before.predicted_scores is not None
    for later in (left, left + dt.timedelta(days=40)):
        after = hs.calculate_health_score(demo, client, as_of=later)
        assert after.status == "churned"
        for key in (
            "current_health_score",
            "component_scores",
            "historical_scores",
            "change_explanation",
            "trend",
        ):
            assert getattr(after, key) == getattr(before, key) == getattr(responses[client], key), (
                key
            )


def test_a_customer_that_left_on_the_day_it_came_has_a_response_without_a_score(daily_events):
    customers = pd.DataFrame(
        {
            "client_id": ["a", "b"],
            "signup_date": ["2025-02-01", "2024-01-01"],
            "churned_on": ["2025-02-01", None],
        }
    )
    health = hs.calculate_health_score(
        tiny_portfolio(daily_events("b", "2025-01-01", "2025-03-01", "u"), customers), "a"
    )
    assert health.status == "churned" and health.current_health_score is None


# -- words: each from a rule, with its figures ---------------------------------------------------


@pytest.mark.parametrize(
    ("section", "kind"),
    [("risk_indicators", "risk"), ("recommended_actions", "next"), (None, "alert")],
)
def test_every_word_of_advice_has_its_rule_and_the_rule_holds_for_its_figures(
    responses, section, kind
):
    known = rules.rules(TOOL, kind, {}) or [item.rule for item in action_rules({})]
    by_name = {rule.name: rule for rule in known}
    met = set()
    for health in responses.values():
        fired = health.alerts if section is None else getattr(health, f"{section}_detail")
        if section is not None:
            assert [rule.text for rule in fired] == getattr(health, section)
        for advice in fired:
            rule = by_name[advice.rule]
            assert (
                Condition(rule.condition.text).holds(advice.figures)
                and advice.severity == rule.severity
            )
            assert rules.words(rule.text, advice.figures) == advice.text
            met.add(advice.rule)
    assert len(met) >= 4


def test_factors_add_up_to_no_more_than_the_score_and_what_it_lacks(responses):
    for health in (each for each in responses.values() if each.current_health_score is not None):
        detail = health.contributing_factors
        score = (health.frame("metrics").eval("effective_weight * points")).sum()
        assert sum(factor.effect for factor in detail.positive_detail) <= score + 0.1
        assert -sum(factor.effect for factor in detail.negative_detail) <= 100 - score + 0.1
        assert all(factor.points >= 80 for factor in detail.positive_detail)
        assert all(factor.points < 60 and factor.effect < 0 for factor in detail.negative_detail)
        assert [factor.text for factor in detail.positive_detail] == detail.positive


def test_an_opportunity_promises_what_the_scorecard_gives(responses):
    metrics = {
        metric.metric: metric
        for part in DEFAULT_SCORECARD.components.values()
        for metric in part.metrics
    }
    seen = 0
    for health in (
        each for each in responses.values() if each.improvement_opportunities and not each.ramping
    ):
        rows = health.frame("metrics").set_index("metric")
        for each in health.improvement_opportunities:
            earned = (
                dict(metrics[each.metric].anchors)[each.target_value]
                - rows.loc[each.metric, "points"]
            )
            gain = rows.loc[each.metric, "effective_weight"] * earned
            if not health.caps:
                assert each.points == pytest.approx(gain, abs=0.006) and each.points > 0
                assert (
                    each.impact == f"+{each.points:.1f} points health score"
                    or abs(each.points % 0.1 - 0.05) < 0.006
                )
                seen += 1
    assert seen > 20
