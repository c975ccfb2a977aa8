"""The catalogue: one entry a metric, and a metric that a user registers is found wherever metrics are."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from healthseg.errors import InvalidParameters
from healthseg.metrics import catalog
from healthseg.metrics.catalog import Metric
from healthseg.metrics.panels import build, panel
from healthseg.metrics.spans import over
from healthseg.metrics.usage import person_events
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.rules import Rule
from healthseg.rules.expressions import Condition
from healthseg.scoring import explain_change, score_panel
from healthseg.scoring.churn.predictors import StepAhead, predictors_of, values_of
from healthseg.settings import COMPONENTS, DEFAULT_SCORECARD, Settings
from healthseg.testing import tiny_portfolio
from healthseg.tools import calculate_health_score, segment_customers, segmenters
from healthseg.tools.health import words

DOCS = Path(__file__).parents[2] / "docs"
DAY = dt.date(2025, 6, 30)
EVENTS_PER_SEAT = Metric(
    name="events_per_seat",
    label="Events per seat",
    unit="events",
    better="higher",
    missing="no seats are known",
    derive=lambda rows: rows["person_events_28d"] / rows["seats"].where(rows["seats"] > 0),
    below="Only {value} events per seat",
    high="busy seats",
    low="quiet seats",
    kind="breadth",
)
FORTNIGHT = Metric(
    name="events_14d",
    label="Events in 14 days",
    unit="events",
    count=person_events,
    window_days=14,
    span_name="events_again",
)
SCORECARD = {
    "only_these": True,
    "components": {
        "usage": {
            "weight": 1,
            "metrics": [
                {"metric": "events_per_seat", "weight": 1, "anchors": [[0, 0], [10, 100]]},
            ],
        }
    },
}


def portfolio(**settings):
    """Two customers, ``a`` with 10 seats and 20 events in June, ``b`` with 5 seats and 40."""
    events = [
        (client, f"{day:%Y-%m-%d} 09:00", f"u{user}")
        for client, users in (("a", 1), ("b", 2))
        for day in pd.date_range("2025-04-01", DAY)
        for user in range(users)
    ]
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": "2024-01-01", "seats": [14, 8]}
    )
    return tiny_portfolio(events, customers, {"min_coverage": 0.1, **settings})


# -- the entries -----------------------------------------------------------------------------


def test_each_metric_has_a_label_a_unit_a_definition_and_a_question():
    for metric in catalog.built_in().values():
        assert all([metric.label, metric.unit, metric.definition, metric.question]), metric.name
        assert metric.question.endswith("?"), metric.name


def test_labels_tell_metrics_apart():
    labels = [metric.label for metric in catalog.built_in().values()]
    assert sorted(set(labels)) == sorted(labels)


def test_the_default_scorecard_names_metrics_of_the_catalogue_that_say_when_they_are_good():
    for name in COMPONENTS:
        for scored in DEFAULT_SCORECARD.components[name].metrics:
            metric = catalog.get(scored.metric)
            rises = scored.anchors[-1][1] > scored.anchors[0][1]
            assert metric.better == ("higher" if rises else "lower"), metric.name
            assert "scorecard" in metric.uses and metric.above and metric.below, metric.name


def test_the_panel_has_a_column_for_each_metric_that_the_catalogue_computes():
    rows = panel(portfolio(), [DAY])
    assert [name for name in catalog.columns() if name not in rows] == []


def test_every_sentence_of_a_metric_can_be_filled_in():
    for metric in catalog.built_in().values():
        for sentence in filter(None, (metric.above, metric.below)):
            assert set(re.findall(r"{(\w+)}", sentence)) <= {"value"}, metric.name


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InvalidParameters, match="seat_utilisation"):
        catalog.get("seat_utilization")
    with pytest.raises(InvalidParameters, match="active_users"):
        over(
            portfolio(),
            pd.DataFrame(
                {"client_id": ["a"], "span_id": [0], "start": [DAY], "end": ["2025-07-01"]}
            ),
            ["active_user"],
        )


def test_the_example_of_the_documents_registers_a_metric_of_the_panel():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    example = text.split("## Your own metrics")[1].split("```python")[1].split("```")[0]
    with catalog.registered():
        exec(compile(example, "docs/metrics.md", "exec"), {})
        assert "logins_per_seat" in panel(portfolio(), [DAY])
    assert "logins_per_seat" not in catalog.entries()


# -- a metric of a user ----------------------------------------------------------------------


def test_a_registered_metric_is_a_column_of_the_panel_while_it_is_registered():
    both = portfolio()
    assert "events_per_seat" not in panel(both, [DAY])
    with catalog.registered(EVENTS_PER_SEAT, FORTNIGHT):
        rows = panel(both, [DAY])
        assert rows["events_per_seat"].tolist() == [2.0, 7.0]
        assert rows["events_14d"].tolist() == [14.0, 28.0]
        assert panel(both, [DAY], ["b"])["events_per_seat"].tolist() == [7.0]
    assert "events_per_seat" not in panel(both, [DAY])


def test_a_registered_metric_can_be_counted_over_any_span():
    spans = pd.DataFrame(
        {"client_id": ["b"], "span_id": [0], "start": [dt.date(2025, 6, 1)], "end": [DAY]}
    )
    with catalog.registered(FORTNIGHT):
        assert over(portfolio(), spans, ["events_again"])["events_again"].tolist() == [58.0]


def test_the_scorecard_scores_a_registered_metric_under_its_label():
    with catalog.registered(EVENTS_PER_SEAT):
        both = portfolio(scorecard=SCORECARD)
        scores = score_panel(panel(both, [DAY]), both.settings)
        points = scores.points("b", pd.Timestamp(DAY)).iloc[0]
        assert points[["label", "unit", "value", "points"]].tolist() == [
            "Events per seat",
            "events",
            7.0,
            70.0,
        ]


def test_a_scorecard_may_have_a_label_and_unit_of_its_own():
    card = {"only_these": True, "components": {"usage": {"weight": 1, "metrics": [dict(
        metric="seat_utilisation", label="Seats", unit="of all", weight=1, anchors=[[0, 0], [1, 100]]
    )]}}}  # fmt: skip
    both = portfolio(scorecard=card)
    points = score_panel(panel(both, [DAY]), both.settings).points("a", pd.Timestamp(DAY)).iloc[0]
    assert points[["label", "unit"]].tolist() == ["Seats", "of all"]


def test_a_change_of_the_score_is_explained_by_a_registered_metric():
    with catalog.registered(EVENTS_PER_SEAT):
        both = portfolio(scorecard=SCORECARD)
        now = build(both, [DAY], ["b"]).iloc[0]
        then = {**now, "events_per_seat": 4.0}
        change = explain_change(then, now, both.settings, both.settings)
    assert [(part.label, part.value_then, part.value_now, float(part.points)) for part in change.parts] == [
        ("Events per seat", 4.0, 7.0, 30.0)
    ]  # fmt: skip


def test_churn_models_read_a_registered_metric():
    with catalog.registered(EVENTS_PER_SEAT):
        rows = panel(portfolio(), [DAY])
        step = StepAhead(30, 0)
        chosen = predictors_of(rows, Settings(), step)
        predictors = [each for each in chosen if each.metric == "events_per_seat"]
        assert [each.label for each in predictors] == ["Events per seat"]
        assert values_of(rows, predictors, Settings(), step).ravel().tolist() == [2.0, 7.0]


def test_customers_are_segmented_by_a_registered_metric():
    criteria = {"metric": "events_per_seat", "thresholds": [3]}
    with catalog.registered(EVENTS_PER_SEAT):
        result = segment_customers(portfolio(), criteria, "usage", min_segment_size=1)
        assert segmenters.described_metrics()["events_per_seat"].low == "quiet seats"
    members = {each.segment_name: each.client_ids for each in result.segments}
    assert members == {"3\xa0events and above": ["b"], "below 3\xa0events": ["a"]}
    with pytest.raises(InvalidParameters, match="events_per_seat"):
        segment_customers(portfolio(), criteria, "usage", min_segment_size=1)


def test_the_health_of_a_customer_shows_a_registered_metric_of_its_scorecard():
    with catalog.registered(EVENTS_PER_SEAT):
        data = portfolio(scorecard=SCORECARD)
        health = calculate_health_score(data, client_id="a")
        response = health.to_dict()
        page = ReportPage(page_spec("calculate_health_score"), health, data).section("components")
        page = page._repr_mimebundle_()["text/html"]
    assert "Events per seat" in page
    assert response["component_scores"]["usage_score"] == 20
    (metric,) = response["components"][0]["metrics"]
    assert [metric[key] for key in ("metric", "label", "unit", "value", "points")] == [
        "events_per_seat",
        "Events per seat",
        "events",
        2.0,
        20.0,
    ]


def test_a_rule_over_a_registered_metric_is_triggered():
    rule = Rule(
        "calculate_health_score",
        "risk",
        "quiet_seats",
        Condition("events_per_seat < 3"),
        "{events_per_seat:.0f} events per seat",
    )
    with catalog.registered(EVENTS_PER_SEAT):
        rows = panel(portfolio(), [DAY]).to_dict("records")
    assert [outcome and outcome.text for outcome in map(rule.evaluate, rows)] == [
        "2 events per seat",
        None,
    ]


def test_a_page_has_the_sentence_of_a_registered_metric():
    with catalog.registered(EVENTS_PER_SEAT):
        assert words.factor("events_per_seat", "", 2, "negative") == "Only 2.0 events per seat"
        assert words.why_missing("events_per_seat", "unmeasured", lambda _: None) == (
            "no seats are known"
        )


def test_what_is_cached_is_named_by_the_code_of_the_registered_metrics():
    names = [catalog.code_version()]
    for factor in (1, 2):
        metric = Metric(
            name="scaled", label="Scaled", unit="events", derive=lambda rows, by=factor: rows["seats"] * by
        )  # fmt: skip
        with catalog.registered(metric):
            names.append(catalog.code_version())
            assert panel(portfolio(), [DAY])["scaled"].tolist() == [14.0 * factor, 8.0 * factor]
    assert len(set(names)) == 3 and catalog.code_version() == names[0]


def test_a_metric_whose_value_cannot_be_computed_is_missing():
    metric = Metric(
        name="nothing", label="Nothing", unit="events", derive=lambda rows: rows["seats"] * np.nan
    )
    with catalog.registered(metric):
        assert panel(portfolio(), [DAY])["nothing"].isna().all()


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Metric(name="arr", label="A", unit="money", derive=lambda rows: rows["seats"]), "package"),
        (Metric(name="a-b", label="A", unit="money", derive=lambda rows: rows["seats"]), "letters"),
        (Metric(name="stickiness", label="A", unit="money", derive=lambda rows: rows["seats"]), "package"),
        (Metric(name="mine", label="A", unit="money"), "needs derive"),
        (Metric(name="mine", label="A", unit="money", count=person_events), "window_days"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_refused_with_the_reason(metric, reason):
    with pytest.raises(InvalidParameters, match=reason):
        catalog.register(metric)
    assert metric.name not in catalog.entries() or metric.name in catalog.built_in()


def test_a_metric_has_one_function_and_known_uses():
    with pytest.raises(ValueError, match="not both"):
        Metric(name="a", label="A", unit="u", count=person_events, derive=lambda rows: rows["arr"])
    with pytest.raises(ValueError, match="unknown use"):
        Metric(name="a", label="A", unit="u", uses=frozenset({"board"}))


def test_a_metric_of_a_user_can_be_replaced_and_removed():
    try:
        catalog.register(EVENTS_PER_SEAT)
        catalog.register(FORTNIGHT)
        assert list(catalog.entries())[-2:] == ["events_per_seat", "events_14d"]
        catalog.register(EVENTS_PER_SEAT)
    finally:
        catalog.unregister("events_per_seat")
        catalog.unregister("events_14d")
    assert catalog.entries() == catalog.built_in()
