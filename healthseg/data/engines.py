"""Engines in which events are counted where they lie: connections that take the same SQL as DuckDB.

``Engine.execute`` turns a statement into the engine's dialect by sqlglot. What sqlglot does not know is in ``Kind``: a
few functions and types. Views are put in place of their names, tables are temporary, and nothing else is written. The
user's own query stays as it is written.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters, require_known

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from sqlglot import exp

# stands for the user's query in statements
SOURCE = "healthseg_source"
_CREATE = re.compile(r"\s*CREATE (?:OR REPLACE )?(?:TEMP )?(TABLE|VIEW) (\w+) AS\s(.*)", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """An engine: its dialect, what installs its driver, and in its SQL what sqlglot does not turn into it."""

    dialect: str
    driver: str
    install: str
    # by DuckDB's name; {0}, {1} are arguments, {all} is the list of them, {marked} that with whether each is missing
    functions: Mapping[str, str]
    types: Mapping[str, str] = field(default_factory=dict)
    # parts of regular expressions
    patterns: Mapping[str, str] = field(default_factory=dict)
    # whether a subquery would be merged into the query around it and its columns computed again for each use: OFFSET 0
    fenced: bool = False


_POSTGRES = {
    "CONTAINS": "(STRPOS({0}, {1}) > 0)",
    "ENDS_WITH": "(RIGHT({0}, LENGTH({1})) = {1})",
    "EPOCH_US": "(CAST(FLOOR(DATE_PART('epoch', {0})) AS BIGINT) * 1000000)",
    "HASH": "HASH_RECORD_EXTENDED(ROW({all}), 0)",
    "HOUR": "CAST(DATE_PART('hour', {0}) AS INT)",
    "INT_DIV": "({0} / {1})",
    "ISFINITE": "(ABS({0}) < 1e308)",
    "NFC_NORMALIZE": "NORMALIZE({0}, NFC)",
    "REGEXP_FULL_MATCH": "({0} ~ ('^(' || {1} || ')$'))",
    "STRLEN": "OCTET_LENGTH({0})",
}
_SPARK = {
    # the session's zone is UTC
    "AT_TIME_ZONE": "CAST({0} AS TIMESTAMP_NTZ)",
    "EPOCH_US": "(UNIX_SECONDS(CAST({0} AS TIMESTAMP)) * 1000000)",
    # a missing value alone does not change the hash
    "HASH": "XXHASH64({marked})",
    "ISFINITE": "(ABS({0}) < 1e308)",
    "NFC_NORMALIZE": "{0}",
    "REGEXP_FULL_MATCH": "({0} RLIKE ('^(' || {1} || ')$'))",
    "STRLEN": "OCTET_LENGTH({0})",
}
KINDS = {
    "spark": Kind("spark", "pyspark.sql", "healthseg[spark]", _SPARK, {"INT128": "DECIMAL(38, 0)"}),
    "postgresql": Kind(
        "postgres",
        "adbc_driver_postgresql.dbapi",
        "healthseg[postgres]",
        _POSTGRES,
        {"UTINYINT": "SMALLINT", "INT128": "BIGINT"},
        {r"\p{L}\p{N}": "[:alnum:]"},
        fenced=True,
    ),
    # a file of DuckDB's that is too large to be read as a source
    "duckdb": Kind("duckdb", "duckdb", "healthseg", {}),
}


_SPARK_SETTINGS: dict[str, bool | float | int | str | None] = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    "spark.sql.shuffle.partitions": "4",
}


class Driver(Protocol):
    """What an engine's driver has to do, in the engine's own SQL."""

    def run(self, text: str) -> None:
        """A statement without a result."""

    def arrow(self, text: str) -> pa.Table:
        """The rows of a query."""

    def store(self, name: str, query: str) -> None:
        """A temporary table in place of the one that has this name."""

    def close(self) -> None:
        """Ends the session: what is temporary goes with it."""


@dataclass(frozen=True)
class EngineAddress:
    """An engine by its kind and address: that of the environment variable that it names ($NAME), or written out."""

    kind: str
    address: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The address without user and password."""
        from healthseg.data.database import without_password

        return without_password(self._resolved) if "://" in self._resolved else self.kind

    @property
    def _resolved(self) -> str:
        if not self.address.startswith("$"):
            return self.address
        value = os.environ.get(self.address.strip("${}"))
        if value is None:
            raise DataRetrievalError(
                f"address = {self.address!r}: that environment variable is not set",
                parameter="source.address",
                value_provided=self.address,
                validation_rule="the address of an engine, or the environment variable that holds it ($NAME)",
            )
        return value

    def require(self) -> None:
        """Raises an error for an unknown engine, and IntegrationError where its driver is not installed."""
        require_known(
            self.kind, KINDS, f"engine = {self.kind!r} is not known", parameter="source.engine"
        )
        kind = KINDS[self.kind]
        try:
            importlib.import_module(kind.driver)
        except ImportError:
            raise IntegrationError(
                f"the engine {self.kind} needs {kind.driver.split('.')[0]}, which is not installed: "
                f"pip install '{kind.install}'",
                parameter="source.engine",
                value_provided=self.kind,
            ) from None

    @contextlib.contextmanager
    def connected(self) -> Iterator[Driver]:
        """The engine's driver with one session; raises IntegrationError where it does not answer."""
        self.require()
        address = self._resolved
        try:
            driver = _DRIVERS[self.kind](address)
        except Exception as problem:
            # a driver's own words may hold the address
            raise IntegrationError(
                f"{self.kind} at {self.shown} does not respond ({type(problem).__name__}): check that it runs, that it can be "
                "reached from this machine, and the user and password",
                parameter="source.address",
                value_provided=self.shown,
            ) from None
        with contextlib.closing(driver):
            yield driver


def engine_queries(
    path: Path, source: Any, queries: Mapping[str, Any]
) -> dict[str, tuple[Any, EngineAddress]]:
    """The queries of a portfolio.toml for tables in engines, each with its own engine, else with that of ``[source]``.

    Raises InvalidParameters where one has no query, engine or address.
    """
    common = source if isinstance(source, Mapping) and "engine" in source else {}
    read = {}
    for name, query in queries.items() if not common or queries else [("customers", {})]:
        if not common and not isinstance(query, Mapping):
            continue
        own = query if isinstance(query, Mapping) else {"query": query}
        where = own if "engine" in own else common
        valid = set(own) <= {"query", "engine", "address"} and set(where) >= {"engine", "address"}
        if not valid or "query" not in own or not set(common) <= {"engine", "address"}:
            raise InvalidParameters(
                f"{path.name}: [tables] {name} needs a query, and an engine with its address, its own or that of [source]",
                parameter=f"tables.{name}",
                value_provided=", ".join(map(str, [*own, *common])),
                validation_rule="query, engine and address",
            )
        read[name] = own["query"], EngineAddress(str(where["engine"]), str(where["address"]))
    return read


class _PostgresDriver:
    """PostgreSQL: one transaction, which sees one state of the tables and is rolled back."""

    def __init__(self, address: str) -> None:
        from adbc_driver_postgresql import dbapi

        self._connection = dbapi.connect(re.sub(r"^(postgres\w*)\+\w+://", r"\1://", address))
        self._cursor = self._connection.cursor()
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.run("SET LOCAL TIME ZONE 'UTC'")
        # estimates are far off behind checked columns: compiling would take longer than the queries, joins go row by row
        self.run("SET LOCAL jit = off")
        self.run("SET LOCAL enable_nestloop = off")

    def run(self, text: str) -> None:
        self._cursor.execute(text)

    def arrow(self, text: str) -> pa.Table:
        self._cursor.execute(text)
        return self._cursor.fetch_arrow_table()

    def store(self, name: str, query: str) -> None:
        self.run(f"DROP TABLE IF EXISTS pg_temp.{name}")
        self.run(f"CREATE TEMP TABLE {name} AS {query}")

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.rollback()
        self._cursor.close()
        self._connection.close()


class _SparkDriver:
    """Spark: a session in this process (``local[*]``), of a cluster, or of a Spark Connect server (``sc://host``)."""

    def __init__(self, address: str) -> None:
        from pyspark.sql import SparkSession

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of pandas, which is not used
            builder = SparkSession.builder.appName("healthseg")
            if address.startswith("sc://"):
                self._session = builder.remote(address).getOrCreate()
            else:
                self._session = builder.master(address).config(map=_SPARK_SETTINGS).getOrCreate()
        self._session.conf.set("spark.sql.session.timeZone", "UTC")
        self._stored: dict[str, Any] = {}

    def run(self, text: str) -> None:
        self._session.sql(text)

    def arrow(self, text: str) -> pa.Table:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._session.sql(text).toArrow()

    def store(self, name: str, query: str) -> None:
        # rows, not a cached plan: else each query after it is planned over all that came before
        self._stored[name] = rows = self._session.sql(query).localCheckpoint()
        rows.createOrReplaceTempView(name)

    def close(self) -> None:
        """Drops what is temporary; the session stays, as starting another takes seconds."""
        for name in self._stored:
            self._session.catalog.dropTempView(name)
        self._stored.clear()


class _DuckDBDriver:
    """DuckDB: a file that is only read, and no other; what is temporary lies in memory and is spilled beside it."""

    def __init__(self, address: str) -> None:
        import duckdb

        self._connection = duckdb.connect(address, read_only=True)
        self.run("SET TimeZone = 'UTC'")
        self.run("SET enable_external_access = false")
        self.run("SET lock_configuration = true")

    def run(self, text: str) -> None:
        self._connection.execute(text)

    def arrow(self, text: str) -> pa.Table:
        return self._connection.sql(text).to_arrow_table()

    def store(self, name: str, query: str) -> None:
        self.run(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def close(self) -> None:
        self._connection.close()


_DRIVERS: Mapping[str, Callable[[str], Driver]] = {
    "spark": _SparkDriver,
    "postgresql": _PostgresDriver,
    "duckdb": _DuckDBDriver,
}


@dataclass(frozen=True)
class Answer:
    """The rows of a query."""

    table: pa.Table

    def fetchall(self) -> list[tuple[Any, ...]]:
        columns = [column.to_pylist() for column in self.table.columns]
        return list(zip(*columns, strict=True)) if columns else []


class Engine:
    """A session of an engine that takes DuckDB's SQL, as a DuckDB connection does."""

    def __init__(self, address: EngineAddress, driver: Driver, source: str) -> None:
        self.kind = KINDS[address.kind]
        self.bytes_fetched = 0
        self._shown = f"{address.kind} at {address.shown}"
        self._driver = driver
        self._source = source
        self._views: dict[str, exp.Expr] = {}
        self._tables: set[str] = set()

    def execute(self, text: str) -> Answer:
        """Runs a statement; a view is remembered, a table is temporary and has a name of its own.

        Raises DataRetrievalError, with the engine's first words, where it refuses.
        """
        import pyarrow as pa

        if created := _CREATE.fullmatch(text):
            kind, name, query = created.groups()
            if kind == "VIEW":
                self._views[name] = self._tree(query)
            else:
                self._store(name, self._tree(query))
            return Answer(pa.table({}))
        with self._in_own_words():
            table = self._driver.arrow(self._text(self._tree(text)))
        self.bytes_fetched += table.nbytes
        return Answer(table)

    def own(self, text: str) -> pa.Table:
        """The rows of a query that is in the engine's own SQL."""
        with self._in_own_words():
            return self._driver.arrow(text)

    def register(self, name: str, frame: pd.DataFrame) -> None:
        """The rows of a small frame, as a view."""
        import sqlglot
        from sqlglot import exp

        kinds = {"int64": "BIGINT", "bool": "BOOLEAN"}
        types = [kinds.get(str(kind), "VARCHAR") for kind in frame.dtypes]
        names = [str(name) for name in frame.columns]
        casts = ", ".join(
            f"CAST({name} AS {kind}) AS {name}" for name, kind in zip(names, types, strict=True)
        )
        rows = [tuple(row) for row in frame.itertuples(index=False)] or [(None,) * len(names)]
        values = exp.values(rows, alias="v", columns=names)
        query = sqlglot.parse_one(f"SELECT {casts} FROM v", read="duckdb")
        query.set("from_", exp.From(this=values))
        if not len(frame):
            query.set("where", exp.Where(this=exp.false()))
        self._views[name] = query

    def unregister(self, name: str) -> None:
        del self._views[name]

    def types(self) -> dict[str, str]:
        """The columns of the source with DuckDB's names of their types."""
        empty = self.own(f"SELECT * FROM ({self._source}\n) AS s LIMIT 0")
        return {field.name: type_name(field.type) for field in empty.schema}

    def _store(self, name: str, query: exp.Expr) -> None:
        stored = f"healthseg_{name}"
        with self._in_own_words():
            self._driver.store(stored, self._text(query))
        self._tables.add(name)

    def _tree(self, text: str) -> exp.Expr:
        """The statement in the engine's dialect, as a tree: views in place of their names, our tables by theirs."""
        import sqlglot  # which takes long to load
        from sqlglot import exp

        tree = sqlglot.parse_one(text, read="duckdb")
        for table in list(tree.find_all(exp.Table)):
            if table.name in self._views:
                view = exp.Subquery(
                    this=self._views[table.name].copy(), alias=table.alias or table.name
                )
                if table is tree:
                    tree = view
                table.replace(view)
            elif table.name in self._tables:
                alias = table.alias or table.name
                table.replace(
                    exp.alias_(exp.to_table(f"healthseg_{table.name}"), alias, table=True)
                )
        return _in_dialect(tree, self.kind)

    def _text(self, tree: exp.Expr) -> str:
        text = tree.sql(dialect=self.kind.dialect)
        source = f"({self._source}\n) AS {SOURCE}"
        return re.sub(rf'"?\b{SOURCE}\b"?', lambda _: source, text)

    @contextlib.contextmanager
    def _in_own_words(self) -> Iterator[None]:
        """An engine's refusal as an error of ours, with the first line of its words."""
        try:
            yield
        except Exception as problem:
            words = (str(problem).splitlines() or [type(problem).__name__])[0][:300]
            raise DataRetrievalError(
                f"{self._shown} refused a query: {words}",
                parameter="portfolio",
                value_provided=self._shown,
            ) from None


def _in_dialect(tree: exp.Expr, kind: Kind) -> exp.Expr:
    """The tree with the engine's own functions, types and regular expressions where sqlglot has none, inner ones first."""
    from sqlglot import exp

    for node in reversed(list(tree.bfs())):
        if isinstance(node, exp.DataType) and node.this.name in kind.types:
            node.replace(exp.DataType.build(kind.types[node.this.name]))
        elif isinstance(node, exp.Subquery) and isinstance(node.parent, (exp.From, exp.Join)):
            # most engines want a name for a subquery
            if not node.alias:
                node.set("alias", exp.TableAlias(this=exp.to_identifier("s")))
            if (
                kind.fenced
                and isinstance(node.this, exp.Select)
                and not node.this.args.get("offset")
            ):
                node.this.set("offset", exp.Offset(expression=exp.Literal.number(0)))
        elif isinstance(node, exp.Literal) and node.is_string:
            for pattern, own in kind.patterns.items():
                node.set("this", node.this.replace(pattern, own))
        elif (name := _function_name(node)) in kind.functions:
            arguments = [part.sql(dialect=kind.dialect) for part in _arguments(node)]
            marked = ", ".join(f"{each}, {each} IS NULL" for each in arguments)
            own = kind.functions[name].format(*arguments, all=", ".join(arguments), marked=marked)
            node.replace(exp.Var(this=own))
    return tree


def _function_name(node: exp.Expr) -> str:
    """DuckDB's name of a function, also where sqlglot takes it for another."""
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return node.name.upper()
    if isinstance(node, exp.EndsWith):
        return "ENDS_WITH"
    for own, name in ((exp.IntDiv, "INT_DIV"), (exp.AtTimeZone, "AT_TIME_ZONE")):
        if isinstance(node, own):
            return name
    return type(node).sql_name() if isinstance(node, exp.Func) else ""


def _arguments(node: exp.Expr) -> Sequence[exp.Expr]:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return node.expressions
    return [part for part in (node.args.get("this"), node.args.get("expression")) if part]


def type_name(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type, as far as reading a table asks for it."""
    import pyarrow as pa

    if isinstance(kind, pa.OpaqueType):
        return "DECIMAL" if kind.type_name == "numeric" else kind.type_name.upper()
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    if pa.types.is_decimal(kind):
        return "DECIMAL"
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    return _type_names().get(kind, str(kind).upper())


@functools.cache
def _type_names() -> dict[Any, str]:
    import pyarrow as pa

    texts = dict.fromkeys((pa.string(), pa.large_string(), pa.string_view()), "VARCHAR")
    whole = dict(
        zip(
            (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()),
            ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
            strict=True,
        )
    )
    rest = {pa.date32(): "DATE", pa.bool_(): "BOOLEAN"}
    return {**texts, **whole, **rest, pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
