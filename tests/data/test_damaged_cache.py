"""A portfolio's derived files are cut, emptied, changed one at a time, or built by several processes: same response."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import healthseg as hs
from healthseg.data.response_cache import ResponseCache
from healthseg.reports.responses import Responses

USAGE = "track_usage_engagement"
PROGRAM = """
import sys
from healthseg.data.portfolio import Portfolio
print(Portfolio.open(sys.argv[1]).fingerprint())
"""


@pytest.fixture
def folder(make_portfolio) -> Path:
    days = [f"2025-03-{day:02d}T09:00:00+00:00,a,u{day % 3},login" for day in range(1, 31)]
    return Path(
        make_portfolio(
            customers="client_id,signup_date,seats\na,2025-01-01,5\nb,2025-01-01,5",
            events="\n".join(["occurred_at,client_id,user_id,event_type", *days]),
        ).path
    )


def response(folder: Path) -> dict:
    with hs.Portfolio.open(folder) as portfolio:
        return hs.track_usage_engagement(portfolio, client_id="a").to_dict()


def derived(folder: Path) -> list[Path]:
    """The files that can be computed again; the ledger is not one of them."""
    return sorted(path for path in (folder / ".healthseg").rglob("*") if path.is_file())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
}


def test_every_derived_file_that_was_damaged_is_built_again(folder):
    expected = response(folder)
    names = [path for path in derived(folder) if path.stat().st_size]
    assert len(names) >= 4
    for number, path in enumerate(names):
        if path.exists():
            damage = list(DAMAGES)[number % len(DAMAGES)]
            DAMAGES[damage](path)
            assert response(folder) == expected, (path.name, damage)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_responses_gives_the_computed_response(folder, damage):
    responses = Responses(str(folder), clock=iter(range(4 * 10**9, 5 * 10**9, 60)).__next__)
    first, _ = (responses.response(USAGE, {"client_id": "a"}).body for _ in range(2))
    (file,) = (folder / ".healthseg").rglob("responses.sqlite")
    DAMAGES[damage](file)
    body = responses.response(USAGE, {"client_id": "a"}).body
    assert {**body, "cache": None} == {**first, "cache": None}


def test_a_changed_text_of_a_response_is_not_returned(tmp_path):
    cache = ResponseCache(tmp_path)
    assert cache.put("key", '{"score": 82}', now=100.0, seconds=60)
    with contextlib.closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute("UPDATE checked_responses SET response = replace(response, '82', '28')")
    assert cache.get("key", now=130.0) is None


def test_processes_that_start_together_on_a_cold_cache_all_answer(folder):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(4)
    ]
    ended = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    assert len({printed for printed, _ in ended}) == 1


def test_other_content_of_the_same_size_and_time_is_seen(folder):
    before = response(folder)
    file = folder / "events.csv"
    stat = file.stat()
    file.write_text(file.read_text().replace(",u2,", ",u1,"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    after = response(folder)
    assert before["fingerprint"] != after["fingerprint"]
