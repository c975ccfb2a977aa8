"""Events on their way to one sorted Parquet file a month, in memory or, chunk by chunk, by way of the disk."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from healthseg.demo import names
from healthseg.demo.activity import API, Events
from healthseg.demo.frame import DAY_MS, Frame
from healthseg.demo.writing import write_parquet

SPOOL = ".spool"
ROW = np.dtype(
    [
        ("utc_ms", "<i8"),
        ("session", "<i8"),
        ("client", "<i4"),
        ("user", "<i4"),
        ("calls", "<i4"),
        ("seconds", "<i4"),
        ("feature", "i1"),
        ("name", "i1"),
        ("source", "i1"),
    ]
)


class Spool:
    """Takes the chunks' events in turn; ``write`` gives ``events/YYYY-MM.parquet``, sorted by moment."""

    def __init__(self, out: Path, days: Frame, on_disk: bool) -> None:
        self._days, self._folder, self._on_disk = days, out / SPOOL, on_disk
        self._parts: dict[str, list[np.ndarray]] = {}
        self._edges, self._months = _months(days)
        if on_disk:
            self._folder.mkdir(parents=True, exist_ok=True)

    def add(
        self, events: Events, client: np.ndarray, user: np.ndarray, session: np.ndarray
    ) -> None:
        """``client``, ``user`` and ``session`` are numbers of the whole portfolio."""
        rows = np.empty(len(client), ROW)
        for name in ("utc_ms", "calls", "seconds", "feature", "name", "source"):
            rows[name] = getattr(events, name)
        rows["client"], rows["user"], rows["session"] = client, user, session
        month = np.searchsorted(self._edges, rows["utc_ms"], side="right") - 1
        order = np.argsort(month, kind="stable")
        ends = np.searchsorted(month[order], np.arange(len(self._months) + 1))
        for place, name in enumerate(self._months):
            self._keep(name, rows[order[ends[place] : ends[place + 1]]])

    def _keep(self, month: str, rows: np.ndarray) -> None:
        if not self._on_disk:
            self._parts.setdefault(month, []).append(rows)
            return
        with open(self._folder / month, "ab") as file:
            file.write(rows.tobytes())

    def _rows(self, month: str) -> np.ndarray:
        if self._on_disk:
            return np.fromfile(self._folder / month, ROW)
        return np.concatenate(self._parts.pop(month))

    def write(self, out: Path, client_ids: np.ndarray, user_ids: pa.Array) -> int:
        """How many rows there are."""
        total, clients = 0, pa.array(client_ids, pa.string())
        for month in self._months:
            rows = self._rows(month)
            rows = rows[np.lexsort((rows["session"], rows["client"], rows["utc_ms"]))]
            write_parquet(
                out / "events" / f"{month}.parquet", _event_table(rows, clients, user_ids)
            )
            total += len(rows)
        if self._on_disk:
            shutil.rmtree(self._folder)
        return total


def _months(days: Frame) -> tuple[np.ndarray, list[str]]:
    first = dt.date(1970, 1, 1) + dt.timedelta(days=days.start)
    edges, found, day = [], [], first
    while (day - first).days < days.days:
        edges.append((day - dt.date(1970, 1, 1)).days * DAY_MS)
        found.append(f"{day:%Y-%m}")
        day = (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return np.array(edges), found


def _coded(
    place: np.ndarray, options: pa.Array, missing: np.ndarray | None = None
) -> pa.DictionaryArray:
    place = place.astype(np.int32)
    codes = pa.array(place if missing is None else np.where(missing, 0, place), mask=missing)
    return pa.DictionaryArray.from_arrays(codes, options)


def _used(
    place: np.ndarray, options: pa.Array, missing: np.ndarray | None = None
) -> pa.DictionaryArray:
    """As ``_coded`` with a dictionary of only those that occur: small files of big portfolios."""
    known, codes = np.unique(np.where(place < 0, 0, place), return_inverse=True)
    return _coded(codes, options.take(pa.array(known)), missing)


def _event_table(rows: np.ndarray, clients: pa.Array, users: pa.Array) -> pa.Table:
    person = rows["source"] != API
    sessions, session = np.unique(rows["session"], return_inverse=True)
    return pa.table(
        {
            "client_id": _used(rows["client"], clients),
            "occurred_at": pa.array(rows["utc_ms"] * 1_000).cast(pa.timestamp("us")),
            "user_id": _used(rows["user"], users, ~person),
            "feature": _coded(
                rows["feature"], pa.array([name for name, *_ in names.FEATURES]), ~person
            ),
            "event": _coded(rows["name"], pa.array(names.EVENT_NAMES), ~person),
            "session_id": _coded(session, pa.array(sessions).cast(pa.string()), ~person),
            "source": _coded(rows["source"], pa.array(["ui", "api"])),
            "count": pa.array(rows["calls"], pa.int32(), mask=rows["calls"] == 0),
            "duration_seconds": pa.array(rows["seconds"], pa.int32(), mask=rows["seconds"] == 0),
        }
    )
