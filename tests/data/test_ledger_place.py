"""What a ledger holds at a glance is what the ledger says."""

from __future__ import annotations

import datetime as dt
import sqlite3

import pytest

from healthseg.data.ledger import schema
from healthseg.data.ledger.glance import LATEST, Glance, glance, settings_history
from healthseg.data.ledger.ledger import FILE_NAME, Ledger

NOW = dt.datetime(2025, 10, 1, tzinfo=dt.UTC)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / FILE_NAME, clock=lambda: NOW)


def test_the_newest_version_has_as_many_migrations():
    assert len(schema.MIGRATIONS) == LATEST


def test_where_there_is_no_file_nothing_is_recorded_and_none_is_made(tmp_path):
    assert glance(tmp_path / FILE_NAME) == Glance(False, None) and list(tmp_path.iterdir()) == []


def test_the_settings_in_force_are_those_noted_last(ledger, tmp_path):
    for name in ("one", "two", "one"):
        ledger.record_settings(name, {})
        assert glance(tmp_path / FILE_NAME) == Glance(False, name)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_the_history_of_settings_is_the_ledgers(ledger, tmp_path):
    assert settings_history(tmp_path / FILE_NAME) == []
    for name in ("one", "two", "one"):
        ledger.record_settings(name, {"seed": len(name)})
    found = settings_history(tmp_path / FILE_NAME)
    assert found == ledger.settings_history() and [one.fingerprint for one in found] == [
        "one",
        "two",
        "one",
    ]


def test_a_recorded_stage_is_seen(ledger, tmp_path):
    ledger.record_stage_event("r1", "acme", "active", NOW, actor="ann")
    assert glance(tmp_path / FILE_NAME) == Glance(True, None)


@pytest.mark.parametrize("version", [LATEST + 1, 1])
def test_a_ledger_of_another_version_is_left_to_the_ledger_itself(ledger, tmp_path, version):
    ledger.record_settings("one", {})
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DROP TRIGGER schema_version_no_update")
        connection.execute("DROP TRIGGER schema_version_no_delete")
        connection.execute("DELETE FROM schema_version")
        connection.execute("INSERT INTO schema_version VALUES (?)", (version,))
    connection.close()
    assert glance(tmp_path / FILE_NAME) is None and settings_history(tmp_path / FILE_NAME) is None


def test_what_is_no_ledger_cannot_be_told(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    assert glance(tmp_path / FILE_NAME) is None
