"""segment_customers on portfolios that can be counted by hand, and its identities on a lively one."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

import healthseg as hs
from healthseg.charts import segments as charts
from healthseg.demo import make_demo
from healthseg.errors import ClientNotFound, DataRetrievalError, InvalidParameters
from healthseg.testing import tiny_portfolio
from healthseg.tools.next_actions import NextActions
from healthseg.tools.segmentation import resolved_segment
from healthseg.tools.segmenters import label
from healthseg.tools.segments.segment import _most_tickets, set_apart_by

DAYS = [f"2025-03-{day:02d} 09:00:00" for day in range(1, 31)]


def portfolio_of(arr, settings=None, **more):
    """A customer for each ARR, each used on every day of March by one user."""
    ids = [f"c{at:02d}" for at in range(len(arr))]
    customers = pd.DataFrame({"client_id": ids, "signup_date": "2024-03-30", "arr": arr, **more})
    return tiny_portfolio(
        [(client, day, "u1") for client in ids for day in DAYS], customers, settings
    )


@pytest.fixture(scope="module")
def small():
    """Ten customers by ARR: 4 up to 10,000, 3 up to 50,000, 2 up to 100,000, 1 above."""
    arr = [1000, 2000, 5000, 10_000, 10_001, 20_000, 50_000, 60_000, 100_000, 400_000]
    return portfolio_of(arr, industry=["a"] * 6 + ["b"] * 3 + [None], currency="EUR")


def sizes(response):
    return {segment.segment_name: segment.customer_count for segment in response.segments}


def test_by_value_an_upper_limit_belongs_to_its_segment_and_the_highest_segment_comes_first(small):
    result = hs.segment_customers(small, {"arr_thresholds": [10_000, 50_000, 100_000]}, "value", 1)
    assert sizes(result) == {"Enterprise": 1, "Corporate": 2, "Mid-Market": 3, "SMB": 4}
    assert list(sizes(result)) == ["Enterprise", "Corporate", "Mid-Market", "SMB"]
    assert result.segments[2].segment_criteria == {"arr_above": 10_000, "arr_up_to": 50_000}
    assert result.segments[2].total_arr == 80_001 and result.total_arr == 658_001


def test_what_sets_a_segment_apart_is_no_metric_that_defines_it(demo):
    segments = hs.segment_customers(demo, {}, "value", 5).segments
    texts = [text for part in segments for text in part.set_apart_by]
    assert texts and not any(text.startswith(label("arr")) for text in texts)
    rows = pd.DataFrame({"arr": range(40), "tenure_months": range(40), "nps_365d": range(40)})
    halves = rows[:20], rows[20:]
    named = set_apart_by(*halves, 0.5, frozenset())
    assert [text.split(":")[0] for text in named] == [
        label(name) for name in ("nps_365d", "tenure_months", "arr")
    ]
    left = set_apart_by(*halves, 0.5, frozenset({"arr", "tenure_days"}))
    assert [text.split(":")[0] for text in left] == [label("nps_365d")]


def test_small_segments_are_merged_and_the_response_says_so(small):
    result = hs.segment_customers(small, {"arr_thresholds": [10_000, 50_000, 100_000]}, "value", 3)
    assert sizes(result) == {"Corporate + Enterprise": 3, "Mid-Market": 3, "SMB": 4}
    assert result.merged == ["Corporate + Enterprise: merged from Corporate, Enterprise"]
    assert result.segments[0].segment_criteria == {"arr_above": 50_000, "arr_up_to": None}
    assert sizes(hs.segment_customers(small, {"arr_thresholds": [10_000]}, "value", 50)) == {
        "SMB + Enterprise": 10
    }


def test_value_and_health_cut_each_size_by_the_score_and_without_arr_by_the_score_alone(demo):
    result = hs.segment_customers(demo, {"large_arr": 50_000}, "value_and_health", 1)
    live = result.frame("customers").set_index("client_id")
    for segment in (part for part in result.segments if part.placed):
        rows, limits = live.loc[segment.client_ids], segment.segment_criteria
        large = segment.segment_name.startswith("Large")
        assert ((rows["arr"] > 50_000) == large).all()
        assert rows["score"].between(limits["health_score_min"], limits["health_score_max"]).all()
    names = [part.segment_name for part in result.segments if part.placed]
    assert names == [
        f"{size} & {state}"
        for size in ("Large", "Small")
        for state in ("thriving", "steady", "struggling")
        if f"{size} & {state}" in names
    ]
    assert all(action.owner is None or action.due_on for action in result.next_actions)
    assert len({action.client_id for action in result.next_actions}) == len(result.next_actions)
    alone = hs.segment_customers(portfolio_of([None] * 3), {}, "value_and_health", 1)
    assert not any("&" in name for name in sizes(alone))


def test_customers_that_cannot_be_placed_are_in_their_own_segment_with_the_reason(small):
    result = hs.segment_customers(small, {}, "industry", 1)
    assert sizes(result) == {"a": 6, "b": 3, "Not placed": 1}
    assert result.unplaced == {"no industry is known": 1} and result.segments_created == 2
    assert result.verdict().startswith("9 of 10 customers in 2 segments")
    assert (
        not result.segments[-1].placed
        and "no industry is known" in result.segments[-1].segment_description
    )


def test_a_customer_too_new_for_a_score_gets_its_segment_sixty_days_after_its_signup():
    signups = {"client_id": ["a", "b"], "signup_date": ["2024-01-01", "2025-06-01"]}
    days = [f"2025-06-0{day} 09:00:00" for day in range(1, 10)]
    events = [(client, day, f"{client}-1", "search") for client in "ab" for day in days]
    opened = tiny_portfolio(events, pd.DataFrame(signups), {"data_until": "2025-06-09"})
    place = hs.segment_customers(opened, {}, "value_and_health", client_id="b").customer_standing
    assert not place.placed
    assert place.reason == "too new for a segment; it gets one on 31 Jul 2025"


def test_tickets_begin_with_the_customer_that_has_most_of_them():
    tickets = pd.Series({"a": 1.0, "b": 91.0, "c": 0.0, "d": 2.0})
    context = SimpleNamespace(
        names=pd.Series({"a": "Acme", "b": "Bolt", "c": "Crane", "d": "Dune"})
    )
    assert _most_tickets(context, tickets) == "Bolt (91), Dune (2) and Acme (1)"


def test_the_top_fifth_is_the_sum_of_the_sorted_amounts(small):
    pareto = hs.segment_customers(small, {}, "value", 1).pareto_analysis
    assert (pareto.top_customers, pareto.top_arr) == (2, 500_000)
    assert (
        pareto.top_20_percent_contribute == "76% of total ARR"
        and pareto.segment == "Enterprise & Mid-Market"
    )


@pytest.mark.slow
def test_missing_arr_one_value_zero_arr_and_one_customer_have_a_defined_response():
    missing = hs.segment_customers(portfolio_of([None] * 3), {}, "value", 1)
    assert sizes(missing) == {"Not placed": 3} and missing.total_arr is None
    assert missing.unplaced == {"no ARR is known": 3} and missing.not_measured["$.total_arr"]
    assert sizes(hs.segment_customers(portfolio_of([7000] * 6), {}, "value", 1)) == {"Micro": 6}
    alone = hs.segment_customers(portfolio_of([5]), {}, "health")
    assert alone.total_customers == 1 == sum(sizes(alone).values())
    nothing = hs.segment_customers(portfolio_of([0, 0]), {}, "value", 1)
    assert nothing.pareto_analysis.top_share is None and sizes(nothing) == {"Micro": 2}


def test_many_currencies_without_rates_are_never_added_up_and_with_rates_they_are():
    names = [f"X{chr(65 + at // 26)}{chr(65 + at % 26)}" for at in range(40)]
    portfolio = portfolio_of([20_000] * 40, currency=names)
    result = hs.segment_customers(portfolio, {}, "value", 1)
    assert (
        result.total_arr is None
        and len(result.total_arr_by_currency) == 40
        and sizes(result) == {"SMB": 40}
    )
    assert any("never added up" in text for text in result.warnings)
    fx = pd.DataFrame(
        {"currency": ["USD", "USD"], "on": ["2025-01-01", "2025-06-01"], "rate_to_book": [0.5, 9]}
    )
    customers = pd.DataFrame(
        {
            "client_id": ["a", "b", "c"],
            "signup_date": "2024-01-01",
            "arr": [10_000, 10_000, 10],
            "currency": ["EUR", "USD", "JPY"],
        }
    )
    events = [(client, day, "u") for client in "abc" for day in DAYS]
    rated = tiny_portfolio(events, customers, {"reporting_currency": "EUR"}, fx=fx)
    result = hs.segment_customers(rated, {"arr_thresholds": [5_000]}, "value", 1)
    assert result.total_arr == 15_000 and result.unplaced == {"its ARR's currency has no rate": 1}
    assert sizes(result) == {"Enterprise": 1, "SMB": 1, "Not placed": 1}


def test_rules_apply_in_order_and_an_unknown_figure_does_not_count_as_false(small):
    rules = [{"name": "Large", "when": "arr > 50000"}, {"name": "Loud", "when": "open_tickets > 0"}]
    result = hs.segment_customers(small, {"rules": rules[:1]}, "custom", 1)
    assert sizes(result) == {"Large": 3, "No rule applies": 7}
    result = hs.segment_customers(small, {"rules": rules}, "custom", 1)
    assert sizes(result) == {"Large": 3, "Not placed": 7}
    assert "not measured" in next(iter(result.unplaced))


def test_a_run_is_recorded_once_and_a_segment_id_leads_back_to_its_customers():
    portfolio = portfolio_of([1000, 2000, 90_000])
    first = hs.segment_customers(portfolio, {}, "value", 1)
    again = hs.segment_customers(
        hs.Portfolio.open(portfolio.path, {"data_until": "2025-03-30"}), {}, "value", 1
    )
    assert first.run.resolvable and again.to_json() == first.to_json()
    assert len(portfolio.ledger().segment_runs()) == 1
    run, members = resolved_segment(portfolio, first.segments[0].segment_id, first.as_of)
    assert members == first.segments[0].client_ids and run.as_of == first.as_of
    other = hs.segment_customers(portfolio, {"arr_thresholds": [5]}, "value", 1)
    assert not {segment.segment_id for segment in other.segments} & {
        segment.segment_id for segment in first.segments
    }
    with pytest.raises(InvalidParameters, match="did you mean"):
        resolved_segment(portfolio, first.segments[0].segment_id[:-1] + "x", first.as_of)


class NoPlace(hs.Portfolio):
    """A portfolio in whose folder nothing can be written."""

    def ledger(self):
        raise DataRetrievalError("the ledger's folder cannot be written")


def test_where_the_folder_is_read_only_the_response_says_that_the_run_was_not_recorded():
    result = hs.segment_customers(
        NoPlace.open(portfolio_of([1000, 2000]).path, {"data_until": "2025-03-30"}), {}, "value", 1
    )
    assert not result.run.resolvable and result.run.reason.startswith("not recorded")
    assert result.run.reason in result.warnings and sizes(result) == {"Micro": 2}


def test_trend_weighting_moves_the_classified_score_by_its_formula(demo):
    plain = hs.segment_customers(demo, {}, "health", 1)
    moved = (
        hs.segment_customers(demo, {"trend_weighting": 0.5}, "health", 1)
        .frame("customers")
        .set_index("client_id")
    )
    trend = hs.calculate_health_score(demo, moved.index[0]).trend
    shown = plain.frame("customers").set_index("client_id")["value"]
    assert (
        trend is None
        or trend.slope_per_week is None
        or moved["value"].iloc[0]
        == pytest.approx(
            np.clip(shown.iloc[0] + 0.5 * trend.slope_per_week * 30 / 7, 0, 100), abs=0.02
        )
    )


def test_moves_add_up_to_the_customers_then_and_now(demo):
    result = hs.segment_customers(demo, {}, "health", 1).migration
    now = sum(flow.customers for flow in result.flows if flow.to_segment != "Churned")
    assert now == hs.segment_customers(demo, {}, "health", 1).total_customers
    assert result.unchanged + result.moved + result.newly_placed + result.entered == now
    assert result.moved == result.up + result.down  # a first score is no move up or down
    assert result.churned == sum(
        flow.customers for flow in result.flows if flow.to_segment == "Churned"
    )
    assert result.noise.lower <= result.noise.expected_moves <= result.noise.upper


def test_segments_by_recorded_facts_have_no_noise_and_hysteresis_moves_fewer_customers(demo):
    assert hs.segment_customers(demo, {}, "industry", 1).migration.noise is None
    plain = hs.segment_customers(demo, {}, "health", 1)
    steady = hs.segment_customers(demo, {"hysteresis": 50}, "health", 1)
    assert steady.total_customers == plain.total_customers
    assert (
        steady.frame("customers")["segment_name"].tolist()
        != plain.frame("customers")["segment_name"].tolist()
    )
    assert any("border is crossed only" in text for text in steady.warnings)


def test_a_customer_has_its_segment_its_border_and_what_would_move_it(demo):
    result = hs.segment_customers(demo, {}, "health", 1)
    client = result.segments[0].client_ids[0]
    standing = hs.segment_customers(demo, {}, "health", 1, client_id=client).customer_standing
    assert (
        standing == result.customer(client) and standing.segment_id == result.segments[0].segment_id
    )
    assert standing.why and standing.border is not None
    with pytest.raises(ClientNotFound):
        result.customer("nobody")


def test_a_customers_actions_are_its_own_from_the_list_of_all_tools(demo):
    result = hs.segment_customers(demo, {}, "health", 1)
    client = result.segments[-1].client_ids[0]
    actions = result.customer(client).next_actions
    known = NextActions.of(demo, demo.data_until).customer(client)
    assert actions == known[: len(actions)]
    assert {action.client_id for action in actions} == {client}


@pytest.mark.parametrize("output", ["detailed", "summary", "ids_only"])
def test_each_output_format_has_its_keys(demo, conform, output):
    result = json.loads(hs.segment_customers(demo, {}, "health", 1, output_format=output).to_json())
    if output == "detailed":
        assert conform("segment_customers", result) == []
    if output == "ids_only":
        assert all(
            set(segment) == {"segment_id", "segment_name", "client_ids"}
            for segment in result["segments"]
        )
    if output == "summary":
        assert "recommended_engagement_strategy" not in result["segments"][0]
        assert "client_ids" not in result["segments"][0] and result["segments"][0]["customer_count"]


def test_without_recommendations_the_response_says_why_they_are_missing(demo):
    result = hs.segment_customers(demo, {}, "health", 1, include_recommendations=False)
    assert (
        result.recommended_actions == []
        and result.segments[0].recommended_engagement_strategy is None
    )
    assert result.not_measured["$.segments[*].recommended_channels"] == "not requested"


def test_recommendations_have_rules_with_figures_and_channels_have_rates_of_answers(demo):
    result = hs.segment_customers(demo, {}, "health", 1).segments[0]
    assert result.strategy_rules and all(rule.figures for rule in result.strategy_rules)
    assert all(
        0 <= channel.lower <= channel.rate <= channel.upper <= 1 and channel.sent >= 30
        for channel in result.channels_detail or []
    )
    known = [channel.rate for channel in result.channels_detail]
    assert known == sorted(known, reverse=True)


def test_a_segment_has_one_score_to_escalate_at(demo):
    """Its lower limit; the lowest segment has none, and has the score that nine of ten of its customers exceed."""
    segments = hs.segment_customers(demo, {}, "health", 1).segments
    scores = [
        [text for text in segment.escalation_criteria if text.startswith("The score falls")]
        for segment in segments
        if segment.placed
    ]
    assert len(scores) > 1 and all(len(texts) <= 1 for texts in scores)
    assert "the lower limit" in scores[0][0] and "lower limit" not in "".join(scores[-1])


KINDS = st.one_of(
    st.tuples(
        st.just("value"),
        st.builds(
            dict,
            arr_thresholds=st.lists(
                st.integers(0, 400_000), min_size=1, max_size=6, unique=True
            ).map(sorted),
        ),
    ),
    st.tuples(
        st.just("health"),
        st.builds(
            dict,
            health_score_thresholds=st.lists(
                st.integers(1, 99), min_size=1, max_size=5, unique=True
            ).map(sorted),
            trend_weighting=st.sampled_from([0, 0.5, 1]),
        ),
    ),
    st.tuples(st.sampled_from(["usage", "industry", "lifecycle"]), st.just({})),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KINDS, st.integers(1, 30), st.integers(1, 12))
def test_every_customer_is_in_one_segment_and_all_sums_add_up(demo, kind, least, most):
    result = hs.segment_customers(
        demo, kind[1], kind[0], least, most, include_recommendations=False
    )
    everybody = [client for segment in result.segments for client in segment.client_ids]
    assert (
        len(everybody)
        == len(set(everybody))
        == result.total_customers
        == sum(result.segment_summary.values())
    )
    assert sum(segment.customer_count for segment in result.segments) == result.total_customers
    assert sum(round(10 * segment.percentage_of_total) for segment in result.segments) == 1000
    assert sum(segment.total_arr or 0 for segment in result.segments) == pytest.approx(
        result.total_arr, abs=0.5
    )
    placed = [segment for segment in result.segments if segment.placed]
    assert len(placed) == result.segments_created <= most
    assert all(segment.customer_count >= least for segment in placed) or len(placed) == 1
    arr = result.frame("customers")["arr"].dropna().sort_values(ascending=False).to_numpy()
    count = int(np.ceil(round(0.2 * len(arr), 9)))
    assert result.pareto_analysis.top_arr == pytest.approx(arr[:count].sum(), abs=0.5)


REFUSED = [
    ("value", {"arr_thresholds": [50, 10]}, "arr_thresholds", "don't rise"),
    ("value", {"arr_thresholds": [10, 10]}, "arr_thresholds", "repeated"),
    ("value", {"arr_thresholds": [-1, 10]}, "arr_thresholds", "negative"),
    ("value", {"arr_thresholds": ["10"]}, "arr_thresholds", "finite number"),
    ("value", {"arr_thresholds": [float("nan")]}, "arr_thresholds", "finite number"),
    ("value", {"arr_thresholds": []}, "arr_thresholds", "not such a list"),
    ("value", {"arr_treshold": [1]}, "arr_treshold", "did you mean arr_thresholds"),
    ("value", {"include_expansion_potential": 1}, "include_expansion_potential", "true or false"),
    ("health", {"health_score_thresholds": [40, 101]}, "health_score_thresholds", "outside"),
    ("health", {"trend_weighting": 2}, "trend_weighting", "0 to 1"),
    ("health", {"names": ["a", "b"]}, "names", "4 different names"),
    ("usage", {"metric": "stickines_30d"}, "metric", "did you mean stickiness_30d"),
    ("usage", {"metric": "stickiness_30d"}, "thresholds", "needed"),
    ("industry", {"names": []}, "names", "no keys"),
    ("custom", {"metrics": []}, "metrics", "1 to 12"),
    ("custom", {"metrics": ["seats", "seats"]}, "metrics", "twice"),
    ("custom", {"method": "kmean"}, "method", "did you mean kmeans"),
    ("custom", {"k": 1}, "k", "2 to"),
    ("custom", {"k": 50}, "k", "2 to"),
    (
        "custom",
        {"rules": [{"name": "x", "when": "__import__('os')"}]},
        "rules[0].when",
        "not allowed",
    ),
    (
        "custom",
        {"rules": [{"name": "x", "when": "scoree < 60"}]},
        "rules[0].when",
        "did you mean score",
    ),
    ("custom", {"rules": [{"name": "x", "when": "score <"}]}, "rules[0].when", "parsed"),
    ("custom", {"rules": [{"name": "x"}]}, "rules[0]", "name and when"),
    ("custom", {"rules": [], "k": 2}, "rules", "don't go with"),
]


@pytest.mark.parametrize(("kind", "criteria", "key", "words"), REFUSED, ids=str)
def test_invalid_criteria_are_refused_with_key_value_and_rule(small, kind, criteria, key, words):
    with pytest.raises(InvalidParameters) as caught:
        hs.segment_customers(small, criteria, kind)
    details = caught.value.to_dict()["details"]
    assert details["parameter"] == f"segmentation_criteria.{key}" and details["validation_rule"]
    assert words in str(caught.value) + details["validation_rule"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"min_segment_size": 0},
        {"max_segments": 0},
        {"min_segment_size": 2.5},
        {"output_format": "short"},
        {"segment_type": "helth"},
        {"compare_with": "2025-03-30"},
        {"segmentation_criteria": None},
        {"segmentation_criteria": [1]},
    ],
)
def test_parameters_outside_their_range_are_refused(small, parameters):
    arguments = {"segmentation_criteria": {}, "segment_type": "health", **parameters}
    with pytest.raises(InvalidParameters) as caught:
        hs.segment_customers(small, **arguments)
    assert caught.value.details["parameter"] == next(iter(parameters))


@pytest.mark.slow
def test_the_planted_segments_of_a_portfolio_are_recovered(tmp_path):
    make_demo(tmp_path, clients=150, seed=1, scenario="segments", events="light")
    result = hs.segment_customers(
        hs.Portfolio.open(tmp_path), {"method": "gaussian_mixture"}, "custom"
    )
    planted = pd.read_parquet(tmp_path / "truth" / "segments.parquet").set_index("client_id")[
        "segment"
    ]
    segment_of = {
        client: segment.segment_name
        for segment in result.segments
        if segment.placed
        for client in segment.client_ids
    }
    assert result.segments_created == 4 and len(segment_of) >= 0.95 * result.total_customers
    labels = [
        pd.factorize(np.array(each))[0]
        for each in (planted.reindex(list(segment_of)).tolist(), list(segment_of.values()))
    ]
    assert adjusted_rand_score(*labels) >= 0.9


def test_a_churned_customer_is_refused_with_the_day_and_the_date_to_use():
    changes = pd.DataFrame(
        [("c01", "2024-04-01", 5000), ("c01", "2025-03-20", 0)],
        columns=["client_id", "effective_on", "arr"],
    )
    ids = ["c00", "c01"]
    customers = pd.DataFrame({"client_id": ids, "signup_date": "2024-03-30"})
    portfolio = tiny_portfolio(
        [(client, day, "u1") for client in ids for day in DAYS], customers, arr_changes=changes
    )
    for call in (
        lambda **options: hs.segment_customers(
            portfolio, {}, "usage", 1, client_id="c01", **options
        ),
        lambda **options: hs.segment_by_value_tier(
            portfolio, arr_thresholds=[100], client_id="c01", **options
        ),
    ):
        with pytest.raises(
            ClientNotFound, match=r"churned on 2025-03-20, .* use as_of 2025-03-19"
        ) as refused:
            call()
        assert call(as_of=refused.value.details["last_as_of"]).customer_standing.client_id == "c01"


def test_the_chart_of_moves_has_the_segments_in_their_own_order():
    moves = pd.DataFrame(
        [
            ("Healthy", "Healthy", 30),
            ("Champion", "Champion", 2),
            ("At risk", "Healthy", 50),
            ("New", "Champion", 9),
        ],
        columns=["from", "to", "customers"],
    )
    drawn = charts.flows(moves, ["Champion", "Healthy", "At risk"]).to_json()
    names = [
        drawn.index(f'"{name} {count}')
        for name, count in (("Champion", 2), ("Healthy", 30), ("At risk", 50), ("New", 9))
    ]
    assert names == sorted(names)
