"""Facts: integer counts of events by account-local day, hour and session; the only reading of raw events.

They are built a month of local days at a time into one Parquet file a month and
fact, sorted by customer, and kept under a key of what they were made from: the
rows of that month and the day around it, the zones of the customers in it, the
settings used and the SQL texts. A month whose key did not change is not built again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from healthseg.data.engine import parquet, sql_hash, sql_text
from healthseg.data.reading.cleaning import offsets_frame
from healthseg.data.reading.sources import quoted
from healthseg.data.reading.staging import EVENTS, Staged
from healthseg.data.store import Store
from healthseg.data.workbench import Workbench
from healthseg.settings import Settings, fingerprint

FACTS = ("user_day", "feature_day", "user_hour", "sessions", "feature_life")
_ORDER = {
    "user_day": "client_id, user_id, day",
    "feature_day": "client_id, user_id, feature, day",
    "user_hour": "client_id, user_id, hour_utc, day, hour",
    "feature_life": "client_id, user_id, feature",
    "sessions": "client_id, user_id, session_start, session_id, day",
}
_TEXTS = tuple(f"facts/{name}" for name in ("local_events", *FACTS))
_SAME = ", ".join(f'"{name}"' for name in (*EVENTS.names, "occurred_has_time"))
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Month:
    """A month of facts in the store: its folder and the record of what is in it."""

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
    """The months that events of these UTC days can lie in by local time."""
    return sorted({f"{day + shift * DAY:%Y-%m}" for day in days for shift in (-1, 0, 1)})


def _window(month: str) -> tuple[dt.date, dt.date]:
    """UTC days that a local month needs: a day for zones on both sides, one more before for sessions."""
    first, following = month_bounds(month)
    return first - 2 * DAY, following + DAY


def _key(
    staged: Staged, month: str, settings: Settings, excluded: pd.DataFrame, version: str
) -> str:
    start, end = _window(month)
    rows = [(day.isoformat(), *value) for day, value in staged.days.items() if start <= day < end]
    return fingerprint(
        [
            version,
            sql_hash(_TEXTS),
            rows,
            settings.session_gap_minutes,
            settings.keep_identical_events,
            excluded.to_dict("split")["data"],
        ]
    )


def _holds(record: Mapping[str, Any], zones: Mapping[str, str]) -> bool:
    """Whether a record's customers are still known by the same zones, and its unknown ones still unknown."""
    return all(zones.get(client) == zone for client, zone in record["clients"].items()) and not any(
        client in zones for client in record["unknown"]
    )


def _stored(store: Store, month: str, key: str, zones: Mapping[str, str]) -> Month | None:
    for folder in sorted((store.folder / "facts" / month).glob(f"{key}-*")):
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        if _holds(record, zones):
            return Month(folder, record)
    return None


def _load(connection: duckdb.DuckDBPyConnection, staged: Staged, month: str) -> bool:
    """``local_events``: the known customers' rows around the month; False where there are none.

    Repeated words become ENUMs: grouping and sorting then work on small integers.
    """
    start, end = _window(month)
    relation = staged.relation(start, end)
    for name in ("month_events", "window_events"):
        connection.execute(f"DROP VIEW IF EXISTS {name}")
    for name in ("local_events", "account_offsets"):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    if relation is None:
        return False
    kinds = {
        name: _words(connection, name, relation) for name in ("user_id", "feature", "session_id")
    }
    cast = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in kinds.items())
    connection.execute(f"""
        CREATE TEMP VIEW window_events AS
        SELECT TRY_CAST(client_id AS client_word) AS client_id, {cast}, COALESCE(source = 'api', FALSE) AS api,
          COALESCE("count", 1) AS n, duration_seconds, occurred_has_time AS has_time, occurred_at,
          EPOCH_MS(occurred_at) // 1000 AS epoch, occurred_has_time AND "count" IS NULL AS single,
          HASH({_SAME}) AS row_hash
        FROM {relation} WHERE fault = 0""")
    make_offsets(connection, start, end)
    connection.execute(f"CREATE TEMP TABLE local_events AS {sql_text('facts/local_events')}")
    return True


def _words(connection: duckdb.DuckDBPyConnection, name: str, relation: str) -> str:
    """An ENUM of a column's distinct words in order, or plain text where there are none."""
    connection.execute(f"DROP TYPE IF EXISTS {name}_word")
    distinct = f"SELECT DISTINCT {name} FROM {relation} WHERE {name} IS NOT NULL"
    if not connection.execute(f"SELECT 1 FROM ({distinct}) LIMIT 1").fetchall():
        return "VARCHAR"
    connection.execute(f"CREATE TEMP TYPE {name}_word AS ENUM ({distinct} ORDER BY 1)")
    return f"{name}_word"


def make_offsets(connection: duckdb.DuckDBPyConnection, start: dt.date, end: dt.date) -> None:
    """``account_offsets`` over these days, of the connection's ``accounts``."""
    zones = [row[0] for row in connection.execute("SELECT DISTINCT zone FROM accounts").fetchall()]
    connection.register("offset_frame", offsets_frame(zones, start, end))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE account_offsets AS SELECT CAST(a.client_id AS client_word) AS client_id, "
        "o.from_epoch, o.until_epoch, o.offset_seconds FROM accounts AS a "
        "JOIN offset_frame AS o ON o.zone = a.zone"
    )
    connection.unregister("offset_frame")


def _account(
    connection: duckdb.DuckDBPyConnection, staged: Staged, month: str, settings: Settings
) -> dict[str, Any]:
    """What became of the rows of a month of UTC: unknown customers, identical rows; the latter leave local_events."""
    first, following = month_bounds(month)
    inside = f"occurred_at >= DATE '{first}' AND occurred_at < DATE '{following}'"
    record: dict[str, Any] = {"unknown": {}, "repeats": 0, "repeat": None}
    given = sum(count for day, (count, _) in staged.days.items() if first <= day < following)
    known = connection.execute(f"SELECT COUNT(*) FROM local_events WHERE {inside}").fetchall()[0][0]
    if known < given:
        rows = connection.execute(
            f"SELECT client_id, COUNT(*), MIN(file) FROM {staged.relation(first, following)} WHERE fault = 0 "
            "AND TRY_CAST(client_id AS client_word) IS NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
        record["unknown"] = {client: [count, file] for client, count, file in rows}
    if not settings.keep_identical_events:
        record |= _drop_identical(connection, inside)
    if connection.execute("SELECT 1 FROM excluded LIMIT 1").fetchall():
        connection.execute(
            "DELETE FROM local_events WHERE (CAST(client_id AS VARCHAR), CAST(user_id AS VARCHAR)) IN "
            "(SELECT (client_id, user_id) FROM excluded)"
        )
    return record


def _drop_identical(connection: duckdb.DuckDBPyConnection, inside: str) -> dict[str, Any]:
    """Identical rows of one instant are one event; counted days and counted rows are left alone."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT row_hash, MIN(rowid) AS kept FROM local_events "
        "WHERE single GROUP BY 1 HAVING COUNT(*) > 1"
    )
    more = "FROM local_events AS e JOIN repeated AS r ON r.row_hash = e.row_hash WHERE e.single AND e.rowid <> r.kept"
    count = connection.execute(f"SELECT COUNT(*) {more} AND {inside}").fetchall()[0][0]
    found = connection.execute(
        f"SELECT CAST(client_id AS VARCHAR), CAST(occurred_at AS VARCHAR) {more} AND {inside} "
        "ORDER BY 1, 2 LIMIT 1"
    ).fetchall()
    connection.execute(f"DELETE FROM local_events WHERE rowid IN (SELECT e.rowid {more})")
    return {"repeats": count, "repeat": list(found[0]) if found else None}


def _bound(connection: duckdb.DuckDBPyConnection, month: str, settings: Settings) -> None:
    first, following = ((day - dt.date(1970, 1, 1)).days * 86400 for day in month_bounds(month))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE bounds AS SELECT CAST({first} AS BIGINT) AS first_epoch, "
        f"CAST({following} AS BIGINT) AS until_epoch, CAST({settings.session_gap_minutes * 60} AS BIGINT) "
        "AS gap_seconds"
    )
    connection.execute(
        f"CREATE TEMP VIEW month_events AS SELECT * FROM local_events "
        f"WHERE local_epoch >= {first} AND local_epoch < {following}"
    )


def _write(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Each fact of the month as a file, sorted by customer."""
    for name in FACTS:
        connection.execute(f"CREATE TEMP TABLE {name}_rows AS {sql_text(f'facts/{name}')}")
        connection.execute(
            f"COPY (SELECT * FROM {name}_rows ORDER BY {_ORDER[name]}) "
            f"TO {quoted(str(folder / f'{name}.parquet'))} (FORMAT PARQUET, COMPRESSION ZSTD)"
        )
    for name in FACTS:
        connection.execute(f"DROP TABLE {name}_rows")


def _record(connection: duckdb.DuckDBPyConnection, month: str) -> dict[str, Any]:
    """What is in a month: its customers' zones, the last instants, rows and order-free hash by account-local day."""
    clients = connection.execute(
        "SELECT a.client_id, a.zone FROM accounts AS a WHERE a.client_id IN "
        "(SELECT DISTINCT CAST(client_id AS VARCHAR) FROM local_events) ORDER BY 1"
    ).fetchall()
    at, day = connection.execute(
        "SELECT MAX(CASE WHEN has_time THEN occurred_at END), MAX(CASE WHEN NOT has_time THEN "
        "occurred_at END) FROM month_events"
    ).fetchall()[0]
    days = connection.execute(
        "SELECT DATE '1970-01-01' + CAST(local_epoch // 86400 AS INTEGER) AS day, COUNT(*), "
        "SUM(CAST(row_hash AS HUGEINT)) FROM month_events GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        "clients": dict(clients),
        "last_at": at and at.isoformat(),
        "last_day": day and day.date().isoformat(),
        "days": [[day.isoformat(), count, str(int(total) % 2**64)] for day, count, total in days],
    }


def _build(
    store: Store,
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    month: str,
    key: str,
    settings: Settings,
) -> Month | None:
    if not _load(connection, staged, month):
        return None
    record = _account(connection, staged, month, settings)
    _bound(connection, month, settings)
    record |= _record(connection, month)

    def fill(folder: Path) -> None:
        _write(connection, folder)
        staged.require_unchanged()
        (folder / "record.json").write_text(
            json.dumps(record, separators=(",", ":")), encoding="utf-8"
        )

    folder = store.path(
        f"facts/{month}", f"{key}-{fingerprint([record['clients'], record['unknown']])}"
    )
    store.make_folder(folder, fill)
    return Month(folder, json.loads((folder / "record.json").read_text(encoding="utf-8")))


def build(
    store: Store,
    bench: Workbench,
    staged: Staged,
    zones: Mapping[str, str],
    excluded: pd.DataFrame,
    settings: Settings,
    version: str,
) -> dict[str, Month]:
    """All months of facts, those that are not in the store built."""
    months = {}
    prepared = False
    for month in local_months(list(staged.days)):
        key = _key(staged, month, settings, excluded, version)
        found = _stored(store, month, key, zones)
        if found is None:
            if not prepared:
                _prepare(bench.connection, excluded)
                prepared = True
            found = _build(store, bench.connection, staged, month, key, settings)
        if found is not None:
            months[month] = found
    for (
        month,
        current,
    ) in months.items():  # another process may read an older state yet: it stays for a day
        store.evict(f"facts/{month}", days=1, keep={current.folder.name})
    return months


def _prepare(connection: duckdb.DuckDBPyConnection, excluded: pd.DataFrame) -> None:
    """What every month is built with: the users to leave out, and the known customers as an ENUM."""
    connection.register(
        "excluded_frame",
        excluded.astype("str")
        if len(excluded)
        else pd.DataFrame({"client_id": pd.Series(dtype="str"), "user_id": pd.Series(dtype="str")}),
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE excluded AS SELECT CAST(client_id AS VARCHAR) AS client_id, "
        "CAST(user_id AS VARCHAR) AS user_id FROM excluded_frame"
    )
    connection.unregister("excluded_frame")
    connection.execute("DROP TYPE IF EXISTS client_word")
    connection.execute(
        "CREATE TEMP TYPE client_word AS ENUM (SELECT client_id FROM accounts ORDER BY 1)"
    )


def views(months: Mapping[str, Month]) -> dict[str, str]:
    """The select behind each fact's view."""
    selects = {
        name: "SELECT * FROM "
        + parquet(month.folder / f"{name}.parquet" for month in months.values())
        for name in FACTS
    }
    selects["feature_life"] = (
        f"SELECT client_id, user_id, feature, MIN(first_day) AS first_day, MAX(last_day) AS last_day "
        f"FROM ({selects['feature_life']}) GROUP BY 1, 2, 3"
    )
    return selects


def events_select(staged: Staged, repeats: bool) -> str:
    """The kept events with their account-local day; identical rows of one instant once where ``repeats``."""
    rows = f"SELECT {_SAME} FROM {staged.relation(min(staged.days), staged.last + DAY)} WHERE fault = 0"
    if repeats:
        single = 'occurred_has_time AND "count" IS NULL'
        rows = f"SELECT * FROM ({rows}) WHERE NOT ({single}) UNION ALL SELECT DISTINCT * FROM ({rows}) WHERE {single}"
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
