"""The clean rows of a table, as they lie in the store.

They are read without the engine: to open it takes longer than to read any of the small tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.data.reading.cleaning import ROWS

if TYPE_CHECKING:
    import pyarrow as pa


def frame(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """These columns of the rows in a folder, in the file's order, with the types that the engine gives.

    Days are midnights in microseconds; whole numbers and yes-or-no are nullable where a value is missing.
    """
    import pyarrow as pa

    rows = _read(folder, names)
    days = {field.name: "datetime64[us]" for field in rows.schema if pa.types.is_date(field.type)}
    found = rows.to_pandas(use_threads=False, date_as_object=False).astype(days)
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if column.type in nullable and column.null_count:
            found[name] = column.to_pandas(types_mapper=nullable.get)
    return found


def records(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows as dictionaries of Python's own values."""
    return _read(folder, names).to_pylist()


def _read(folder: Path, names: Sequence[str]) -> pa.Table:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(folder / ROWS) as file:
        return file.read(columns=list(names), use_threads=False).select(list(names))
