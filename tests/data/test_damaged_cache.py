"""A portfolio's derived files are cut, emptied, changed one at a time, or built by several processes: same response."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import healthseg as hs
from benchmarks.damaged import DAMAGES, derived
from healthseg.data.response_cache import ResponseCache
from healthseg.reports.responses import Responses

pytestmark = pytest.mark.slow

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


def kinds(folder: Path) -> list[Path]:
    """A file of each kind: those that differ by their key or month alone are of one."""
    of_kind = {}
    for path in derived(folder):
        name = re.sub(r"[0-9a-f]{16}|\d{4}-\d{2}", "*", str(path.relative_to(folder)))
        of_kind.setdefault(name, path)
    return list(of_kind.values())


def test_a_damaged_derived_file_of_each_kind_is_built_again(folder):
    """One at a time; benchmarks/damaged.py damages every file, each in three ways."""
    expected = response(folder)
    names = kinds(folder)
    assert {path.suffix for path in names} >= {".json", ".parquet", ".arrow"} and len(names) > 15
    for number, path in enumerate(names):
        if path.is_file():
            damage = list(DAMAGES)[number % len(DAMAGES)]
            DAMAGES[damage](path)
            assert response(folder) == expected, (path.name, damage)


@pytest.mark.parametrize("first", range(len(DAMAGES)), ids=DAMAGES)
def test_derived_files_that_were_damaged_together_are_built_again(folder, first):
    expected = response(folder)
    for number, path in enumerate(derived(folder), start=first):
        list(DAMAGES.values())[number % len(DAMAGES)](path)
    assert response(folder) == expected


WIDE = ",".join(f"c{n}" for n in range(1_001))
COPIED = {
    "JSON lines": ("tickets.jsonl", '{"ticket_id": 1, "client_id": "acme", "opened_at": "2025-03-03"}\n'),
    "another encoding": (
        "tickets.csv",
        "ticket_id,client_id,opened_at,topic\n1,acme,2025-03-03,café\n".encode("cp1252"),
    ),
    "a wide file": (
        "tickets.csv",
        f"ticket_id,client_id,opened_at,{WIDE}\n1,acme,2025-03-03{',' * 1_001}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", COPIED)
def test_a_damaged_copy_is_made_again(make_portfolio, kind, damage):
    name, content = COPIED[kind]
    portfolio = make_portfolio(**{name: content})
    expected = portfolio.table("tickets")
    assert len(expected) == 1
    copies = portfolio.folder / ".healthseg" / "tables" / "copies"
    for path in list(copies.iterdir()):
        DAMAGES[damage](path)
        for table in copies.parent.glob("tickets-*"):  # else nobody would read the copy
            shutil.rmtree(table)
        with hs.Portfolio.open(portfolio.folder) as again:
            pd.testing.assert_frame_equal(again.table("tickets"), expected)


def test_a_query_whose_copy_was_damaged_runs_again(tmp_path):
    (tmp_path / "rows.csv").write_text("id,day\na,2025-01-01\n")
    query = "SELECT id AS client_id, day AS signup_date FROM 'rows.csv'"
    (tmp_path / "portfolio.toml").write_text(f'[tables]\ncustomers = "{query}"\n')
    for damage in DAMAGES.values():
        with hs.Portfolio.open(tmp_path) as portfolio:
            assert portfolio.table("customers")["client_id"].tolist() == ["a"]
        (copy,) = (tmp_path / ".healthseg" / "tables" / "copies").glob("*.parquet")
        damage(copy)
        for table in (tmp_path / ".healthseg" / "tables").glob("customers-*"):
            shutil.rmtree(table)


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
