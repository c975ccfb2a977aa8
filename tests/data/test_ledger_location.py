"""Where a portfolio's ledger is, and what is known of it without recording anything."""

from __future__ import annotations

import datetime as dt
import sqlite3
from pathlib import Path

import pytest

from healthseg.data.ledger import FILE_NAME, schema
from healthseg.data.ledger.ledger import Ledger, LedgerLocation
from healthseg.errors import DataRetrievalError
from healthseg.settings.lifecycle import LedgerPlace

NOW = dt.datetime(2025, 10, 1, tzinfo=dt.UTC)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / FILE_NAME, clock=lambda: NOW)


def location(folder: Path) -> LedgerLocation:
    return LedgerLocation(LedgerPlace(), folder / FILE_NAME, lambda: NOW)


def test_the_newest_version_has_as_many_migrations():
    assert len(schema.MIGRATIONS) == schema.LATEST == 4


def test_where_there_is_no_file_nothing_is_recorded_and_none_is_made(tmp_path):
    assert not location(tmp_path).exists and location(tmp_path).open().settings_history() == []
    assert list(tmp_path.iterdir()) == []


def test_the_settings_in_force_are_those_noted_last(ledger, tmp_path):
    for name in ("one", "two", "one"):
        ledger.record_settings(name, {"seed": len(name)})
        history = location(tmp_path).open().settings_history()
        assert (history[-1].fingerprint, history[-1].settings) == (name, {"seed": len(name)})
    assert [each.fingerprint for each in history] == ["one", "two", "one"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME] and location(tmp_path).exists


def test_settings_that_are_in_force_already_need_no_lock(ledger, tmp_path):
    ledger.record_settings("one", {})
    with sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (
            Ledger(tmp_path / FILE_NAME, lambda: NOW, busy_seconds=0.1).record_settings("one", {})
            is False
        )
        other.execute("ROLLBACK")
    other.close()


def test_a_recorded_stage_is_seen(ledger, tmp_path):
    ledger.record_stage_event("r1", "acme", "active", NOW, actor="ann")
    assert [event.stage for event in location(tmp_path).open().stage_events()] == ["active"]


def test_a_ledger_of_a_newer_version_is_refused(ledger, tmp_path):
    ledger.record_settings("one", {})
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("INSERT INTO schema_version VALUES (?)", (schema.LATEST + 1,))
    connection.close()
    with pytest.raises(DataRetrievalError, match=f"schema version {schema.LATEST + 1}"):
        location(tmp_path).open().settings_history()


def test_what_is_no_ledger_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(DataRetrievalError, match="is not a SQLite file"):
        location(tmp_path).open().stage_events()


def test_a_database_without_a_ledger_in_its_settings_has_none(tmp_path):
    nowhere = LedgerLocation(LedgerPlace(), None, lambda: NOW)
    assert not nowhere.exists and nowhere.watermark() is None
    with pytest.raises(DataRetrievalError, match="name one in the settings"):
        nowhere.open()
