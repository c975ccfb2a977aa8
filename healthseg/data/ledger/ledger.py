"""The ledger: what cannot be computed from the tables, recorded once and never changed.

Which settings were in force, which segmentation runs were made, who moved a
customer to a stage, which alerts were raised. Only this module writes customer
state. Reading a portfolio that has no ledger finds nothing and creates nothing.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from healthseg.data.ledger.place import SettingsInForce, settings_in_force
from healthseg.data.ledger.record import (
    FILE_NAME,
    Clock,
    Record,
    one_of,
    stored_instant,
    stored_json,
)
from healthseg.data.ledger.schema import ALERTS, SEGMENT_RUNS, SETTINGS, STAGE_EVENTS
from healthseg.errors import CalculationError, InvalidParameters
from healthseg.settings import SEVERITIES, STAGES, fingerprint

__all__ = [
    "FILE_NAME",
    "KINDS",
    "Alert",
    "Clock",
    "Ledger",
    "SegmentRun",
    "SettingsInForce",
    "StageEvent",
]
KINDS = ("transition", "correction")


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
    kind: str = "transition"
    seq: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Alert:
    """A rule held for a customer on a day; ``figures`` are those that it named."""

    client_id: str
    rule: str
    severity: str
    raised_on: dt.date
    figures: Mapping[str, Any]


class Ledger(Record):
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

    # -- what was recorded ---------------------------------------------------------------------------------

    def settings_at(self, moment: dt.datetime) -> SettingsInForce | None:
        """The settings in force at an instant (those first used then included); None before any were recorded."""
        until = stored_instant(moment, "moment")
        query = (
            select(SETTINGS)
            .where(SETTINGS.c.recorded_at <= until)
            .order_by(SETTINGS.c.seq.desc())
            .limit(1)
        )
        return next(map(_settings, self.rows(query)), None)

    def settings_history(self) -> list[SettingsInForce]:
        """Every change of the settings, oldest first: where the marks in a score's history come from."""
        return [_settings(row) for row in self.rows(select(SETTINGS).order_by(SETTINGS.c.seq))]

    def segment_run(self, run_id: str) -> SegmentRun | None:
        """One segmentation run, or None if no such run was recorded."""
        return next(
            map(_run, self.rows(select(SEGMENT_RUNS).where(SEGMENT_RUNS.c.run_id == run_id))), None
        )

    def segment_runs(self) -> list[SegmentRun]:
        """All segmentation runs, in the order in which they were recorded."""
        return [_run(row) for row in self.rows(select(SEGMENT_RUNS).order_by(SEGMENT_RUNS.c.seq))]

    def stage_events(
        self,
        client_id: str | None = None,
        *,
        effective_before: dt.datetime | None = None,
        recorded_before: dt.datetime | None = None,
        after: int = 0,
    ) -> list[StageEvent]:
        """Stage events by customer, in order of effect; of two with the same instant the later recorded comes last.

        Both limits are exclusive instants: what was true before one, and what was known before the other. ``after``
        leaves out those up to a ``seq``.
        """
        table, query = STAGE_EVENTS.c, select(STAGE_EVENTS)
        if client_id is not None:
            query = query.where(table.client_id == client_id)
        if effective_before is not None:
            query = query.where(
                table.effective_at < stored_instant(effective_before, "effective_before")
            )
        if after:
            query = query.where(table.seq > after)
        if recorded_before is not None:
            query = query.where(
                table.recorded_at < stored_instant(recorded_before, "recorded_before")
            )
        return [
            _event(row)
            for row in self.rows(query.order_by(table.client_id, table.effective_at, table.seq))
        ]

    def stage_event_of(self, request_id: str) -> StageEvent | None:
        """The stage event that a request recorded, or None."""
        return next(
            map(
                _event,
                self.rows(select(STAGE_EVENTS).where(STAGE_EVENTS.c.request_id == request_id)),
            ),
            None,
        )

    def alerts(self, client_id: str | None = None) -> list[Alert]:
        """Raised alerts, of one customer or of all, in the order in which they were recorded."""
        query = select(ALERTS).order_by(ALERTS.c.seq)
        return [
            _alert(row)
            for row in self.rows(
                query if client_id is None else query.where(ALERTS.c.client_id == client_id)
            )
        ]

    # -- recording -----------------------------------------------------------------------------------------

    def record_settings(self, fingerprint: str, settings: Mapping[str, Any]) -> bool:
        """Notes the settings now used; whether that is a change from those in force."""
        with self.writing() as connection:
            last = connection.execute(
                select(SETTINGS.c.fingerprint).order_by(SETTINGS.c.seq.desc()).limit(1)
            ).scalar()
            if last == fingerprint:
                return False
            self.append(
                connection,
                SETTINGS,
                [{"fingerprint": fingerprint, "settings": stored_json(settings)}],
            )
            return True

    def record_segment_run(
        self,
        inputs: str,
        criteria: Mapping[str, Any],
        as_of: dt.date,
        members: Mapping[str, Sequence[str]],
    ) -> str:
        """Keeps a segmentation run and returns its id, made of ``inputs`` (the data's fingerprint), criteria and date.

        The same run again changes nothing. Raises CalculationError if the same inputs come with other members.
        """
        values = {"inputs": inputs, "criteria": stored_json(criteria), "as_of": as_of.isoformat()}
        row = {"run_id": fingerprint(values), **values, "members": stored_json(members)}
        with self.writing() as connection:
            known = connection.execute(
                select(SEGMENT_RUNS.c.members).where(SEGMENT_RUNS.c.run_id == row["run_id"])
            ).scalar()
            if known is None:
                self.append(connection, SEGMENT_RUNS, [row])
            elif known != row["members"]:
                raise CalculationError(
                    f"segmentation run {row['run_id']} is recorded with other members: the same inputs must give the "
                    "same segments; name what differs in inputs or criteria",
                    value_provided=row["run_id"],
                )
        return row["run_id"]

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
    ) -> StageEvent:
        """Notes that a customer entered a stage; the same request again returns what it recorded the first time.

        Raises InvalidParameters for an unknown stage, an instant without time zone, and a request id that
        was used for something else.
        """
        row = {
            "request_id": request_id,
            "client_id": client_id,
            "stage": one_of(stage, STAGES, "stage"),
            "effective_at": stored_instant(effective_at, "effective_at"),
            "actor": actor,
            "reason": reason,
            "automated": int(automated),
            "kind": one_of(kind, KINDS, "kind"),
        }
        with self.writing() as connection:
            same_id = select(STAGE_EVENTS).where(STAGE_EVENTS.c.request_id == request_id)
            if connection.execute(same_id).first() is None:
                self.append(connection, STAGE_EVENTS, [row])
            known = connection.execute(same_id).one()
        if any(known._mapping[name] != value for name, value in row.items()):
            raise InvalidParameters(
                f"request_id {request_id!r} was used before, for {known.client_id} to {known.stage} at "
                f"{known.effective_at}: give each change an id of its own",
                parameter="request_id",
                value_provided=request_id,
                validation_rule="one id per change",
            )
        return _event(known)

    def record_alerts(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Notes alerts, all or none; returns those that are new (one a customer, rule and day)."""
        given = {
            (alert.client_id, alert.rule, alert.raised_on.isoformat()): alert for alert in alerts
        }
        with self.writing() as connection:
            key = select(ALERTS.c.client_id, ALERTS.c.rule, ALERTS.c.raised_on)
            known = {
                tuple(row)
                for row in connection.execute(
                    key.where(ALERTS.c.raised_on.in_({k[2] for k in given}))
                )
            }
            new = {key: alert for key, alert in given.items() if key not in known}
            self.append(
                connection,
                ALERTS,
                [
                    {
                        "client_id": client_id,
                        "rule": rule,
                        "raised_on": raised_on,
                        "severity": one_of(alert.severity, SEVERITIES, "severity"),
                        "figures": stored_json(alert.figures),
                    }
                    for (client_id, rule, raised_on), alert in new.items()
                ],
            )
        return list(new.values())


def _settings(row: Row) -> SettingsInForce:
    return settings_in_force(row.fingerprint, row.settings, row.recorded_at)


def _run(row: Row) -> SegmentRun:
    return SegmentRun(
        row.run_id,
        row.inputs,
        json.loads(row.criteria),
        dt.date.fromisoformat(row.as_of),
        json.loads(row.members),
        dt.datetime.fromisoformat(row.recorded_at),
    )


def _event(row: Row) -> StageEvent:
    return StageEvent(
        row.request_id,
        row.client_id,
        row.stage,
        dt.datetime.fromisoformat(row.effective_at),
        row.actor,
        row.reason,
        bool(row.automated),
        dt.datetime.fromisoformat(row.recorded_at),
        row.kind,
        row.seq,
        row.digest,
    )


def _alert(row: Row) -> Alert:
    return Alert(
        row.client_id,
        row.rule,
        row.severity,
        dt.date.fromisoformat(row.raised_on),
        json.loads(row.figures),
    )
