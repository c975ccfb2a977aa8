"""Rows of all customers in a form that is mapped into memory: a call reads its customers' rows alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

# under this name, the file's schema holds the columns' types as they were before they were narrowed
_TYPES = b"types"


class CustomerRows:
    """Rows in order of customer (the column ``k`` counts customers from 0), in Arrow's file format.

    Numbers lie in it in the narrowest type that holds them, words as numbers of a dictionary. ``source`` is a path,
    of whose file the rows begin at ``offset``, or the bytes themselves; a copy in another process maps the file again.

    >>> rows = CustomerRows(encode(pd.DataFrame({"k": [0, 2, 2], "day": [5, 6, 7]})))
    >>> rows.of([2]).to_dict("list"), len(rows.of([1]))
    ({'k': [0, 0], 'day': [6, 7]}, 0)
    """

    def __init__(self, source: Path | bytes, offset: int = 0) -> None:
        self.source = source
        self.offset = offset

    @cached_property
    def table(self) -> pa.Table:
        if isinstance(self.source, Path):
            buffer = pa.memory_map(str(self.source)).read_buffer()
        else:
            buffer = pa.py_buffer(self.source)
        return pa.ipc.open_file(buffer.slice(self.offset)).read_all()

    @cached_property
    def types(self) -> pa.Schema:
        """The columns' types before they were narrowed."""
        return pa.ipc.read_schema(pa.py_buffer(self.table.schema.metadata[_TYPES]))

    def of(self, customers: Sequence[int]) -> pd.DataFrame:
        """The rows of some customers, whose ``k`` is then their position in ``customers``."""
        k = self.table.column("k").to_numpy()
        wanted = np.asarray(customers, dtype=k.dtype)
        first, after = (np.searchsorted(k, wanted, side=side) for side in ("left", "right"))
        slices = [
            self.table.slice(start, end - start)
            for start, end in _runs(first.tolist(), after.tolist())
        ]
        # of no customer: the columns without rows
        frame = (
            pa.concat_tables(slices or [self.table.slice(0, 0)])
            .cast(self.types)
            .to_pandas(use_threads=False)
        )
        return frame.assign(k=np.repeat(np.arange(len(customers)), after - first))

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "offset": self.offset}


def encode(frame: pd.DataFrame) -> bytes:
    """The bytes of ``CustomerRows`` for a frame that is sorted by ``k``."""
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    types = table.schema.serialize().to_pybytes()
    columns = {
        # any k is looked up, also those of customers without rows
        name: column if name == "k" else _narrow(column)
        for name, column in zip(table.column_names, map(_in_one_piece, table.columns), strict=True)
    }
    narrowed = pa.table(columns).replace_schema_metadata({_TYPES: types})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, narrowed.schema) as file:
        file.write_table(narrowed)
    return sink.getvalue().to_pybytes()


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


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


def _runs(first: list[int], after: list[int]) -> list[tuple[int, int]]:
    """Ranges of rows, adjacent ones joined.

    >>> _runs([0, 3, 9], [3, 5, 11])
    [(0, 5), (9, 11)]
    """
    runs: list[tuple[int, int]] = []
    for start, end in zip(first, after, strict=True):
        if runs and runs[-1][1] == start:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((start, end))
    return runs
