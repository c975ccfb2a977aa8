from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from healthseg.data import outbox
from healthseg.data.ledger import schema
from healthseg.data.ledger.ledger import (
    FILE_NAME,
    Ledger,
    LedgerAlert,
    RecordedPredictions,
    restore,
)
from healthseg.errors import CalculationError, DataRetrievalError, InvalidParameters

UTC = dt.UTC
SPAWN = multiprocessing.get_context("spawn")


def at(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2025, 10, day, hour, tzinfo=UTC)


class Clock:
    """Says what it is set to."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(at(1))


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / FILE_NAME, clock)


def raw(ledger: Ledger) -> sqlite3.Connection:
    return sqlite3.connect(ledger.path, isolation_level=None)


def test_reading_without_a_file_finds_nothing_and_creates_nothing(ledger: Ledger) -> None:
    assert ledger.settings_at(at(1)) is None
    assert (
        ledger.settings_history()
        == ledger.segment_runs()
        == ledger.stage_events()
        == ledger.alerts()
        == []
    )
    assert ledger.segment_runs() == []
    assert len(ledger.head()) == 16
    assert list(ledger.path.parent.iterdir()) == []


def test_nothing_but_the_file_stays_behind_after_writing_and_reading(ledger: Ledger) -> None:
    ledger.record_settings("a", {})
    ledger.settings_history()
    assert [path.name for path in ledger.path.parent.iterdir()] == [FILE_NAME]
    with raw(ledger) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_settings_are_noted_when_they_change_and_found_by_date(
    ledger: Ledger, clock: Clock
) -> None:
    changes = []
    for day, name in [(1, "a"), (2, "a"), (3, "b"), (4, "a")]:
        clock.now = at(day, 12)
        changes.append(ledger.record_settings(name, {"name": name}))
    assert changes == [True, False, True, True]
    assert [(s.fingerprint, s.first_used_at.day) for s in ledger.settings_history()] == [
        ("a", 1),
        ("b", 3),
        ("a", 4),
    ]
    assert ledger.settings_at(at(1, 11)) is None
    assert ledger.settings_at(at(1, 12)).settings == {"name": "a"}
    assert [ledger.settings_at(at(day)).fingerprint for day in (2, 3, 4, 5)] == ["a", "a", "b", "a"]


def test_the_same_segmentation_run_twice_is_one_run(ledger: Ledger) -> None:
    run = ("data1", {"kind": "arr"}, dt.date(2025, 10, 1), {"smb": ["c1", "c2"], "ent": ["c3"]})
    first = ledger.record_segment_run(*run)
    assert ledger.record_segment_run(*run) == first
    assert ledger.record_segment_run("data2", *run[1:]) != first
    assert len(ledger.segment_runs()) == 2
    (stored,) = (run for run in ledger.segment_runs() if run.run_id == first)
    assert (stored.criteria, stored.as_of, stored.members) == run[1:]


def test_the_same_inputs_with_other_members_are_refused(ledger: Ledger) -> None:
    ledger.record_segment_run("data1", {}, dt.date(2025, 10, 1), {"smb": ["c1"]})
    with pytest.raises(CalculationError, match="other members"):
        ledger.record_segment_run("data1", {}, dt.date(2025, 10, 1), {"smb": ["c2"]})
    assert [run.members for run in ledger.segment_runs()] == [{"smb": ["c1"]}]


def test_stage_events_keep_when_they_took_effect_and_when_they_were_known(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.record_stage_event("r1", "c1", "onboarding", at(1), actor="ann")
    clock.now = at(10)
    ledger.record_stage_event(
        "r2", "c1", "active", at(5), actor="bob", reason="went live", automated=True
    )
    clock.now = at(12)
    ledger.record_stage_event("r3", "c1", "trial", at(1), actor="ann", reason="correction")
    ledger.record_stage_event("r4", "c0", "churned", at(2), actor="ann")
    assert [(e.client_id, e.stage) for e in ledger.stage_events()] == [
        ("c0", "churned"),
        ("c1", "onboarding"),
        ("c1", "trial"),
        ("c1", "active"),
    ]
    assert [e.stage for e in ledger.stage_events("c1", recorded_before=at(10))] == ["onboarding"]
    assert [e.stage for e in ledger.stage_events("c1", recorded_before=at(11))] == [
        "onboarding",
        "active",
    ]
    assert [e.stage for e in ledger.stage_events("c1", effective_before=at(5))] == [
        "onboarding",
        "trial",
    ]
    event = ledger.stage_events("c1")[-1]
    assert (event.recorded_at, event.effective_at, event.automated, event.reason) == (
        at(10),
        at(5),
        True,
        "went live",
    )


def test_the_same_request_twice_changes_nothing(ledger: Ledger, clock: Clock) -> None:
    first = ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    head = ledger.head()
    clock.now = at(2)
    same_instant = at(1).astimezone(dt.timezone(dt.timedelta(hours=2)))
    again = ledger.record_stage_event("r1", "c1", "trial", same_instant, actor="ann")
    assert again == first and again.recorded_at == at(1)
    assert ledger.head() == head and len(ledger.stage_events()) == 1


def test_a_request_id_of_another_change_is_refused(ledger: Ledger) -> None:
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    with pytest.raises(InvalidParameters, match="'r1' was used before, for c1 to trial"):
        ledger.record_stage_event("r1", "c2", "trial", at(1), actor="ann")
    assert len(ledger.stage_events()) == 1


def test_unknown_words_and_instants_without_a_zone_are_refused_with_a_hint(ledger: Ledger) -> None:
    with pytest.raises(InvalidParameters, match="did you mean churned"):
        ledger.record_stage_event("r1", "c1", "churnd", at(1), actor="ann")
    with pytest.raises(InvalidParameters, match="time zone"):
        ledger.record_stage_event("r1", "c1", "churned", dt.datetime(2025, 1, 1), actor="ann")
    with pytest.raises(InvalidParameters, match="did you mean critical"):
        ledger.record_alerts([LedgerAlert("c1", "low_score", "criticl", dt.date(2025, 10, 1), {})])
    with pytest.raises(InvalidParameters, match="did you mean stage_events"):
        ledger.head("stage_event")
    assert ledger.stage_events() == ledger.alerts() == []


def test_an_alert_is_noted_once_a_customer_rule_and_day(ledger: Ledger) -> None:
    first = LedgerAlert("c1", "low_score", "high", dt.date(2025, 10, 1), {"score": 38})
    others = [
        LedgerAlert("c1", "low_score", "high", dt.date(2025, 10, 2), {"score": 37}),
        LedgerAlert("c2", "low_score", "low", dt.date(2025, 10, 1), {"score": 55}),
    ]
    assert ledger.record_alerts([first, first]) == [first]
    assert ledger.record_alerts([first, *others]) == others
    assert ledger.alerts() == [first, *others]
    assert ledger.alerts("c2") == others[1:]
    assert ledger.record_alerts([]) == []


def test_the_head_changes_with_what_was_recorded_and_with_nothing_else(
    ledger: Ledger, tmp_path: Path
) -> None:
    empty = ledger.head()
    ledger.record_settings("a", {})
    ledger.record_segment_run("data1", {}, dt.date(2025, 10, 1), {})
    assert ledger.head() == empty, "settings and runs are not the customers' state"
    settings = ledger.head("settings_in_force")
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    first = ledger.head()
    ledger.record_stage_event("r2", "c1", "active", at(2), actor="ann")
    assert len({empty, first, ledger.head()}) == 3
    assert ledger.head("settings_in_force") == settings

    elsewhere = Ledger(tmp_path / "copy.sqlite", Clock(at(1)))
    elsewhere.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    assert elsewhere.head() == first, "the same record has the same head in any file"


def test_the_injected_clock_is_what_is_recorded_and_without_one_nothing_is(
    ledger: Ledger, clock: Clock
) -> None:
    clock.now = dt.datetime(2031, 5, 6, 7, tzinfo=dt.timezone(dt.timedelta(hours=-3)))
    event = ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    assert event.recorded_at == dt.datetime(2031, 5, 6, 10, tzinfo=UTC)
    reader = Ledger(ledger.path)
    assert reader.stage_events() == [event]
    with pytest.raises(CalculationError, match="without a clock"):
        reader.record_settings("a", {})


def test_a_transaction_keeps_all_or_nothing_and_sees_its_own_rows(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.record_settings("a", {})
        assert ledger.settings_at(at(1)).fingerprint == "a"
        raise ZeroDivisionError
    assert ledger.settings_history() == []
    with ledger.transaction():
        ledger.record_settings("a", {})
        ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    assert len(ledger.settings_history()) == len(ledger.stage_events()) == 1


def test_another_thread_is_not_drawn_into_a_transaction(ledger: Ledger) -> None:
    ledger.record_settings("a", {})
    seen = []
    with ledger.transaction():
        ledger.record_settings("b", {})
        reader = threading.Thread(target=lambda: seen.append(ledger.settings_at(at(2)).fingerprint))
        reader.start()
        reader.join()
    assert seen == ["a"]


def predicted(probabilities: dict[str, float]) -> RecordedPredictions:
    day = dt.date(2025, 10, 1)
    return RecordedPredictions(day, 90, "2025-09-20", "hazard_logistic", probabilities)


def test_what_was_predicted_first_stays_recorded(ledger: Ledger) -> None:
    assert ledger.predictions() == []
    assert ledger.record_predictions(predicted({"c1": 0.1, "c2": 0.2}))
    assert not ledger.record_predictions(predicted({"c1": 0.9}))
    assert ledger.predictions() == [predicted({"c1": 0.1, "c2": 0.2})]


@pytest.mark.parametrize("name", sorted(schema.HISTORY))
@pytest.mark.parametrize("change", ["UPDATE {} SET recorded_at = 'x'", "DELETE FROM {}"])
def test_rows_can_be_neither_changed_nor_deleted(ledger: Ledger, name: str, change: str) -> None:
    ledger.record_settings("a", {})
    ledger.record_segment_run("data1", {}, dt.date(2025, 10, 1), {})
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    ledger.record_alerts([LedgerAlert("c1", "low_score", "high", dt.date(2025, 10, 1), {})])
    outbox.put(ledger, [outbox.Message("r1", "c1", "notify", "hook", {}, at(1))])
    outbox.claim(ledger, 1, 60)
    ledger.record_predictions(predicted({"c1": 0.1}))
    connection = raw(ledger)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change.format(name))
    connection.close()


def test_the_migrations_make_the_tables_that_the_code_speaks_of(ledger: Ledger) -> None:
    ledger.record_settings("a", {})
    metadata, engine = MetaData(), create_engine(f"sqlite:///{ledger.path}")
    metadata.reflect(engine)
    engine.dispose()

    def columns(metadata: MetaData) -> dict:
        return {
            table.name: {(c.name, str(c.type), c.nullable, c.primary_key) for c in table.columns}
            for table in metadata.tables.values()
        }

    assert columns(metadata) == columns(schema.METADATA)


def test_an_older_file_is_upgraded_when_it_is_opened(ledger: Ledger) -> None:
    older = raw(ledger)
    for step in schema.MIGRATIONS[0]:
        for statement in [step] if isinstance(step, str) else step.statements("sqlite"):
            older.execute(statement)
    older.execute("INSERT INTO schema_version VALUES (1)")
    older.close()
    assert ledger.stage_events() == []
    connection = raw(ledger)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [
        (number,) for number in range(1, schema.LATEST + 1)
    ]
    connection.close()


# rows as the first version of the ledger recorded them, with their digests
FIRST_VERSION = [
    (1, "r1", "c1", "trial", "2025-10-01", "ann", "began", 0, "aac4c94a1e3c46a9"),
    (2, "r2", "c1", "active", "2025-10-02", "ann", None, 1, "5a72d719496b734e"),
]


def test_rows_of_the_first_version_are_verified_and_take_further_rows(ledger: Ledger) -> None:
    older = raw(ledger)
    for step in schema.MIGRATIONS[0]:
        for statement in [step] if isinstance(step, str) else step.statements("sqlite"):
            older.execute(statement)
    older.execute("INSERT INTO schema_version VALUES (1)")
    for *values, day, actor, reason, automated, digest in FIRST_VERSION:
        times = [f"{each}T00:00:00.000000+00:00" for each in (day, "2025-10-01")]
        row = [*values, times[0], actor, reason, automated, times[1], digest]
        older.execute(f"INSERT INTO stage_events VALUES ({', '.join('?' * len(row))})", row)
    older.close()
    assert ledger.verify()["stage_events"] == 2
    assert [event.kind for event in ledger.stage_events()] == ["transition"] * 2
    ledger.record_stage_event("r3", "c1", "engaged", at(3), actor="bob", kind="correction")
    assert ledger.verify()["stage_events"] == 3
    for change in ("kind = 'correction'", "actor = 'eve'"):
        with sqlite3.connect(ledger.path) as connection:
            connection.execute("DROP TRIGGER IF EXISTS stage_events_no_update")
            connection.execute(f"UPDATE stage_events SET {change} WHERE seq = 1")
        connection.close()
        with pytest.raises(DataRetrievalError, match="stage_events, row 1 is not as it was"):
            ledger.verify()


def test_a_newer_file_is_refused_and_left_as_it_is(ledger: Ledger) -> None:
    ledger.record_settings("a", {})
    connection = raw(ledger)
    connection.execute("INSERT INTO schema_version VALUES (?)", (schema.LATEST + 1,))
    connection.close()
    for use in (ledger.settings_history, lambda: ledger.record_settings("b", {})):
        with pytest.raises(
            DataRetrievalError, match=rf"schema version {schema.LATEST + 1}.*up to {schema.LATEST}"
        ):
            use()
    connection = raw(ledger)
    assert connection.execute("SELECT fingerprint FROM settings_in_force").fetchall() == [("a",)]
    connection.close()


def test_a_file_of_something_else_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    connection = raw(ledger)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(DataRetrievalError, match="something else"):
        ledger.record_settings("a", {})
    text = Ledger(tmp_path / "text.sqlite", Clock(at(1)))
    text.path.write_text("client_id,name\n" * 100)
    with pytest.raises(DataRetrievalError, match=r"text\.sqlite is not a SQLite file"):
        text.stage_events()
    nowhere = Ledger(tmp_path / "no" / "folder" / FILE_NAME, Clock(at(1)))
    with pytest.raises(DataRetrievalError, match="folder must exist"):
        nowhere.record_settings("a", {})


def test_a_locked_file_gives_a_clear_error_within_its_time(ledger: Ledger) -> None:
    ledger.record_settings("a", {})
    connection = raw(ledger)
    connection.execute("BEGIN IMMEDIATE")
    hasty = Ledger(ledger.path, Clock(at(2)), busy_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(
        DataRetrievalError, match=r"healthseg\.sqlite has been locked .* more than 0\.3 seconds"
    ):
        hasty.record_settings("b", {})
    assert 0.25 < time.monotonic() - began < 60
    assert hasty.settings_at(at(2)).fingerprint == "a", "a reader does not wait for a writer"
    connection.close()
    assert hasty.record_settings("b", {})


def _write_many(path: Path, worker: int, count: int) -> None:
    ledger = Ledger(path, lambda: at(1), busy_seconds=60)
    for number in range(count):
        ledger.record_stage_event(
            f"{worker}-{number}", f"c{worker}", "active", at(1), actor=str(worker)
        )


def _die_in_a_transaction(path: Path) -> None:
    ledger = Ledger(path, lambda: at(2))
    with ledger.transaction():
        ledger.record_settings("half", {})
        ledger.record_stage_event("half", "c1", "active", at(1), actor="ann")
        os.kill(os.getpid(), signal.SIGKILL)


def _use_read_only(path: Path, answers) -> None:
    if os.getuid() == 0:
        os.setuid(65534)  # root may write anywhere
    ledger = Ledger(path, lambda: at(2))
    answers.put([event.client_id for event in ledger.stage_events()])
    try:
        ledger.record_settings("a", {})
    except DataRetrievalError as error:
        answers.put(error.message)


def _run(target, *arguments) -> int:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_two_processes_that_write_at_once_lose_nothing(ledger: Ledger) -> None:
    writers = [
        SPAWN.Process(target=_write_many, args=(ledger.path, worker, 100)) for worker in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert {e.request_id for e in ledger.stage_events()} == {
        f"{w}-{n}" for w in range(2) for n in range(100)
    }
    connection = raw(ledger)
    numbers = [row[0] for row in connection.execute("SELECT seq FROM stage_events ORDER BY seq")]
    connection.close()
    assert numbers == list(range(1, 201))


def test_a_killed_writer_leaves_no_half_row(ledger: Ledger) -> None:
    ledger.record_settings("whole", {})
    assert _run(_die_in_a_transaction, ledger.path) == -signal.SIGKILL
    assert [s.fingerprint for s in ledger.settings_history()] == ["whole"]
    assert ledger.stage_events() == []
    assert ledger.record_settings("after", {})


@pytest.fixture
def open_folder():
    """A folder that other users can reach, too (tmp_path is private to its user)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX users")
def test_a_read_only_folder_can_be_read_and_says_why_it_cannot_be_written(
    open_folder: Path,
) -> None:
    ledger = Ledger(open_folder / FILE_NAME, Clock(at(1)))
    ledger.record_stage_event("r1", "c1", "trial", at(1), actor="ann")
    ledger.path.chmod(0o444)
    open_folder.chmod(0o555)
    answers = SPAWN.Queue()
    assert _run(_use_read_only, ledger.path, answers) == 0
    assert answers.get(timeout=10) == ["c1"]
    assert answers.get(timeout=10) == (
        f"the ledger {ledger.path} cannot be written: make its folder writable, or work "
        "on a copy of the portfolio"
    )
    assert [path.name for path in open_folder.iterdir()] == [FILE_NAME]


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX users")
def test_a_read_only_folder_without_a_ledger_reads_as_an_empty_one(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    answers = SPAWN.Queue()
    assert _run(_use_read_only, open_folder / FILE_NAME, answers) == 0
    assert answers.get(timeout=10) == []
    assert "cannot be opened" in answers.get(timeout=10)
    assert list(open_folder.iterdir()) == []


def test_a_ledger_is_verified_and_a_changed_row_is_named(ledger: Ledger) -> None:
    ledger.record_settings("a1", {"seed": 7})
    ledger.record_settings("b2", {"seed": 8})
    ledger.record_stage_event("r1", "acme", "active", at(1), actor="ada")
    assert {name: n for name, n in ledger.verify().items() if n} == {
        "settings_in_force": 2,
        "stage_events": 1,
    }
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("DROP TRIGGER settings_in_force_no_update")
        connection.execute("UPDATE settings_in_force SET settings = '{}' WHERE seq = 1")
    connection.close()
    with pytest.raises(DataRetrievalError, match="settings_in_force, row 1 is not as it was"):
        ledger.verify()
    # the last row still follows from the one before it; a broken end takes no further row
    assert ledger.record_settings("c3", {"seed": 9})
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("UPDATE settings_in_force SET settings = '{}' WHERE seq = 3")
    connection.close()
    with pytest.raises(DataRetrievalError, match="settings_in_force, row 3"):
        ledger.record_settings("d4", {"seed": 10})


def test_an_emptied_ledger_is_an_error_and_never_begun_anew(ledger: Ledger) -> None:
    ledger.record_settings("a1", {"seed": 7})
    ledger.path.write_bytes(b"")
    for use in (ledger.settings_history, lambda: ledger.record_settings("b2", {})):
        with pytest.raises(
            DataRetrievalError, match=r"is empty, and what it held is lost.*restore"
        ):
            use()
    assert ledger.path.read_bytes() == b""


def test_a_backup_is_restored_and_what_was_there_stays_beside_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.record_settings("a1", {"seed": 7})
    copy = tmp_path / "copy.db"
    ledger.backup(copy)
    with pytest.raises(DataRetrievalError, match="exists already"):
        ledger.backup(copy)
    ledger.record_settings("b2", {"seed": 8})
    restored, before = restore(copy, str(ledger.path.parent))
    assert restored == ledger.path and before is not None and before.exists()
    assert [each.fingerprint for each in ledger.settings_history()] == ["a1"]
    assert ledger.verify()["settings_in_force"] == 1
    copy.write_bytes(copy.read_bytes()[:3000])
    with pytest.raises(DataRetrievalError, match=r"is damaged|not a SQLite file|not as it was"):
        restore(copy, str(ledger.path.parent))
    assert ledger.verify()["settings_in_force"] == 1
