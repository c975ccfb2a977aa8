"""Where a portfolio's ledger is, and the stages recorded in it as rows of ``stage_changes``.

Imported and recorded changes are one history: the view ``stage_changes`` of an open portfolio holds both.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from healthseg.data.cleaning import empty_select
from healthseg.data.engine import create_table
from healthseg.data.storage import writing
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, IntegrationError
from healthseg.periods import UTC, local_day
from healthseg.settings.lifecycle import LedgerPlace, revealed

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import Ledger, StageEvent
    from healthseg.data.ledger.records import Clock


@dataclass(frozen=True)
class LedgerLocation:
    """A file, or a server that the settings name; neither for a database without one in its settings."""

    settings: LedgerPlace
    file: Path | None
    clock: Clock

    @property
    def exists(self) -> bool:
        """Whether something may have been recorded; a server is not connected to for that."""
        return self.settings.address is not None or (self.file is not None and self.file.exists())

    def watermark(self, *tables: str) -> str | None:
        """A text that changes with every row recorded on a server; None where there is none that answers.

        Of all tables, or of some. Why a server does not answer is for ``open`` to say. Raises InvalidParameters for an address that names a
        variable which is not set.
        """
        if self.settings.address is None:
            return None
        from healthseg.data.ledger.schema import HISTORY

        try:
            return self.open().head(*(tables or HISTORY))
        except (DataRetrievalError, IntegrationError, ImportError):
            return None

    def open(self) -> Ledger:
        """The ledger; raises DataRetrievalError where the portfolio can have none."""
        from healthseg.data.ledger.ledger import Ledger

        settings = self.settings
        if settings.address is not None:
            address = revealed(settings.address, "settings.ledger.address")
            return Ledger(
                address,
                self.clock,
                busy_seconds=settings.busy_seconds,
                schema_name=settings.schema_name,
            )
        if self.file is None:
            raise DataRetrievalError(
                "this portfolio is a database, beside which no ledger can be: name one in the settings "
                "(ledger.address = postgresql://…)",
                parameter="settings.ledger.address",
            )
        return Ledger(self.file, self.clock, busy_seconds=settings.busy_seconds)


def restore(backup: Path, portfolio: str) -> tuple[Path, Path | None]:
    """Puts a verified backup in the place of the ledger beside a portfolio; what was there is kept beside it.

    Returns the ledger's path and, where there was one, where it is now. Raises DataRetrievalError for a backup
    that is not whole and for a portfolio that is no folder.
    """
    from healthseg.data.ledger import FILE_NAME
    from healthseg.data.ledger.ledger import Ledger

    path = Path(portfolio).expanduser()
    folder = path if path.is_dir() else path.parent
    if "://" in portfolio or not folder.is_dir():
        raise DataRetrievalError(
            f"{portfolio.partition('@')[2] or portfolio} is not a folder: a ledger on a server is restored with the server's own tools",
            parameter="portfolio",
        )
    if not backup.is_file():
        raise DataRetrievalError(
            f"{backup} is not a file", parameter="file", value_provided=str(backup)
        )
    Ledger(backup).verify()
    ledger = folder / FILE_NAME
    former = None
    if ledger.exists():
        former = next(
            each
            for number in itertools.count(1)
            if not (each := ledger.with_name(f"{ledger.name}.before-restore-{number}")).exists()
        )
        for ending in ("-wal", "-shm", ""):
            part = ledger.with_name(ledger.name + ending)
            if part.exists():
                part.rename(former.with_name(former.name + ending))
    with writing(ledger) as temporary:
        shutil.copyfile(backup, temporary)
    return ledger, former


def stage_view(
    connection: duckdb.DuckDBPyConnection,
    imported: str,
    events: Sequence[StageEvent],
    zones: Mapping[str, str],
) -> str:
    """The relation of all stage changes: those imported and those recorded, of known customers."""
    rows = [_row(event, zones[event.client_id]) for event in events if event.client_id in zones]
    if not rows:
        return imported
    select = f"{empty_select(TABLES['stage_changes'])} UNION ALL BY NAME SELECT * FROM frame"
    create_table(connection, "recorded_stages", pd.DataFrame(rows), select)
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
