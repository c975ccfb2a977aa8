"""The demo portfolio's truth: drivers recounted from the tables, the hazard, and nothing planted in the null portfolio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from healthseg.demo import make_demo
from healthseg.demo.churn import expected_auc

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-04-11")


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("truth") / "portfolio"
    make_demo(out, events="light")
    return out


@pytest.fixture(scope="module")
def null(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("truth") / "null"
    make_demo(out, scenario="null", events="light")
    return out


def read(portfolio: Path, name: str) -> pd.DataFrame:
    return pq.read_table(portfolio / f"{name}.parquet").to_pandas()


def person_days(portfolio: Path, client: str) -> pd.DataFrame:
    """One customer's person events with their local day, counted plainly."""
    parts = [
        pq.read_table(path, filters=[("client_id", "=", client)]).to_pandas()
        for path in sorted((portfolio / "events").iterdir())
    ]
    rows = pd.concat([part for part in parts if len(part)])
    rows = rows[rows["source"] == "ui"].assign(
        count=lambda frame: frame["count"].fillna(1).astype(int)
    )
    zone = read(portfolio, "customers").set_index("client_id").loc[client, "timezone"]
    rows["day"] = (
        rows["occurred_at"]
        .dt.tz_localize("UTC")
        .dt.tz_convert(zone)
        .dt.tz_localize(None)
        .dt.normalize()
    )
    return rows


def some_rows(portfolio: Path, column: str) -> pd.DataFrame:
    """Twelve rows of the hazard, spread over customers and steps."""
    hazard = read(portfolio, "truth/hazard").dropna(subset=[column])
    return hazard.iloc[np.linspace(0, len(hazard) - 1, 12).astype(int)]


def test_seat_utilisation_equals_a_recount_of_the_tables(portfolio):
    contracts = read(portfolio, "contracts")
    for row in some_rows(portfolio, "d_seat_utilisation").itertuples():
        d = pd.Timestamp(row.step_start) - DAY
        rows = person_days(portfolio, row.client_id)
        active = rows.loc[(rows["day"] > d - 30 * DAY) & (rows["day"] <= d), "user_id"].nunique()
        own = contracts[
            (contracts["client_id"] == row.client_id)
            & (pd.to_datetime(contracts["starts_on"]) <= d)
            & ((pd.to_datetime(contracts["ends_on"]) > d) | contracts["auto_renews"])
        ].sort_values("starts_on")
        # versions of a contract have its id; an early renewal names those whose place it takes
        own = own.drop_duplicates("contract_id", keep="last")
        replaced = ";".join(own["replaces"].dropna()).split(";")
        seats = own.loc[~own["contract_id"].isin(replaced), "seats"].sum()
        assert row.d_seat_utilisation == pytest.approx(active / seats, abs=1e-12)


def test_usage_against_the_own_baseline_equals_a_recount_of_the_tables(portfolio):
    signup = pd.to_datetime(read(portfolio, "customers").set_index("client_id")["signup_date"])
    for row in some_rows(portfolio, "d_usage_vs_own_baseline").itertuples():
        d = pd.Timestamp(row.step_start) - DAY
        per_day = person_days(portfolio, row.client_id).groupby("day")["count"].sum()
        now = per_day[(per_day.index > d - 28 * DAY) & (per_day.index <= d)].sum()
        before = per_day[(per_day.index > d - 112 * DAY) & (per_day.index <= d - 28 * DAY)].sum()
        since = max(d - 111 * DAY, START, signup[row.client_id])
        tracked = (d - 28 * DAY - since).days + 1
        assert row.d_usage_vs_own_baseline == pytest.approx(
            now / (before / tracked * 28), rel=1e-12
        )


def test_overdue_days_equal_a_recount_of_the_tables(portfolio):
    invoices = read(portfolio, "invoices").query("amount > 0")
    for name in ("issued_on", "due_on", "paid_on"):
        invoices[name] = pd.to_datetime(invoices[name])
    for row in some_rows(portfolio, "d_worst_days_overdue").itertuples():
        d = pd.Timestamp(row.step_start) - DAY
        own = invoices[(invoices["client_id"] == row.client_id) & (invoices["issued_on"] <= d)]
        unpaid = own[(own["due_on"] < d) & ~(own["paid_on"] <= d)]
        assert row.d_worst_days_overdue == (
            0 if unpaid.empty else (d - unpaid["due_on"]).dt.days.max()
        )


def test_what_is_withheld_is_missing_for_its_driver(portfolio):
    hazard, withheld = read(portfolio, "truth/hazard"), read(portfolio, "truth/withheld")
    for table, driver in (
        ("invoices", "d_worst_days_overdue"),
        ("surveys", "d_nps_365d"),
        ("contracts", "d_seat_utilisation"),
    ):
        whole = withheld[(withheld["table"] == table) & (withheld["why"] == "never handed over")]
        rows = hazard[hazard["client_id"].isin(whole["client_id"])]
        assert len(rows) and rows[driver].isna().all()


def test_the_hazard_is_what_its_terms_say(portfolio):
    hazard, terms = (
        read(portfolio, "truth/hazard"),
        read(portfolio, "truth/hazard_terms").set_index("driver"),
    )
    parameters = json.loads((portfolio / "truth" / "portfolio.json").read_text())["parameters"]
    linear = {
        term.metric: ((hazard[f"d_{term.metric}"] - term.center) / term.scale).clip(-3, 3)
        for term in terms[terms["form"] == "linear"].itertuples()
    }
    eta = parameters["intercept"] + sum(
        terms.loc[terms["metric"] == name, "coefficient"].iloc[0] * value.fillna(0)
        for name, value in linear.items()
    )
    trend, silence = terms.loc["trend"], terms.loc["silence"]
    eta += trend["coefficient"] * (
        (np.log(hazard["d_usage_vs_own_baseline"] + 0.25) - trend["center"]) / trend["scale"]
    ).fillna(0)
    eta += silence["coefficient"] * (hazard["d_days_since_last_person_event"] >= silence["knot"])
    eta += terms.loc["mid_term", "coefficient"] * hazard["d_in_mid_term"]
    both = linear["seat_utilisation"] * linear["open_high_tickets"]
    eta += terms.loc["unused_and_broken", "coefficient"] * both.fillna(0)
    assert np.allclose(eta, hazard["eta_measured"], atol=1e-9)
    risk = hazard[hazard["at_risk"]]
    assert np.allclose(risk["h_true"], 1 / (1 + np.exp(-(risk["eta_measured"] + risk["frailty"]))))


def test_the_oracle_auc_and_the_churns_are_in_their_range(portfolio):
    summary = json.loads((portfolio / "truth" / "portfolio.json").read_text())
    assert all(check["ok"] for check in summary["checks"].values()), summary["checks"]
    risk = read(portfolio, "truth/hazard").query("at_risk")
    assert 0.76 <= expected_auc(risk["p30"].to_numpy()) <= 0.90
    exits, customers = read(portfolio, "truth/exits"), read(portfolio, "customers")
    churned = exits.dropna(subset="churned_on")["client_id"]
    again = read(portfolio, "contracts")["contract_id"].str.endswith("-again").sum()
    assert 2 <= again <= 3 and customers["churned_on"].notna().sum() == len(churned) - again


def test_probabilities_agree_with_what_happened(portfolio):
    risk = read(portfolio, "truth/hazard").query("at_risk")
    decided = risk["decided"].sum()
    assert abs(decided - risk["p30"].sum()) < 3 * np.sqrt(decided)
    assert (risk["p90"] > risk["p30"]).all() and (risk["p90_mc_se"] < 0.03).all()


def test_who_gives_notice_churns_within_two_months_mostly_at_the_end_of_a_term(portfolio):
    exits = read(portfolio, "truth/exits").dropna(subset=["notice_on", "churned_on"])
    lead = (pd.to_datetime(exits["churned_on"]) - pd.to_datetime(exits["notice_on"])).dt.days
    assert lead.between(0, 60).all() and lead.nunique() > 20
    contracts = read(portfolio, "contracts").merge(exits, on="client_id")
    days = (pd.to_datetime(contracts["churned_on"]) - pd.to_datetime(contracts["ends_on"])).dt.days
    ends = (days == 0) | (contracts["auto_renews"] & (days % 30 == 0) & (days >= 0))
    assert ends.groupby(contracts["client_id"]).any().mean() > 0.6


def test_the_drivers_correlate_in_the_scorecards_direction(portfolio):
    risk, terms = (
        read(portfolio, "truth/hazard").query("at_risk"),
        read(portfolio, "truth/hazard_terms"),
    )
    additive = terms[terms["form"].isin(["linear", "log"])]
    assert len(additive) == 7
    oriented = pd.DataFrame(
        {term.metric: risk[f"d_{term.metric}"] * term.direction for term in additive.itertuples()}
    )
    pairs = oriented.corr(method="spearman").to_numpy()[np.triu_indices(7, 1)]
    assert 0.15 < pairs.mean() < 0.40


def test_users_who_leave_are_not_active_again(portfolio):
    users = read(portfolio, "truth/users").dropna(subset=["left_on"]).set_index("user_id")
    for path in sorted((portfolio / "events").iterdir()):
        rows = pq.read_table(path, columns=["user_id", "occurred_at"]).to_pandas().dropna()
        rows = rows[rows["user_id"].isin(users.index)]
        assert (
            rows["occurred_at"] < rows["user_id"].map(pd.to_datetime(users["left_on"])) + 1.5 * DAY
        ).all()


def test_first_use_and_milestones_follow_from_the_events(portfolio):
    adoptions, status = (
        read(portfolio, "truth/adoptions"),
        read(portfolio, "truth/milestone_status"),
    )
    rows = person_days(portfolio, "cs_client_123")
    first = rows.groupby("feature")["day"].min()
    own = (
        adoptions[adoptions["client_id"] == "cs_client_123"]
        .set_index("feature")["first_event_on"]
        .dropna()
    )
    assert (pd.to_datetime(own).sort_index() == first.sort_index()[own.sort_index().index]).all()
    assert set(status["status"]) == {
        "completed",
        "skipped",
        "overdue",
        "in_progress",
        "not_started",
    }
    progress = read(portfolio, "milestone_progress")
    done = progress[(progress["completed_at"].notna())].merge(
        status, on=["client_id", "milestone_id"]
    )
    later = done[pd.to_datetime(done["as_of"]) >= done["completed_at"].dt.normalize()]
    assert (later["status"] == "completed").all()


def test_usage_falls_after_notice_only_in_the_leak_portfolio(portfolio, tmp_path):
    make_demo(tmp_path, scenario="leak", events="light")
    leaky, plain = (
        read(path, "truth/hazard").query("at_risk").reset_index(drop=True)
        for path in (tmp_path, portfolio)
    )
    assert leaky.equals(plain)
    exits = (
        read(portfolio, "truth/exits")
        .dropna(subset=["notice_on", "churned_on"])
        .set_index("client_id")
    )
    counts = []
    for path in (portfolio, tmp_path):
        rows = pd.concat(
            [
                pq.read_table(file, columns=["client_id", "occurred_at", "source"]).to_pandas()
                for file in (path / "events").iterdir()
            ]
        )
        rows = rows[(rows["source"] == "ui") & rows["client_id"].isin(exits.index)]
        after = (
            rows["occurred_at"] > rows["client_id"].map(pd.to_datetime(exits["notice_on"])) + DAY
        )
        counts.append((len(rows) - after.sum(), after.sum()))
    (before, late), (leak_before, leak_late) = counts
    assert abs(leak_before - before) < 0.02 * before and leak_late < 0.25 * late


def test_in_the_null_portfolio_churn_depends_on_nothing(null):
    terms, hazard = read(null, "truth/hazard_terms"), read(null, "truth/hazard")
    assert (terms["coefficient"] == 0).all()
    risk = hazard[hazard["at_risk"]]
    assert risk["h_true"].nunique() == 1 and np.allclose(risk["p30"], risk["h_true"])
    assert (hazard["frailty"] == 0).all()


def test_in_the_null_portfolio_hours_and_weekdays_are_uniform(null):
    zones = read(null, "customers").set_index("client_id")["timezone"]
    rows = pd.concat(
        [
            pq.read_table(path, columns=["client_id", "session_id", "occurred_at"]).to_pandas()
            for path in (null / "events").iterdir()
        ]
    ).dropna()
    starts = rows.groupby(["client_id", "session_id"], as_index=False)["occurred_at"].min()
    local = pd.concat(
        [
            part["occurred_at"]
            .dt.tz_localize("UTC")
            .dt.tz_convert(zones[client])
            .dt.tz_localize(None)
            for client, part in starts.groupby("client_id")
        ]
    )
    for cells, count in ((local.dt.hour, 24), (local.dt.day_of_week, 7)):
        share = cells.value_counts(normalize=True)
        assert len(share) == count and (share * count).between(0.96, 1.04).all()


def test_in_the_null_portfolio_nothing_is_planted(null):
    for name in ("rhythms", "anomalies", "sequences", "bundles", "champion_exits", "segments"):
        assert read(null, f"truth/{name}").empty, name
    assert read(null, "truth/users")["left_on"].isna().all()
    assert (read(null, "truth/feature_effects")["log_hr"] == 0).all()
    assert len(read(null, "interventions")) > 20 and len(read(null, "calendar")) > 3
    law = read(null, "truth/message_law").groupby("channel")["p_open"].nunique()
    assert (law == 1).all()


def test_planted_effects_state_their_power(portfolio):
    for name in (
        "rhythms",
        "anomalies",
        "sequences",
        "bundles",
        "feature_effects",
        "blocker_law",
        "message_law",
    ):
        frame = read(portfolio, f"truth/{name}")
        assert len(frame) and frame["power"].between(0, 1).all()
        assert (frame["detectable"] == (frame["power"] >= 0.95)).all()
    for name in ("rhythms", "anomalies", "sequences", "bundles", "champion_exits", "blocker_law"):
        assert read(portfolio, f"truth/{name}")["detectable"].any(), name


def test_the_segments_are_far_apart(tmp_path):
    make_demo(tmp_path, scenario="segments", events="light", clients=200)
    assert read(tmp_path, "truth/segment_centres")["min_separation"].iloc[0] >= 5.5
    assert read(tmp_path, "truth/segments")["segment"].nunique() == 4


def test_on_the_day_of_the_gap_nothing_was_loaded(portfolio):
    gap = read(portfolio, "truth/anomalies").query("kind == 'gap'")
    assert len(gap) == 1 and gap["factor"].iloc[0] == 0
    day = pd.Timestamp(gap["from"].iloc[0])
    rows = pq.read_table(
        portfolio / "events" / f"{day:%Y-%m}.parquet", columns=["occurred_at"]
    ).to_pandas()["occurred_at"]
    per_day = rows.dt.normalize().value_counts()
    assert day not in per_day.index and {day - DAY, day + DAY} <= set(per_day.index)


def test_expected_auc_of_two_separate_certainties_is_one():
    assert expected_auc(np.array([0.0, 1.0])) == 1.0
