"""A team's own rules beside its portfolio: they add to the package's rules, change them and remove them."""

from __future__ import annotations

import pytest

import healthseg as hs
from healthseg import rules
from healthseg.errors import InvalidParameters
from healthseg.rules import FILES, OWN_KINDS
from healthseg.settings import Settings, changed
from healthseg.testing import tiny_portfolio

# one user on each of 28 days in February and March
EVENTS = [
    ("a", f"2025-{month:02d}-{day:02d} 09:00", "u1", "plan")
    for month in (2, 3)
    for day in range(1, 29)
]
SINGLE = {"when": "active_users == 1", "text": "Only {active_users:n user}", "severity": "high"}
TOML = """
[tables]
customers = "select 'a' as client_id, date '2024-01-01' as signup_date"
events = "select 'a' as client_id, 'u1' as user_id, t as occurred_at from range(timestamp '2025-02-01 09:00', timestamp '2025-03-29', interval 1 day) as r(t)"

[metrics.active_share]
expression = "active_days_28d / 28"

[settings.rules.usage.alert.daily]
when = "active_share > 0.9"
text = "Active on {active_share:.0%} of days"
severity = "critical"

[settings.rules.usage.alert]
single_user = false
"""


def _usage(rules_of_team, **parameters):
    portfolio = tiny_portfolio(EVENTS, settings={"rules": rules_of_team})
    return hs.track_usage_engagement(portfolio, "a", **parameters)


def test_a_rule_beside_a_portfolio_reads_its_own_metric_and_another_is_removed(tmp_path):
    (tmp_path / "portfolio.toml").write_text(TOML)
    alerts = hs.track_usage_engagement(hs.Portfolio.open(tmp_path), "a").alerts
    assert (alerts[0].type, alerts[0].message) == ("daily", "Active on 100% of days")
    assert "single_user" not in {alert.type for alert in alerts}


@pytest.mark.slow
def test_a_team_changes_one_field_of_a_rule_and_the_rest_stays():
    usual = next(alert for alert in _usage({}).alerts if alert.type == "single_user")
    stated = {"usage": {"alert": {"single_user": {"severity": "critical"}}}}
    own = next(alert for alert in _usage(stated).alerts if alert.type == "single_user")
    assert (usual.severity, own.severity, own.message) == ("medium", "critical", usual.message)


def test_own_rules_are_in_recommendations_alerts_and_portfolio_alike():
    stated = {
        "usage": {
            "action": {"train": SINGLE},
            "portfolio_alert": {
                "any": {"when": "customers >= 1", "text": "{customers:n customer}"}
            },
        },
        "health": {
            "risk": {"one": SINGLE | {"when": "monthly_active_users == 1", "text": "One user"}},
            "alert": {
                "one": {
                    "when": "monthly_active_users < threshold",
                    "threshold": 2,
                    "text": "One user",
                }
            },
        },
    }
    portfolio = tiny_portfolio(EVENTS, settings={"rules": stated})
    assert "Only 1 user" in hs.track_usage_engagement(portfolio, "a").recommendations
    assert "1 customer" in {alert.message for alert in hs.portfolio_usage(portfolio).alerts}
    health = hs.calculate_health_score(portfolio, "a", include_predictions=False)
    assert "One user" in health.risk_indicators
    assert "one" in {alert.rule for alert in health.alerts}
    assert "one" in {alert.rule for alert in hs.portfolio_health(portfolio).alerts}
    quiet = hs.calculate_health_score(
        portfolio, "a", include_predictions=False, alert_preferences={"thresholds": {"one": 1}}
    )
    assert "one" not in {alert.rule for alert in quiet.alerts}


def test_a_rule_that_reads_an_unknown_figure_is_refused_with_the_nearest_one():
    stated = {"usage": {"action": {"typo": {"when": "active_user > 1", "text": "…"}}}}
    with pytest.raises(InvalidParameters, match=r"active_user.*did you mean.*active_users"):
        _usage(stated)


def test_a_figure_of_a_part_that_is_not_requested_is_unknown_and_no_error():
    stated = {"usage": {"action": {"power": {"when": "power_users >= 1", "text": "Thank them"}}}}
    assert "Thank them" in _usage(stated).recommendations
    assert "Thank them" not in _usage(stated, include_user_segmentation=False).recommendations


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"usages": {}}, "usages.*usage"),
        ({"usage": {"alerts": {}}}, "alerts.*alert"),
        ({"segments": {"focus": {}}}, "focus"),
        ({"usage": {"alert": {"x": {"when": "a > 1"}}}}, "needs text"),
        ({"usage": {"alert": {"x": {"text": "words"}}}}, "needs when"),
        ({"usage": {"alert": {"x": SINGLE | {"severity": "dire"}}}}, "dire"),
        ({"usage": {"alert": {"x": SINGLE | {"then": "call"}}}}, "then"),
        ({"usage": {"alert": {"x": SINGLE | {"threshold": "2"}}}}, "must be a number"),
        ({"usage": {"alert": {"x": SINGLE | {"when": "__import__('os')"}}}}, "Call is not allowed"),
        ({"usage": {"alert": {"x": SINGLE | {"when": "-" * 900 + "active_users"}}}}, "levels deep"),
        (
            {"usage": {"alert": {"x": SINGLE | {"text": "{active_users.__class__}"}}}},
            "plain figure",
        ),
        (
            {"usage": {"alert": {"x": SINGLE | {"text": "{active_users:999999999d}"}}}},
            "not a format",
        ),
        (
            {"usage": {"alert": {"x": SINGLE | {"text": "{active_users:{active_users}}"}}}},
            "not a format",
        ),
        ({"usage": {"alert": {"x": SINGLE | {"text": "{active_users"}}}}, "expected '}'"),
    ],
)
def test_a_rule_that_is_not_one_is_refused_before_anything_is_counted(stated, message):
    with pytest.raises(InvalidParameters, match=message):
        tiny_portfolio(EVENTS, settings={"rules": stated})


def test_rules_merge_by_name_and_are_part_of_the_fingerprint():
    first = changed(Settings(), {"rules": {"usage": {"alert": {"single_user": False}}}})
    both = changed(first, {"rules": {"usage": {"action": {"train": SINGLE}}}})
    assert both.rules == {"usage": {"alert": {"single_user": False}, "action": {"train": SINGLE}}}
    assert len({Settings().fingerprint, first.fingerprint, both.fingerprint}) == 3


def test_every_tool_takes_own_rules_of_each_of_its_kinds():
    """A rule that always holds and has a name of its own is parsed beside all of the package's."""
    for tool, file in FILES.items():
        for kind in (kind for kind in OWN_KINDS if kind in rules._entries(tool)):
            own = rules.checked({file: {kind: {"always": {"when": "1 == 1", "text": "Always"}}}})
            assert "always" in {rule.rule for rule in rules.triggered(tool, kind, {}, own)}
