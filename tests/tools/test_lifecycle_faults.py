"""What a move survives: processes killed, a disk that is full, a folder that is read-only, a ledger that is locked."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import healthseg as hs
from benchmarks import lifecycle_locked
from benchmarks.lifecycle_kill import Place, run
from healthseg.data.ledger.ledger import FILE_NAME, Ledger
from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError
from healthseg.settings.lifecycle import LedgerPlace
from tests.data.postgres import server
from tests.tools.lifecycle_portfolios import Clock, at, changes, portfolio_of

pytestmark = pytest.mark.slow

manage = hs.manage_lifecycle_stages
SPAWN = multiprocessing.get_context("spawn")
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def postgres():
    with server() as address:
        yield address


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_are_killed_lose_nothing_and_record_nothing_twice(kind, tmp_path, request):
    """A tenth of benchmarks/lifecycle_kill.py: eight processes, the same 20 customers, one killed all the time."""
    address = str(tmp_path / FILE_NAME) if kind == "sqlite" else request.getfixturevalue("postgres")
    outcome = run(Place(address, f"kill{os.getpid()}"), tmp_path, 400, 8, 20, kill_every=0.5)
    assert (outcome.recorded, outcome.answered) == (400, 400) and outcome.kills >= 1
    assert (outcome.lost, outcome.twice, outcome.illegal, outcome.unannounced) == (0, 0, 0, 0)


@pytest.fixture
def own() -> Portfolio:
    return portfolio_of(changes(("a", "active", "2025-02-01")), "a", clock=Clock(at(7, 1)))


def test_a_ledger_that_another_program_locks_is_an_error_within_its_time_and_records_nothing(own):
    manage(own, "a", "transition", "engaged")
    hurried = own.settings.model_copy(update={"ledger": LedgerPlace(busy_seconds=0.5)})
    hasty = Portfolio.open(own.path, hurried, own.clock)
    manage(hasty, "a", "get_stage")
    other = sqlite3.connect(own.folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(
        DataRetrievalError, match=r"locked by another process for more than 0\.5 seconds"
    ) as refused:
        manage(hasty, "a", "transition", "at_risk")
    assert (
        time.monotonic() - began < 10
        and refused.value.to_dict()["error_code"] == "DATA_RETRIEVAL_ERROR"
    )
    assert manage(hasty, "a", "get_stage").current_stage == "engaged", "reading does not wait"
    other.close()
    assert manage(hasty, "a", "transition", "at_risk").changed


@pytest.mark.parametrize("hold", lifecycle_locked.HOLDS)
def test_a_ledger_that_another_process_holds_is_waited_for_as_long_as_the_settings_say(hold):
    """Seconds of benchmarks/lifecycle_locked.py, which holds it for 30."""
    outcome = lifecycle_locked.run(hold, 2.5, short=0.5, long=30)
    assert "locked by another process for more than 0.5 seconds" in outcome.short.refusal
    assert outcome.short.seconds > 0.4 and outcome.rows_after_refusal == 2, (
        "the refused change left no row"
    )
    assert outcome.long.refusal is None and outcome.again and outcome.rows == 3 and outcome.sound
    assert (outcome.reader is None) == (hold == "locking mode EXCLUSIVE"), (
        "else reading does not wait"
    )


def mounted(folder: Path, *options: str) -> None:
    """A disk of its own at a folder; skips where that may not be made."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a disk of its own cannot be mounted here (needs the right to mount)")


@contextlib.contextmanager
def read_only(folder: Path):
    """A copy of a folder that nobody can write to: by its rights, for root (who may write anywhere) by its disk."""
    copy = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        mounted(copy)
    shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".healthseg"))
    try:
        if root:
            subprocess.run(["mount", "-o", "remount,ro", str(copy)], check=True)
        else:
            copy.chmod(0o555)
        yield copy
    finally:
        if root:
            subprocess.run(["umount", str(copy)], check=True)
        copy.chmod(0o755)
        shutil.rmtree(copy)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_read_only_folder_is_an_error_and_can_still_be_read(own, monkeypatch, tmp_path, recorded):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path))
    if recorded:
        manage(own, "a", "transition", "engaged")
    with read_only(own.folder) as folder:
        before = sorted(path.name for path in folder.iterdir())
        portfolio, began = Portfolio.open(folder, own.settings, own.clock), time.monotonic()
        with pytest.raises(DataRetrievalError, match=r"cannot be (opened|written)"):
            manage(portfolio, "a", "transition", "at_risk")
        assert time.monotonic() - began < 60
        assert manage(portfolio, "a", "get_stage").current_stage == (
            "engaged" if recorded else "active"
        )
        assert sorted(path.name for path in folder.iterdir()) == before
        portfolio.close()


@pytest.fixture
def small_disk():
    """A disk of 400 kilobytes."""
    folder = Path(tempfile.mkdtemp())
    mounted(folder, "-o", "size=400k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_is_an_error_and_nothing_is_half_written(small_disk):
    ledger = Ledger(small_disk / FILE_NAME, lambda: at(7, 1))
    ledger.record_stage_event("first", "a", "trial", at(2, 1), actor="ann")
    done = 0
    with pytest.raises(DataRetrievalError, match=r"disk is full|disk reports an error"):
        for number in range(5_000):
            with ledger.transaction():
                ledger.record_stage_event(
                    f"{number}-a", "a", "active", at(2, 2), actor="ann", reason="x" * 500
                )
                ledger.record_stage_event(
                    f"{number}-b", "a", "active", at(2, 2), actor="ann", reason="x" * 500
                )
            done += 1
    events = ledger.stage_events()
    assert len(events) == 1 + 2 * done, "a transaction is there whole or not at all"
    with sqlite3.connect(small_disk / FILE_NAME) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


@pytest.mark.parametrize("kilobytes", range(20, 180, 20))
def test_a_ledger_that_begins_on_a_full_disk_is_whole_or_not_there(kilobytes, tmp_path):
    mounted(tmp_path, "-o", f"size={kilobytes}k")
    try:
        ledger = Ledger(tmp_path / FILE_NAME, lambda: at(7, 1))
        with contextlib.suppress(DataRetrievalError):
            ledger.record_settings("first", {})
        subprocess.run(["mount", "-o", "remount,size=9m", str(tmp_path)], check=True)
        assert ledger.record_settings("second", {}) and ledger.verify()["settings_in_force"] >= 1
        assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _append_limited(path: str, answers) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ledger = Ledger(path, lambda: at(7, 1))
    ledger.record_stage_event("first", "a", "trial", at(2, 1), actor="ann")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    done = 0
    try:
        for number in range(5_000):
            ledger.record_stage_event(
                str(number), "a", "active", at(2, 2), actor="ann", reason="x" * 900
            )
            done += 1
    except DataRetrievalError as problem:
        answers.put((problem.message, done))


def test_a_file_that_cannot_grow_is_an_error_and_keeps_what_was_recorded(tmp_path):
    answers = SPAWN.Queue()
    process = SPAWN.Process(target=_append_limited, args=(str(tmp_path / FILE_NAME), answers))
    process.start()
    message, done = answers.get(timeout=120)
    process.join(60)
    assert "nothing of this was recorded" in message and done > 0
    assert len(Ledger(tmp_path / FILE_NAME).stage_events()) == 1 + done


def test_the_same_tool_writes_to_a_server_and_reads_it_back(postgres):
    settings = {
        "ledger": {"address": postgres, "schema_name": f"tool{os.getpid()}_{next(_NUMBERS)}"}
    }
    portfolio = portfolio_of(
        changes(("a", "active", "2025-02-01")), "a", clock=Clock(at(7, 1)), settings=settings
    )
    response = manage(portfolio, "a", "transition", "engaged", "uses it daily", request_id="r1")
    assert (response.changed, response.current_stage, response.stage_source) == (
        True,
        "engaged",
        "recorded",
    )
    assert not manage(portfolio, "a", "transition", "engaged", request_id="r1").changed
    again = Portfolio.open(portfolio.path, portfolio.settings, portfolio.clock)
    assert manage(again, "a", "get_stage").current_stage == "engaged" and again.has_ledger
    assert not (portfolio.folder / FILE_NAME).exists()
    assert "healthseg@" not in str(portfolio.settings.differing())
