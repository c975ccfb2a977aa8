"""Every counted figure of the tools' responses recounts from the rows that ``trace`` gives, with plain pandas."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.tools.trace_frames import statement
from healthseg.tools.traces import figures, sources


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced") / "demo"
    hs.make_demo(folder, clients=12, months=6, events="light", scenario="plain", seed=3)
    return hs.Portfolio.open(folder)


CALLS = {
    "usage": lambda portfolio, client: hs.track_usage_engagement(portfolio, client),
    "health": lambda portfolio, client: hs.calculate_health_score(portfolio, client),
    "adoption": lambda portfolio, client: hs.track_feature_adoption(portfolio, client),
    "lifecycle": lambda portfolio, client: hs.manage_lifecycle_stages(
        portfolio, client, "get_stage"
    ),
    "milestones": lambda portfolio, client: hs.track_adoption_milestones(portfolio, client),
    "tiers": lambda portfolio, client: hs.segment_by_value_tier(portfolio),
    "segments": lambda portfolio, client: hs.segment_customers(
        portfolio, {}, "value", min_segment_size=1
    ),
    "patterns": lambda portfolio, client: hs.analyze_engagement_patterns(
        portfolio, "single_customer", client_id=client
    ),
}
PORTFOLIO = ("usage", "health", "adoption", "lifecycle", "milestones", "tiers", "patterns")
CALLS |= {
    f"portfolio_{name}": lambda portfolio, client, name=name: getattr(hs, f"portfolio_{name}")(
        portfolio
    )
    for name in PORTFOLIO
    if name != "tiers"  # segment_by_value_tier is the same
}
# of the figures that are counted (the rows of a list once), at least so many give an expression
LEAST = {
    "usage": 50,
    "health": 15,
    "adoption": 25,
    "lifecycle": 4,
    "milestones": 30,
    "tiers": 80,
    "segments": 50,
    "patterns": 3,
    "portfolio_usage": 25,
    "portfolio_health": 25,
    "portfolio_adoption": 25,
    "portfolio_lifecycle": 20,
    "portfolio_milestones": 10,
    "portfolio_patterns": 20,
}
KINDS = ("counted", "derived", "modelled", "setting")


def client_of(portfolio: hs.Portfolio) -> str:
    """The live customer with most events."""
    rows = hs.portfolio_usage(portfolio).frame("customers")
    return str(rows.sort_values("person_events")["client_id"].iloc[-1])


def decimals(value: float) -> int:
    return len(str(value).partition(".")[2]) if isinstance(value, float) else 0


@pytest.fixture(scope="module")
def client(demo):
    return client_of(demo)


@pytest.mark.parametrize("tool", CALLS)
def test_each_number_is_counted_from_its_rows_or_says_what_it_rests_on(demo, client, tool):
    result, recounted, seen = CALLS[tool](demo, client), 0, set()
    for path, value in figures(result):
        # of the rows of a list, the first: all are counted alike
        key = re.sub(r"\[[^\]]*\]", "[]", path)
        if key in seen or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if "data_quality" in path:
            continue
        seen.add(key)
        trace = result.trace(path)
        assert trace.definition and trace.kind in KINDS, path
        assert trace.formula or trace.rests_on, path
        if trace.kind != "counted":
            assert trace.rests_on or trace.formula.startswith("rows["), path
        if trace.formula:
            again = eval(trace.formula, {"pd": pd, "np": np, "rows": trace.rows, **trace.names})
            assert abs(again - value) <= 0.5 * 10 ** -decimals(value) + 1e-9, path
            recounted += trace.kind == "counted"
    assert recounted >= LEAST[tool]


@pytest.mark.parametrize(
    ("tool", "path", "formula"),
    [
        (
            "portfolio_health",
            "at_risk_arr",
            "rows.loc[rows['score'] < risk_threshold, 'arr'].sum()",
        ),
        ("portfolio_health", "average_score", "rows['score'].mean()"),
        ("portfolio_usage", "median_usage_ratio", "rows['usage_ratio'].median()"),
        ("portfolio_lifecycle", "stage_counts.active", "len(rows)"),
    ],
)
def test_sums_and_medians_of_a_portfolio_are_counted_from_its_customers(
    demo, client, tool, path, formula
):
    trace = CALLS[tool](demo, client).trace(path)
    assert (trace.kind, trace.formula) == ("counted", formula)
    assert trace.rows["client_id"].is_unique and trace.value == pytest.approx(
        trace.recount(), abs=0.05
    )


def test_punctual_payment_and_adopted_features_are_counted_from_invoices_and_events(demo, client):
    health = CALLS["health"](demo, client)
    metrics = {metric.metric: metric for part in health.components for metric in part.metrics}
    paths = {
        parent: f"components[{i}].metrics[{j}].value"
        for i, part in enumerate(health.components)
        for j, parent in enumerate(metric.metric for metric in part.metrics)
    }
    paid = health.trace(paths["paid_on_time_share_365d"])
    assert set(paid.rows["client_id"]) == {client} and (paid.rows["amount"] > 0).all()
    assert paid.recount() == pytest.approx(metrics["paid_on_time_share_365d"].value, abs=1e-4)
    adopted = health.trace(paths["feature_adoption_rate_30d"])
    assert adopted.recount() == pytest.approx(metrics["feature_adoption_rate_30d"].value, abs=1e-4)


def test_retention_by_month_is_counted_from_the_statements_of_two_days(demo):
    tiers = CALLS["tiers"](demo, "")
    months = tiers.frame("revenue_by_month")
    for number in (4, len(months) - 1):
        for column in ("grr", "nrr", "churn", "end"):
            trace = tiers.trace(f"revenue_by_month[{number}].{column}")
            expected = months[column].iloc[number]
            if pd.isna(expected):
                continue
            assert trace.kind == "counted" and len(trace.rows)
            assert trace.recount() == pytest.approx(expected, abs=0.005)


def test_a_setting_and_a_score_say_what_they_rest_on(demo, client):
    health = CALLS["health"](demo, client)
    assert health.trace("risk_threshold").kind == "setting"
    assert "scorecard" in health.trace("component_scores.usage_score").rests_on[0]
    assert "churn model" in health.trace("churn_prediction.churn_probability").rests_on[0]


def test_a_stored_result_opens_its_portfolio_again(demo):
    result = pickle.loads(pickle.dumps(CALLS["usage"](demo, client_of(demo))))
    trace = result.trace("$.usage_analytics.person_events")
    assert trace.rows["count"].fillna(1).sum() == result.usage_analytics.person_events
    assert "person" in str(trace) and str(trace.start) in str(trace)


def test_an_unknown_figure_is_refused_with_the_nearest(demo):
    result = CALLS["usage"](demo, client_of(demo))
    with pytest.raises(InvalidParameters, match="did you mean usage_analytics"):
        result.trace("usage_analytics.person_event")


def test_what_is_modelled_says_what_it_rests_on(demo):
    trace = CALLS["health"](demo, client_of(demo)).trace("current_health_score")
    assert trace.kind == "modelled" and 'result.frame("metrics")' in trace.rests_on


def test_words_are_those_of_their_figure_where_a_name_holds_another():
    """ "migration" ends with "ration", and counts stand beside the p-values of their test."""
    kind, words = statement("migration.flows[0].arr")
    assert kind == "derived" and "segments of both days" in words
    assert "check()" in statement("data_quality.portfolio[0].rows_read")[1]
    assert statement("testing.by_type.temporal")[0] == "derived"
    assert statement("time_to_value.detail[0].log_rank_p")[0] == "modelled"


@pytest.mark.parametrize("path", ["total_arr", "retention.nrr", "retention.grr"])
def test_a_figure_in_money_recounts_from_the_statements_behind_it(demo, path):
    trace = CALLS["tiers"](demo, "").trace(path)
    assert set(trace.rows["table"]) <= {"contracts", "arr_changes", "customer_changes", "customers"}
    again = eval(trace.formula, {"pd": pd, "np": np, "rows": trace.rows})
    assert again == pytest.approx(trace.value, abs=1e-4)


@pytest.mark.parametrize("tool", ["health", "usage"])
def test_the_sources_of_a_page_are_those_that_trace_recounts_from(demo, tool):
    result = CALLS[tool](demo, client_of(demo))
    listed = sources(result)
    assert len(listed) >= 6
    for source in listed:
        trace = result.trace(source.path)
        assert (source.query, source.formula) == (trace.query, trace.formula)
        assert source.definition and source.call == f'result.trace("{source.path}").rows'


def test_a_converted_figure_recounts_from_its_rows_with_their_rates(tmp_path):
    """Last year 100 USD and 100 EUR, now 100 USD, and 200 EUR of which 50 are an add-on in CHF; at 0.5 and 2."""
    tables = {
        "customers": "client_id,signup_date\na,2023-01-01\nb,2023-01-01\n",
        "contracts": "client_id,starts_on,ends_on,arr,currency\na,2023-01-01,2027-01-01,100,USD\n"
        "b,2023-01-01,2027-01-01,100,EUR\nb,2025-01-01,2027-01-01,50,CHF\n",
        "fx": "currency,on,rate_to_book\nUSD,2023-01-01,0.25\nUSD,2025-01-01,0.5\nCHF,2023-01-01,2\n",
        "events": "client_id,user_id,occurred_at\na,u,2025-06-30 23:10:00\nb,u,2025-06-30 23:10:00\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    result = hs.segment_by_value_tier(hs.Portfolio.open(tmp_path, {"reporting_currency": "EUR"}))
    assert (result.total_arr, result.currency) == (250.0, "EUR")
    rows = result.trace("total_arr").rows
    assert rows[["currency", "amount", "rate", "converted"]].to_numpy().tolist() == [
        ["USD", 100.0, 0.5, 50.0],
        ["EUR", 100.0, 1.0, 100.0],
        ["CHF", 50.0, 2.0, 100.0],
    ]
    for path in ("total_arr", "retention.nrr", "retention.grr"):
        trace = result.trace(path)
        again = eval(trace.formula, {"pd": pd, "np": np, "rows": trace.rows})
        assert again == pytest.approx(trace.value, abs=1e-4), path


def test_customers_that_had_not_begun_are_counted_by_their_day_of_signup(tmp_path):
    days = {"A": "2025-01-01", "B": "2025-02-01", "C": "2025-09-01"}
    customers = pd.DataFrame({"client_id": list(days), "signup_date": list(days.values())})
    portfolio = hs.Portfolio.open({"customers": customers})
    excluded = hs.portfolio_health(portfolio, as_of="2025-06-30").trace("excluded.not_started")
    assert (excluded.kind, excluded.value, excluded.holds()) == ("counted", 1, True)
    assert excluded.rows.set_index("client_id")["signup_date"].max() == pd.Timestamp("2025-09-01")
