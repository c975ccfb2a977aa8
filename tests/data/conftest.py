"""Portfolios of a few rows, written as a user would write them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.integrations.mixpanel.sync import Sync
from healthseg.settings.operator import MixpanelSettings
from tests.data.mixpanel_server import (
    FIRST,
    LAST,
    SECRET,
    Clock,
    Project,
    days_of_use,
    serving,
)
from tests.data.postgres import server

CUSTOMERS = "client_id,signup_date,timezone\nacme,2025-01-01,UTC\nbeta,2025-01-01,Europe/Berlin\n"
EVENTS = "client_id,user_id,occurred_at,feature\nacme,ann,2025-03-03 10:00:00,search\nacme,bob,2025-03-04 23:10:00,search\n"


@pytest.fixture
def make_portfolio(tmp_path):
    """A function that writes tables (CSV text, bytes or a frame by name) and opens them.

    A name without a suffix is a CSV file; frames are written as Parquet unless the name says ``.csv``.
    """

    def make(
        settings: dict | None = None, folder: Path = tmp_path / "portfolio", **tables
    ) -> Portfolio:
        folder.mkdir(exist_ok=True)
        for name, content in ({"customers": CUSTOMERS, "events": EVENTS} | tables).items():
            write(folder, name, content)
        return Portfolio.open(folder, settings)

    return make


def write(folder: Path, name: str, content) -> Path:
    suffix = ".parquet" if isinstance(content, pd.DataFrame) else ".csv"
    path = folder / (name if "." in name else name + suffix)
    if content is None:
        return path
    if isinstance(content, pd.DataFrame):
        content.to_csv(path, index=False) if path.suffix == ".csv" else content.to_parquet(
            path, index=False
        )
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def rows():
    """A view's rows as tuples, of the columns named, in order."""

    def read(portfolio: Portfolio, relation: str, columns: str) -> list[tuple]:
        return (
            portfolio.connection()
            .execute(f"SELECT {columns} FROM {relation} ORDER BY ALL")
            .fetchall()
        )

    return read


@pytest.fixture(scope="session")
def postgres():
    """The address of a PostgreSQL server of our own, made for these tests and ended after them."""
    with server() as address:
        yield address


@pytest.fixture
def project() -> Project:
    return Project(days_of_use())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sync(tmp_path, project, clock):
    """A function that syncs the project into a folder; settings and secrets can be given."""
    project.now = clock
    with serving(project) as address:

        def run(
            first: dt.date | None = FIRST,
            last: dt.date | None = LAST,
            secrets: dict | None = None,
            **settings,
        ):
            options = {
                "api_url": address,
                "account_key": "company",
                "event_timezone": "UTC",
                "attempts": 3,
                "timeout_seconds": 0.25,
                "window_days": 3,
            } | settings
            return Sync(
                tmp_path,
                MixpanelSettings(**options),
                secrets or {"api_secret": SECRET},
                now=clock,
                sleep=clock.sleep,
            ).run(first, last)

        yield run
