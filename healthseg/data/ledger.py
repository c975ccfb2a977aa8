"""The ledger: what cannot be computed from the tables, recorded once and never changed.

Which settings were in force, which segmentation runs were made, who moved a
customer to a stage, which alerts were raised. Only this module writes customer
state. Reading a portfolio that has no ledger finds nothing and creates nothing.
"""
from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from healthseg.config import SEVERITIES, STAGES, fingerprint
from healthseg.data.ledger_file import LedgerFile
from healthseg.data.ledger_schema import ALERTS, HISTORY, SEGMENT_RUNS, SETTINGS, STAGE_EVENTS
from healthseg.errors import CalculationError, InvalidParameters, hint
from healthseg.periods import UTC

FILE_NAME = "healthseg.sqlite"
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True)
class SettingsInForce:
    """Settings, from ``first_used_at`` until the next ones."""

    fingerprint: str
    settings: dict[str, Any]
    first_used_at: dt.datetime


@dataclass(frozen=True)
class SegmentRun:
    """A segmentation as it was made: ``members`` are client ids by segment id."""

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


@dataclass(frozen=True)
class Alert:
    """A rule of the playbook held for a customer on a day; ``figures`` are those that it named."""

    client_id: str
    rule: str
    severity: str
    raised_on: dt.date
    figures: Mapping[str, Any]


class Ledger:
    """The append-only record beside a portfolio.

    ``path`` is the SQLite file (``FILE_NAME`` in the portfolio's folder). ``clock`` says what time it is whenever
    something is recorded; without one the ledger can only be read. ``busy_seconds`` is how long to wait
    for another process that writes.

    Raises DataRetrievalError where the file is locked for longer, damaged, of a newer healthseg, or cannot be written.

    >>> import datetime as dt, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(pathlib.Path(folder) / FILE_NAME, clock=lambda: dt.datetime(2025, 10, 1, tzinfo=dt.UTC))
    ...     ledger.record_settings("a1", {"seed": 7}), ledger.record_settings("a1", {"seed": 7})
    ...     ledger.settings_at(dt.datetime(2025, 10, 2, tzinfo=dt.UTC)).settings
    (True, False)
    {'seed': 7}
    """

    def __init__(self, path: str | Path, clock: Clock | None = None, *, busy_seconds: float = 10.0) -> None:
        self.path = Path(path)
        self._clock = clock
        self._file = LedgerFile(self.path, busy_seconds)
        self._open = threading.local()      # this thread's transaction, if it is within one

    # -- what was recorded ---------------------------------------------------------------------------------

    def head(self, *tables: str) -> str:
        """A digest of all that was recorded in these tables, in order; for fingerprints of replies.

        By default of the customers' stages alone, which replies depend on; a ledger that has none, and a portfolio
        without a ledger, have the same head.
        """
        chosen = [_table(name) for name in tables or (STAGE_EVENTS.name,)]
        with self._reading() as connection:
            return fingerprint({table.name: _last_digest(connection, table) for table in chosen})

    def settings_at(self, moment: dt.datetime) -> SettingsInForce | None:
        """The settings in force at an instant (those first used then included); None before any were recorded."""
        until = _stored_instant(moment, "moment")
        query = select(SETTINGS).where(SETTINGS.c.recorded_at <= until).order_by(SETTINGS.c.seq.desc()).limit(1)
        return next(map(_settings, self._rows(query)), None)

    def settings_history(self) -> list[SettingsInForce]:
        """Every change of the settings, oldest first: where the marks in a score's history come from."""
        return [_settings(row) for row in self._rows(select(SETTINGS).order_by(SETTINGS.c.seq))]

    def segment_run(self, run_id: str) -> SegmentRun | None:
        """One segmentation run, or None if no such run was recorded."""
        return next(map(_run, self._rows(select(SEGMENT_RUNS).where(SEGMENT_RUNS.c.run_id == run_id))), None)

    def segment_runs(self) -> list[SegmentRun]:
        """All segmentation runs, in the order in which they were recorded."""
        return [_run(row) for row in self._rows(select(SEGMENT_RUNS).order_by(SEGMENT_RUNS.c.seq))]

    def stage_events(self, client_id: str | None = None, *, effective_before: dt.datetime | None = None,
                     recorded_before: dt.datetime | None = None) -> list[StageEvent]:
        """Stage events by customer, in order of effect; of two with the same instant the later recorded comes last.

        Both limits are exclusive instants: what was true before one, and what was known before the other.
        """
        table, query = STAGE_EVENTS.c, select(STAGE_EVENTS)
        if client_id is not None:
            query = query.where(table.client_id == client_id)
        if effective_before is not None:
            query = query.where(table.effective_at < _stored_instant(effective_before, "effective_before"))
        if recorded_before is not None:
            query = query.where(table.recorded_at < _stored_instant(recorded_before, "recorded_before"))
        return [_event(row) for row in self._rows(query.order_by(table.client_id, table.effective_at, table.seq))]

    def alerts(self, client_id: str | None = None) -> list[Alert]:
        """Raised alerts, of one customer or of all, in the order in which they were recorded."""
        query = select(ALERTS).order_by(ALERTS.c.seq)
        return [_alert(row) for row in
                self._rows(query if client_id is None else query.where(ALERTS.c.client_id == client_id))]

    # -- recording -----------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is recorded within is recorded together, or on an error not at all."""
        with self._writing():
            yield

    def record_settings(self, fingerprint: str, settings: Mapping[str, Any]) -> bool:
        """Notes the settings now used; whether that is a change from those in force."""
        with self._writing() as connection:
            last = connection.execute(select(SETTINGS.c.fingerprint).order_by(SETTINGS.c.seq.desc()).limit(1)).scalar()
            if last == fingerprint:
                return False
            self._append(connection, SETTINGS, [{"fingerprint": fingerprint, "settings": _stored_json(settings)}])
            return True

    def record_segment_run(self, inputs: str, criteria: Mapping[str, Any], as_of: dt.date,
                           members: Mapping[str, Sequence[str]]) -> str:
        """Keeps a segmentation run and returns its id, made of ``inputs`` (the data's fingerprint), criteria and date.

        The same run again changes nothing. Raises CalculationError if the same inputs come with other members.
        """
        values = {"inputs": inputs, "criteria": _stored_json(criteria), "as_of": as_of.isoformat()}
        row = {"run_id": fingerprint(values), **values, "members": _stored_json(members)}
        with self._writing() as connection:
            known = connection.execute(
                select(SEGMENT_RUNS.c.members).where(SEGMENT_RUNS.c.run_id == row["run_id"])).scalar()
            if known is None:
                self._append(connection, SEGMENT_RUNS, [row])
            elif known != row["members"]:
                raise CalculationError(
                    f"segmentation run {row['run_id']} is recorded with other members: the same inputs must give the "
                    "same segments; name what differs in inputs or criteria", value_provided=row["run_id"])
        return row["run_id"]

    def record_stage_event(self, request_id: str, client_id: str, stage: str, effective_at: dt.datetime, *,
                           actor: str, reason: str | None = None, automated: bool = False) -> StageEvent:
        """Notes that a customer entered a stage; the same request again returns what it recorded the first time.

        Raises InvalidParameters for an unknown stage, an instant without time zone, and a request id that
        was used for something else.
        """
        row = {"request_id": request_id, "client_id": client_id, "stage": _one_of(stage, STAGES, "stage"),
               "effective_at": _stored_instant(effective_at, "effective_at"), "actor": actor, "reason": reason,
               "automated": int(automated)}
        with self._writing() as connection:
            same_id = select(STAGE_EVENTS).where(STAGE_EVENTS.c.request_id == request_id)
            if connection.execute(same_id).first() is None:
                self._append(connection, STAGE_EVENTS, [row])
            known = connection.execute(same_id).one()
        if any(known._mapping[name] != value for name, value in row.items()):
            raise InvalidParameters(
                f"request_id {request_id!r} was used before, for {known.client_id} to {known.stage} at "
                f"{known.effective_at}: give each change an id of its own", parameter="request_id",
                value_provided=request_id, validation_rule="one id per change")
        return _event(known)

    def record_alerts(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Notes alerts, all or none; returns those that are new (one a customer, rule and day)."""
        given = {(alert.client_id, alert.rule, alert.raised_on.isoformat()): alert for alert in alerts}
        with self._writing() as connection:
            key = select(ALERTS.c.client_id, ALERTS.c.rule, ALERTS.c.raised_on)
            known = {tuple(row) for row in connection.execute(key.where(ALERTS.c.raised_on.in_({k[2] for k in given})))}
            new = {key: alert for key, alert in given.items() if key not in known}
            self._append(connection, ALERTS, [
                {"client_id": client_id, "rule": rule, "raised_on": raised_on,
                 "severity": _one_of(alert.severity, SEVERITIES, "severity"), "figures": _stored_json(alert.figures)}
                for (client_id, rule, raised_on), alert in new.items()])
        return list(new.values())

    # -- within --------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        outer = getattr(self._open, "connection", None)
        if outer is not None:
            yield outer
            return
        if self._clock is None:
            raise CalculationError(f"the ledger {self.path} was opened to read, without a clock: nothing is recorded")
        with self._file.writing() as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        outer = getattr(self._open, "connection", None)
        if outer is not None:
            yield outer
            return
        with self._file.reading() as connection:
            yield connection

    def _rows(self, query: Select) -> list[Row]:
        with self._reading() as connection:
            return [] if connection is None else list(connection.execute(query))

    def _append(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        """Adds rows behind the last one, each with its number, time and digest."""
        if not rows:
            return
        last = connection.execute(select(table.c.seq, table.c.digest).order_by(table.c.seq.desc()).limit(1)).first()
        seq, digest = last or (0, "")
        now = _stored_instant(self._clock(), "clock")
        numbered = []
        for row in rows:
            seq += 1
            row = {**row, "seq": seq, "recorded_at": now}
            digest = fingerprint([digest, row])
            numbered.append({**row, "digest": digest})
        connection.execute(table.insert(), numbered)


def _table(name: str) -> Table:
    return HISTORY[_one_of(name, tuple(HISTORY), "table")]


def _last_digest(connection: Connection | None, table: Table) -> str | None:
    if connection is None:
        return None
    return connection.execute(select(table.c.digest).order_by(table.c.seq.desc()).limit(1)).scalar()


def _one_of(word: str, known: Sequence[str], parameter: str) -> str:
    if word not in known:
        raise InvalidParameters(f"unknown {parameter} {word!r}{hint(word, known)}", parameter=parameter,
                                value_provided=word, validation_rule="one of " + ", ".join(known))
    return word


def _stored_instant(moment: dt.datetime, parameter: str) -> str:
    """UTC text of fixed width, whose order is the order in time."""
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise InvalidParameters(f"{parameter} {str(moment)!r} is not an instant: give a datetime with a time zone",
                                parameter=parameter, value_provided=str(moment),
                                validation_rule="a datetime with a time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _stored_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _settings(row: Row) -> SettingsInForce:
    return SettingsInForce(row.fingerprint, json.loads(row.settings), dt.datetime.fromisoformat(row.recorded_at))


def _run(row: Row) -> SegmentRun:
    return SegmentRun(row.run_id, row.inputs, json.loads(row.criteria), dt.date.fromisoformat(row.as_of),
                      json.loads(row.members), dt.datetime.fromisoformat(row.recorded_at))


def _event(row: Row) -> StageEvent:
    return StageEvent(row.request_id, row.client_id, row.stage, dt.datetime.fromisoformat(row.effective_at), row.actor,
                      row.reason, bool(row.automated), dt.datetime.fromisoformat(row.recorded_at))


def _alert(row: Row) -> Alert:
    return Alert(row.client_id, row.rule, row.severity, dt.date.fromisoformat(row.raised_on), json.loads(row.figures))
