"""A middling portfolio's daily facts, read once and kept: what calls for one customer each then take their rows from.

A query for one customer costs some ten milliseconds whatever it finds; a call needs ten of them. The rows are those
that the same SQL gives for the customer alone: every one is of one day, and the days are cut as the SQL cuts them.
They lie in the store in order of customer, in a form that is mapped into memory: a call reads its customer's alone.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.data.memory import remember
from healthseg.metrics.keys import code_version, counting_settings
from healthseg.settings import fingerprint

CUSTOMERS_AT_MOST = 2_000
EVENTS_AT_MOST = 5_000_000
FEW = 25  # customers in a call: some days of more of them are read by one query
LEVEL = "shelf"
FIRST_DAY = {
    "session_days": "start_day"
}  # the column that the first day of the window is held against
FROM_THE_FLOOR = (
    "usage_days",
    "user_days",
    "user_spells",
    "session_days",
    "feature_days",
    "feature_user_days",
    "user_hours",
)
WITH_ALL_BEFORE = (
    "last_seen",
    "user_lives",
    "feature_firsts",
    "ticket_days",
    "ticket_resolutions",
    "invoice_rows",
    "csat_survey_days",
    "csat_ticket_days",
    "nps_spells",
    "deactivations",
    "entitled_features",
)
SHELVED = FROM_THE_FLOOR + WITH_ALL_BEFORE
COUNTED = b"counted"  # the columns' types as they were counted, in the file's schema
EPOCH = dt.date(1970, 1, 1)
BEFORE, NEVER = -25_567, 84_006  # 1900 and 2200: no event lies outside


def bounds(floor_day: int, until_day: int) -> pd.DataFrame:
    """The days ``[floor_day, until_day)`` as the SQL reads them: dates, so that files outside are not opened."""
    floor, until = (EPOCH + dt.timedelta(days=int(day)) for day in (floor_day, until_day))
    return pd.DataFrame({"floor_day": [floor], "until_day": [until]}, dtype=object)


class Kept:
    """A file of rows in order of customer (``k``), mapped into memory; in another process it is mapped again.

    Numbers lie in it as narrow as they can be told, words as numbers of a dictionary.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def table(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()

    @cached_property
    def columns(self) -> pa.Schema:
        """The columns as they were counted."""
        return pa.ipc.read_schema(pa.py_buffer(self.table.schema.metadata[COUNTED]))

    def of(self, places: list[int]) -> pd.DataFrame:
        """The rows of the customers at these places, whose ``k`` is then their position in ``places``."""
        every = self.table.column("k").to_numpy()
        first, after = (
            np.searchsorted(every, np.asarray(places, dtype=every.dtype), side=side).tolist()
            for side in ("left", "right")
        )
        parts = pa.concat_tables(
            [self.table.slice(start, end - start) for start, end in _runs(first, after)]
        )
        frame = parts.cast(self.columns).to_pandas(use_threads=False)
        return frame.assign(k=np.repeat(np.arange(len(places)), np.subtract(after, first)))

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}


def _runs(first: list[int], after: list[int]) -> list[tuple[int, int]]:
    """Ranges of rows, those that follow each other as one.

    >>> _runs([0, 3, 9], [3, 5, 11])
    [(0, 5), (9, 11)]
    """
    found: list[tuple[int, int]] = []
    for start, end in zip(first, after, strict=True):
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def rows(
    portfolio: Any,
    name: str,
    clients: list[str],
    floor_day: int,
    until_day: int,
    **frames: pd.DataFrame,
) -> pd.DataFrame | None:
    """The rows of ``sql/metrics/<name>.sql`` for a few customers, or for all days; else None: query them."""
    if name not in SHELVED or not remember(portfolio, "shelf", lambda: _small(portfolio)):
        return None
    if len(clients) > FEW and not _all_days(portfolio, floor_day, until_day):
        return None
    place = remember(
        portfolio,
        "shelf places",
        lambda: {client: k for k, client in enumerate(_everyone(portfolio))},
    )
    part = remember(portfolio, ("shelf", name), lambda: _kept(portfolio, name, frames)).of(
        [place[client] for client in clients]
    )
    if "day" not in part:
        return part
    kept = part["day"].to_numpy() < until_day
    if name in FROM_THE_FLOOR:
        kept &= part[FIRST_DAY.get(name, "day")].to_numpy() >= floor_day
    return part[kept].reset_index(drop=True)


def _small(portfolio: Any) -> bool:
    reports = portfolio.reports
    return (
        reports["customers"].kept <= CUSTOMERS_AT_MOST and reports["events"].kept <= EVENTS_AT_MOST
    )


def _all_days(portfolio: Any, floor_day: int, until_day: int) -> bool:
    first, last = ((day - EPOCH).days for day in (portfolio.first_event_day, portfolio.data_until))
    return floor_day <= first and until_day > last


def _everyone(portfolio: Any) -> list[str]:
    return sorted(portfolio.table("customers")["client_id"])


def _kept(portfolio: Any, name: str, frames: dict[str, pd.DataFrame]) -> Kept:
    """The file of all customers' rows, made where it is not there."""
    given = {key: frame.to_dict("split")["data"] for key, frame in frames.items()}
    key = fingerprint(
        [portfolio.content(), counting_settings(portfolio.settings), code_version(), given]
    )
    path = portfolio.store.path(LEVEL, f"{name}-{key}", ".arrow")
    if not path.exists():
        with portfolio.store.writing(path) as temporary:
            _write(_load(portfolio, name, frames), temporary)
        portfolio.store.evict(LEVEL, days=1)  # another process may read an older state yet
    portfolio.store.in_use(path)
    return Kept(path)


def _load(portfolio: Any, name: str, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All customers' rows, in order of customer."""
    clients = _everyone(portfolio)
    scope = pd.DataFrame({"k": np.arange(len(clients), dtype=np.int32), "client_id": clients})
    frame = portfolio.sql(f"metrics/{name}", scope=scope, bounds=bounds(BEFORE, NEVER), **frames)
    first = [column for column in ("k", "user_id", "feature", "day", "hour_utc") if column in frame]
    rest = [
        column for column in frame if column not in first
    ]  # of equal rows it does not matter which is first
    return frame.sort_values([*first, *rest], ignore_index=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    counted = pa.Table.from_pandas(frame, preserve_index=False)
    whole = [
        pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        for column in counted.columns
    ]
    columns = [
        column
        if name == "k"
        else _narrow(column)  # of customers without rows, too, k is looked for
        for name, column in zip(counted.column_names, whole, strict=True)
    ]
    schema = pa.schema(
        [(name, column.type) for name, column in zip(counted.column_names, columns, strict=True)],
        metadata={COUNTED: counted.schema.serialize().to_pybytes()},
    )
    with pa.ipc.new_file(str(path), schema) as file:
        file.write_table(pa.Table.from_arrays(columns, schema=schema))


def _narrow(column: pa.Array) -> pa.Array:
    """The same values in the narrowest whole numbers that hold them; words as numbers of a dictionary.

    >>> str(_narrow(pa.array([20_000.0, None])).type), str(_narrow(pa.array([0.5, None])).type)
    ('int16', 'double')
    """
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        words = column.dictionary_encode()
        return pa.DictionaryArray.from_arrays(_narrow(words.indices), words.dictionary)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        for kind in (pa.int8(), pa.int16(), pa.int32()):
            with contextlib.suppress(pa.ArrowInvalid):
                return column.cast(kind)
    return column
