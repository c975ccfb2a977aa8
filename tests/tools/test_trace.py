"""Every counted figure of the tools' responses recounts from the rows that ``trace`` gives, with plain pandas."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
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
LEAST = {"usage": 20, "health": 8, "adoption": 2, "milestones": 2, "tiers": 2, "segments": 1}


def client_of(portfolio: hs.Portfolio) -> str:
    """The live customer with most events."""
    rows = hs.portfolio_usage(portfolio).frame("customers")
    return str(rows.sort_values("person_events")["client_id"].iloc[-1])


def decimals(value: float) -> int:
    return len(str(value).partition(".")[2]) if isinstance(value, float) else 0


@pytest.mark.parametrize("tool", CALLS)
def test_a_counted_figure_recounts_from_its_rows(demo, tool):
    result, recounted, seen = CALLS[tool](demo, client_of(demo)), 0, set()
    for path, value in figures(result):
        # of the rows of a list, the first: all are counted alike
        key = re.sub(r"\[[^\]]*\]", "[]", path)
        if key in seen:
            continue
        seen.add(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or "data_quality" in path:
            continue
        trace = result.trace(path)
        assert trace.definition and trace.kind in ("counted", "derived", "modelled")
        assert trace.formula or trace.rests_on or len(trace.rows) or trace.query, path
        if trace.formula:
            again = eval(trace.formula, {"pd": pd, "np": np, "rows": trace.rows, **trace.names})
            assert abs(again - value) <= 0.5 * 10 ** -decimals(value) + 1e-9, path
            recounted += 1
    assert recounted >= LEAST.get(tool, 0)


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
