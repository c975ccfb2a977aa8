"""Nothing of a later day is read, nothing that does not matter changes a response, and ranges hold the truth."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import healthseg as hs
from healthseg.data.tables import TABLES
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_health

pytestmark = pytest.mark.slow

PAST = dt.date(2025, 3, 14)
INPUTS = ("surveys", "tickets", "invoices", "seats")
DRAW = """
import sys, healthseg as hs
portfolio = hs.Portfolio.open(sys.argv[1])
for client in sys.argv[2:]:
    sys.stdout.write(hs.calculate_health_score(portfolio, client).to_json())
"""


def tables_of(folder):
    """The given tables' frames; events in one."""
    frames = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
    parts = [pd.read_parquet(path) for path in sorted((folder / "events").glob("*.parquet"))]
    return {**frames, "events": pd.concat(parts, ignore_index=True)}


def local_days(values, zones):
    """The days of dates, or of UTC instants where each row's customer lives."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values)
    out = values.copy()
    for zone in zones.dropna().unique():
        in_zone = zones == zone
        out[in_zone] = (
            values[in_zone].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
        )
    return out.dt.normalize()


def cut(frames, date):
    """The tables as they were known at the end of a day: by the contract's ``known_from``, without snapshots."""
    customers = frames["customers"].set_index("client_id")
    signed_up = pd.to_datetime(customers["signup_date"]) <= pd.Timestamp(date)
    left = {}
    for name, frame in frames.items():
        table = TABLES[name]
        zones = (
            frame["client_id"].map(customers["timezone"])
            if "client_id" in frame
            else pd.Series("UTC", frame.index)
        )
        day = {
            column.name: local_days(frame[column.name], zones)
            for column in table.columns
            if column.kind in ("date", "timestamp") and column.name in frame
        }
        late = pd.Series(False, frame.index)
        if "client_id" in frame:
            late |= ~frame["client_id"].map(signed_up).astype(bool)
        frame = frame.copy()
        for column in (each for each in table.columns if each.name in frame):
            known = pd.Series(pd.NaT, frame.index, dtype="datetime64[us]")
            for source in (each for each in column.known_from if each in day):
                known = known.fillna(day[source].astype("datetime64[us]"))
            if column.required:
                late |= known > pd.Timestamp(date)
            elif name == "customers" and column.known_from == ("snapshot",):
                frame[column.name] = None
            else:
                frame[column.name] = (
                    frame[column.name].astype(object).where(~(known > pd.Timestamp(date)))
                )
        left[name] = frame[~late]
    return left


@pytest.fixture(scope="module")
def frames(demo_folder):
    return tables_of(demo_folder)


def written(frames, folder):
    folder.mkdir()
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def ended_portfolio(frames, tmp_path_factory):
    return hs.Portfolio.open(
        written(cut(frames, PAST), tmp_path_factory.mktemp("past") / "cut"), {"data_until": PAST}
    )


def test_a_past_response_is_that_of_a_portfolio_that_ends_there(demo, ended_portfolio):
    portfolio = ended_portfolio
    customers = sorted(portfolio.table("customers")["client_id"])
    assert 40 < len(customers) <= 60
    for client in customers[::4]:
        whole, ended = (
            hs.calculate_health_score(each, client, as_of=PAST).to_dict()
            for each in (demo, portfolio)
        )
        for response in (whole, ended):
            for key in ("data_until", "fingerprint"):
                del response[key]
            del response["customer"][
                "currency"
            ]  # of the customers table: today's, without an amount beside it
        assert whole == ended, client


def test_a_past_portfolios_page_is_that_of_a_portfolio_that_ends_there(demo, ended_portfolio):
    whole, ended = (portfolio_health(each, as_of=PAST) for each in (demo, ended_portfolio))
    columns = [
        "client_id",
        "score",
        "change",
        "trend",
        "arr",
        "at_stake",
        "coverage",
        "lower",
        "upper",
        "reason",
    ]
    pd.testing.assert_frame_equal(
        whole.frame("customers")[columns], ended.frame("customers")[columns], check_dtype=False
    )
    assert whole.frame("customers")["csm_id"].isna().all()
    assert whole.excluded["churned"] == ended.excluded["churned"] and whole.bands == ended.bands


def test_order_format_and_time_zone_do_not_change_a_byte(demo_folder, frames, tmp_path):
    """One process reads the demo as it is; another its rows shuffled, columns turned round, small tables as CSV."""
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name, frame in frames.items():
        turned = frame.sample(frac=1, random_state=3)[frame.columns[::-1]]
        if name == "events":
            turned.to_parquet(mixed / "events.parquet", index=False)
        else:
            turned.to_csv(mixed / f"{name}.csv", index=False)
    plain = tmp_path / "plain"
    shutil.copytree(
        demo_folder,
        plain,
        ignore=shutil.ignore_patterns(".healthseg", "truth", "healthseg.sqlite*"),
    )
    clients = ["cs_client_001", "cs_client_005", "cs_client_028"]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DRAW, str(folder), *clients],
            stdout=subprocess.PIPE,
            cwd=Path(hs.__file__).parents[1],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed},
        )
        for folder, zone, seed in (
            (plain, "Pacific/Kiritimati", "1"),
            (mixed, "America/St_Johns", "2"),
        )
    ]
    first, other = (run.communicate(timeout=300)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert len(first) > 10_000 and first == other


def test_the_possible_range_holds_the_score_that_the_whole_inputs_give(frames, responses, tmp_path):
    """Of each customer of whom all is known one input is taken away; what it gave lies in the range of the rest."""
    known = [
        client
        for client, health in responses.items()
        if health.status == "live" and health.coverage == 1 and not health.provisional
    ]
    lost = {client: INPUTS[index % len(INPUTS)] for index, client in enumerate(known)}
    less = {
        name: frame[frame["client_id"].map(lost) != name] if name in INPUTS else frame
        for name, frame in frames.items()
    }
    tickets, surveys, changes = less["tickets"], less["surveys"], less["customer_changes"]
    # CSAT comes from both: it goes with either
    less["tickets"] = tickets.assign(
        csat=tickets["csat"].where(tickets["client_id"].map(lost) != "surveys")
    )
    less["surveys"] = surveys[
        (surveys["client_id"].map(lost) != "tickets") | (surveys["kind"] == "nps")
    ]
    for name in ("customers", "contracts"):
        seats = less[name]["seats"].where(less[name]["client_id"].map(lost) != "seats")
        less[name] = less[name].assign(seats=seats)
    seats = (changes["client_id"].map(lost) == "seats") & (changes["field"] == "seats")
    less["customer_changes"] = changes[~seats]
    portfolio = hs.Portfolio.open(written(less, tmp_path / "less"))
    assert len(known) >= 12
    for client in known:
        health = hs.calculate_health_score(portfolio, client, include_predictions=False)
        exact = responses[client].frame("history")["score"].iloc[-1]
        spread = health.frame("history").iloc[-1]
        # a cap can lie below both ends
        wide = spread["upper"] > spread["lower"] or health.caps
        assert health.coverage < 1 and wide, (client, lost[client])
        assert spread["lower"] - 1e-6 <= exact <= spread["upper"] + 1e-6, (client, lost[client])


def test_a_response_says_what_it_was_made_from(demo, frames, tmp_path, response):
    less = {**frames, "events": frames["events"].iloc[:-1]}
    other = hs.Portfolio.open(written(less, tmp_path / "less"))
    health = response("cs_client_001")
    assert health.fingerprint == demo.fingerprint(health.as_of)
    assert hs.calculate_health_score(other, "cs_client_001").fingerprint != health.fingerprint
    softer = hs.Portfolio.open(demo.path, {"overrides": {"long_overdue": {"cap": 50}}})
    assert hs.calculate_health_score(softer, "cs_client_001").fingerprint != health.fingerprint
    assert json.loads(health.to_json())["fingerprint"] == health.fingerprint


def test_the_clock_of_a_response_is_the_end_of_its_day_where_the_customer_lives():
    customers = pd.DataFrame(
        {"client_id": ["a"], "signup_date": ["2024-01-01"], "timezone": ["America/New_York"]}
    )
    portfolio = tiny_portfolio(
        [("a", "2025-07-02 16:00:00", "u")], customers, {"data_until": "2025-07-10"}
    )
    health = hs.calculate_health_score(portfolio, "a", as_of="2025-07-04")
    assert health.calculation_timestamp == "2025-07-05T04:00:00Z"
    assert not any("time zone" in warning for warning in health.warnings)


def test_seats_of_today_in_a_history_that_has_none_are_marked(daily_events):
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["2024-01-01"], "seats": [4]})
    portfolio = tiny_portfolio(daily_events("a", "2025-01-01", "2025-06-30", "u1", "u2"), customers)
    now = hs.calculate_health_score(portfolio, "a")
    assert now.frame("metrics").set_index("metric").loc["seat_utilisation", "value"] == 0.5
    assert [past.note for past in now.historical_scores][:-1] == [
        "today's value of seats and plan"
    ] * 5
    assert now.historical_scores[-1].note is None
    then = hs.calculate_health_score(portfolio, "a", as_of="2025-06-01")
    assert then.customer.seats is None and then.coverage < now.coverage


def test_a_scorecard_of_the_portfolios_own_is_the_one_that_judges(daily_events):
    metric = {
        "metric": "active_days_28d",
        "label": "Active days",
        "unit": "days",
        "weight": 1,
        "anchors": [[0, 0], [28, 100]],
    }
    card = {"only_these": True, "components": {"engagement": {"weight": 1, "metrics": [metric]}}}
    portfolio = tiny_portfolio(
        daily_events("a", "2025-01-01", "2025-06-16", "u1"),
        settings={"scorecard": card, "data_until": "2025-06-30"},
    )
    health = hs.calculate_health_score(portfolio, "a")
    assert (health.current_health_score, health.coverage) == (50, 1.0)
    assert (
        health.component_weights["engagement_weight"] == 1
        and health.component_scores.usage_score is None
    )
    assert portfolio.settings != Settings()
