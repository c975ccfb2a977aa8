"""What was fetched when: ``events/mixpanel/sync.json``, beside the days' files, and the one lock of a sync."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthseg.data.storage import FOLDER, leads_elsewhere, sweep, writing
from healthseg.errors import CalculationError

SUBFOLDERS = ("events", "mixpanel")
FILE = "sync.json"
DAY = dt.timedelta(days=1)


@dataclass
class SyncState:
    """The days that are there, those that could not be had, the last hour's queries, and how the last sync ended.

    ``days`` has by date ``fetched_at`` (UTC) and counts; ``rules`` is a fingerprint of the settings that rows follow.
    """

    rules: str = ""
    days: dict[str, dict[str, Any]] = field(default_factory=dict)
    incomplete: dict[str, str] = field(default_factory=dict)
    queries: list[float] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)  # at, ok, and error where it failed
    synced_at: str | None = None  # the last sync that went well to its end

    def fetched_at(self, day: dt.date) -> dt.datetime | None:
        entry = self.days.get(day.isoformat())
        return dt.datetime.fromisoformat(entry["fetched_at"]) if entry else None

    @property
    def until(self) -> str | None:
        """The last day that is there."""
        return max(self.days, default=None)


def folder_of(portfolio: Path) -> Path:
    """Where a portfolio's exported days lie."""
    return portfolio.joinpath(*SUBFOLDERS)


def read(portfolio: Path) -> SyncState | None:
    """The state of a portfolio's sync; None where there never was one."""
    try:
        values = json.loads((folder_of(portfolio) / FILE).read_text(encoding="utf-8"))
        return SyncState(**values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return SyncState()  # what cannot be read is fetched again


def write(portfolio: Path, state: SyncState) -> None:
    with writing(folder_of(portfolio) / FILE) as temporary:
        temporary.write_text(json.dumps(vars(state), indent=1, sort_keys=True), encoding="utf-8")


def _refuse_links(portfolio: Path) -> None:
    """Raises CalculationError where what is fetched would be written elsewhere."""
    own, target = portfolio / FOLDER, folder_of(portfolio)
    folders = [own, own / "mixpanel", target, *target.parents]
    linked = [
        path
        for path in folders
        if path.is_relative_to(portfolio) and path != portfolio and path.is_symlink()
    ]
    if path := next(iter(linked), leads_elsewhere(own / "mixpanel.lock")):
        raise CalculationError(
            f"{path} leads elsewhere, and what is fetched is written into the portfolio alone: remove it",
            parameter="portfolio",
            value_provided=str(path),
        )


@contextlib.contextmanager
def alone(portfolio: Path) -> Iterator[None]:
    """Holds the portfolio's sync for this process; ends with the process, however that ends."""
    folder = portfolio / FOLDER
    _refuse_links(portfolio)
    folder.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(folder / "mixpanel.lock", timeout=0, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise CalculationError(
                "another sync of this portfolio is running: wait until it is done",
                parameter="portfolio",
                value_provided=str(portfolio),
            ) from None
        sweep(folder_of(portfolio), folder / "mixpanel")
        yield
    finally:
        lock.close()
