"""The same ledger on a PostgreSQL server: what a file does, a schema does."""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import signal
import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from healthseg.data import outbox
from healthseg.data.ledger import schema
from healthseg.data.ledger.ledger import FILE_NAME, Ledger
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters

UTC = dt.UTC
SPAWN = multiprocessing.get_context("spawn")
_NUMBERS = itertools.count()


def at(day: int) -> dt.datetime:
    return dt.datetime(2025, 10, day, tzinfo=UTC)


@pytest.fixture
def server(postgres):
    """A schema that nobody used."""
    return {"place": postgres, "schema_name": f"t{os.getpid()}_{next(_NUMBERS)}"}


def opened(server: dict, day: int = 1, busy_seconds: float = 10.0) -> Ledger:
    return Ledger(
        server["place"],
        lambda: at(day),
        schema_name=server["schema_name"],
        busy_seconds=busy_seconds,
    )


def schemas(server: dict) -> set[str]:
    engine = create_engine(server["place"].replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        names = set(connection.execute(text("SELECT nspname FROM pg_namespace")).scalars())
    engine.dispose()
    return names


def test_reading_a_server_without_a_ledger_finds_nothing_and_makes_nothing(server):
    assert opened(server).stage_events() == [] and len(opened(server).head()) == 16
    assert server["schema_name"] not in schemas(server)


def test_the_same_record_has_the_same_head_in_a_file_and_on_a_server(server, tmp_path):
    heads = []
    for ledger in (opened(server), Ledger(tmp_path / FILE_NAME, lambda: at(1))):
        ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann", reason="ü 日本")
        ledger.record_settings("a", {"x": 1})
        outbox.put(ledger, [outbox.Message("r1", "c1", "notify", "hook", {"text": "hm"}, at(1))])
        heads.append(ledger.head(*schema.HISTORY))
    assert heads[0] == heads[1]


def test_a_transaction_on_a_server_keeps_all_or_nothing(server):
    ledger = opened(server)
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
        raise ZeroDivisionError
    assert ledger.stage_events() == []
    with ledger.transaction():
        ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    assert [event.stage for event in opened(server).stage_events()] == ["trial"]


@pytest.mark.parametrize(
    "change",
    ["UPDATE stage_events SET stage = 'x'", "DELETE FROM stage_events", "TRUNCATE stage_events"],
)
def test_rows_on_a_server_can_be_neither_changed_nor_deleted(server, change):
    ledger = opened(server)
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as connection:
        connection.exec_driver_sql(change)
    assert len(ledger.stage_events()) == 1


def test_a_locked_ledger_on_a_server_gives_a_clear_error_within_its_time(server):
    ledger = opened(server)
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    hasty = opened(server, busy_seconds=0.4)
    with ledger.transaction():
        began = time.monotonic()
        with pytest.raises(
            DataRetrievalError, match=r"locked by another process for more than 0\.4 seconds"
        ):
            hasty.record_stage_event("r2", "c1", "active", at(1), actor="ann")
        assert 0.3 < time.monotonic() - began < 60
        assert len(hasty.stage_events()) == 1, "a reader does not wait for a writer"
    assert hasty.record_stage_event("r2", "c1", "active", at(1), actor="ann").stage == "active"


def _die_in_a_transaction(server: dict) -> None:
    ledger = opened(server)
    with ledger.transaction():
        ledger.record_stage_event("half", "c1", "active", at(1), actor="ann")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_on_a_server_leaves_no_half_row_and_no_lock(server):
    opened(server).record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    process = SPAWN.Process(target=_die_in_a_transaction, args=(server,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    ledger = opened(server, busy_seconds=5)
    assert ledger.record_stage_event("r2", "c1", "active", at(1), actor="ann")
    assert [event.request_id for event in ledger.stage_events()] == ["r1", "r2"]


def test_a_newer_schema_on_a_server_is_refused(server):
    ledger = opened(server)
    ledger.record_settings("a", {})
    with ledger.writing() as connection:
        connection.execute(schema.SCHEMA_VERSION.insert().values(version=schema.LATEST + 1))
    for use in (opened(server).settings_history, lambda: opened(server).record_settings("b", {})):
        with pytest.raises(DataRetrievalError, match=f"schema version {schema.LATEST + 1}"):
            use()


def test_a_server_that_is_not_there_is_an_integration_error_that_tells_no_password(tmp_path):
    ledger = Ledger(f"postgresql://ann:secret@/db?host={tmp_path}", lambda: at(1), busy_seconds=1)
    for use in (ledger.stage_events, lambda: ledger.record_settings("a", {})):
        with pytest.raises(IntegrationError, match="does not respond") as refused:
            use()
        assert "secret" not in str(refused.value.to_dict())


@pytest.mark.parametrize("address", ["mysql://ann:secret@host/db", "postgresql//host", "://"])
def test_an_address_that_is_none_of_postgresql_is_refused(address):
    with pytest.raises(InvalidParameters, match="PostgreSQL") as refused:
        from healthseg.data.ledger.postgres import PostgresDatabase

        PostgresDatabase(address, "healthseg", 1)
    assert "secret" not in str(refused.value.to_dict())


def test_a_schema_name_is_a_plain_word(postgres):
    with pytest.raises(InvalidParameters, match="not a valid schema name"):
        Ledger(postgres, schema_name="x; drop")
