"""Responses that are kept: found again within their time, never after anything that they were made from changed."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from healthseg.cli import main as cli
from healthseg.data import cache as caching
from healthseg.data import response_cache as cache
from healthseg.data.ledger import FILE_NAME, schema
from healthseg.data.ledger.ledger import Ledger, LedgerAlert, LedgerLocation
from healthseg.errors import HealthsegError
from healthseg.reports import registry
from healthseg.reports.responses import MINUTES, WRITERS, Responses
from healthseg.settings.lifecycle import LedgerPlace
from healthseg.settings.operator import CacheSettings
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS
from tests.data.postgres import server

TOOL = "track_usage_engagement"
ASKED = {"client_id": "a", "period_start": "2025-03-15", "period_end": "2025-03-29"}
EVENTS = [("a", f"2025-03-{day:02d} 09:00", user) for day in range(1, 29) for user in ("u1", "u2")]


class Clock:
    """Time that passes when it is told to; far from the files' own, so that they count as settled."""

    def __init__(self) -> None:
        self.now = time.time() + 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    return Path(tiny_portfolio(EVENTS, settings={}).path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def warmed(folder: Path | str, clock: Clock, **parameters) -> Responses:
    """Responses that were asked twice: the first call of all notes the settings in the ledger."""
    responses = Responses(str(folder), clock=clock)
    for _ in range(2):
        responses.response(TOOL, ASKED | parameters)
    return responses


def hit(responses: Responses, **parameters) -> bool:
    return responses.response(TOOL, ASKED | parameters).body["cache"]["hit"]


def test_a_response_is_found_again_with_its_age(folder, clock):
    responses = warmed(folder, clock)
    first = Responses(str(folder), cache=False, clock=clock).response(TOOL, ASKED).body
    clock.now += 90
    again = responses.response(TOOL, ASKED).body
    assert again["cache"] == {
        "hit": True,
        "cached": True,
        "age_seconds": 90.0,
        "valid_seconds": 1710.0,
    }
    assert {**again, "cache": None} == {**first, "cache": None}


@pytest.mark.parametrize(
    ("tool", "minutes"), [("track_usage_engagement", 30), ("calculate_health_score", 60)]
)
def test_usage_is_kept_for_30_minutes_and_health_for_an_hour(folder, clock, tool, minutes):
    responses = Responses(str(folder), clock=clock)
    parameters = {"client_id": "a"}
    for _ in range(2):
        cache = responses.response(tool, parameters).body["cache"]
    assert cache == {
        "hit": False,
        "cached": True,
        "age_seconds": 0.0,
        "valid_seconds": 60.0 * minutes,
    }
    clock.now += 60 * minutes - 1
    assert responses.response(tool, parameters).body["cache"]["hit"]
    clock.now += 2
    assert not responses.response(tool, parameters).body["cache"]["hit"]


def test_segments_are_kept_for_four_hours():
    assert getattr(CacheSettings(), MINUTES["segment_customers"]) == 240
    assert getattr(CacheSettings(), MINUTES["segment_by_value_tier"]) == 240


def test_other_parameters_are_another_response(folder, clock):
    responses = warmed(folder, clock)
    assert hit(responses) and not hit(responses, granularity="weekly")


def test_one_new_row_in_any_table_is_never_hidden(folder, clock):
    responses = warmed(folder, clock)
    before = responses.response(TOOL, ASKED).body
    with open(folder / "events.csv", "a") as handle:
        handle.write("a,2025-03-20 10:00,u3\n")
    after = responses.response(TOOL, ASKED).body
    assert before["cache"]["hit"] and not after["cache"]["hit"]
    assert after["usage_analytics"]["total_events"] == before["usage_analytics"]["total_events"] + 1
    assert after["fingerprint"] != before["fingerprint"]


@pytest.mark.slow
def test_a_new_table_a_changed_value_and_a_changed_setting_are_never_hidden(folder, clock):
    responses = warmed(folder, clock)
    (folder / "tickets.csv").write_text("ticket_id,client_id,opened_at\nt1,a,2025-03-20 09:00\n")
    assert not hit(responses)
    responses = warmed(folder, clock)
    text = (folder / "customers.csv").read_text()
    (folder / "customers.csv").write_text(
        text.replace("2024-01-01", "2024-01-02")
    )  # as many bytes as before
    assert hit(responses) is False
    responses = warmed(folder, clock)
    (folder / "healthseg.toml").write_text("[settings]\nsession_gap_minutes = 5\n")
    assert not hit(responses)


def _ledger(folder: Path) -> Ledger:
    return Ledger(folder / FILE_NAME, lambda: dt.datetime(2025, 3, 28, tzinfo=dt.UTC))


def test_a_recorded_stage_and_recorded_settings_are_never_hidden(folder, clock):
    responses = warmed(folder, clock)
    began = dt.datetime(2025, 3, 10, tzinfo=dt.UTC)
    _ledger(folder).record_stage_event("r1", "a", "at_risk", began, actor="ann")
    assert not hit(responses)
    assert hit(warmed(folder, clock))
    _ledger(folder).record_settings("other", {})
    assert not hit(responses)


def test_what_no_figure_is_computed_from_leaves_cached_responses_as_they_are(folder, clock):
    responses = warmed(folder, clock)
    alert = LedgerAlert("a", "score_drop", "high", dt.date(2025, 3, 20), {})
    assert _ledger(folder).record_alerts([alert])
    assert hit(responses)
    (folder / "healthseg.toml").write_text("[alerts]\nscore_below = 50\n")
    assert hit(responses), "a threshold of alerts is no input of a response"


def test_a_segmentation_is_never_hidden_from_the_tools_that_read_them(folder, clock):
    responses = warmed(folder, clock)
    before, after = responses._snapshot(), responses._snapshot()
    keys = {tool: before.key(tool, {}) for tool in TOOLS}
    _ledger(folder).record_segment_run("data", {}, dt.date(2025, 3, 20), {})
    changed = {tool for tool in TOOLS if after.key(tool, {}) != keys[tool]}
    assert changed == {"segment_customers", "analyze_engagement_patterns"}


def test_a_ledger_of_another_version_is_never_hidden(folder, clock):
    responses = warmed(folder, clock)
    with _ledger(folder).writing() as connection:
        connection.execute(schema.SCHEMA_VERSION.insert().values(version=schema.LATEST + 1))
    with pytest.raises(HealthsegError):
        responses.response(TOOL, ASKED)


def test_data_that_changed_a_moment_ago_is_not_kept(folder):
    """Two changes within one tick of a file's clock look alike; the second is waited for."""
    responses = Responses(str(folder), clock=lambda: (folder / "events.csv").stat().st_ctime)
    caches = [responses.response(TOOL, ASKED).body["cache"] for _ in range(3)]
    assert [response["cached"] for response in caches] == [False, False, False]


def test_no_cache_neither_looks_nor_keeps(folder, clock):
    warmed(folder, clock)
    fresh = Responses(str(folder), cache=False, clock=clock)
    assert fresh.response(TOOL, ASKED).body["cache"] == {
        "hit": False,
        "cached": False,
        "reason": "not wanted",
    }


def test_settings_can_switch_it_off(folder, clock, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE__ENABLED", "false")
    responses = warmed(folder, clock)
    assert "settings" in responses.response(TOOL, ASKED).body["cache"]["reason"]


def test_errors_are_not_kept(folder, clock):
    responses = Responses(str(folder), clock=clock)
    for _ in range(3):
        with pytest.raises(HealthsegError):
            responses.response(TOOL, {"client_id": "nobody"})


def test_a_broken_cache_file_is_no_error(folder, clock):
    responses = warmed(folder, clock)
    for left in (folder / ".healthseg" / "cache").glob("responses.sqlite*"):
        left.write_bytes(b"no database at all, but long enough to be read as one" * 50)
    assert not hit(responses) and not hit(responses)
    assert hit(responses)


def test_a_folder_that_cannot_be_written_keeps_responses_elsewhere(folder, clock, tmp_path):
    assert (
        cache.ResponseCache(tmp_path / "no" / "\0").put("key", "{}", 0, 1) is False
        if os.name == "nt"
        else cache.ResponseCache(Path("/proc/none")).put("key", "{}", 0, 1) is False
    )


def test_a_query_that_names_no_file_is_never_kept(tmp_path, folder, clock):
    (tmp_path / "portfolio.toml").write_text(
        "[tables]\ncustomers = \"select 'a' as client_id, '2024-01-01' as signup_date\"\n"
        "events = \"select 'a' as client_id, 'u' as user_id, timestamp '2025-03-01 09:00:00' + interval (i) day "
        'as occurred_at from range(28) t(i)"\n'
    )
    responses = Responses(str(tmp_path / "portfolio.toml"), clock=clock)
    caches = [
        responses.response(TOOL, ASKED | {"period_end": "2025-03-28"}).body["cache"]
        for _ in range(2)
    ]
    assert [response["hit"] for response in caches] == [False, False] and "does not say" in caches[
        0
    ]["reason"]


def test_a_database_is_kept_by_its_watermark_and_not_without(tmp_path, clock, monkeypatch, folder):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "portfolio.db"
    events = pd.read_csv(folder / "events.csv")
    with sqlite3.connect(path) as connection:
        pd.read_csv(folder / "customers.csv").to_sql("customers", connection, index=False)
        events.to_sql("events", connection, index=False)
    without = Responses(f"sqlite:///{path}", clock=clock)
    assert [without.response(TOOL, ASKED).body["cache"]["hit"] for _ in range(2)] == [False, False]
    monkeypatch.setenv("HEALTHSEG_CACHE__VERSION_QUERY", "select count(*) from events")
    marked = Responses(f"sqlite:///{path}", clock=clock)
    assert [marked.response(TOOL, ASKED).body["cache"]["hit"] for _ in range(2)] == [False, True]
    with sqlite3.connect(path) as connection:
        events.head(1).assign(occurred_at="2025-03-20 11:00").to_sql(
            "events", connection, index=False, if_exists="append"
        )
    assert [marked.response(TOOL, ASKED).body["cache"]["hit"] for _ in range(2)] == [False, True]


@pytest.fixture(scope="module")
def postgres():
    with server() as address:
        yield address


def recorded(portfolio: str, number: int, address: str) -> None:
    """One more row in the ledger on a server, as another machine would add it."""
    ledger = Ledger(
        address, lambda: dt.datetime(2025, 3, 20, number, tzinfo=dt.UTC), schema_name=portfolio
    )
    began = dt.datetime(2025, 3, 10, number, tzinfo=dt.UTC)
    ledger.record_stage_event(f"r{number}", "a", "at_risk", began, actor="ann")


@pytest.mark.parametrize("tables", ["files", "database"])
def test_with_a_ledger_on_a_server_responses_are_kept_until_one_row_is_recorded(
    folder, clock, tmp_path, monkeypatch, postgres, tables
):
    monkeypatch.setenv("LEDGER_ADDRESS", postgres)
    monkeypatch.setenv(
        "HEALTHSEG_SETTINGS__LEDGER",
        json.dumps({"address": "$LEDGER_ADDRESS", "schema_name": tables}),
    )
    address = str(folder)
    if tables == "database":
        address = f"sqlite:///{tmp_path / 'portfolio.db'}"
        monkeypatch.setenv("HEALTHSEG_CACHE__VERSION_QUERY", "select count(*) from events")
        with sqlite3.connect(tmp_path / "portfolio.db") as connection:
            for name in ("customers", "events"):
                pd.read_csv(folder / f"{name}.csv").to_sql(name, connection, index=False)
    responses = warmed(address, clock, as_of="2025-03-27", period_end="2025-03-28")
    parameters = {"as_of": "2025-03-27", "period_end": "2025-03-28"}
    for number in (1, 2):
        before = responses.response(TOOL, ASKED | parameters).body
        recorded(tables, number, postgres)
        after = responses.response(TOOL, ASKED | parameters).body
        assert before["cache"]["hit"] and not after["cache"]["hit"]
        assert after["fingerprint"] != before["fingerprint"]
        assert hit(responses, **parameters)


def test_a_ledgers_server_that_does_not_answer_tells_nothing(tmp_path, postgres):
    silent = LedgerPlace(address=f"postgresql://ann:secret@/db?host={tmp_path}", busy_seconds=1)
    assert watermark(silent) is None and watermark(LedgerPlace()) is None
    newer = Ledger(postgres, lambda: dt.datetime(2025, 3, 20, tzinfo=dt.UTC), schema_name="newer")
    address = LedgerPlace(address=postgres, schema_name="newer")
    nothing = watermark(address)
    assert nothing is not None and watermark(address) == nothing
    newer.record_settings("a", {})
    assert watermark(address) not in (None, nothing)
    with newer.writing() as connection:
        connection.execute(schema.SCHEMA_VERSION.insert().values(version=schema.LATEST + 1))
    assert watermark(address) is None


def watermark(address: LedgerPlace) -> str | None:
    return LedgerLocation(
        address, None, lambda: dt.datetime(2025, 3, 20, tzinfo=dt.UTC)
    ).watermark()


@pytest.mark.parametrize("table", schema.HISTORY)
def test_a_row_in_any_table_of_the_ledger_changes_its_watermark(postgres, table):
    name = f"any_{table}"
    address = LedgerPlace(address=postgres, schema_name=name)
    ledger = Ledger(postgres, lambda: dt.datetime(2025, 3, 20, tzinfo=dt.UTC), schema_name=name)
    before = watermark(address)
    rows = schema.HISTORY[table]
    texts = {column.name: "1" for column in rows.columns if column.name not in ("seq", "digest")}
    row = {
        n: int(v) if n in ("automated", "attempt", "horizon_days") else v for n, v in texts.items()
    }
    with ledger.writing() as connection:
        ledger.append(connection, rows, [row])
    assert watermark(address) not in (None, before)


def test_processes_share_what_is_kept(folder, capsys):
    words = [
        "run",
        TOOL,
        "--portfolio",
        str(folder),
        *(f"-p{name}={value}" for name, value in ASKED.items()),
    ]
    time.sleep(0.1)
    caching.code_digest.cache_clear()  # as of now, like that of the other process
    for _ in range(2):
        assert cli.main(words) == 0
    capsys.readouterr()
    script = (
        "import sys\nfrom healthseg.cli import main as cli\nstatus = cli.main(sys.argv[1:])\n"
        "print(sorted({'pandas', 'duckdb', 'altair'} & set(sys.modules)), file=sys.stderr)\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["cache"]["hit"] and done.stderr.strip() == "[]"
    assert cli.main([*words, "--no-cache"]) == 0
    fresh = json.loads(capsys.readouterr().out)
    assert {**fresh, "cache": 0} == {**json.loads(done.stdout), "cache": 0} and not fresh["cache"][
        "hit"
    ]


def test_a_kept_response_comes_within_10_ms(folder, clock):
    responses = warmed(folder, clock)
    seconds = []
    for _ in range(60):
        before = time.thread_time()
        assert hit(responses)
        seconds.append(time.thread_time() - before)
    assert sorted(seconds)[int(0.95 * len(seconds))] <= 0.010


def test_every_tool_that_can_write_is_known_to_keep_no_response():
    assert {
        name
        for name, tool in TOOLS.items()
        if set(registry.report_parameters(name)) != set(tool.parameters.model_fields)
    } == set(WRITERS)
    assert set(MINUTES) <= {*TOOLS, "segment_customers", "segment_by_value_tier"}
