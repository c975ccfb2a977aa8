"""The demo portfolio as a reader of its files sees it: contract, determinism, what stands in the tables."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import healthseg as hs
from healthseg.data.tables import TABLES as CONTRACT
from healthseg.demo import SCENARIOS, make_demo
from healthseg.demo.schema import TABLES, TRUTH
from healthseg.errors import InvalidParameters
from healthseg.metrics.spells import spells_as_of

END = pd.Timestamp("2025-10-10")
KIND_OF = {
    "id": "string",
    "text": "string",
    "zone": "string",
    "timestamp": "timestamp[us]",
    "date": "date32[day]",
    "boolean": "bool",
}


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "portfolio"
    make_demo(out, events="light")
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "small"
    make_demo(out, clients=20, months=9, events="light")
    return out


def read(portfolio: Path, name: str) -> pd.DataFrame:
    return pq.read_table(portfolio / f"{name}.parquet").to_pandas()


def events(portfolio: Path) -> pd.DataFrame:
    return pd.concat(
        [
            pq.read_table(path).to_pandas()
            for path in sorted((portfolio / "events").glob("*.parquet"))
        ]
    )


def digest(portfolio: Path) -> dict[str, str]:
    return {
        path.relative_to(portfolio).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(portfolio.rglob("*"))
        if path.is_file()
    }


def local_day(moments: pd.Series, clients: pd.Series, portfolio: Path) -> pd.Series:
    """The account-local day, by pandas' own zone arithmetic."""
    zone = clients.map(read(portfolio, "customers").set_index("client_id")["timezone"])
    out = pd.Series(pd.NaT, index=moments.index, dtype="datetime64[us]")
    for name, rows in moments.groupby(zone, sort=False):
        out[rows.index] = (
            rows.dt.tz_localize("UTC").dt.tz_convert(name).dt.tz_localize(None).dt.normalize()
        )
    return out


def test_the_same_arguments_give_the_same_bytes(small, tmp_path):
    make_demo(tmp_path / "again", clients=20, months=9, events="light")
    assert digest(tmp_path / "again") == digest(small)


def test_another_seed_gives_another_portfolio(small, tmp_path):
    make_demo(tmp_path / "other", clients=20, months=9, events="light", seed=8)
    ours, theirs = digest(small), digest(tmp_path / "other")
    assert (
        ours["customers.parquet"] != theirs["customers.parquet"]
        and ours["events/2025-06.parquet"] != theirs["events/2025-06.parquet"]
    )


def test_an_earlier_portfolio_is_replaced_completely(small, tmp_path):
    make_demo(tmp_path / "portfolio", clients=6, months=4, scenario="dirty", events="light")
    make_demo(tmp_path / "portfolio", clients=20, months=9, events="light")
    assert digest(tmp_path / "portfolio") == digest(small)


def test_settings_of_ones_own_stay_beside_a_portfolio_that_is_replaced(tmp_path):
    make_demo(tmp_path, clients=3, months=3, events="light")
    (tmp_path / "portfolio.toml").write_text("[settings]\nseed = 3\n", encoding="utf-8")
    make_demo(tmp_path, clients=4, months=3, events="light")
    assert (tmp_path / "portfolio.toml").read_text(encoding="utf-8") == "[settings]\nseed = 3\n"


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(InvalidParameters, match="holds no demo portfolio"):
        make_demo(tmp_path, clients=5)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scenario": "nul"}, "did you mean null"),
        ({"clients": 0}, "out of range"),
        ({"months": 1}, "out of range"),
        ({"events": "heavy"}, "must be full or light"),
    ],
)
def test_a_wrong_argument_is_named(arguments, words, tmp_path):
    with pytest.raises(InvalidParameters, match=words):
        make_demo(tmp_path / "portfolio", **arguments)
    assert not (tmp_path / "portfolio").exists()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_has_the_contracts_columns_and_types(name, portfolio):
    schema = pq.read_schema(portfolio / f"{name}.parquet")
    contract = CONTRACT[name]
    assert set(schema.names) <= set(contract.names)
    assert {column.name for column in contract.columns if column.required} <= set(schema.names)
    for column in contract.columns:
        if column.name in schema.names and column.kind in KIND_OF:
            assert str(schema.field(column.name).type) == KIND_OF[column.kind], column.name


@pytest.mark.parametrize("name", sorted(TABLES))
def test_required_values_are_present_and_keys_do_not_repeat(name, portfolio):
    frame, contract = read(portfolio, name), CONTRACT[name]
    assert len(frame)
    assert (
        frame[[column.name for column in contract.columns if column.required]]
        .notna()
        .all(axis=None)
    )
    for column in contract.columns:
        if column.allowed and column.name in frame:
            assert set(frame[column.name].dropna()) <= set(column.allowed)
    if contract.key:
        assert not frame.duplicated([name for name in contract.key if name in frame]).any()
    for order in contract.orders:
        if {order.earlier, order.later} <= set(frame):
            both = frame[[order.earlier, order.later]].dropna()
            assert (both[order.earlier] <= both[order.later]).all()


def test_events_are_sorted_in_their_month_and_end_on_the_last_day(portfolio):
    last = pd.Timestamp(0)
    for path in sorted((portfolio / "events").glob("*.parquet")):
        moments = pq.read_table(path, columns=["occurred_at"]).to_pandas()["occurred_at"]
        assert moments.is_monotonic_increasing
        assert set(moments.dt.strftime("%Y-%m")) == {path.stem}
        assert moments.iloc[0] > last
        last = moments.iloc[-1]
    assert END + pd.Timedelta(hours=23) <= last < END + pd.Timedelta(days=1)


def test_no_two_event_rows_are_identical(portfolio):
    assert not events(portfolio).duplicated().any()


def test_every_row_belongs_to_a_customer_and_an_event_to_a_known_user(portfolio):
    known = set(read(portfolio, "customers")["client_id"])
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,100}", client_id) for client_id in known)
    for name in TABLES:
        frame = read(portfolio, name)
        if "client_id" in frame:
            assert set(frame["client_id"]) <= known, name
    users = pd.MultiIndex.from_frame(read(portfolio, "users")[["client_id", "user_id"]])
    used = events(portfolio).dropna(subset=["user_id"])[["client_id", "user_id"]].drop_duplicates()
    assert pd.MultiIndex.from_frame(used).isin(users).all()


def test_no_row_of_a_customer_is_dated_on_or_after_its_churn(portfolio):
    left = pd.to_datetime(
        read(portfolio, "customers").set_index("client_id")["churned_on"]
    ).dropna()
    stamps = {
        "tickets": ("opened_at", "resolved_at", "first_response_at"),
        "surveys": ("responded_at",),
        "messages": ("sent_at", "opened_at", "clicked_at"),
        "interventions": ("happened_at",),
        "milestone_progress": ("started_at", "completed_at", "blocked_since"),
        "users": ("created_at", "deactivated_at"),
    }
    frames = {name: read(portfolio, name) for name in stamps} | {"events": events(portfolio)}
    for name, columns in {**stamps, "events": ("occurred_at",)}.items():
        for column in columns:
            rows = frames[name][["client_id", column]].dropna()
            rows = rows[rows["client_id"].isin(left.index)].reset_index(drop=True)
            assert (
                local_day(rows[column], rows["client_id"], portfolio) < rows["client_id"].map(left)
            ).all(), (
                name,
                column,
            )
    for name, column in (
        ("invoices", "issued_on"),
        ("invoices", "paid_on"),
        ("contracts", "starts_on"),
        ("entitlements", "starts_on"),
    ):
        rows = read(portfolio, name).dropna(subset=[column])
        rows = rows[rows["client_id"].isin(left.index)]
        assert (pd.to_datetime(rows[column]) < rows["client_id"].map(left)).all(), name


def test_a_customer_that_churns_gives_a_reason_that_fits_its_data(portfolio):
    stages, invoices = read(portfolio, "stage_changes"), read(portfolio, "invoices")
    reasons = stages[stages["stage"] == "churned"].set_index("client_id")["reason"]
    assert reasons.nunique() >= 4 and "contract" not in set(reasons)
    late = invoices[invoices["paid_on"].isna()]["client_id"]
    assert set(reasons.index[reasons == "unpaid_invoices"]) <= set(late)


def test_the_snapshot_is_overwritten_at_churn_and_the_contract_keeps_the_past(portfolio):
    customers, contracts = read(portfolio, "customers"), read(portfolio, "contracts")
    gone = customers[customers["churned_on"].notna()]
    gone = gone[gone["client_id"].isin(contracts["client_id"])]  # the others churned on trial
    assert (
        (gone["arr"] == 0).all() and gone["plan"].isna().all() and gone["renewal_date"].isna().all()
    )
    assert (contracts.groupby("client_id")["arr"].last()[gone["client_id"]] > 0).all()
    changes = read(portfolio, "arr_changes")
    ends = changes[changes["reason"] == "churn"].set_index("client_id")["effective_on"]
    assert (ends[gone["client_id"]].to_numpy() == gone["churned_on"].to_numpy()).all()


def test_the_snapshot_moved_on_at_renewal_and_expansion(portfolio):
    customers = read(portfolio, "customers").set_index("client_id")
    contracts = read(portfolio, "contracts").sort_values(["client_id", "starts_on"])
    live = customers[customers["churned_on"].isna() & customers["arr"].notna()]
    begun = contracts[pd.to_datetime(contracts["starts_on"]) <= END]
    # an early renewal names those whose place it takes; the other terms that have not ended add up
    replaced = set(";".join(begun["replaces"].dropna()).split(";"))
    standing = begun[~begun["contract_id"].isin(replaced)].drop_duplicates(
        "contract_id", keep="last"
    )
    last_end = standing.groupby("client_id")["ends_on"].transform("max")
    standing = standing[
        (pd.to_datetime(standing["ends_on"]) > END) | (standing["ends_on"] == last_end)
    ]
    assert (standing.groupby("client_id")["arr"].sum()[live.index] == live["arr"]).all()
    first = contracts.groupby("client_id").first()
    assert (first.loc[live.index, "seats"] != live["seats"]).mean() > 0.05


def test_client_123_is_live_and_has_all_inputs(portfolio):
    known = read(portfolio, "customers").set_index("client_id").loc["cs_client_123"]
    assert pd.isna(known["churned_on"]) and pd.isna(known["notice_on"])
    assert pd.Timestamp(known["signup_date"]) <= END - pd.Timedelta(days=200)
    for name in (
        "tickets",
        "surveys",
        "invoices",
        "contracts",
        "users",
        "messages",
        "milestone_progress",
        "stage_changes",
    ):
        assert (read(portfolio, name)["client_id"] == "cs_client_123").sum() >= 2, name


def test_the_portfolio_has_rows_for_every_tool(portfolio):
    customers = read(portfolio, "customers")
    assert customers["timezone"].nunique() >= 6 and customers["industry"].nunique() == 8
    tiers = pd.cut(
        customers.loc[customers["churned_on"].isna(), "arr"],
        [0, 10_000, 50_000, 100_000, 250_000, np.inf],
    )
    assert (tiers.value_counts() > 0).sum() >= 4
    invoices = read(portfolio, "invoices")
    paid = pd.to_datetime(invoices["paid_on"]).fillna(END)
    assert ((paid - pd.to_datetime(invoices["due_on"])).dt.days >= 60).sum() >= 10
    assert set(read(portfolio, "calendar")["label"].str.split(":").str[0]) == {
        "holiday",
        "launch",
        "incident",
    }
    calendar = read(portfolio, "calendar")
    releases = calendar[calendar["label"].str.endswith(" release")]
    for label, day in zip(releases["label"], pd.to_datetime(releases["starts_on"]), strict=True):
        assert ("winter", "spring", "summer", "autumn")[day.month % 12 // 3] in label
    assert set(read(portfolio, "benchmarks")["source"]) == {"simulated"}
    assert set(read(portfolio, "arr_changes")["reason"]) == {
        "new",
        "expansion",
        "contraction",
        "churn",
    }
    assert events(portfolio)["source"].value_counts().keys().tolist() == ["ui", "api"]


def test_the_portfolio_is_what_a_newcomer_expects_of_customers_and_contracts(portfolio):
    customers = read(portfolio, "customers").set_index("client_id")
    contracts, stages = read(portfolio, "contracts"), read(portfolio, "stage_changes")
    age = (END - pd.to_datetime(customers["signup_date"])).dt.days
    assert ((age < 45).sum() >= 8) and (age > 900).sum() >= 20
    last = stages.sort_values(["client_id", "effective_at"], kind="stable").groupby("client_id")
    assert {"trial", "onboarding"} <= set(last["stage"].last())
    days = (pd.to_datetime(contracts["ends_on"]) - pd.to_datetime(contracts["starts_on"])).dt.days
    assert (days == 30).sum() > 10 < (days >= 730).sum() and (days == 365).mean() > 0.25
    assert contracts["auto_renews"].any() and contracts["replaces"].notna().sum() >= 5
    assert contracts["contract_id"].str.contains("-add").sum() >= 5
    assert (read(portfolio, "invoices")["amount"] < 0).sum() >= 20
    assert set(customers["currency"]) == set(read(portfolio, "fx")["currency"]) == {"EUR", "USD"}
    families = customers.groupby("parent_id").size()
    assert len(families) >= 2 and families.between(2, 3).all()
    assert read(portfolio, "csms")["name"].str.contains(" ").all()
    rows = events(portfolio)
    alone = rows.groupby("client_id")["source"].agg(lambda names: set(names) == {"api"})
    assert 1 <= alone.sum() <= 3


@pytest.mark.slow
def test_no_section_of_the_default_portfolio_is_empty_by_construction(portfolio):
    """Returns, adoption patterns, the impact of a message, seasons, self-service, interventions, disagreements."""
    opened = hs.Portfolio.open(portfolio)
    spells = spells_as_of(opened, opened.data_until)
    assert (spells.groupby("client_id").size() > 1).any()
    adoption = hs.track_feature_adoption(opened)
    assert len(adoption.adoption_patterns) >= 2
    assert any(item.expected_impact for item in adoption.recommendations)
    patterns = hs.analyze_engagement_patterns(opened, "all_customers")
    assert "quarter" in patterns.temporal_patterns.seasonal_trends
    assert 0 < patterns.support_patterns.self_service_adoption < 1
    recovery = patterns.pattern_transitions["from_at_risk_to_healthy"]
    assert recovery.common_interventions and recovery.by_kind
    assert hs.portfolio_lifecycle(opened).disagreements


def test_events_rise_towards_the_end_of_a_quarter(portfolio):
    rows = events(portfolio).query("source != 'api'")
    day = rows["occurred_at"].dt.normalize()
    left = (day.dt.to_period("Q").dt.end_time.dt.normalize() - day).dt.days
    late, middle = (rows["count"][left.between(*days)].sum() for days in ((3, 16), (45, 58)))
    assert 1.2 < late / middle < 1.7


def test_messages_of_campaigns_go_before_the_first_use(portfolio):
    messages = read(portfolio, "messages").dropna(subset="feature")
    adoptions = read(portfolio, "truth/adoptions")
    both = messages.merge(adoptions, on=["client_id", "feature"])
    wait = pd.to_datetime(both["intended_on"]) - both["sent_at"].dt.normalize()
    is_ahead = wait.dt.days.between(4, 46)
    assert len(messages) < 4_000 and 0.1 < is_ahead.sum() / len(messages) < 0.6


def test_the_settings_beside_the_portfolio_name_the_self_service(portfolio):
    with (portfolio / "portfolio.toml").open("rb") as file:
        named = tomllib.load(file)["settings"]["self_service_features"]
    assert set(named) <= set(read(portfolio, "features")["feature"])


def test_gross_retention_of_the_year_is_believable(portfolio):
    moves = read(portfolio, "truth/arr_moves").assign(on=lambda rows: pd.to_datetime(rows["on"]))
    then, now = (
        moves[moves["on"] <= day].groupby("client_id")["to"].last()
        for day in (END - pd.DateOffset(years=1), END)
    )
    retained = np.minimum(then, now.reindex(then.index)).sum() / then.sum()
    assert 0.85 <= retained <= 0.95


def test_light_events_keep_days_sessions_features_and_counts(tmp_path):
    for kind in ("full", "light"):
        make_demo(tmp_path / kind, clients=12, months=6, events=kind)
    full, light = (events(tmp_path / kind) for kind in ("full", "light"))
    full, light = (
        frame[frame["source"] == "ui"].assign(count=lambda rows: rows["count"].fillna(1))
        for frame in (full, light)
    )
    assert 0.15 < len(light) / len(full) < 0.27
    frames = []
    for kind, frame in (("full", full), ("light", light)):
        frame = frame.reset_index(drop=True)
        day = local_day(frame["occurred_at"], frame["client_id"], tmp_path / kind)
        frames.append(
            frame.groupby(["client_id", "user_id", "session_id", "feature", day])["count"]
            .sum()
            .sort_index()
        )
    assert frames[0].index.equals(frames[1].index) and (frames[0] == frames[1]).all()
    starts = [frame.groupby("session_id")["occurred_at"].min() for frame in (full, light)]
    assert starts[0].equals(starts[1])
    first, second = digest(tmp_path / "full"), digest(tmp_path / "light")
    assert first["truth/hazard.parquet"] == second["truth/hazard.parquet"]
    assert first["truth/exits.parquet"] == second["truth/exits.parquet"]


def test_sessions_of_a_user_are_apart_by_more_than_the_gap(small):
    rows = events(small).dropna(subset=["session_id"]).reset_index(drop=True)
    ends = rows["occurred_at"] + pd.to_timedelta(
        rows["duration_seconds"].fillna(0).astype(float), unit="s"
    )
    spans = pd.DataFrame(
        {
            "user": rows["user_id"],
            "session": rows["session_id"],
            "start": rows["occurred_at"],
            "end": ends,
        }
    )
    spans = (
        spans.groupby(["user", "session"])
        .agg(start=("start", "min"), end=("end", "max"))
        .reset_index()
    )
    spans = spans.sort_values(["user", "start"])
    gap = spans["start"] - spans.groupby("user")["end"].shift()
    within_a_day = gap[spans["start"].dt.date == spans.groupby("user")["start"].shift().dt.date]
    assert (within_a_day > pd.Timedelta(minutes=29)).mean() > 0.99


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_each_scenario_writes_every_table_of_the_truth(name, tmp_path):
    summary = make_demo(tmp_path, clients=12, months=6, scenario=name, events="light")
    for truth, columns in TRUTH.items():
        assert pq.read_schema(tmp_path / "truth" / f"{truth}.parquet").names == list(columns)
    on_disk = json.loads((tmp_path / "truth" / "portfolio.json").read_text())
    assert on_disk["scenario"] == name == summary["scenario"] and on_disk["seed"] == 7
    assert {"oracle_auc_30", "oracle_auc_90", "churns", "checks", "parameters", "version"} <= set(
        on_disk
    )


def test_a_portfolio_of_several_batches_gives_each_customer_its_own_number(tmp_path):
    make_demo(tmp_path, clients=253, months=3, events="light")
    ids = read(tmp_path, "customers")["client_id"]
    assert sorted(ids) == [f"cs_client_{number:03d}" for number in range(1, 254)]
    assert not read(tmp_path, "users").duplicated(["client_id", "user_id"]).any()
    sessions = events(tmp_path).dropna(subset=["session_id"])
    assert sessions.groupby("session_id")["client_id"].nunique().max() == 1
    assert not (tmp_path / ".spool").exists()


def test_the_last_day_is_the_tenth_of_october(small):
    assert (
        json.loads((small / "truth" / "portfolio.json").read_text())["last_day"]
        == dt.date(2025, 10, 10).isoformat()
    )
