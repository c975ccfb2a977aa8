"""Columns of Python's values, pandas and Arrow as plain Arrow columns that DuckDB reads from Parquet."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

_INT64 = range(-(2**63), 2**63)
_MICROSECONDS = pa.timestamp("us")


def column(values: Sequence[Any]) -> pa.Array:
    """The values with the one type that they have; as text where they have several.

    Whole numbers beside fractions are numbers, days beside instants are instants.

    >>> column([1, None, 2.5]).type, column([1, "a"]).to_pylist()
    (DataType(double), ['1', 'a'])
    """
    kinds = {type(value) for value in values if value is not None}
    for kind, arrow in ((str, pa.string()), (bool, pa.bool_()), (dt.date, pa.date32())):
        if kinds <= {kind}:
            return pa.array(values, arrow)
    if kinds == {int} and all(value is None or value in _INT64 for value in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float, decimal.Decimal}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds <= {dt.datetime, dt.date}:
        return _instants(values)
    return pa.array([_text(value) for value in values], pa.string())


def _instants(values: Sequence[Any]) -> pa.Array:
    moments = [
        dt.datetime.combine(value, dt.time())
        if value is not None and not isinstance(value, dt.datetime)
        else value
        for value in values
    ]
    zoned = {moment.tzinfo is not None for moment in moments if moment is not None}
    if len(zoned) > 1:
        return pa.array([_text(value) for value in values], pa.string())
    return pa.array(moments, pa.timestamp("us", "UTC") if True in zoned else _MICROSECONDS)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def rows(names: Sequence[str], values: Iterable[Sequence[Any]]) -> pa.Table:
    """A table of rows of Python's values."""
    columns = list(zip(*values, strict=True)) or [()] * len(names)
    return pa.table([column(each) for each in columns], names=list(names))


def one_schema(tables: Sequence[pa.Table]) -> pa.Schema:
    """What all these parts of one table can be cast to; a column whose types contradict each other is text."""
    fields = []
    for position, name in enumerate(tables[0].column_names):
        kinds = {
            table.column(position).type
            for table in tables
            if table.column(position).null_count < len(table)
        }
        if kinds <= {pa.int64(), pa.float64()} and len(kinds) > 1:
            kinds = {pa.float64()}
        fields.append(pa.field(name, kinds.pop() if len(kinds) == 1 else pa.string()))
    return pa.schema(fields)


def frame(values: pd.DataFrame) -> pa.Table:
    """A DataFrame's columns as plain Arrow columns."""
    arrays = [_series(values.iloc[:, position]) for position in range(values.shape[1])]
    return table(pa.table(arrays, names=[str(name) for name in values.columns]))


def _series(series: pd.Series) -> pa.Array | pa.ChunkedArray:
    """One column; where Arrow has no type for its values, they are read one by one."""
    import pandas as pd

    if isinstance(series.dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        series = series.astype("str")
    try:
        return pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, ValueError):
        objects = series.astype(object).where(series.notna(), None)
        return column([each.item() if hasattr(each, "item") else each for each in objects])


def table(values: pa.Table) -> pa.Table:
    """The table with types that Parquet and DuckDB know; instants in microseconds, words as text."""
    arrays = [_plain(values.column(position)) for position in range(values.num_columns)]
    return pa.table(arrays, names=[str(name) for name in values.column_names])


def _plain(array: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = array.type
    if isinstance(kind, pa.UuidType):
        return _texts(array)
    if isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric":
        storage = [chunk.storage for chunk in array.chunks]
        return pa.chunked_array(storage, kind.storage_type).cast(pa.float64())
    if isinstance(kind, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in array.chunks]
        return _plain(pa.chunked_array(storage, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _plain(array.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_date64(kind):
        return array.cast(pa.date32())
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return array.cast(pa.string())
    wordy = (pa.types.is_duration, pa.types.is_time, pa.types.is_binary, pa.types.is_large_binary)
    if any(matches(kind) for matches in wordy) or pa.types.is_fixed_size_binary(kind):
        return _texts(array)
    return array


def _texts(array: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([[_text(value) for value in array.to_pylist()]], pa.string())
