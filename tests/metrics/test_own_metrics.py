"""A team's own metrics: expressions, SQL, figures computed elsewhere, percentiles; nothing of them looks ahead."""

from __future__ import annotations

import datetime as dt

import duckdb
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import HealthsegError, InvalidParameters
from healthseg.metrics import panels
from healthseg.metrics.catalog import described
from tests.metrics.portfolios import write_tables

LAST = dt.date(2025, 6, 30)
EARLIER = dt.date(2025, 6, 10)


def tables() -> dict[str, pd.DataFrame]:
    """Ten customers; k has k users on 28 June, and its ticket was opened on 5 June and resolved on 20 June."""
    ids = [f"c{k}" for k in range(1, 11)]
    people = [(client, f"{client}-u{user}") for k, client in enumerate(ids, 1) for user in range(k)]
    events = pd.DataFrame(
        [(client, user, "2025-06-28 10:00:00") for client, user in people]
        + [(client, f"{client}-u0", "2025-03-01 10:00:00") for client in ids]
        + [("c1", "c1-u0", "2025-06-30 23:30:00")],
        columns=["client_id", "user_id", "occurred_at"],
    )
    return {
        "customers": pd.DataFrame(
            {"client_id": ids, "signup_date": "2025-01-01", "plan": ["pro", "free"] * 5}
        ),
        "contracts": pd.DataFrame(
            {"client_id": ids, "starts_on": "2025-01-01", "arr": 1000, "seats": [10] * 9 + [0]}
        ),
        "events": events,
        "tickets": pd.DataFrame(
            {
                "ticket_id": [f"t{k}" for k in range(10)],
                "client_id": ids,
                "opened_at": "2025-06-05 10:00:00",
                "resolved_at": "2025-06-20 10:00:00",
            }
        ),
        "metrics_daily": pd.DataFrame(
            [
                ("c1", "2025-06-01", "mood", 3, None),
                ("c1", "2025-06-08", "mood", 4, "2025-06-15 08:00:00"),
                ("c2", "2025-01-05", "mood", 5, None),
                ("c3", "2025-06-01", "other", 9, None),
            ],
            columns=["client_id", "date", "metric", "value", "recorded_at"],
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tables as files, which are read and counted once."""
    path = tmp_path_factory.mktemp("own")
    write_tables(path, tables())
    return path


def values(portfolio, name, day=LAST):
    rows = hs.panel(portfolio, [day]).set_index("client_id")[name]
    return rows.dropna().to_dict()


def portfolio_with(folder, **metrics):
    return hs.Portfolio.open(folder, {"metrics": metrics})


def test_an_expression_is_a_column_of_the_panel_and_unknown_where_it_divides_by_zero(folder):
    portfolio = portfolio_with(
        folder, users_per_seat={"expression": "monthly_active_users / seats"}
    )
    assert values(portfolio, "users_per_seat") == {f"c{k}": k / 10 for k in range(1, 10)}


def test_an_expression_reads_those_before_it(folder):
    metrics = {
        "users_per_seat": {"expression": "monthly_active_users / seats"},
        "idle_share": {"expression": "1 - users_per_seat"},
    }
    assert values(portfolio_with(folder, **metrics), "idle_share")["c4"] == pytest.approx(0.6)


def test_a_query_sees_the_tables_as_they_were_known_on_the_day(folder):
    text = "select client_id, count(*) as value from tickets where resolved_at is null group by 1"
    portfolio = portfolio_with(folder, unresolved={"sql": text, "empty": 0})
    assert values(portfolio, "unresolved", EARLIER)["c5"] == 1
    assert values(portfolio, "unresolved")["c5"] == 0
    assert values(portfolio, "unresolved", dt.date(2025, 6, 4))["c5"] == 0


def test_a_query_counts_a_window_before_its_day(folder):
    text = """select client_id, count(distinct user_id) as value from events
              where occurred_day > $date - 7 group by client_id"""
    portfolio = portfolio_with(folder, users_7d={"sql": text})
    assert values(portfolio, "users_7d") == {f"c{k}": k for k in range(1, 11)}
    assert values(portfolio, "users_7d", EARLIER) == {}
    before = values(portfolio, "users_7d", dt.date(2025, 3, 2))
    assert before == {f"c{k}": 1 for k in range(1, 11)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("select * from '/etc/hosts'", "portfolio's tables alone"),
        ("select * from read_csv('/etc/hosts')", "portfolio's tables alone"),
        ("select client_id, value from query('select 1')", "portfolio's tables alone"),
        ("select client_id, random() as value from customers", "calls random"),
        ("select client_id, current_date as value from customers", "the clock"),
        ("select client_id, 1 as value from main.customers", "name the table alone"),
        ("select client_id, 1 as value from user_day", "did you mean users"),
        ("delete from customers", "a query is one SELECT"),
        ("select client_id from customers", "no column value"),
        ("select client_id, 'x' as value from customers", "no numbers"),
        ("select 'c1' as client_id, 1 as value from customers", "two rows of 'c1'"),
        ("select client_id, nothing as value from customers", "nothing"),
    ],
)
def test_a_query_that_may_not_be_or_fails_is_refused_in_words(folder, text, problem):
    with pytest.raises(InvalidParameters, match=problem):
        hs.panel(portfolio_with(folder, bad={"sql": text}), [LAST])


def test_a_daily_figure_holds_until_it_is_too_old_and_is_read_as_it_was_known(folder):
    portfolio = portfolio_with(folder, mood={"daily": True, "max_age_days": 20})
    assert values(portfolio, "mood", EARLIER) == {
        "c1": 3
    }  # that of 8 June was recorded on the 15th
    assert values(portfolio, "mood", dt.date(2025, 6, 15)) == {"c1": 4}
    assert values(portfolio, "mood") == {}


def test_a_metric_over_fewer_days_leaves_out_older_inputs_and_holds_its_last_value_for_a_time(
    folder,
):
    """Each ticket was opened on 5 June and resolved on the 20th, after 15 days: known on the 30th over 30 days, not over 7."""
    resolution = {"counted": "median_resolution_hours"}
    portfolio = portfolio_with(
        folder,
        month=resolution | {"window_days": 30},
        week=resolution | {"window_days": 7},
        held=resolution | {"window_days": 7, "max_age_days": 14},
        soon=resolution | {"window_days": 7, "max_age_days": 3},
    )
    rows = panels.panel(portfolio, [LAST, EARLIER]).set_index(["client_id", "date"])
    row = rows.loc[("c1", pd.Timestamp(LAST))]
    assert row["month"] == row["median_resolution_hours_90d"] == row["held"] == 15 * 24
    assert row[["week", "soon"]].isna().all()
    # on 10 June nothing was resolved yet
    assert rows.loc[("c1", pd.Timestamp(EARLIER)), ["month", "held"]].isna().all()
    entry = described("held", portfolio.settings.metrics["held"])
    assert entry.tables == ("tickets",) and "the last value of 14 days" in entry.definition


def test_a_stated_value_caps_a_score_with_its_reason_until_it_expires(folder):
    stated = [
        {"client_id": "c9", "since": "2025-06-20", "until": "2025-06-30"},
        {"client_id": "c10", "since": "2025-06-20", "until": "2025-07-31"},
    ]
    portfolio = hs.Portfolio.open(
        folder,
        {
            "data_until": LAST.isoformat(),
            "metrics": {"sponsor_left": {"stated": stated, "empty": 0}},
            "overrides": {
                "sponsor_left": {
                    "metric": "sponsor_left",
                    "at_least": 1,
                    "cap": 10,
                    "risk_level": "high",
                    "text": "The sponsor left, says Eve; until 31 July",
                }
            },
        },
    )
    held = hs.calculate_health_score(portfolio, "c10")
    assert held.current_health_score <= 10 < held.uncapped_score and held.risk_level == "high"
    assert held.caps == ["capped at 10: the sponsor left, says Eve; until 31 July"]
    assert not hs.calculate_health_score(portfolio, "c9").caps  # expired on this day
    assert hs.calculate_health_score(portfolio, "c9", as_of="2025-06-29").caps
    assert not hs.calculate_health_score(portfolio, "c10", as_of="2025-06-19").caps


@pytest.mark.slow
def test_a_stated_value_chooses_a_scorecard_until_it_expires(folder):
    """The way to raise a score: what misjudges the customer weighs less, and an override never has a floor."""
    stated = [{"client_id": "c1", "since": "2025-06-01", "until": "2025-06-25"}]
    settings = {
        "data_until": LAST.isoformat(),
        "metrics": {"seasonal": {"stated": stated, "empty": 0}},
    }
    plain = hs.Portfolio.open(folder, settings)
    variant = {"when": "seasonal >= 1", "components": {"usage": {"weight": 0.01}}}
    judged = hs.Portfolio.open(folder, settings | {"scorecard_variants": [variant]})

    def usage_weight(portfolio: hs.Portfolio, day: str) -> float:
        health = hs.calculate_health_score(portfolio, "c1", as_of=day)
        return health.component_weights["usage_weight"]

    usual = usage_weight(plain, "2025-06-24")
    assert usage_weight(judged, "2025-06-24") < 0.05 < usual
    assert usage_weight(judged, "2025-06-25") == usage_weight(judged, "2025-05-31") == usual
    with pytest.raises(InvalidParameters, match="floor"):
        overrides = {"up": {"metric": "seasonal", "at_least": 1, "floor": 70, "text": "x"}}
        hs.Portfolio.open(folder, settings | {"overrides": overrides})


def test_a_query_over_events_that_lie_in_an_engine_reads_them(folder, tmp_path, monkeypatch):
    file, stem = tmp_path / "warehouse.duckdb", f"{folder.as_posix()}/"
    with duckdb.connect(str(file)) as warehouse:
        for name in ("customers", "events"):
            warehouse.execute(f"CREATE TABLE {name} AS FROM read_csv('{stem}{name}.csv')")
    monkeypatch.setenv("HEALTHSEG_ENGINE", str(file))
    lines = ['[source]\nengine = "duckdb"\naddress = "$HEALTHSEG_ENGINE"\n[tables]']
    lines += [f'{name} = "SELECT * FROM {name}"' for name in ("customers", "events")]
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "portfolio.toml").write_text("\n".join(lines))
    text = "SELECT client_id, count(DISTINCT user_id) AS value FROM events WHERE occurred_day > $date - 7 GROUP BY 1"
    queried = hs.Portfolio.open(
        tmp_path / "p", {"data_until": LAST.isoformat(), "metrics": {"users_7d": {"sql": text}}}
    )
    rows = hs.panel(queried, [LAST]).set_index("client_id")["users_7d"]
    assert rows["c3"] == 3 and rows["c10"] == 10


def test_a_percentile_counts_live_peers_and_halves_ties(folder):
    of_all = {"percentile_of": "monthly_active_users"}
    assert values(portfolio_with(folder, rank=of_all), "rank") == {
        f"c{k}": pytest.approx(100 * (k - 1) / 9) for k in range(1, 11)
    }
    of_plan = {"percentile_of": "monthly_active_users", "peers": "plan"}
    assert (
        values(portfolio_with(folder, rank=of_plan), "rank") == {}
    )  # four other peers are too few


def test_some_customers_have_the_percentiles_that_all_have(folder):
    portfolio = portfolio_with(folder, rank={"percentile_of": "monthly_active_users"})
    every = hs.panel(portfolio, [LAST]).set_index("client_id")["rank"]
    assert panels.build(portfolio, [LAST], ["c7"])["rank"].tolist() == [every["c7"]]


def test_an_unknown_column_is_refused_with_the_nearest(folder):
    for metric in ({"expression": "seat / 2"}, {"percentile_of": "seat"}):
        with pytest.raises(InvalidParameters, match="seats"):
            hs.panel(portfolio_with(folder, wrong=metric), [LAST])


def test_a_metric_has_one_source_and_a_name_of_its_own(folder):
    for metric in ({}, {"expression": "1", "daily": True}, {"expression": "import os"}):
        with pytest.raises(HealthsegError, match="metrics"):
            portfolio_with(folder, wrong=metric)
    with pytest.raises(InvalidParameters, match="cannot be used again"):
        hs.panel(portfolio_with(folder, seat_utilisation={"expression": "seats"}), [LAST])


def test_a_portfolio_without_the_metric_does_not_have_it(folder):
    portfolio_with(folder, users_per_seat={"expression": "monthly_active_users / seats"})
    assert "users_per_seat" not in hs.panel(hs.Portfolio.open(folder), [LAST])


def test_portfolio_toml_states_metrics(tmp_path):
    write_tables(tmp_path, tables())
    (tmp_path / "portfolio.toml").write_text(
        '[metrics.users_per_seat]\nexpression = "monthly_active_users / seats"\nlabel = "Users a seat"\n'
    )
    assert values(hs.Portfolio.open(tmp_path), "users_per_seat")["c2"] == 0.2
    assert hs.metrics.get("users_per_seat").label == "Users a seat"


def test_a_decorated_function_is_a_metric(folder):
    with hs.metrics.registered():

        @hs.metric(label="Users twice", unit="users", better="higher")
        def users_twice(rows):
            """Twice the monthly active users."""
            return 2 * rows["monthly_active_users"]

        assert values(hs.Portfolio.open(folder), "users_twice")["c3"] == 6
        assert hs.metrics.get("users_twice").definition == "Twice the monthly active users."


# -- from the metric to the score ------------------------------------------------------------

OWN = {
    "metrics": {
        "users_per_seat": {
            "expression": "monthly_active_users / seats",
            "label": "Users per seat",
            "unit": "share of seats",
            "format": "percent",
            "better": "higher",
        }
    },
    "scorecard": {
        "components": {
            "value": {
                "weight": 0.3,
                "metrics": [
                    {"metric": "users_per_seat", "weight": 1, "anchors": [[0, 0], [1, 100]]}
                ],
            }
        }
    },
}


def test_an_own_metric_and_component_are_in_score_explanation_segments_and_columns(folder):
    portfolio = hs.Portfolio.open(folder, OWN)
    health = hs.calculate_health_score(portfolio, client_id="c3", as_of=LAST)
    value = next(part for part in health.components if part.component == "value")
    assert value.metrics[0].label == "Users per seat" and value.score == 30
    assert health.component_weights["value_weight"] == pytest.approx(0.3 / 1.3, abs=1e-6)
    moved = {part.metric for part in health.change_explanation.parts}
    assert "users_per_seat" in moved
    criteria = {"rules": [{"name": "Crowded", "when": "users_per_seat > 0.5"}]}
    segments = hs.segment_customers(portfolio, criteria, "custom", 1).segments
    assert {each.segment_name: each.customer_count for each in segments}["Crowded"] == 4


def test_an_own_metric_is_a_figure_of_own_rules(folder):
    rule = {"when": "users_per_seat < 0.3", "text": "Fill {seats:n seat}", "due": 9}
    portfolio = hs.Portfolio.open(folder, {**OWN, "next_actions": {"fill": rule}})
    actions = hs.next_actions(portfolio).frame("actions")
    assert set(actions.loc[actions["action"] == "fill", "client_id"]) == {"c1", "c2"}
