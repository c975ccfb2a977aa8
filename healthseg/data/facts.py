"""Facts: integer counts of events by account-local day, hour and session; the only reading of raw events.

They are built a month of local days at a time, months with few rows from one reading, into one Parquet file a month
and fact, sorted by customer, under a key of what they were counted from: the
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
    Executes,
    create_offsets,
    create_table,
    fetch,
    has_enums,
    parquet,
    sql_hash,
    sql_text,
)
from healthseg.data.engines import Engine
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
_RECORD = "record.json"
_COLUMNS = (
    "client_id, user_id, feature, session_id, api, person, n, duration_seconds, has_time, occurred_at, epoch, local_epoch, "
    "single, row_hash, file"
)
DAY = dt.timedelta(days=1)
# neighbouring months with fewer rows are read at once: to plan a reading takes longer than to read so few rows
_MAX_ROWS_TOGETHER = 200_000


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
    names = local_months(list(staged.days))
    keys = {name: _key(staged, name, settings, excluded, version) for name in names}
    months = {name: _stored(folder / name, key, zones) for name, key in keys.items()}
    missing = [name for name, month in months.items() if month is None]
    if missing:
        engine = connection.reading(staged.source)
        _prepare(engine, excluded)
        for together in _batches(staged, missing):
            _load(engine, staged, _window(together[0])[0], _window(together[-1])[1])
            for name in together:
                target = folder / name
                months[name] = _build(target, connection, staged, name, keys[name], settings)
    counted = {name: month for name, month in months.items() if month is not None}
    for name, month in counted.items():
        # another process may still read an older state
        evict(folder / name, days=1, keep={month.folder.name})
    return counted


def _batches(staged: Staged, months: Sequence[str]) -> list[list[str]]:
    """The months to read at once: neighbours, as long as they have few rows together."""
    batches: list[list[str]] = []
    total = 0
    for month in months:
        first, following = month_bounds(month)
        rows = sum(count for day, (count, _) in staged.days.items() if first <= day < following)
        follows = batches and month_bounds(batches[-1][-1])[1] == first
        if follows and total + rows <= _MAX_ROWS_TOGETHER:
            batches[-1].append(month)
            total += rows
        else:
            batches.append([month])
            total = rows
    return batches


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
    read = [sql_hash(_TEXTS), staged.values, staged.single]
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


def _prepare(engine: Executes, excluded: pd.DataFrame) -> None:
    """What every month is built with: the users to leave out, and in DuckDB the known customers as an ENUM."""
    casts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in ("client_id", "user_id"))
    users = excluded[["client_id", "user_id"]].astype("str")
    create_table(engine, "excluded", users, f"SELECT {casts} FROM frame")
    if has_enums(engine):
        engine.execute("DROP TYPE IF EXISTS client_word")
        engine.execute(
            "CREATE TEMP TYPE client_word AS ENUM (SELECT client_id FROM accounts ORDER BY 1)"
        )


def _build(
    folder: Path,
    connection: BuildConnection,
    staged: Staged,
    month: str,
    key: str,
    settings: Settings,
) -> Month | None:
    """A month of what was read last; None where the days around it have no rows."""
    start, end = _window(month)
    if staged.relation(start, end) is None:
        return None
    engine = connection.reading(staged.source)
    engine.execute(
        "CREATE OR REPLACE TEMP VIEW located_events AS SELECT * FROM read_events "
        f"WHERE occurred_at >= DATE '{start}' AND occurred_at < DATE '{end}'"
    )
    record = _account(engine, staged, month, settings)
    _create_bounds(engine, month, settings)
    record |= _content(engine)

    def fill(target: Path) -> None:
        _write(engine, connection.connection, target)
        staged.require_unchanged()
        write_json(target / _RECORD, record)

    name = f"{key}-{fingerprint([record['clients'], record['unknown']])}"
    written = write_folder(folder / name, fill)
    return Month(written, read_json(written / _RECORD) or record)


def _load(engine: Executes, staged: Staged, start: dt.date, end: dt.date) -> None:
    """``read_events``: the known customers' rows of the UTC days ``[start, end)``.

    In DuckDB repeated words become ENUMs: grouping and sorting then work on small integers.
    """
    relation = staged.relation(start, end)
    if relation is None:
        return
    enums = has_enums(engine)
    if enums:
        for name in ("month_events", "local_events", "located_events", "window_events"):
            engine.execute(f"DROP VIEW IF EXISTS {name}")
        for name in ("read_events", "account_offsets"):
            engine.execute(f"DROP TABLE IF EXISTS {name}")
        # cleaned once, not once for each column's words
        engine.execute(
            f"CREATE OR REPLACE TEMP TABLE window_rows AS SELECT * FROM {relation} WHERE fault = 0"
        )
        relation = "window_rows"
    # a session's id is hardly repeated: to list such words costs more than the rest of the reading
    words = ("user_id", "feature")
    types = {name: _enum(engine, name, relation) if enums else "VARCHAR" for name in words}
    types["session_id"] = "VARCHAR"
    casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in types.items())
    client = "TRY_CAST(client_id AS client_word)" if enums else "client_id"
    engine.execute(f"""
        CREATE OR REPLACE TEMP VIEW window_events AS
        SELECT {client} AS client_id, {casts}, COALESCE(source = 'api', FALSE) AS api,
          COALESCE(source = 'ui', TRUE) AS person,
          COALESCE("count", 1) AS n, duration_seconds, occurred_has_time AS has_time, occurred_at,
          EPOCH_US(occurred_at) // 1000000 AS epoch, {staged.single} AS single,
          HASH({_VALUES}) AS row_hash, file
        FROM {relation} WHERE fault = 0""")
    create_offsets(engine, start, end, "client_word" if enums else "VARCHAR")
    text = sql_text("facts/local_events")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE read_events AS {text}")
    if enums:
        engine.execute("DROP VIEW window_events")
        engine.execute("DROP TABLE window_rows")


def _enum(engine: Executes, name: str, relation: str) -> str:
    """An ENUM of a column's distinct words in order, or plain text where it is empty."""
    engine.execute(f"DROP TYPE IF EXISTS {name}_word")
    words = f"FROM {relation} WHERE {name} IS NOT NULL"
    if not engine.execute(f"SELECT 1 {words} LIMIT 1").fetchall():
        return "VARCHAR"
    engine.execute(
        f"CREATE TEMP TYPE {name}_word AS ENUM (SELECT DISTINCT {name} {words} ORDER BY 1)"
    )
    return f"{name}_word"


def _account(engine: Executes, staged: Staged, month: str, settings: Settings) -> dict[str, Any]:
    """What became of the rows of a month of UTC: unknown customers, identical rows; ``local_events`` are the others."""
    first, following = month_bounds(month)
    inside = f"occurred_at >= DATE '{first}' AND occurred_at < DATE '{following}'"
    record: dict[str, Any] = {"unknown": {}, "repeats": 0, "repeat": None}
    known = f"SELECT CAST(client_id AS VARCHAR), COUNT(*) FROM located_events WHERE {inside} GROUP BY 1 ORDER BY 1"
    record["rows"] = dict(engine.execute(known).fetchall())
    rows = sum(count for day, (count, _) in staged.days.items() if first <= day < following)
    if sum(record["rows"].values()) < rows:
        unknown = engine.execute(
            f"SELECT client_id, COUNT(*), MIN(file) FROM {staged.relation(first, following)} AS r WHERE fault = 0 "
            "AND client_id NOT IN (SELECT client_id FROM accounts) GROUP BY 1 ORDER BY 1"
        )
        record["unknown"] = {client: [count, file] for client, count, file in unknown.fetchall()}
    counted = "located_events"
    if not settings.keep_identical_events and _has_shared(engine):
        record |= _drop_identical(engine, inside)
        counted = "distinct_events"
    if engine.execute("SELECT 1 FROM excluded LIMIT 1").fetchall():
        pairs = " AND ".join(
            f"x.{name} = CAST(e.{name} AS VARCHAR)" for name in ("client_id", "user_id")
        )
        engine.execute(
            f"CREATE OR REPLACE TEMP TABLE included_events AS SELECT {_COLUMNS} FROM {counted} AS e "
            f"WHERE NOT EXISTS (SELECT 1 FROM excluded AS x WHERE {pairs})"
        )
        counted = "included_events"
    engine.execute(f"CREATE OR REPLACE TEMP VIEW local_events AS SELECT * FROM {counted}")
    return record | {"active": _active_days(engine, inside)}


def _active_days(engine: Executes, inside: str) -> list[list[Any]]:
    """By day of UTC: rows, active customers, active customers with a person's event, and the last hour with a row."""
    rows = engine.execute(
        "SELECT CAST(occurred_at AS DATE) AS day, COUNT(*) AS n, COUNT(DISTINCT client_id) AS clients, "
        "COUNT(DISTINCT CASE WHEN person THEN client_id END) AS persons, "
        "MAX(CASE WHEN has_time THEN HOUR(occurred_at) END) AS last_hour "
        f"FROM local_events WHERE {inside} GROUP BY 1 ORDER BY 1"
    )
    return [[day.isoformat(), *counts] for day, *counts in rows.fetchall()]


def _has_shared(engine: Executes) -> bool:
    """``shared``: hashes that several rows have. Of rows of whole days and counted rows, those of one file are different
    ones; another file that has them again is the same export."""
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE shared AS SELECT row_hash FROM located_events WHERE single GROUP BY 1 "
        "HAVING COUNT(*) > 1 UNION ALL SELECT row_hash FROM located_events WHERE NOT single GROUP BY 1 "
        "HAVING MIN(file) < MAX(file)"
    )
    return bool(engine.execute("SELECT 1 FROM shared LIMIT 1").fetchall())


def _drop_identical(engine: Executes, inside: str) -> dict[str, Any]:
    """``distinct_events``: of identical rows of one instant, and of rows that another file has again, one each."""
    columns = ", ".join(f"e.{name}" for name in _COLUMNS.split(", "))
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated_rows AS SELECT {_COLUMNS}, ROW_NUMBER() OVER (PARTITION BY row_hash, copy "
        f"ORDER BY file) AS again FROM (SELECT {columns}, CASE WHEN e.single THEN 0 ELSE ROW_NUMBER() OVER (PARTITION BY "
        "e.row_hash, e.single, e.file ORDER BY e.file) END AS copy FROM located_events AS e JOIN shared AS s "
        "ON s.row_hash = e.row_hash) AS c"
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE distinct_events AS SELECT {columns} FROM located_events AS e LEFT JOIN shared AS s "
        f"ON s.row_hash = e.row_hash WHERE s.row_hash IS NULL UNION ALL SELECT {_COLUMNS} FROM repeated_rows WHERE again = 1"
    )
    repeats = f"FROM repeated_rows WHERE again > 1 AND {inside}"
    ((count,),) = engine.execute(f"SELECT COUNT(*) AS n {repeats}").fetchall()
    first = engine.execute(
        f"SELECT CAST(client_id AS VARCHAR) AS client_id, occurred_at {repeats} ORDER BY 1, 2 LIMIT 1"
    ).fetchall()
    return {"repeats": count, "repeat": [first[0][0], str(first[0][1])] if first else None}


def _create_bounds(engine: Executes, month: str, settings: Settings) -> None:
    first, following = (
        (day - dt.date(1970, 1, 1)).days * DAY_SECONDS for day in month_bounds(month)
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE bounds AS SELECT CAST({first} AS BIGINT) AS first_epoch, "
        f"CAST({following} AS BIGINT) AS until_epoch, CAST({settings.session_gap_minutes * 60} AS BIGINT) "
        "AS gap_seconds"
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP VIEW month_events AS SELECT * FROM local_events "
        f"WHERE local_epoch >= {first} AND local_epoch < {following}"
    )


def _content(engine: Executes) -> dict[str, Any]:
    """What is in a month: its customers' zones, its features' first days, the last instants, rows and order-free hash by account-local day."""
    clients = engine.execute(
        "SELECT a.client_id, a.zone FROM accounts AS a WHERE a.client_id IN "
        "(SELECT DISTINCT CAST(client_id AS VARCHAR) FROM local_events) ORDER BY 1"
    ).fetchall()
    last = engine.execute(
        "SELECT MAX(CASE WHEN has_time THEN occurred_at END) AS last_at, MAX(CASE WHEN NOT has_time THEN "
        "occurred_at END) AS last_day FROM month_events"
    )
    ((last_at, last_day),) = last.fetchall()
    days = engine.execute(
        f"SELECT DATE '1970-01-01' + CAST(local_epoch // {DAY_SECONDS} AS INTEGER) AS day, COUNT(*) AS n, "
        "SUM(CAST(row_hash AS HUGEINT)) AS total FROM month_events GROUP BY 1 ORDER BY 1"
    ).fetchall()
    features = engine.execute(
        f"SELECT CAST(feature AS VARCHAR) AS name, DATE '1970-01-01' + CAST(MIN(local_epoch) // {DAY_SECONDS} AS INTEGER) "
        "AS first_day FROM month_events WHERE person AND n > 0 AND feature IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        "clients": dict(clients),
        "features": {name: day.isoformat() for name, day in features},
        "last_at": last_at and last_at.isoformat(),
        "last_day": last_day and last_day.date().isoformat(),
        "days": [[day.isoformat(), count, str(int(total) % 2**64)] for day, count, total in days],
    }


def _write(engine: Executes, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Each fact of the month as a file, sorted by customer."""
    for name, order in FACTS.items():
        text = sql_text(f"facts/{name}")
        # the days of a feature's life are those of a fact that is here already
        if isinstance(engine, Engine) and name != "feature_life":
            fetch(engine, text, connection, f"{name}_rows", TYPES[name])
        else:
            connection.execute(f"CREATE TEMP TABLE {name}_rows AS {text}")
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
        copy = f"ROW_NUMBER() OVER (PARTITION BY file, {_VALUES} ORDER BY file) AS copy"
        rows = (
            f"SELECT DISTINCT {_VALUES} FROM ({rows}) WHERE {staged.single} UNION ALL SELECT {_VALUES} FROM "
            f"(SELECT DISTINCT {_VALUES}, copy FROM (SELECT {_VALUES}, {copy} {checked} AND NOT {staged.single}))"
        )
    epoch = "EPOCH_US(e.occurred_at) // 1000000"
    local = f"{epoch} + CASE WHEN e.occurred_has_time THEN o.offset_seconds ELSE 0 END"
    columns = ", ".join(f'e."{name}"' for name in EVENTS.names)
    return (
        f"SELECT {columns}, DATE '1970-01-01' + CAST(({local}) // {DAY_SECONDS} AS INTEGER) AS occurred_day, "
        f"e.occurred_has_time FROM ({rows}) AS e "
        f"JOIN account_offsets AS o ON o.client_id = e.client_id "
        f"AND {epoch} >= o.from_epoch AND {epoch} < o.until_epoch"
    )
