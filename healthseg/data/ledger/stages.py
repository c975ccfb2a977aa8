"""Where a portfolio's ledger is, and the stages recorded in it as rows of ``stage_changes``.

Imported and recorded changes are one history: the view ``stage_changes`` of an open portfolio holds both, so that whatever
reads a stage reads that history, as it stood when the portfolio was opened.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from healthseg.data.ledger import place as ledger_place
from healthseg.data.reading.cleaning import schema
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError
from healthseg.periods import UTC
from healthseg.settings.lifecycle import LedgerPlace, revealed

if TYPE_CHECKING:
    from pathlib import Path

    from healthseg.data.ledger.ledger import Ledger, StageEvent
    from healthseg.data.ledger.place import SettingsInForce

FILE_NAME = "healthseg.sqlite"


def ledger_file(folder: Path, local: bool) -> Path | None:
    """Where a portfolio's ledger lies, if its tables are files: beside them, also where that cannot be written."""
    return folder / FILE_NAME if local else None


def there_is(place: LedgerPlace, path: Path | None) -> bool:
    """Whether there may be something in the ledger; a file that is not there has nothing."""
    return place.address is not None or (path is not None and path.exists())


def may_have_stages(place: LedgerPlace, path: Path | None) -> bool:
    """Whether stages may have been recorded; a server is not asked for that alone."""
    if place.address is not None or path is None:
        return place.address is not None
    found = ledger_place.glance(path)
    return found is None or found.has_stages


def settings_history(place: LedgerPlace, path: Path | None, clock: Any) -> list[SettingsInForce]:
    """Every change of the settings, oldest first; none where there is no ledger yet."""
    if not there_is(place, path):
        return []
    found = (
        ledger_place.settings_history(path) if place.address is None and path is not None else None
    )
    return opened(place, path, clock).settings_history() if found is None else found


def opened(place: LedgerPlace, path: Path | None, clock: Any) -> Ledger:
    """The ledger at its place; raises DataRetrievalError where there is none for such a portfolio."""
    from healthseg.data.ledger.ledger import Ledger

    if place.address is not None:
        return Ledger(
            revealed(place.address, "settings.ledger.address"),
            clock,
            busy_seconds=place.busy_seconds,
            schema_name=place.schema_name,
        )
    if path is None:
        raise DataRetrievalError(
            "this portfolio is a database and has no place for a ledger: name one in the settings "
            "(ledger.address = postgresql://…)",
            parameter="settings.ledger.address",
        )
    return Ledger(path, clock, busy_seconds=place.busy_seconds)


def local_day(moment: dt.datetime, zone: str) -> dt.date:
    """The account-local day of an instant."""
    return moment.astimezone(ZoneInfo(zone)).date()


def stage_view(
    connection: duckdb.DuckDBPyConnection,
    imported: str,
    events: list[StageEvent],
    zones: Mapping[str, str],
) -> str:
    """The relation of all stage changes: the imported ones and, if there are any, those of known customers recorded."""
    rows = [_row(event, zones[event.client_id]) for event in events if event.client_id in zones]
    if not rows:
        return imported
    frame = pd.DataFrame(rows)
    connection.execute(f"CREATE TABLE recorded_stages AS {schema(TABLES['stage_changes'])}")
    connection.register("recorded_frame", frame)
    try:
        connection.execute("INSERT INTO recorded_stages BY NAME SELECT * FROM recorded_frame")
    finally:
        connection.unregister("recorded_frame")
    return f"{imported} UNION ALL BY NAME SELECT * FROM recorded_stages"


def _row(event: StageEvent, zone: str) -> dict[str, Any]:
    moments = {"effective": event.effective_at, "recorded": event.recorded_at}
    naive = {
        f"{name}_at": moment.astimezone(UTC).replace(tzinfo=None)
        for name, moment in moments.items()
    }
    days = {f"{name}_day": local_day(moment, zone) for name, moment in moments.items()}
    return {
        "client_id": event.client_id,
        "stage": event.stage,
        "reason": event.reason,
        "automated": event.automated,
        "actor": event.actor,
        **naive,
        **days,
        "effective_has_time": True,
        "recorded_has_time": True,
    }
