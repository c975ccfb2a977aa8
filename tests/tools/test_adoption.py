"""track_feature_adoption on portfolios that can be counted by hand."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from healthseg.metrics import spans
from healthseg.metrics.counting import epoch_day
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_adoption, track_feature_adoption
from healthseg.tools.adoption.advice import promoted
from healthseg.tools.adoption.portfolio import _retention_spells, _year_retention

FEATURES = pd.DataFrame(
    {
        "feature": ["export", "reports", "search", "vault"],
        "category": ["advanced", "advanced", "core", "premium"],
        "released_on": ["2024-01-01", "2025-03-01", "2024-01-01", "2024-01-01"],
        "recommended_position": [2, 3, 1, 4],
    }
)
SIGNUPS = pd.DataFrame(
    {
        "client_id": ["a", "b", "c", "d"],
        "name": ["A", "B", "C", "D"],
        "signup_date": ["2024-01-01", "2025-02-01", "2025-02-01", "2024-01-01"],
        "churned_on": [None, None, None, "2025-05-01"],
    }
)


def used(client, user, feature, *days):
    return [(client, f"{day} 09:00:00", user, feature) for day in days]


def every(start, end):
    return pd.date_range(start, end).strftime("%Y-%m-%d").tolist()


@pytest.fixture(scope="module")
def portfolio():
    """Four customers from 2025-01-01 to 2025-06-30; d leaves on May 1. Search is core, export and reports advanced, the
    vault premium and entitled to a alone. Clients b and c sign up in February."""
    events = [
        *used("a", "u1", "search", *every("2025-01-01", "2025-06-30")),
        *used("a", "u2", "search", *every("2025-06-25", "2025-06-28")),
        *used(
            "a", "u1", "export", "2025-03-10", "2025-03-12", "2025-03-13", "2025-06-29"
        ),  # adopted, dropped
        *used("b", "u3", "search", "2025-02-05", "2025-02-07", "2025-06-20", "2025-06-21"),
        *used("b", "u3", "reports", "2025-03-10", "2025-05-01"),  # never twice in 30 days
        *used("c", "u4", "search", "2025-02-01", "2025-06-30"),
        *used("d", "u5", "search", *every("2025-04-01", "2025-04-30")),
    ]
    starts = zip("abcd", SIGNUPS["signup_date"], strict=True)
    entitled = pd.DataFrame(
        [
            (client, feature, start)
            for client, start in starts
            for feature in ("search", "export", "reports")
        ]
        + [("a", "vault", "2025-01-01")],
        columns=["client_id", "feature", "starts_on"],
    )
    messages = pd.DataFrame(
        {
            "client_id": ["c", "b"],
            "channel": "email",
            "content": "product_tips",
            "sent_at": ["2025-06-01 10:00:00", "2025-06-01 10:00:00"],
            "feature": ["export", None],
        }
    )
    return tiny_portfolio(
        events, SIGNUPS, features=FEATURES, entitlements=entitled, messages=messages
    )


@pytest.fixture(scope="module")
def response(portfolio):
    return track_feature_adoption(portfolio)


def detail(response, name):
    return next(feature for feature in response.feature_details if feature.feature_name == name)


def test_adopted_is_two_days_of_the_period_and_the_denominator_is_who_is_entitled(response):
    search, vault = detail(response, "search"), detail(response, "vault")
    assert (search.customers_using, search.total_customers, search.adoption_rate) == (
        2,
        3,
        0.6667,
    )  # a and b; c once
    assert (vault.customers_using, vault.total_customers) == (0, 1)
    assert detail(response, "export").customers_using == 0  # a single day in June
    assert response.total_customers == 3 and response.excluded == {
        "churned": 1,
        "not_started": 0,
        "prospect": 0,
    }


def test_the_summary_of_all_is_the_mean_of_customers_and_the_pooled_rate(response):
    advanced, core = (
        response.feature_adoption_summary[f"{name}_features"] for name in ("advanced", "core")
    )
    assert (advanced.total_features, advanced.adopted_features, advanced.adoption_rate) == (
        2.0,
        0.0,
        0.0,
    )
    assert (core.total_features, core.adopted_features, core.adoption_rate) == (1.0, 0.67, 0.6667)
    assert response.feature_adoption_summary["premium_features"].total_features == 0.33


def test_a_longer_period_and_more_days_are_other_answers(portfolio):
    assert (
        detail(track_feature_adoption(portfolio, time_period_days=150), "export").customers_using
        == 1
    )  # a: in March
    assert (
        detail(track_feature_adoption(portfolio, time_period_days=7), "search").customers_using == 1
    )


def test_before_its_release_a_feature_is_nobodys_and_nobody_is_asked(portfolio):
    early = track_feature_adoption(portfolio, as_of="2025-02-27")
    assert {feature.feature_name for feature in early.feature_details} == {
        "export",
        "search",
        "vault",
    }
    assert early.feature_adoption_summary["advanced_features"].total_features == 1.0


def test_time_to_adopt_counts_those_not_there_yet_and_leaves_out_those_from_before_tracking(
    portfolio,
):
    lives = portfolio_adoption(portfolio)
    search = detail(lives, "search").time_to_adopt
    assert (search.n, search.events, search.excluded_untracked) == (
        2,
        1,
        2,
    )  # b after 6 days; c not yet; a, d before
    assert search.days == 6.0
    assert (
        detail(lives, "search").time_to_first_use.days == 0.0
    )  # c on its first day, b on its fifth
    reports = detail(lives, "reports").time_to_adopt  # released in March: all were watched
    assert (reports.n, reports.events, reports.days) == (4, 0, None)


def test_a_feature_is_abandoned_after_sixty_silent_days_and_can_be_taken_up_again(portfolio):
    retention = detail(portfolio_adoption(portfolio), "export").kept
    assert (retention.adopters, retention.abandoned, retention.readopted) == (
        1,
        1,
        0,
    )  # Mar 12 to Mar 13; June 29 is one day
    again = tiny_portfolio(
        [
            *used("a", "u1", "x", *every("2025-01-01", "2025-06-30")),
            *used("a", "u1", "y", "2025-03-10", "2025-03-11", "2025-06-01", "2025-06-03"),
        ]
    )
    retention = detail(portfolio_adoption(again), "y").kept
    assert (
        retention.adopters,
        retention.abandoned,
        retention.readopted,
        retention.share_kept_180_days,
    ) == (
        1,
        1,
        1,
        None,
    )


def test_the_funnel_is_nested_and_counts_pairs_of_all_and_users_of_one(portfolio, response):
    funnel = response.adoption_funnel
    assert (funnel.eligible, funnel.trial, funnel.first_use) == (10, 5, 5)  # 3 × 3 + the vault
    assert funnel.awareness == 6  # c was told of export and never used it
    assert (funnel.regular_use, funnel.power_use, funnel.conversion_rate) == (1, 1, 0.1)
    own = track_feature_adoption(portfolio, "a").adoption_funnel  # u1 and u2, each four features
    assert (own.eligible, own.trial, own.first_use, own.regular_use, own.power_use) == (
        8,
        3,
        3,
        2,
        1,
    )


def test_without_messages_on_features_awareness_is_not_measured():
    plain = tiny_portfolio(used("a", "u1", "search", *every("2025-03-01", "2025-03-30")))
    response = track_feature_adoption(plain)
    assert (
        response.adoption_funnel.awareness is None
        and response.not_measured["$.adoption_funnel.awareness"]
    )


def test_one_customers_rate_is_the_share_of_its_active_users(portfolio):
    own = track_feature_adoption(portfolio, "a")
    search = detail(own, "search")
    assert (
        search.adoption_rate,
        search.customers_using,
        search.total_customers,
        search.adopted,
    ) == (1.0, 1, 1, True)
    assert detail(own, "export").adoption_rate == 0.5 and detail(own, "export").adopted is False
    core = own.feature_adoption_summary["core_features"]
    assert (core.total_features, core.adopted_features, core.adoption_rate) == (1, 1, 1.0)
    assert [each.feature for each in own.low_adoption_features] == ["export", "reports", "vault"]


def test_a_customer_that_left_is_shown_as_of_its_last_day(portfolio):
    churned = track_feature_adoption(portfolio, "d")
    assert detail(churned, "search").adopted is True and churned.period_end == dt.date(2025, 5, 1)
    assert "churned on 2025-05-01" in churned.warnings[0] and churned.recommendations == []


def test_a_customer_without_events_in_the_period_has_zeros_and_it_is_said(portfolio):
    quiet = track_feature_adoption(portfolio, "b", as_of="2025-04-30")
    assert quiet.feature_adoption_summary["core_features"].adopted_features == 0
    assert any("no events in this period" in text for text in quiet.warnings)


def test_a_period_from_before_tracking_is_missing_and_not_zero(portfolio):
    early = track_feature_adoption(portfolio, "a", as_of="2025-01-10")
    assert early.feature_adoption_summary["core_features"].adoption_rate is None
    assert (
        "before events were tracked"
        in early.not_measured["$.feature_adoption_summary.core_features.adoption_rate"]
    )
    everyone = track_feature_adoption(portfolio, as_of="2025-01-10")
    assert everyone.feature_adoption_summary["core_features"].adopted_features is None


def test_api_calls_adopt_nothing():
    events = [
        *used("a", "u1", "search", *every("2025-03-01", "2025-03-30")),
        *(("a", f"2025-03-{day:02d} 10:00:00", "u1", "hooks", "api") for day in range(1, 31)),
    ]
    assert {
        feature.feature_name
        for feature in track_feature_adoption(tiny_portfolio(events)).feature_details
    } == {"search"}


def test_more_users_can_be_asked_for():
    days = every("2025-03-01", "2025-03-30")
    events = [
        *used("a", "u1", "solo", *days),
        *used("a", "u1", "shared", *days),
        *used("a", "u2", "shared", days[5]),
    ]
    response = track_feature_adoption(
        tiny_portfolio(events, settings={"adopted_min_users": 2}), "a"
    )
    assert {feature.feature_name: feature.adopted for feature in response.feature_details} == {
        "shared": True,
        "solo": False,
    }


def test_barriers_are_topics_with_three_tickets_and_nothing_without_tickets():
    customers = pd.DataFrame(
        {"client_id": [f"c{k}" for k in range(9)], "signup_date": "2024-01-01"}
    )
    events = [
        event
        for client in customers["client_id"]
        for event in used(client, "u", "search", *every("2025-06-01", "2025-06-30"))
    ]
    features = pd.DataFrame(
        {"feature": ["search", "vault"], "category": "core", "released_on": "2024-01-01"}
    )
    tickets = pd.DataFrame(
        {
            "ticket_id": [f"t{k}" for k in range(6)],
            "client_id": "c1",
            "opened_at": "2025-05-05",
            "feature": "vault",
            "topic": ["login"] * 4 + ["price"] * 2,
        }
    )
    low = track_feature_adoption(
        tiny_portfolio(events, customers, features=features, tickets=tickets)
    ).low_adoption_features
    assert [each.feature for each in low] == ["vault"] and low[0].barriers == [
        "login: 4 of 6 tickets (67%)"
    ]
    assert low[0].improvement_strategies == [
        "Take “login” to the product team and tell customers what comes of it: 4 of its 6 tickets are about it"
    ]
    bare = track_feature_adoption(tiny_portfolio(events, customers, features=features))
    assert (
        bare.low_adoption_features[0].barriers is None
        and bare.low_adoption_features[0].improvement_strategies == []
    )


def test_satisfaction_needs_five_answers_on_the_feature():
    events = used("a", "u1", "search", *every("2025-01-01", "2025-06-30"))
    answers = pd.DataFrame(
        {
            "client_id": "a",
            "kind": "csat",
            "score": [5, 4, 3, 4, 4],
            "feature": "search",
            "responded_at": [f"2025-06-0{k} 10:00:00" for k in range(1, 6)],
        }
    )
    assert (
        detail(
            track_feature_adoption(tiny_portfolio(events, surveys=answers)), "search"
        ).customer_satisfaction
        == 4.0
    )
    few = track_feature_adoption(tiny_portfolio(events, surveys=answers.head(4)))
    assert (
        detail(few, "search").customer_satisfaction is None
        and detail(few, "search").satisfaction_n == 4
    )


def test_without_features_in_events_there_is_nothing_to_adopt_and_it_is_said():
    nameless = tiny_portfolio(
        [("a", "2025-03-01 09:00:00", "u1"), ("a", "2025-03-30 09:00:00", "u1")]
    )
    response = track_feature_adoption(nameless, "a")
    assert (
        response.feature_details == []
        and response.recommendations == []
        and response.adoption_rate is None
    )
    assert response.verdict().endswith("adoption is not measured")


def test_peers_are_of_the_asked_kind_and_withheld_under_eight():
    customers = pd.DataFrame(
        {
            "client_id": [f"c{k}" for k in range(10)],
            "signup_date": "2024-01-01",
            "industry": ["x"] * 9 + ["y"],
        }
    )
    events = [
        event
        for k, client in enumerate(customers["client_id"])
        for event in used(client, "u", "search", *every("2025-06-01", "2025-06-30"))
        + (used(client, "u", "export", "2025-06-29", "2025-06-30") if k < 5 else [])
    ]
    portfolio = tiny_portfolio(events, customers)
    own = track_feature_adoption(portfolio, "c0", benchmark_against="industry")
    assert (
        own.benchmark_comparison.vs_industry_average == "+100% higher adoption than the median of 8"
    )
    assert (
        own.benchmark_comparison.vs_tier_average is None
        and own.benchmark_standing.percentile == 75.0
    )
    alone = track_feature_adoption(portfolio, "c9", benchmark_against="industry")
    assert (
        alone.benchmark_comparison.vs_industry_average is None
        and "peers" in alone.not_measured["$.benchmark_comparison.vs_industry_average"]
    )
    everyone = track_feature_adoption(
        portfolio, "c9", benchmark_against="all_customers"
    ).benchmark_standing
    assert (everyone.n, everyone.adoption_rate, everyone.peer_median) == (9, 0.5, 1.0)


def test_by_entitled_feature_agrees_with_the_metrics_by_customer_and_by_feature(demo):
    clients = demo.table("customers")["client_id"].tolist()
    start, end = dt.date(2025, 5, 1), dt.date(2025, 5, 31)
    frame = pd.DataFrame({"client_id": clients, "span_id": 0, "start": start, "end": end})
    pairs = spans.over(
        demo,
        frame,
        ["adopted", "person_events", "active_days", "active_users"],
        by="entitled_feature",
    )
    whole = spans.over(demo, frame, ["features_adopted", "features_entitled"]).set_index(
        "client_id"
    )
    counted = (
        pairs.groupby("client_id")["adopted"].agg(["sum", "size"]).reindex(whole.index).fillna(0)
    )
    assert (counted["sum"] == whole["features_adopted"]).all() and (
        counted["size"] == whole["features_entitled"]
    ).all()
    used_ones = spans.over(
        demo, frame, ["person_events", "active_days", "active_users"], by="feature"
    )
    both = pairs.merge(
        used_ones, on=["client_id", "feature"], how="left", suffixes=("", "_used")
    ).fillna(0)
    for name in ("person_events", "active_days", "active_users"):
        assert (both[name] == both[f"{name}_used"]).all()
    alone = spans.over(
        demo, frame[frame["client_id"] == clients[7]], ["adopted"], by="entitled_feature"
    )
    np.testing.assert_array_equal(
        alone["adopted"], pairs.loc[pairs["client_id"] == clients[7], "adopted"]
    )


@pytest.mark.parametrize("days", [80, 88, 89, 90, 91])
def test_retention_of_a_group_counts_from_the_first_day_after_its_first_ninety(days):
    as_of, names = dt.date(2025, 6, 30), [f"c{at}" for at in range(30)]
    usage = SimpleNamespace(as_of=as_of, settings=Settings())
    churned = [pd.Timestamp("2024-06-01")] * 10 + [pd.NaT] * 20
    known = pd.DataFrame({"churned_on": churned}, index=names)
    signup = pd.Series(epoch_day(dt.date(2023, 12, 1)), index=names)
    signup.iloc[-1] = epoch_day(as_of) - days
    spells = _retention_spells(usage, known, signup)
    assert ("c29" in spells["client_id"].tolist()) == (days >= 90)
    share, lower, upper = _year_retention(spells, 0.9)
    assert share == pytest.approx(19 / 29)
    assert lower < share < upper


@pytest.mark.parametrize(
    ("figures", "is_promoted"),
    [
        ({"adjusted": -0.3, "q": 0.01, "odds_q": None, "odds_ratio": None}, False),
        ({"adjusted": -0.3, "q": 0.2, "odds_q": 0.2, "odds_ratio": 1.5}, True),
        ({"adjusted": 0.1, "q": 0.4, "odds_q": 0.0, "odds_ratio": 2.0}, False),
        ({"adjusted": 0.3, "q": 0.0, "odds_q": 0.01, "odds_ratio": 0.5}, True),
        ({"adjusted": None, "q": None, "odds_q": None, "odds_ratio": None}, True),
        (None, True),
    ],
)
def test_a_feature_whose_adoption_is_associated_with_churn_is_not_promoted(figures, is_promoted):
    usage = SimpleNamespace(settings=Settings())
    tested = SimpleNamespace(of=lambda name: figures if name == "export" else None)
    assert promoted(usage, tested, "export", ["a rule"]) == (["a rule"] if is_promoted else [])
    assert promoted(usage, tested, "search", ["a rule"]) == ["a rule"]
    assert promoted(usage, None, "export", ["a rule"]) == ["a rule"]


def test_who_tried_a_feature_and_is_still_there_shows_it_to_the_others():
    """export: tried by u1, who is gone, and in January by u2; u2 and u3 are there, and use search."""
    events = [
        *used("a", "u1", "export", "2025-01-10"),
        *used("a", "u2", "export", "2025-01-12"),
        *used("a", "u2", "search", *every("2025-01-01", "2025-06-30")),
        *used("a", "u3", "search", *every("2025-01-01", "2025-06-30")),
    ]
    users = pd.DataFrame(
        {
            "user_id": ["u1", "u2", "u3"],
            "client_id": "a",
            "created_at": "2024-02-01",
            "deactivated_at": ["2025-03-01", None, None],
        }
    )
    features = FEATURES[FEATURES["feature"].isin(["export", "search"])]
    one = tiny_portfolio(events, SIGNUPS.iloc[:1], features=features, users=users)
    page = track_feature_adoption(one, "a")
    texts = " ".join(
        step for low in page.low_adoption_features for step in low.improvement_strategies
    )
    assert "Have the 1 user who tried it at some time show it to the other 1" in texts.replace(
        "\xa0", " "
    )


def test_features_that_similar_customers_adopted_and_go_on_using_come_first():
    """Of nine peers eight have adopted reports, five export; the customer has neither."""
    span = every("2025-01-01", "2025-06-30")
    clients = [f"c{at}" for at in range(10)]
    events = [row for client in clients for row in used(client, "u1", "search", *span)]
    events += [row for client in clients[1:9] for row in used(client, "u1", "reports", *span)]
    events += [row for client in clients[1:6] for row in used(client, "u1", "export", *span)]
    customers = pd.DataFrame({"client_id": clients, "signup_date": "2024-01-01"})
    features = pd.DataFrame(
        {"feature": ["export", "reports", "search"], "category": ["advanced", "advanced", "core"]}
    )
    portfolio = tiny_portfolio(events, customers, features=features)
    recommended = track_feature_adoption(portfolio, "c0").recommendations
    assert [each.feature for each in recommended] == ["reports", "export"]
    assert "89% of 9 peers" in recommended[0].reason and "56% of 9 peers" in recommended[1].reason
