"""A refresh reads what is new, builds the months that changed, and ends where a full build ends, byte by byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError

pytestmark = pytest.mark.slow


def daily(folder: Path, days: list[str]) -> None:
    """A file of events for each day: three users, one of them past midnight."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for day in days:
        rows = [
            f"{client},{user},{day} {at},f{k % 2}"
            for k, (client, user, at) in enumerate(
                [
                    ("acme", "ann", "09:00:00"),
                    ("acme", "ann", "09:10:00"),
                    ("acme", "bob", "23:50:00"),
                    ("beta", "bea", "22:40:00"),
                ]
            )
        ]
        (folder / "events" / f"{day}.csv").write_text(
            "client_id,user_id,occurred_at,feature\n" + "\n".join(rows) + "\n"
        )


def facts_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / ".healthseg" / "facts").rglob("*"))
        if path.is_file()
    }


def days_of(start: str, count: int) -> list[str]:
    return [str(day.date()) for day in pd.date_range(start, periods=count)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "customers.csv").write_text(
        "client_id,signup_date,timezone\nacme,2025-01-01,America/New_York\n"
        "beta,2025-01-01,Europe/Berlin\n"
    )
    return tmp_path


def current(portfolio: Portfolio) -> dict[str, bytes]:
    assert portfolio.has("events")
    return {
        f"{month}/{path.name}": path.read_bytes()
        for month, entry in portfolio._events.months.items()
        for path in sorted(entry.folder.iterdir())
        if path.name != "files.json"  # when the files were written
    }


def test_day_after_day_ends_at_the_bytes_of_a_full_build(folder):
    days = days_of("2025-02-20", 75)
    for end in (40, 69, 70, 71, 75):
        daily(folder, days[:end])
        stepwise = current(Portfolio.open(folder))
    shutil.rmtree(folder / ".healthseg")
    assert current(Portfolio.open(folder)) == stepwise


def test_a_new_day_leaves_other_months_alone_and_reads_no_old_file(folder):
    days = days_of("2025-01-10", 80)
    daily(folder, days[:-1])
    current(Portfolio.open(folder))
    before = {
        path: path.stat().st_mtime_ns
        for path in (folder / ".healthseg" / "facts").rglob("*.parquet")
    }
    for day in days[:-1]:
        os.chmod(folder / "events" / f"{day}.csv", 0o600)
    daily(folder, days[-1:])
    current(Portfolio.open(folder))
    after = {
        path: path.stat().st_mtime_ns
        for path in (folder / ".healthseg" / "facts").rglob("*.parquet")
    }
    assert set(before) < set(after) and all(after[path] == at for path, at in before.items())
    written = {path.parent.parent.name for path in set(after) - set(before)}
    assert written <= {"2025-03", "2025-04"} and written


def test_a_rewritten_file_is_read_again_and_a_removed_one_is_gone(folder):
    days = days_of("2025-03-01", 10)
    daily(folder, days)
    first = Portfolio.open(folder).content(pd.Timestamp("2025-03-10").date())
    path = folder / "events" / "2025-03-05.csv"
    text = path.read_text()
    path.write_text(text.replace("bob", "bab"))
    portfolio = Portfolio.open(folder)
    assert portfolio.content(pd.Timestamp("2025-03-10").date()) != first
    assert "bab" in portfolio.table("events")["user_id"].tolist()
    path.write_text(text)
    assert Portfolio.open(folder).content(pd.Timestamp("2025-03-10").date()) == first
    path.unlink()
    portfolio = Portfolio.open(folder)
    assert portfolio.reports["events"].read == 36 and "2025-03-05" not in set(
        portfolio.table("events")["occurred_at"].dt.date.astype(str)
    )


def test_a_new_customer_brings_back_the_events_that_were_unknown(folder):
    daily(folder, days_of("2025-03-01", 3))
    (folder / "customers.csv").write_text("client_id,signup_date\nacme,2025-01-01\n")
    portfolio = Portfolio.open(folder, {"max_loss_share": 0.5})
    assert (portfolio.reports["events"].kept, portfolio.reports["events"].drops[0].count) == (9, 3)
    (folder / "customers.csv").write_text(
        "client_id,signup_date\nacme,2025-01-01\nbeta,2025-01-01\ngamma,2025-01-01\n"
    )
    portfolio = Portfolio.open(folder, {"max_loss_share": 0.5})
    assert (portfolio.reports["events"].kept, portfolio.reports["events"].drops) == (12, [])


def test_a_changed_zone_moves_the_days(folder):
    daily(folder, days_of("2025-03-01", 3))
    assert Portfolio.open(folder).first_event_day.isoformat() == "2025-03-01"
    (folder / "customers.csv").write_text(
        "client_id,signup_date,timezone\nacme,2025-01-01,Pacific/Honolulu\nbeta,2025-01-01,UTC\n"
    )
    assert Portfolio.open(folder).first_event_day.isoformat() == "2025-02-28"


def test_internal_users_are_left_out_of_facts(folder):
    daily(folder, days_of("2025-03-01", 2))
    (folder / "users.csv").write_text(
        "user_id,client_id,email_domain\nann,acme,us.example\nbob,acme,acme.example\n"
    )
    for settings, users in (
        ({"exclude_email_domains": ["US.example"]}, ["bea", "bob"]),
        ({"exclude_users": ["bob"]}, ["ann", "bea"]),
        ({}, ["ann", "bea", "bob"]),
    ):
        portfolio = Portfolio.open(folder, settings)
        assert [
            row[0]
            for row in portfolio.connection()
            .execute("SELECT DISTINCT user_id FROM user_day ORDER BY 1")
            .fetchall()
        ] == users
        assert portfolio.reports["events"].kept == 8


def test_a_file_that_changes_while_it_is_read_stores_nothing_wrong(folder, monkeypatch):
    daily(folder, days_of("2025-03-01", 2))
    portfolio = Portfolio.open(folder)
    path = folder / "events" / "2025-03-01.csv"
    path.write_text(path.read_text() + "acme,zoe,2025-03-01 12:00:00,f1\n")
    with pytest.raises(DataRetrievalError, match="changed while it was being read"):
        portfolio.connection()
    assert Portfolio.open(folder).reports["events"].kept == 9


def derived(folder: Path) -> list[Path]:
    files = [path for path in (folder / ".healthseg").rglob("*") if path.is_file()]
    return sorted(path.relative_to(folder) for path in files)


@pytest.mark.parametrize("damage", ["emptied", "cut", "changed", "removed"])
def test_every_derived_file_that_is_damaged_is_built_again(folder, damage):
    daily(folder, days_of("2025-02-27", 4))
    (folder / "users.csv").write_text("user_id,client_id,role\nann,acme,admin\nbob,acme,\n")

    def answers() -> tuple:
        portfolio = Portfolio.open(folder)
        facts = [
            portfolio.connection().execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for name in ("user_day", "feature_day", "user_hour", "sessions", "feature_life")
        ]
        frames = [portfolio.table(name).to_dict("records") for name in portfolio.reports]
        reports = {name: report.to_dict() for name, report in portfolio.reports.items()}
        return facts, frames, reports, portfolio.content(), portfolio.fingerprint()

    first = answers()
    files = derived(folder)
    assert len(files) > 20
    for path in files:
        content = (folder / path).read_bytes()
        if damage == "removed":
            (folder / path).unlink()
        else:
            damaged = {
                "emptied": b"",
                "cut": content[: len(content) // 2],
                "changed": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            }
            (folder / path).write_bytes(damaged[damage])
        again = answers()
        assert repr(again) == repr(first), path
        assert derived(folder) == files, path
