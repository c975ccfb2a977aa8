"""The clean rows are read as the engine reads them, whatever is missing in a column."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from healthseg.data import cleaning
from healthseg.data.cleaning import ROWS

VALUES = {
    "BIGINT": "9007199254740993",
    "BOOLEAN": "TRUE",
    "DATE": "DATE '2025-03-02'",
    "DOUBLE": "0.1",
    "TIMESTAMP": "TIMESTAMP '2025-03-02 23:59:59.5'",
    "VARCHAR": "'née'",
}
GIVEN = ", ".join(f'CAST({value} AS {kind}) AS "a {kind}"' for kind, value in VALUES.items())
MISSING = ", ".join(f'CAST(NULL AS {kind}) AS "a {kind}"' for kind in VALUES)
NAMES = [f"a {kind}" for kind in reversed(VALUES)]  # not in the file's order


ROWS_OF = {
    "all given": f"SELECT {GIVEN}",
    "some missing": f"SELECT {GIVEN} UNION ALL SELECT {MISSING}",
    "all missing": f"SELECT {MISSING}",
    "no rows": f"SELECT {GIVEN} WHERE FALSE",
}


@pytest.mark.parametrize("rows", ROWS_OF.values(), ids=ROWS_OF)
def test_rows_are_those_that_the_engine_reads(tmp_path: Path, rows: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{tmp_path / ROWS}' (FORMAT PARQUET)")
        select = "SELECT " + ", ".join(f'"{name}"' for name in NAMES) + f" FROM '{tmp_path / ROWS}'"
        expected = connection.execute(select).df().astype({"a VARCHAR": "str"})
        values = connection.execute(select).fetchall()
    pd.testing.assert_frame_equal(
        cleaning.read_frame(tmp_path, NAMES).astype({"a VARCHAR": "str"}), expected
    )
    assert [tuple(row.values()) for row in cleaning.read_records(tmp_path, NAMES)] == values
