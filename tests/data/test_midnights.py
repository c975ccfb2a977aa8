"""Dates alone and midnights mean the same from every format: days or instants, by one rule for a column of a table."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from healthseg.data.cleaning import Midnights
from healthseg.data.portfolio import Portfolio
from healthseg.settings.data import DataSettings

DAYS = [dt.date(2025, 3, 3) + dt.timedelta(days=k) for k in range(30)]
TEXTS = {
    "dates alone": "{day}",
    "with a blank": "{day} 00:00:00",
    "with a T": "{day}T00:00:00",
    "with milliseconds": "{day} 00:00:00.000",
    "in UTC": "{day}T00:00:00Z",
    "with an offset of zero": "{day} 00:00:00+00",
    "with an offset": "{day} 00:00:00+05:30",
    "west": "{day}T00:00:00-08:00",
}


def rows(stamps: list) -> pd.DataFrame:
    users = ["eve", "joe"]
    frame = pd.DataFrame(
        [(user, stamp) for stamp in stamps for user in users], columns=["user_id", "occurred_at"]
    )
    return frame.assign(client_id="lima", count=3)


def opened(folder: Path, **files: pd.DataFrame) -> Portfolio:
    """A customer west of UTC: an instant at midnight would lie on the day before."""
    events = folder / "events"
    events.mkdir(parents=True)
    customers = pd.DataFrame(
        {"client_id": ["lima"], "signup_date": ["2024-01-01"], "timezone": ["America/Lima"]}
    )
    customers.to_csv(folder / "customers.csv", index=False)
    for name, frame in files.items():
        stem, kind = name.rsplit("_", 1)
        if kind == "csv":
            frame.to_csv(events / f"{stem}.csv", index=False)
        else:
            frame.to_parquet(events / f"{stem}.parquet", index=False)
    return Portfolio.open(folder)


def days_of(portfolio: Portfolio) -> list[tuple]:
    query = "SELECT user_id, occurred_day, occurred_has_time FROM events ORDER BY ALL"
    return portfolio.connection().execute(query).fetchall()


AS_DAYS = sorted((user, day, False) for day in DAYS for user in ("eve", "joe"))


@pytest.mark.parametrize("form", TEXTS)
def test_a_column_of_midnights_holds_days_however_it_is_written(tmp_path, form):
    portfolio = opened(tmp_path, a_csv=rows([TEXTS[form].format(day=day) for day in DAYS]))
    assert days_of(portfolio) == AS_DAYS
    assert "calendar days" in str(portfolio.reports["events"].warnings)


@pytest.mark.parametrize(
    "stamps",
    [pd.to_datetime(DAYS), pd.to_datetime(DAYS).tz_localize("UTC"), DAYS],
    ids=["timestamps", "timestamps in UTC", "dates"],
)
def test_parquet_gives_the_same_days(tmp_path, stamps):
    assert days_of(opened(tmp_path, a_parquet=rows(list(stamps)))) == AS_DAYS


def test_one_file_or_several_of_any_format_give_the_same_days(tmp_path):
    halves = DAYS[:10], DAYS[10:20], DAYS[20:]
    portfolio = opened(
        tmp_path,
        a_csv=rows([f"{day}" for day in halves[0]]),
        b_csv=rows([f"{day}T00:00:00Z" for day in halves[1]]),
        c_parquet=rows(list(pd.to_datetime(halves[2]))),
    )
    assert days_of(portfolio) == AS_DAYS


def test_midnights_among_events_of_whole_hours_are_instants_also_in_a_file_of_their_own(tmp_path):
    hours = [f"{day} {hour:02d}:00:00" for day in DAYS[:10] for hour in range(1, 24)]
    midnights = [f"{day} 00:00:00" for day in DAYS[:10]]
    single = opened(tmp_path / "one", a_csv=rows(midnights + hours))
    several = opened(tmp_path / "several", a_csv=rows(midnights), b_csv=rows(hours))
    assert days_of(single) == days_of(several)
    assert all(has_time for *_, has_time in days_of(single))
    assert ("eve", DAYS[0] - dt.timedelta(days=1), True) in days_of(single)


def test_daily_aggregates_beside_single_events_are_days(tmp_path):
    single = [f"{day} 09:{minute:02d}:17" for day in DAYS for minute in range(1, 9)]
    portfolio = opened(
        tmp_path, a_csv=rows([f"{day} 00:00:00" for day in DAYS]), b_csv=rows(single)
    )
    counted = [row for row in days_of(portfolio) if not row[2]]
    assert counted == AS_DAYS
    assert "midnight is far too frequent" in str(portfolio.reports["events"].warnings)


def test_a_later_file_can_change_what_midnights_are(tmp_path):
    folder = tmp_path / "grows"
    assert days_of(opened(folder, a_csv=rows([f"{day} 00:00:00" for day in DAYS]))) == AS_DAYS
    hours = [f"{day} {hour:02d}:00:00" for day in DAYS for hour in range(1, 24)]
    rows(hours).to_csv(folder / "events" / "b.csv", index=False)
    assert all(has_time for *_, has_time in days_of(Portfolio.open(folder)))


def test_tickets_and_other_tables_follow_the_same_rule(tmp_path):
    tickets = pd.DataFrame({"ticket_id": ["1", "2"], "client_id": "lima"})
    days = {}
    for name, stamps in {
        "text": [f"{day}T00:00:00+00:00" for day in DAYS[:2]],
        "dates": [str(day) for day in DAYS[:2]],
    }.items():
        portfolio = opened(tmp_path / name, a_csv=rows([f"{day} 10:30:00" for day in DAYS]))
        tickets.assign(opened_at=stamps).to_csv(tmp_path / name / "tickets.csv", index=False)
        query = "SELECT opened_day, opened_has_time FROM tickets ORDER BY ALL"
        days[name] = Portfolio.open(portfolio.path).connection().execute(query).fetchall()
    assert days["text"] == days["dates"] == [(day, False) for day in DAYS[:2]]


@pytest.mark.parametrize(
    ("rows", "midnights", "dates", "whole_hours", "are_days"),
    [
        (40, 40, 0, 0, True),
        (40, 39, 1, 0, True),
        (400, 30, 0, 2, False),
        (400, 60, 0, 61, False),
        (30, 3, 0, 0, False),
    ],
)
def test_the_rule(rows, midnights, dates, whole_hours, are_days):
    assert Midnights(rows, midnights, dates, whole_hours).are_days(DataSettings()) is are_days
