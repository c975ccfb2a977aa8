"""Facts: integer counts of events by account-local day, hour and session; the only reading of raw events.

They are built a month of local days at a time into one Parquet file a month and
fact, sorted by customer, under a key of what they were counted from: the
rows of that month and the days around it, the zones of the customers in it, the
settings used and the SQL texts. A month whose key did not change is not built again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from healthseg.data.engine import (
    BuildConnection,
    create_offsets,
    create_table,
    parquet,
    sql_hash,
    sql_text,
)
from healthseg.data.sources import quoted
from healthseg.data.staging import EVENTS, Staged
from healthseg.data.storage import evict, is_intact, read_json, write_folder, write_json
from healthseg.periods import DAY_SECONDS
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

# the fields of each fact
TYPES = {
    "user_day": "client_id VARCHAR, user_id VARCHAR, day DATE, events BIGINT, api_events BIGINT, other_events BIGINT",
    "feature_day": "client_id VARCHAR, user_id VARCHAR, feature VARCHAR, day DATE, events BIGINT",
    "user_hour": "client_id VARCHAR, user_id VARCHAR, hour_utc TIMESTAMP, day DATE, hour TINYINT, events BIGINT",
    "sessions": "client_id VARCHAR, user_id VARCHAR, session_id VARCHAR, session_start TIMESTAMP, start_day DATE, "
    "day DATE, seconds BIGINT, added_seconds BIGINT, events BIGINT",
    "feature_life": "client_id VARCHAR, user_id VARCHAR, feature VARCHAR, first_day DATE, last_day DATE",
}
# each fact with the order of its rows
FACTS = {
    "user_day": "client_id, user_id, day",
    "feature_day": "client_id, user_id, feature, day",
    "user_hour": "client_id, user_id, hour_utc, day, hour",
    "sessions": "client_id, user_id, session_start, session_id, day",
    "feature_life": "client_id, user_id, feature",
}
_TEXTS = tuple(f"facts/{name}" for name in ("local_events", *FACTS))
_VALUES = ", ".join(f'"{name}"' for name in (*EVENTS.names, "occurred_has_time"))
# whether identical rows are one event: those with an identifier, and single events of an instant
_SINGLE = '((occurred_has_time AND "count" IS NULL) OR event_id IS NOT NULL)'
_RECORD = "record.json"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Month:
    """A month of facts on disk: its folder and the record of what is in it."""

    folder: Path
    record: dict[str, Any]


def month_bounds(month: str) -> tuple[dt.date, dt.date]:
    """The first day of ``YYYY-MM`` and the first day after it.

    >>> month_bounds("2024-12")
    (datetime.date(2024, 12, 1), datetime.date(2025, 1, 1))
    """
    first = dt.date.fromisoformat(f"{month}-01")
    return first, (first + 32 * DAY).replace(day=1)


def local_months(days: Sequence[dt.date]) -> list[str]:
    """The months that events of these UTC days can belong to by local time."""
    return sorted({f"{day + shift * DAY:%Y-%m}" for day in days for shift in (-1, 0, 1)})


def build(
    folder: Path,
    connection: BuildConnection,
    staged: Staged,
    zones: Mapping[str, str],
    excluded: pd.DataFrame,
    settings: Settings,
    version: str,
) -> dict[str, Month]:
    """All months of facts, those that are not on disk built; ``excluded`` are users to leave out."""
    months = {}
    prepared = False
    for name in local_months(list(staged.days)):
        key = _key(staged, name, settings, excluded, version)
        month = _stored(folder / name, key, zones)
        if month is None:
            if not prepared:
                _prepare(connection.connection, excluded)
                prepared = True
            month = _build(folder / name, connection.connection, staged, name, key, settings)
        if month is not None:
            months[name] = month
    for name, month in months.items():
        # another process may still read an older state
        evict(folder / name, days=1, keep={month.folder.name})
    return months


def _window(month: str) -> tuple[dt.date, dt.date]:
    """UTC days that a local month needs: a day for zones on both sides, one more before for sessions."""
    first, following = month_bounds(month)
    return first - 2 * DAY, following + DAY


def _key(
    staged: Staged, month: str, settings: Settings, excluded: pd.DataFrame, version: str
) -> str:
    start, end = _window(month)
    rows = [(day.isoformat(), *value) for day, value in staged.days.items() if start <= day < end]
    gap, identical = settings.session_gap_minutes, settings.keep_identical_events
    users = excluded.to_dict("split")["data"]
    read = [sql_hash(_TEXTS), staged.values]
    return fingerprint([version, *read, rows, gap, identical, users])


def _stored(folder: Path, key: str, zones: Mapping[str, str]) -> Month | None:
    """A month on disk whose customers still have the same zones, and whose unknown customers are still unknown."""
    for candidate in sorted(folder.glob(f"{key}-*")):
        record = read_json(candidate / _RECORD) if is_intact(candidate) else None
        if (
            record
            and all(zones.get(client) == zone for client, zone in record["clients"].items())
            and not any(client in zones for client in record["unknown"])
        ):
            return Month(candidate, record)
    return None


def _prepare(connection: duckdb.DuckDBPyConnection, excluded: pd.DataFrame) -> None:
    """What every month is built with: the users to leave out, and the known customers as an ENUM."""
    casts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in ("client_id", "user_id"))
    users = excluded[["client_id", "user_id"]].astype("str")
    create_table(connection, "excluded", users, f"SELECT {casts} FROM frame")
    connection.execute("DROP TYPE IF EXISTS client_word")
    connection.execute(
        "CREATE TEMP TYPE client_word AS ENUM (SELECT client_id FROM accounts ORDER BY 1)"
    )


def _build(
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    month: str,
    key: str,
    settings: Settings,
) -> Month | None:
    if not _load(connection, staged, month):
        return None
    record = _account(connection, staged, month, settings)
    _create_bounds(connection, month, settings)
    record |= _content(connection)

    def fill(target: Path) -> None:
        _write(connection, target)
        staged.require_unchanged()
        write_json(target / _RECORD, record)

    name = f"{key}-{fingerprint([record['clients'], record['unknown']])}"
    written = write_folder(folder / name, fill)
    return Month(written, read_json(written / _RECORD) or record)


def _load(connection: duckdb.DuckDBPyConnection, staged: Staged, month: str) -> bool:
    """``local_events``: the known customers' rows around the month; False where there are none.

    Repeated words become ENUMs: grouping and sorting then work on small integers.
    """
    start, end = _window(month)
    relation = staged.relation(start, end)
    for kind, name in (
        ("VIEW", "month_events"),
        ("VIEW", "window_events"),
        ("TABLE", "local_events"),
        ("TABLE", "account_offsets"),
    ):
        connection.execute(f"DROP {kind} IF EXISTS {name}")
    if relation is None:
        return False
    casts = ", ".join(
        f"CAST({name} AS {_enum(connection, name, relation)}) AS {name}"
        for name in ("user_id", "feature", "session_id")
    )
    connection.execute(f"""
        CREATE TEMP VIEW window_events AS
        SELECT TRY_CAST(client_id AS client_word) AS client_id, {casts}, COALESCE(source = 'api', FALSE) AS api,
          COALESCE(source = 'ui', TRUE) AS person,
          COALESCE("count", 1) AS n, duration_seconds, occurred_has_time AS has_time, occurred_at,
          EPOCH_MS(occurred_at) // 1000 AS epoch, {_SINGLE} AS single,
          HASH({_VALUES}) AS row_hash, file
        FROM {relation} WHERE fault = 0""")
    create_offsets(connection, start, end, "client_word")
    connection.execute(f"CREATE TEMP TABLE local_events AS {sql_text('facts/local_events')}")
    return True


def _enum(connection: duckdb.DuckDBPyConnection, name: str, relation: str) -> str:
    """An ENUM of a column's distinct words in order, or plain text where it is empty."""
    connection.execute(f"DROP TYPE IF EXISTS {name}_word")
    distinct = f"SELECT DISTINCT {name} FROM {relation} WHERE {name} IS NOT NULL"
    if not connection.execute(f"SELECT 1 FROM ({distinct}) LIMIT 1").fetchall():
        return "VARCHAR"
    connection.execute(f"CREATE TEMP TYPE {name}_word AS ENUM ({distinct} ORDER BY 1)")
    return f"{name}_word"


def _account(
    connection: duckdb.DuckDBPyConnection, staged: Staged, month: str, settings: Settings
) -> dict[str, Any]:
    """What became of the rows of a month of UTC: unknown customers, identical rows; the latter leave local_events."""
    first, following = month_bounds(month)
    inside = f"occurred_at >= DATE '{first}' AND occurred_at < DATE '{following}'"
    record: dict[str, Any] = {"unknown": {}, "repeats": 0, "repeat": None}
    known = f"SELECT CAST(client_id AS VARCHAR), COUNT(*) FROM local_events WHERE {inside} GROUP BY 1 ORDER BY 1"
    record["rows"] = dict(connection.execute(known).fetchall())
    rows = sum(count for day, (count, _) in staged.days.items() if first <= day < following)
    if sum(record["rows"].values()) < rows:
        unknown = connection.execute(
            f"SELECT client_id, COUNT(*), MIN(file) FROM {staged.relation(first, following)} WHERE fault = 0 "
            "AND TRY_CAST(client_id AS client_word) IS NULL GROUP BY 1 ORDER BY 1"
        )
        record["unknown"] = {client: [count, file] for client, count, file in unknown.fetchall()}
    if not settings.keep_identical_events:
        record |= _drop_identical(connection, inside)
    if connection.execute("SELECT 1 FROM excluded LIMIT 1").fetchall():
        connection.execute(
            "DELETE FROM local_events WHERE (CAST(client_id AS VARCHAR), CAST(user_id AS VARCHAR)) IN "
            "(SELECT (client_id, user_id) FROM excluded)"
        )
    return record | {"active": _active_days(connection, inside)}


def _active_days(connection: duckdb.DuckDBPyConnection, inside: str) -> list[list[Any]]:
    """By day of UTC: rows, active customers, active customers with a person's event, and the last hour with a row."""
    rows = connection.execute(
        "SELECT CAST(occurred_at AS DATE), COUNT(*), COUNT(DISTINCT client_id), COUNT(DISTINCT CASE WHEN person "
        "THEN client_id END), MAX(CASE WHEN has_time THEN HOUR(occurred_at) END) "
        f"FROM local_events WHERE {inside} GROUP BY 1 ORDER BY 1"
    )
    return [[day.isoformat(), *counts] for day, *counts in rows.fetchall()]


def _drop_identical(connection: duckdb.DuckDBPyConnection, inside: str) -> dict[str, Any]:
    """Identical rows of one instant are one event. Of rows of whole days and counted rows, those of one file are different
    ones; another file that has them again is the same export."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE shared AS SELECT row_hash FROM local_events WHERE single GROUP BY 1 "
        "HAVING COUNT(*) > 1 UNION ALL SELECT row_hash FROM local_events WHERE NOT single GROUP BY 1 "
        "HAVING MIN(file) < MAX(file)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT rowid AS row FROM (SELECT e.rowid, e.row_hash, e.file, CASE "
        "WHEN e.single THEN 0 ELSE ROW_NUMBER() OVER (PARTITION BY e.row_hash, e.single, e.file ORDER BY e.rowid) END "
        "AS copy FROM local_events AS e SEMI JOIN shared AS s ON s.row_hash = e.row_hash) "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY row_hash, copy ORDER BY rowid) > 1"
    )
    repeats = "FROM local_events AS e JOIN repeated AS r ON r.row = e.rowid"
    ((count,),) = connection.execute(f"SELECT COUNT(*) {repeats} AND {inside}").fetchall()
    first = connection.execute(
        f"SELECT CAST(client_id AS VARCHAR), CAST(occurred_at AS VARCHAR) {repeats} AND {inside} "
        "ORDER BY 1, 2 LIMIT 1"
    ).fetchall()
    connection.execute("DELETE FROM local_events WHERE rowid IN (SELECT row FROM repeated)")
    return {"repeats": count, "repeat": list(first[0]) if first else None}


def _create_bounds(connection: duckdb.DuckDBPyConnection, month: str, settings: Settings) -> None:
    first, following = (
        (day - dt.date(1970, 1, 1)).days * DAY_SECONDS for day in month_bounds(month)
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE bounds AS SELECT CAST({first} AS BIGINT) AS first_epoch, "
        f"CAST({following} AS BIGINT) AS until_epoch, CAST({settings.session_gap_minutes * 60} AS BIGINT) "
        "AS gap_seconds"
    )
    connection.execute(
        f"CREATE TEMP VIEW month_events AS SELECT * FROM local_events "
        f"WHERE local_epoch >= {first} AND local_epoch < {following}"
    )


def _content(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What is in a month: its customers' zones, the last instants, rows and order-free hash by account-local day."""
    clients = connection.execute(
        "SELECT a.client_id, a.zone FROM accounts AS a WHERE a.client_id IN "
        "(SELECT DISTINCT CAST(client_id AS VARCHAR) FROM local_events) ORDER BY 1"
    ).fetchall()
    last = connection.execute(
        "SELECT MAX(CASE WHEN has_time THEN occurred_at END), MAX(CASE WHEN NOT has_time THEN "
        "occurred_at END) FROM month_events"
    )
    ((last_at, last_day),) = last.fetchall()
    days = connection.execute(
        f"SELECT DATE '1970-01-01' + CAST(local_epoch // {DAY_SECONDS} AS INTEGER) AS day, COUNT(*), "
        "SUM(CAST(row_hash AS HUGEINT)) FROM month_events GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        "clients": dict(clients),
        "last_at": last_at and last_at.isoformat(),
        "last_day": last_day and last_day.date().isoformat(),
        "days": [[day.isoformat(), count, str(int(total) % 2**64)] for day, count, total in days],
    }


def _write(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Each fact of the month as a file, sorted by customer."""
    for name, order in FACTS.items():
        connection.execute(f"CREATE TEMP TABLE {name}_rows AS {sql_text(f'facts/{name}')}")
        connection.execute(
            f"COPY (SELECT * FROM {name}_rows ORDER BY {order}) "
            f"TO {quoted(str(folder / f'{name}.parquet'))} (FORMAT PARQUET, COMPRESSION ZSTD)"
        )
    for name in FACTS:
        connection.execute(f"DROP TABLE {name}_rows")


def views(months: Mapping[str, Month]) -> dict[str, str]:
    """The select behind each fact's view."""
    selects = {}
    for name in FACTS:
        files = [month.folder / f"{name}.parquet" for month in months.values()]
        selects[name] = f"SELECT * FROM {parquet(files)}"
    selects["feature_life"] = (
        f"SELECT client_id, user_id, feature, MIN(first_day) AS first_day, MAX(last_day) AS last_day "
        f"FROM ({selects['feature_life']}) GROUP BY 1, 2, 3"
    )
    return selects


def empty_views() -> dict[str, str]:
    """The select behind each fact's view in a portfolio without events."""
    fields = {
        name: [field.split(" ") for field in text.split(", ")] for name, text in TYPES.items()
    }
    return {
        name: "SELECT "
        + ", ".join(f"CAST(NULL AS {kind}) AS {field}" for field, kind in pairs)
        + " WHERE FALSE"
        for name, pairs in fields.items()
    }


def events_select(staged: Staged, repeats: bool) -> str:
    """The kept events with their account-local day; where there are ``repeats``, identical rows as ``_drop_identical`` has them."""
    last = staged.last or max(staged.days)
    checked = f"FROM {staged.relation(min(staged.days), last + DAY)} WHERE fault = 0"
    rows = f"SELECT {_VALUES} {checked}"
    if repeats:
        copy = f"ROW_NUMBER() OVER (PARTITION BY file, {_VALUES}) AS copy"
        rows = (
            f"SELECT DISTINCT * FROM ({rows}) WHERE {_SINGLE} UNION ALL SELECT {_VALUES} FROM "
            f"(SELECT DISTINCT {_VALUES}, copy FROM (SELECT {_VALUES}, {copy} {checked} AND NOT {_SINGLE}))"
        )
    epoch = "EPOCH_MS(e.occurred_at) // 1000"
    day = (
        "CAST(CASE WHEN e.occurred_has_time THEN e.occurred_at + TO_SECONDS(o.offset_seconds) ELSE e.occurred_at END "
        "AS DATE) AS occurred_day"
    )
    return (
        f"SELECT e.* EXCLUDE (occurred_has_time), {day}, e.occurred_has_time FROM ({rows}) AS e "
        f"JOIN account_offsets AS o ON o.client_id = e.client_id "
        f"AND {epoch} >= o.from_epoch AND {epoch} < o.until_epoch"
    )
