"""Tables in each engine, and the portfolio.toml that reads them there."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
_NUMBERS = itertools.count()


class PostgresTables:
    """Tables in a schema of their own, and the portfolio.toml that reads them in place."""

    engine = "postgresql"
    composes = True

    def __init__(self, address: str, monkeypatch) -> None:
        self.schema = f"engine{os.getpid()}_{next(_NUMBERS)}"
        self.address = address
        self.run(f"CREATE SCHEMA {self.schema}")
        monkeypatch.setenv("HEALTHSEG_ENGINE", address)

    def run(self, *statements: str) -> None:
        with dbapi.connect(self.address) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(schema=self.schema))
            connection.commit()

    def write(self, tables: dict[str, pa.Table]) -> None:
        with dbapi.connect(self.address) as connection, connection.cursor() as cursor:
            for name, table in tables.items():
                cursor.adbc_ingest(name, table, mode="create_append", db_schema_name=self.schema)
            connection.commit()

    def toml(self, folder: Path, queries: dict[str, str], settings: str = "") -> Path:
        folder.mkdir(exist_ok=True)
        lines = [f'{name} = """{query}"""' for name, query in queries.items()]
        source = f'[source]\nengine = "{self.engine}"\naddress = "$HEALTHSEG_ENGINE"\n'
        (folder / "portfolio.toml").write_text("\n".join([source, "[tables]", *lines, settings]))
        return folder

    def drop(self, *names: str) -> None:
        self.run(*(f"DROP TABLE {self.schema}.{name}" for name in names))

    def select(self, name: str) -> str:
        return f"SELECT * FROM {self.schema}.{name}"


class SparkTables(PostgresTables):
    """The same as Parquet files, which a session in this process reads."""

    engine = "spark"
    composes = False

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        monkeypatch.setenv("HEALTHSEG_ENGINE", "local[2]")

    def write(self, tables: dict[str, pa.Table]) -> None:
        for name, table in tables.items():
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, self.folder / name / f"{next(_NUMBERS)}.parquet")

    def drop(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.folder / name)

    def select(self, name: str) -> str:
        return f"SELECT * FROM parquet.`{self.folder / name}`"


class DuckDBTables(PostgresTables):
    """The same in a file of DuckDB's."""

    engine = "duckdb"

    def __init__(self, file: Path, monkeypatch) -> None:
        self.file = file
        monkeypatch.setenv("HEALTHSEG_ENGINE", str(file))

    def run(self, *statements: str) -> None:
        with duckdb.connect(str(self.file)) as connection:
            for statement in statements:
                connection.execute(statement)

    def write(self, tables: dict[str, pa.Table]) -> None:
        with duckdb.connect(str(self.file)) as connection:
            for name, table in tables.items():
                connection.register("rows", table)
                connection.execute(f"CREATE TABLE {name} AS SELECT * FROM rows")

    def select(self, name: str) -> str:
        return f"SELECT * FROM {name}"
