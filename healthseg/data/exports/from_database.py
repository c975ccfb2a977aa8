"""A database as the source of a draft: its tables are sampled, and its queries written in its own dialect."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from healthseg.data import database
from healthseg.data.discovery import ADDRESS
from healthseg.data.exports.survey import ExportTable, Survey, flattened, identifier, measured
from healthseg.data.sources import Refused, quoted
from healthseg.errors import InvalidParameters

# the variable that holds the address where it has a password, which is never written to a file
VARIABLE = "HEALTHSEG_SOURCE"
_SAMPLE_ROWS = 200_000
_DIALECTS = {"postgresql": "postgres", "mssql": "tsql", "mariadb": "mysql"}


def address_of(sources: Sequence[str | os.PathLike[str]]) -> str | None:
    """The database address among the sources, written out or as ``$NAME``; None where they are files.

    Raises InvalidParameters for a database beside other sources.
    """
    texts = [os.path.expandvars(os.fspath(source)) for source in sources]
    addresses = [text for text in texts if ADDRESS.match(text)]
    if addresses and len(texts) > 1:
        raise InvalidParameters(
            "a database is a source alone: one portfolio.toml reads one database, or files",
            parameter="source",
            value_provided=", ".join(map(database.without_password, addresses)),
            validation_rule="one database, or files and folders",
        )
    return addresses[0] if addresses else None


def look_at_database(survey: Survey, address: str) -> None:
    """Adds each table of a database to the survey, as a view over its first rows."""
    survey.dialect, files = database.sample_tables(address, survey.copies, _SAMPLE_ROWS)
    survey.address = written_address(address)
    for name, file in files.items():
        survey.connection.execute(
            f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet({quoted(str(file))})"
        )
        table = flattened(survey, ExportTable(name, identifier(name), {}))
        try:
            survey.tables.append(measured(survey, table))
        except Refused as problem:
            survey.unread.append(str(problem))


def written_address(address: str) -> str:
    """The address as the file has it: the name of a variable where it holds a user or a password."""
    return f"${VARIABLE}" if "@" in address or "?" in address else address


def in_dialect(text: str, dialect: str) -> str:
    """A query in the database's dialect, without comments."""
    import sqlglot

    bare = re.sub(r"(?m)^\s*--.*\n?|  -- .*$", "", text)
    known = _DIALECTS.get(dialect, dialect)
    return sqlglot.transpile(bare, read="duckdb", write=known, pretty=True)[0]


def comments_of(text: str, dialect: str) -> list[str]:
    """A query's comments; those behind a column begin with its name, other joins are in the dialect."""
    comments = []
    for line in text.splitlines():
        code, dashes, comment = line.partition("-- ")
        if dashes:
            name = re.search(r"AS (\w+),\s*$", code)
            if comment.startswith("LEFT JOIN"):
                select = in_dialect(f"SELECT 1 FROM t {comment}", dialect)
                comment = " ".join(select.partition("FROM t")[2].split())
            comments.append(f"{name[1]}: {comment}" if name else comment)
    return comments
