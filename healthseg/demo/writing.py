"""Arrays to Arrow to Parquet, the same bytes every time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthseg.demo.frame import DAY_MS, Frame
from healthseg.demo.schema import KINDS

PARQUET = {
    "compression": "zstd",
    "compression_level": 1,
    "version": "2.6",
    "store_schema": False,
    "write_statistics": True,
    "use_dictionary": True,
}
WORKING_HOUR_MS = (
    10 * 3_600_000
)  # 10:00 UTC is the same calendar day in every zone of the portfolio


def dates(day: np.ndarray, days: Frame, missing: np.ndarray | None = None) -> pa.Array:
    """Day numbers as dates."""
    day = np.asarray(day)
    return pa.array(
        (np.where(missing, 0, day) if missing is not None else day).astype(np.int32)
        + np.int32(days.start),
        pa.int32(),
        mask=None if missing is None else np.asarray(missing),
    ).cast(pa.date32())


def moments(utc_ms: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    micros = np.asarray(utc_ms, np.int64) * 1_000
    return pa.array(micros, pa.int64(), mask=missing).cast(pa.timestamp("us"))


def by_hand(day: np.ndarray, days: Frame, missing: np.ndarray | None = None) -> pa.Array:
    """Moments somebody typed in during the day: between 10 and 12 UTC."""
    day = np.asarray(day, np.int64)
    return moments((day + days.start) * DAY_MS + WORKING_HOUR_MS + (day % 120) * 60_000, missing)


def words(options: Iterable[str], place: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """The words at those places, null where ``missing`` (or the place is negative)."""
    place = np.asarray(place)
    gone = place < 0 if missing is None else np.asarray(missing)
    coded = pa.DictionaryArray.from_arrays(
        pa.array(np.where(gone, 0, place).astype(np.int32), mask=gone),
        pa.array(list(options), pa.string()),
    )
    return coded.cast(pa.string())


def table(columns: Mapping[str, str], values: Mapping[str, Any] | None = None) -> pa.Table:
    """An Arrow table of these columns and kinds; without values, an empty one."""
    values = values or {name: [] for name in columns}
    if set(values) != set(columns):
        raise KeyError(sorted(set(values) ^ set(columns)))
    arrays = [_array(values[name], KINDS[kind]) for name, kind in columns.items()]
    return pa.table(arrays, names=list(columns))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values.cast(kind)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return pa.array(values, kind, mask=np.isnan(values), safe=kind != pa.int64())
    return pa.array(values, kind)


def write_parquet(path: Path, content: pa.Table) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    pq.write_table(content, beside, **PARQUET)
    os.replace(beside, path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(
        json.dumps(content, indent=2, sort_keys=True, default=_plain) + "\n", encoding="utf-8"
    )
    os.replace(beside, path)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)
