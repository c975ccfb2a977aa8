"""Facts: integer counts of events by account-local day, hour and session; the only reading of raw events.

They are built a month of local days at a time into one Parquet file a month and
fact, sorted by customer, and kept under a key of what they were made from: the
rows of that month and the day around it, the zones of the customers in it, the
settings used and the SQL texts. A month whose key did not change is not built again.
"""
from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from healthseg.config import Settings, fingerprint
from healthseg.data.cleaning import offsets_frame
from healthseg.data.engine import parquet, sql_hash, sql_text
from healthseg.data.sources import quoted
from healthseg.data.staging import EVENTS, Staged
from healthseg.data.store import Store

FACTS = ("user_day", "feature_day", "user_hour", "sessions", "feature_life")
_ORDER = {"user_day": "client_id, user_id, day", "feature_day": "client_id, user_id, feature, day",
          "user_hour": "client_id, user_id, hour_utc, day, hour", "feature_life": "client_id, user_id, feature",
          "sessions": "client_id, user_id, session_start, session_id, day"}
_DAILY = ("user_day", "feature_day", "user_hour", "sessions")
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


def _key(staged: Staged, month: str, settings: Settings, excluded: pd.DataFrame, version: str) -> str:
    start, end = _window(month)
    rows = [(day.isoformat(), *value) for day, value in staged.days.items() if start <= day < end]
    return fingerprint([version, sql_hash(_TEXTS), rows, settings.session_gap_minutes, settings.keep_identical_events,
                        excluded.to_dict("split")["data"]])


def _holds(record: Mapping[str, Any], zones: Mapping[str, str]) -> bool:
    """Whether a record's customers are still known by the same zones, and its unknown ones still unknown."""
    return (all(zones.get(client) == zone for client, zone in record["clients"].items())
            and not any(client in zones for client in record["unknown"]))


def _stored(store: Store, month: str, key: str, zones: Mapping[str, str]) -> Month | None:
    for folder in sorted((store.folder / "facts" / month).glob(f"{key}-*")):
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        if _holds(record, zones):
            return Month(folder, record)
    return None


def _load_window(connection: duckdb.DuckDBPyConnection, staged: Staged, month: str, settings: Settings) -> dict[str, Any]:
    """``window_events``: known customers' rows around the month, each once; returns the month's accounting."""
    start, end = _window(month)
    end = min(end, staged.last + DAY)
    first, following = month_bounds(month)
    months = sorted({f"{day:%Y-%m}" for day in (start, first, following)})
    relation = staged.relation(months)
    if relation is None:
        relation = f"(SELECT '' AS file, 0 AS reason, {', '.join(f'NULL AS {name}' for name in _SAME.split(', '))} WHERE FALSE)"
    bounds = f"occurred_at >= DATE '{start}' AND occurred_at < DATE '{end}'"
    inside = f"occurred_at >= DATE '{first}' AND occurred_at < DATE '{following}'"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE loaded_events AS SELECT e.file, a.client_id IS NOT NULL AS known, "
                       f"e.* EXCLUDE (file, reason, mask) FROM {relation} AS e "
                       f"LEFT JOIN accounts AS a ON a.client_id = e.client_id WHERE e.reason = 0 AND {bounds}")
    unknown = connection.execute(f"SELECT client_id, COUNT(*), MIN(file) FROM loaded_events WHERE NOT known AND {inside} "
                                 "GROUP BY 1 ORDER BY 1").fetchall()
    record = {"unknown": {client: [count, file] for client, count, file in unknown}, "repeats": 0, "repeat": None}
    once = "loaded_events"
    if not settings.keep_identical_events:
        once = _drop_identical(connection, inside, record)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE window_events AS
        SELECT e.client_id, e.user_id, e.feature, e.session_id, COALESCE(e.source = 'api', FALSE) AS api,
          COALESCE(e."count", 1) AS n, e.duration_seconds, e.occurred_has_time AS has_time, e.occurred_at,
          EPOCH_MS(e.occurred_at) // 1000 AS epoch
        FROM {once} AS e WHERE e.known
          AND NOT EXISTS (SELECT 1 FROM excluded AS x WHERE x.client_id = e.client_id AND x.user_id = e.user_id)""")
    return record


def _drop_identical(connection: duckdb.DuckDBPyConnection, inside: str, record: dict[str, Any]) -> str:
    """Identical rows of one instant are one event; counted days and counted rows are left alone."""
    single = 'known AND occurred_has_time AND "count" IS NULL'
    rows, distinct = connection.execute(
        f"SELECT COUNT(*), COUNT(DISTINCT HASH({_SAME})) FROM loaded_events WHERE {single}").fetchall()[0]
    if rows == distinct:
        return "loaded_events"
    groups = f"SELECT {_SAME}, COUNT(*) AS copies, MAX(file) AS file FROM loaded_events WHERE {single} GROUP BY {_SAME}"
    record["repeats"] = connection.execute(
        f"SELECT CAST(COALESCE(SUM(copies - 1), 0) AS BIGINT) FROM ({groups}) WHERE {inside}").fetchall()[0][0]
    found = connection.execute(f"SELECT client_id, CAST(occurred_at AS VARCHAR), file FROM ({groups}) WHERE copies > 1 "
                               f"AND {inside} ORDER BY ALL LIMIT 1").fetchall()
    record["repeat"] = list(found[0]) if found else None
    return (f"(SELECT known, {_SAME} FROM loaded_events WHERE NOT ({single}) "
            f"UNION ALL SELECT TRUE AS known, {_SAME} FROM ({groups}))")


def _localise(connection: duckdb.DuckDBPyConnection, month: str, settings: Settings) -> None:
    start, end = _window(month)
    zones = [row[0] for row in connection.execute("SELECT DISTINCT zone FROM accounts").fetchall()]
    connection.register("offset_frame", offsets_frame(zones, start, end))
    connection.execute("CREATE OR REPLACE TEMP TABLE account_offsets AS SELECT a.client_id, o.from_epoch, o.until_epoch, "
                       "o.offset_seconds FROM accounts AS a JOIN offset_frame AS o ON o.zone = a.zone")
    connection.unregister("offset_frame")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE local_events AS {sql_text('facts/local_events')}")
    first, following = ((day - dt.date(1970, 1, 1)).days * 86400 for day in month_bounds(month))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bounds AS SELECT CAST({first} AS BIGINT) AS first_epoch, "
                       f"CAST({following} AS BIGINT) AS until_epoch, CAST({settings.session_gap_minutes * 60} AS BIGINT) "
                       "AS gap_seconds")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW month_events AS SELECT * FROM local_events "
                       f"WHERE local_epoch >= {first} AND local_epoch < {following}")


def _write(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, list]:
    """Each fact of the month as a file; returns rows and hash by day for each daily fact."""
    days: dict[str, list] = {}
    for name in FACTS:
        rows = f"{name}_rows"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {rows} AS {sql_text(f'facts/{name}')} ORDER BY {_ORDER[name]}")
        connection.execute(f"COPY {rows} TO {quoted(str(folder / f'{name}.parquet'))} (FORMAT PARQUET, COMPRESSION ZSTD)")
        if name in _DAILY:
            found = connection.execute(f"SELECT day, COUNT(*), SUM(CAST(HASH({', '.join(_columns(connection, rows))}) AS "
                                       f"HUGEINT)) FROM {rows} GROUP BY 1 ORDER BY 1").fetchall()
            days[name] = [[day.isoformat(), count, str(int(total) % 2**64)] for day, count, total in found]
    for name in FACTS:
        connection.execute(f"DROP TABLE {name}_rows")
    return days


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall()]


def _build(store: Store, connection: duckdb.DuckDBPyConnection, staged: Staged, month: str, key: str,
           settings: Settings) -> Month:
    record = _load_window(connection, staged, month, settings)
    _localise(connection, month, settings)
    first, following = month_bounds(month)
    inside = f"occurred_at >= DATE '{first}' AND occurred_at < DATE '{following}'"
    record["clients"] = dict(connection.execute(
        "SELECT DISTINCT a.client_id, a.zone FROM accounts AS a JOIN window_events AS w ON w.client_id = a.client_id "
        "ORDER BY 1").fetchall())
    at, day = connection.execute(f"SELECT MAX(occurred_at) FILTER (WHERE has_time), MAX(occurred_at) FILTER (WHERE NOT "
                                 f"has_time) FROM window_events WHERE {inside}").fetchall()[0]
    record |= {"last_at": at and at.isoformat(), "last_day": day and day.date().isoformat()}

    def fill(folder: Path) -> None:
        record["days"] = _write(connection, folder)
        (folder / "record.json").write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")

    folder = store.path(f"facts/{month}", f"{key}-{fingerprint([record['clients'], record['unknown']])}")
    store.make_folder(folder, fill)
    return Month(folder, json.loads((folder / "record.json").read_text(encoding="utf-8")))


def build(store: Store, connection: duckdb.DuckDBPyConnection, staged: Staged, zones: Mapping[str, str],
          excluded: pd.DataFrame, settings: Settings, version: str) -> dict[str, Month]:
    """All months of facts, those that are not in the store built; ``connection`` holds ``accounts``."""
    connection.register("excluded_frame", excluded.astype("str") if len(excluded) else
                        pd.DataFrame({"client_id": pd.Series(dtype="str"), "user_id": pd.Series(dtype="str")}))
    connection.execute("CREATE OR REPLACE TEMP TABLE excluded AS SELECT CAST(client_id AS VARCHAR) AS client_id, "
                       "CAST(user_id AS VARCHAR) AS user_id FROM excluded_frame")
    connection.unregister("excluded_frame")
    months = {}
    for month in local_months(list(staged.days)):
        key = _key(staged, month, settings, excluded, version)
        months[month] = (_stored(store, month, key, zones)
                         or _build(store, connection, staged, month, key, settings))
    _forget(store, months)
    return months


def _forget(store: Store, months: Mapping[str, Month]) -> None:
    """Older states of a month, a day after they were made: another process may read them yet."""
    for month, current in months.items():
        for folder in (store.folder / "facts" / month).glob("*"):
            if folder != current.folder and folder.stat().st_mtime < time.time() - 86400:
                shutil.rmtree(folder, ignore_errors=True)


def views(months: Mapping[str, Month]) -> dict[str, str]:
    """The select behind each fact's view."""
    selects = {name: "SELECT * FROM " + parquet(month.folder / f"{name}.parquet" for month in months.values())
               for name in FACTS}
    selects["feature_life"] = (f"SELECT client_id, user_id, feature, MIN(first_day) AS first_day, MAX(last_day) AS last_day "
                               f"FROM ({selects['feature_life']}) GROUP BY 1, 2, 3")
    return selects


def make_offsets(connection: duckdb.DuckDBPyConnection, staged: Staged) -> None:
    """``account_offsets`` over all days of the staged events; the connection holds ``accounts``."""
    zones = [row[0] for row in connection.execute("SELECT DISTINCT zone FROM accounts").fetchall()]
    days = list(staged.days)
    connection.register("offset_frame", offsets_frame(zones, min(days) - 2 * DAY, max(days) + 2 * DAY))
    connection.execute("CREATE OR REPLACE TEMP TABLE account_offsets AS SELECT a.client_id, o.from_epoch, o.until_epoch, "
                       "o.offset_seconds FROM accounts AS a JOIN offset_frame AS o ON o.zone = a.zone")
    connection.unregister("offset_frame")


def events_select(staged: Staged, repeats: bool) -> str:
    """The kept events with their account-local day; identical rows of one instant once where ``repeats``."""
    rows = (f"SELECT {_SAME} FROM {staged.relation(staged.months)} WHERE reason = 0 "
            f"AND occurred_at < DATE '{staged.last + DAY}'")
    if repeats:
        single = 'occurred_has_time AND "count" IS NULL'
        rows = f"SELECT * FROM ({rows}) WHERE NOT ({single}) UNION ALL SELECT DISTINCT * FROM ({rows}) WHERE {single}"
    epoch = "EPOCH_MS(e.occurred_at) // 1000"
    day = ("CAST(CASE WHEN e.occurred_has_time THEN e.occurred_at + TO_SECONDS(o.offset_seconds) ELSE e.occurred_at END "
           "AS DATE) AS occurred_day")
    return (f"SELECT e.* EXCLUDE (occurred_has_time), {day}, e.occurred_has_time FROM ({rows}) AS e "
            f"JOIN account_offsets AS o ON o.client_id = e.client_id AND {epoch} >= o.from_epoch AND {epoch} < o.until_epoch")
