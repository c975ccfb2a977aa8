"""The ledger's tables, and how a ledger of an older version is upgraded.

Columns have two types that every database knows: whole numbers and text. An instant is UTC text of fixed width, so that
text order is time order; a structure is canonical JSON. ``seq`` counts a table's rows, and ``digest`` chains a row to the
row before.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
)

from healthseg.errors import DataRetrievalError

METADATA = MetaData()


def _history(name: str, *columns: Column | UniqueConstraint) -> Table:
    """A table whose rows are only ever added."""
    return Table(
        name,
        METADATA,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        *columns,
        Column("recorded_at", Text, nullable=False),
        Column("digest", Text, nullable=False),
    )


def _text(name: str, *, nullable: bool = False, unique: bool = False) -> Column:
    return Column(name, Text, nullable=nullable, unique=unique or None)


SCHEMA_VERSION = Table(
    "schema_version", METADATA, Column("version", Integer, primary_key=True, autoincrement=False)
)
SETTINGS = _history("settings_in_force", _text("fingerprint"), _text("settings"))
SEGMENT_RUNS = _history(
    "segment_runs",
    _text("run_id", unique=True),
    _text("inputs"),
    _text("criteria"),
    _text("as_of"),
    _text("members"),
)
STAGE_EVENTS = _history(
    "stage_events",
    _text("request_id", unique=True),
    _text("client_id"),
    _text("stage"),
    _text("effective_at"),
    _text("actor"),
    _text("reason", nullable=True),
    Column("automated", Integer, nullable=False),
    _text("kind"),
    _text("lifecycle"),
)
ALERTS = _history(
    "alerts_raised",
    _text("client_id"),
    _text("rule"),
    _text("severity"),
    _text("raised_on"),
    _text("figures"),
    UniqueConstraint("client_id", "rule", "raised_on"),
)
OUTBOX = _history(
    "outbox",
    _text("key", unique=True),
    _text("request_id"),
    _text("client_id"),
    _text("action"),
    _text("handler", nullable=True),
    _text("payload"),
    _text("due_at", nullable=True),
)
OUTBOX_ATTEMPTS = _history(
    "outbox_attempts",
    _text("key"),
    Column("attempt", Integer, nullable=False),
    _text("outcome"),
    _text("reason", nullable=True),
    _text("until", nullable=True),
)
PREDICTIONS = _history(
    "churn_predictions",
    _text("predicted_on"),
    Column("horizon_days", Integer, nullable=False),
    _text("model"),
    _text("method"),
    _text("probabilities"),
    UniqueConstraint("predicted_on", "horizon_days", "model"),
)
HISTORY = {
    table.name: table
    for table in (
        *(SETTINGS, SEGMENT_RUNS, STAGE_EVENTS, ALERTS),
        *(OUTBOX, OUTBOX_ATTEMPTS, PREDICTIONS),
    )
}


@dataclass(frozen=True)
class AppendOnly:
    """From this step on, a table refuses every change of a row."""

    table: str

    def statements(self, dialect: str) -> list[str]:
        """The triggers, in the database's own SQL."""
        message = f"{self.table} is append-only: record a new row instead"
        if dialect == "sqlite":
            return [
                f"CREATE TRIGGER {self.table}_no_{verb.lower()} BEFORE {verb} ON {self.table} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
                for verb in ("UPDATE", "DELETE")
            ]
        return [
            f"CREATE FUNCTION {self.table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION USING MESSAGE = '{message}'; END $$",
            f"CREATE TRIGGER {self.table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {self.table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.table}_refuse()",
        ]


# A migration is written once and never edited: the n-th upgrades a ledger from version n - 1 to version n.
MIGRATIONS: tuple[tuple[str | AppendOnly, ...], ...] = (
    (
        "CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY)",
        "CREATE TABLE settings_in_force (seq INTEGER NOT NULL PRIMARY KEY, fingerprint TEXT NOT NULL, "
        "settings TEXT NOT NULL, recorded_at TEXT NOT NULL, digest TEXT NOT NULL)",
        "CREATE TABLE segment_runs (seq INTEGER NOT NULL PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, "
        "inputs TEXT NOT NULL, criteria TEXT NOT NULL, as_of TEXT NOT NULL, members TEXT NOT NULL, "
        "recorded_at TEXT NOT NULL, digest TEXT NOT NULL)",
        "CREATE TABLE stage_events (seq INTEGER NOT NULL PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, "
        "client_id TEXT NOT NULL, stage TEXT NOT NULL, effective_at TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT, "
        "automated INTEGER NOT NULL, recorded_at TEXT NOT NULL, digest TEXT NOT NULL)",
        "CREATE TABLE alerts_raised (seq INTEGER NOT NULL PRIMARY KEY, client_id TEXT NOT NULL, rule TEXT NOT NULL, "
        "severity TEXT NOT NULL, raised_on TEXT NOT NULL, figures TEXT NOT NULL, recorded_at TEXT NOT NULL, "
        "digest TEXT NOT NULL, UNIQUE (client_id, rule, raised_on))",
        "CREATE INDEX stage_events_by_client ON stage_events (client_id, effective_at)",
        *map(
            AppendOnly,
            (
                "schema_version",
                "settings_in_force",
                "segment_runs",
                "stage_events",
                "alerts_raised",
            ),
        ),
    ),
    (
        "ALTER TABLE stage_events ADD COLUMN kind TEXT NOT NULL DEFAULT 'transition'",
        "CREATE TABLE outbox (seq INTEGER NOT NULL PRIMARY KEY, key TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL, "
        "client_id TEXT NOT NULL, action TEXT NOT NULL, handler TEXT, payload TEXT NOT NULL, due_at TEXT, "
        "recorded_at TEXT NOT NULL, digest TEXT NOT NULL)",
        "CREATE TABLE outbox_attempts (seq INTEGER NOT NULL PRIMARY KEY, key TEXT NOT NULL, attempt INTEGER NOT NULL, "
        "outcome TEXT NOT NULL, reason TEXT, until TEXT, recorded_at TEXT NOT NULL, digest TEXT NOT NULL)",
        "CREATE INDEX outbox_by_request ON outbox (request_id)",
        "CREATE INDEX outbox_attempts_by_key ON outbox_attempts (key, seq)",
        AppendOnly("outbox"),
        AppendOnly("outbox_attempts"),
    ),
    (
        "CREATE TABLE churn_predictions (seq INTEGER NOT NULL PRIMARY KEY, predicted_on TEXT NOT NULL, "
        "horizon_days INTEGER NOT NULL, model TEXT NOT NULL, method TEXT NOT NULL, probabilities TEXT NOT NULL, "
        "recorded_at TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (predicted_on, horizon_days, model))",
        AppendOnly("churn_predictions"),
    ),
    ("ALTER TABLE stage_events ADD COLUMN lifecycle TEXT NOT NULL DEFAULT ''",),
)


# the newest version
LATEST = len(MIGRATIONS)
# by table, columns that migrations added, the newest first, with the value that it gave to rows whose digest does not cover them
ADDED_COLUMNS = {"stage_events": {"lifecycle": "", "kind": "transition"}}


def version(connection: Connection) -> int | None:
    """The schema's version; 0 of an empty database, None of one that is not a ledger."""
    names = inspect(connection).get_table_names()
    if SCHEMA_VERSION.name not in names:
        return None if names else 0
    return connection.execute(select(func.max(SCHEMA_VERSION.c.version))).scalar() or 0


def refuse_newer(name: str, version: int) -> None:
    """Raises DataRetrievalError for a ledger that a newer healthseg wrote."""
    if version > LATEST:
        raise DataRetrievalError(
            f"the ledger {name} has schema version {version}; this healthseg knows versions up to "
            f"{LATEST}: use the newer healthseg that wrote it",
            path=name,
            value_provided=version,
            validation_rule=f"schema version at most {LATEST}",
        )


def upgrade(connection: Connection, to: int = LATEST) -> None:
    """Upgrades the tables to a version, the newest by default, within the caller's transaction."""
    dialect = connection.dialect.name
    for number in range((version(connection) or 0) + 1, to + 1):
        for step in MIGRATIONS[number - 1]:
            for statement in [step] if isinstance(step, str) else step.statements(dialect):
                connection.exec_driver_sql(statement)
        connection.execute(SCHEMA_VERSION.insert().values(version=number))
