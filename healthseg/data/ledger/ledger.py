"""The ledger: what cannot be computed from the tables, recorded once and never changed.

Which settings were in force, which segmentation runs took place, who moved a customer to a stage, which alerts were
raised, which probabilities of churn were said. Only this module writes customer state. Reading a portfolio without a ledger returns nothing and creates nothing.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import pandas as pd
from sqlalchemy import Row, select

from healthseg.data.cleaning import empty_select
from healthseg.data.engine import create_table
from healthseg.data.ledger import FILE_NAME
from healthseg.data.ledger.records import AppendOnlyTables, one_of, stored_instant, stored_json
from healthseg.data.ledger.schema import (
    ALERTS,
    PREDICTIONS,
    SEGMENT_RUNS,
    SETTINGS,
    STAGE_EVENTS,
)
from healthseg.data.storage import writing
from healthseg.data.tables import TABLES
from healthseg.errors import (
    CalculationError,
    DataRetrievalError,
    IntegrationError,
    InvalidParameters,
)
from healthseg.periods import UTC, local_day
from healthseg.settings import SEVERITIES, STAGES
from healthseg.settings.base import fingerprint
from healthseg.settings.lifecycle import LedgerPlace, revealed

if TYPE_CHECKING:
    from healthseg.data.ledger.records import Clock

__all__ = [
    "FILE_NAME",
    "KINDS",
    "Ledger",
    "LedgerAlert",
    "RecordedPredictions",
    "SegmentRun",
    "SettingsInForce",
    "StageEvent",
]
KINDS = ("transition", "correction")
T = TypeVar("T")


@dataclass(frozen=True)
class SettingsInForce:
    """Settings, from ``first_used_at`` until the next ones."""

    fingerprint: str
    settings: dict[str, Any]
    first_used_at: dt.datetime


@dataclass(frozen=True)
class SegmentRun:
    """A segmentation and what it was computed from: ``members`` are client ids by segment id."""

    run_id: str
    inputs: str
    criteria: dict[str, Any]
    as_of: dt.date
    members: dict[str, list[str]]
    recorded_at: dt.datetime


@dataclass(frozen=True)
class StageEvent:
    """A customer entered ``stage`` at ``effective_at``; we know it since ``recorded_at``."""

    request_id: str
    client_id: str
    stage: str
    effective_at: dt.datetime
    actor: str
    reason: str | None
    automated: bool
    recorded_at: dt.datetime
    kind: str = "transition"
    seq: int = 0
    digest: str = ""
    lifecycle: str = ""  # empty: the customer's own


@dataclass(frozen=True)
class LedgerAlert:
    """A rule was true of a customer on a day; ``figures`` are those that it names."""

    client_id: str
    rule: str
    severity: str
    raised_on: dt.date
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class RecordedPredictions:
    """What was said of the customers on a day: probabilities of churn within ``horizon_days`` by client id.

    ``model`` is the version: the day whose knowledge the model had, or of the base rates the day itself.
    """

    predicted_on: dt.date
    horizon_days: int
    model: str
    method: str
    probabilities: Mapping[str, float]


_READERS: dict[str, Callable[[Any], Any]] = {
    "effective_at": dt.datetime.fromisoformat,
    "recorded_at": dt.datetime.fromisoformat,
    "as_of": dt.date.fromisoformat,
    "raised_on": dt.date.fromisoformat,
    "predicted_on": dt.date.fromisoformat,
    "probabilities": json.loads,
    "criteria": json.loads,
    "members": json.loads,
    "figures": json.loads,
    "automated": bool,
}


def _read(kind: type[T], row: Row) -> T:
    """A row as one of the classes above."""
    values = {field.name: getattr(row, field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _READERS.get(name, _same)(value) for name, value in values.items()})


def _same(value: Any) -> Any:
    return value


class Ledger(AppendOnlyTables):
    """The append-only record of a portfolio: the file ``FILE_NAME`` in its folder, or a schema on a server.

    Raises DataRetrievalError where it is locked for longer than ``busy_seconds``, damaged, of a newer healthseg, or
    cannot be written, and IntegrationError where a server does not answer. In each case nothing was recorded.

    >>> import datetime as dt, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(pathlib.Path(folder) / FILE_NAME, clock=lambda: dt.datetime(2025, 10, 1, tzinfo=dt.UTC))
    ...     ledger.record_settings("a1", {"seed": 7}), ledger.record_settings("a1", {"seed": 7})
    ...     ledger.settings_at(dt.datetime(2025, 10, 2, tzinfo=dt.UTC)).settings
    (True, False)
    {'seed': 7}
    """

    # reading

    def settings_at(self, moment: dt.datetime) -> SettingsInForce | None:
        """The settings in force at an instant (those first used then included); None before any were recorded."""
        until = stored_instant(moment, "moment")
        query = select(SETTINGS).where(SETTINGS.c.recorded_at <= until)
        rows = self.rows(query.order_by(SETTINGS.c.seq.desc()).limit(1))
        return _settings(rows[0]) if rows else None

    def settings_history(self) -> list[SettingsInForce]:
        """Every change of the settings, oldest first: where the marks in a score's history come from."""
        return [_settings(row) for row in self.rows(select(SETTINGS).order_by(SETTINGS.c.seq))]

    def segment_runs(self) -> list[SegmentRun]:
        """All segmentation runs, in the order in which they were recorded."""
        rows = self.rows(select(SEGMENT_RUNS).order_by(SEGMENT_RUNS.c.seq))
        return [_read(SegmentRun, row) for row in rows]

    def stage_events(
        self,
        client_id: str | None = None,
        *,
        effective_before: dt.datetime | None = None,
        recorded_before: dt.datetime | None = None,
        after: int = 0,
        lifecycle: str | None = None,
    ) -> list[StageEvent]:
        """Stage events by customer, in order of effect; of two with the same instant the later recorded comes last.

        Both limits are exclusive instants: what was true before one, and what was known before the other. ``after``
        leaves out those up to a ``seq``; ``lifecycle`` chooses one, empty the customers' own.
        """
        table, query = STAGE_EVENTS.c, select(STAGE_EVENTS)
        if client_id is not None:
            query = query.where(table.client_id == client_id)
        if after:
            query = query.where(table.seq > after)
        if lifecycle is not None:
            query = query.where(table.lifecycle == lifecycle)
        if effective_before is not None:
            limit = stored_instant(effective_before, "effective_before")
            query = query.where(table.effective_at < limit)
        if recorded_before is not None:
            limit = stored_instant(recorded_before, "recorded_before")
            query = query.where(table.recorded_at < limit)
        order = table.client_id, table.effective_at, table.seq
        return [_read(StageEvent, row) for row in self.rows(query.order_by(*order))]

    def stage_event_of(self, request_id: str) -> StageEvent | None:
        """The stage event that a request recorded, or None."""
        rows = self.rows(select(STAGE_EVENTS).where(STAGE_EVENTS.c.request_id == request_id))
        return _read(StageEvent, rows[0]) if rows else None

    def alerts(self, client_id: str | None = None) -> list[LedgerAlert]:
        """Raised alerts, of one customer or of all, in the order in which they were recorded."""
        query = select(ALERTS).order_by(ALERTS.c.seq)
        if client_id is not None:
            query = query.where(ALERTS.c.client_id == client_id)
        return [_read(LedgerAlert, row) for row in self.rows(query)]

    def predictions(self) -> list[RecordedPredictions]:
        """The recorded predictions of churn, by day."""
        query = select(PREDICTIONS).order_by(PREDICTIONS.c.predicted_on, PREDICTIONS.c.seq)
        return [_read(RecordedPredictions, row) for row in self.rows(query)]

    # recording

    def record_settings(self, fingerprint: str, settings: Mapping[str, Any]) -> bool:
        """Records the settings now used; whether that is a change from those in force."""
        last = select(SETTINGS.c.fingerprint).order_by(SETTINGS.c.seq.desc()).limit(1)
        # most calls change nothing: they need no write lock
        if [row.fingerprint for row in self.rows(last)] == [fingerprint]:
            return False
        with self.writing() as connection:
            if connection.execute(last).scalar() == fingerprint:
                return False
            row = {"fingerprint": fingerprint, "settings": stored_json(settings)}
            self.append(connection, SETTINGS, [row])
            return True

    def record_segment_run(
        self,
        inputs: str,
        criteria: Mapping[str, Any],
        as_of: dt.date,
        members: Mapping[str, Sequence[str]],
    ) -> str:
        """Records a segmentation run and returns its id: of ``inputs`` (the data's fingerprint), criteria and date.

        The same run again changes nothing. Raises CalculationError if the same inputs come with other members.
        """
        values = {"inputs": inputs, "criteria": stored_json(criteria), "as_of": as_of.isoformat()}
        run_id, stored_members = fingerprint(values), stored_json(members)
        known = select(SEGMENT_RUNS.c.members).where(SEGMENT_RUNS.c.run_id == run_id)
        with self.writing() as connection:
            recorded = connection.execute(known).scalar()
            if recorded is None:
                row = {"run_id": run_id, **values, "members": stored_members}
                self.append(connection, SEGMENT_RUNS, [row])
            elif recorded != stored_members:
                raise CalculationError(
                    f"segmentation run {run_id} is recorded with other members: the same inputs must give the "
                    "same segments; name what differs in inputs or criteria",
                    value_provided=run_id,
                )
        return run_id

    def record_predictions(self, predictions: RecordedPredictions) -> bool:
        """Records what a model said on a day; whether it is the first time: what is said later changes nothing."""
        row = {
            "predicted_on": predictions.predicted_on.isoformat(),
            "horizon_days": predictions.horizon_days,
            "model": predictions.model,
            "method": predictions.method,
            "probabilities": stored_json(predictions.probabilities),
        }
        keys = ("predicted_on", "horizon_days", "model")
        same = select(PREDICTIONS.c.seq).where(*(PREDICTIONS.c[key] == row[key] for key in keys))
        if self.rows(same):
            return False
        with self.writing() as connection:
            if connection.execute(same).first() is not None:
                return False
            self.append(connection, PREDICTIONS, [row])
            return True

    def record_stage_event(
        self,
        request_id: str,
        client_id: str,
        stage: str,
        effective_at: dt.datetime,
        *,
        actor: str,
        reason: str | None = None,
        automated: bool = False,
        kind: str = "transition",
        lifecycle: str = "",
    ) -> StageEvent:
        """Records that a customer entered a stage; the same request again returns what it recorded the first time.

        Raises InvalidParameters for an unknown stage, an instant without time zone, and a request id that
        was used for something else.
        """
        row = {
            "request_id": request_id,
            "client_id": client_id,
            "stage": stage if lifecycle else one_of(stage, STAGES, "stage"),
            "effective_at": stored_instant(effective_at, "effective_at"),
            "actor": actor,
            "reason": reason,
            "automated": int(automated),
            "kind": one_of(kind, KINDS, "kind"),
            "lifecycle": lifecycle,
        }
        with self.writing() as connection:
            same_id = select(STAGE_EVENTS).where(STAGE_EVENTS.c.request_id == request_id)
            if connection.execute(same_id).first() is None:
                self.append(connection, STAGE_EVENTS, [row])
            known = connection.execute(same_id).one()
        if any(known._mapping[name] != value for name, value in row.items()):
            raise InvalidParameters(
                f"request_id {request_id!r} was used before, for {known.client_id} to {known.stage} at "
                f"{known.effective_at}: use a different id for each change",
                parameter="request_id",
                value_provided=request_id,
                validation_rule="one id per change",
            )
        return _read(StageEvent, known)

    def record_alerts(self, alerts: Iterable[LedgerAlert]) -> list[LedgerAlert]:
        """Records alerts, all or none; returns those that are new (one per customer, rule and day)."""
        by_key = {(each.client_id, each.rule, each.raised_on.isoformat()): each for each in alerts}
        columns = ALERTS.c.client_id, ALERTS.c.rule, ALERTS.c.raised_on
        days = {day for _, _, day in by_key}
        with self.writing() as connection:
            known = connection.execute(select(*columns).where(ALERTS.c.raised_on.in_(days)))
            for row in known.all():
                by_key.pop(tuple(row), None)
            self.append(connection, ALERTS, [_alert_row(alert) for alert in by_key.values()])
        return list(by_key.values())


def _settings(row: Row) -> SettingsInForce:
    recorded_at = dt.datetime.fromisoformat(row.recorded_at)
    return SettingsInForce(row.fingerprint, json.loads(row.settings), recorded_at)


def _alert_row(alert: LedgerAlert) -> dict[str, str]:
    return {
        "client_id": alert.client_id,
        "rule": alert.rule,
        "raised_on": alert.raised_on.isoformat(),
        "severity": one_of(alert.severity, SEVERITIES, "severity"),
        "figures": stored_json(alert.figures),
    }


# -- where it is -----------------------------------------------------------------------------------
# Imported and recorded changes of stages are one history: the view ``stage_changes`` of an open portfolio holds both.


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
