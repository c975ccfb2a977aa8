"""The queries of a portfolio.toml: text that others wrote, checked before DuckDB reads it.

A query is exactly one SELECT, and reads files below the portfolio's folders alone. Relative names of files are made
absolute; files that DuckDB does not read itself are replaced by copies of theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

import duckdb

from healthseg.data.sources import quoted
from healthseg.errors import InvalidParameters

_RULE = "one SELECT over files below the portfolio's folder, or below [source] folder"
_LONGEST = 100_000
_READERS = re.compile(r"^(read_\w+|\w+_scan|glob|sniff_csv|parquet_\w+)$", re.IGNORECASE)
_QUOTED = re.compile(rb"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+:", re.IGNORECASE)
# ``accounts.xlsx#Sheet 2``, ``crm.sqlite#accounts``
_INNER = re.compile(
    r"^(?P<path>.+\.(?:xlsx|xlsm|xls|sqlite|sqlite3))#(?P<inner>.+)$", re.IGNORECASE
)


@dataclass(frozen=True)
class FileReference:
    """A file, or a pattern of files, that a query names: where in its text, and what it is."""

    start: int
    length: int
    path: Path
    inner: str | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Query:
    """One SELECT and the files that it names."""

    text: str
    references: tuple[FileReference, ...]
    tree: Any = field(repr=False, compare=False, default=None)  # as DuckDB's parser has it

    def over(self, paths: Sequence[Path]) -> str:
        """The text with these paths in place of the names of files."""
        content = self.text.encode()
        pairs = list(zip(self.references, paths, strict=True))
        for reference, path in sorted(pairs, key=lambda pair: -pair[0].start):
            end = reference.start + reference.length
            literal = quoted(str(path)).encode()
            content = content[: reference.start] + literal + content[end:]
        return content.decode()


def parse(name: str, text: Any, folders: Sequence[Path], section: str = "tables") -> Query:
    """The query of a table, whose relative names of files lie in the first folder; without folders it reads no file.

    Raises InvalidParameters for what is not one SELECT, and for a file outside the folders.
    """
    name = f"[{section}] {name}"
    if not isinstance(text, str) or not text.strip():
        raise _invalid(name, text, "must be one SQL query in quotes")
    text = text.strip().rstrip(";").rstrip()
    if len(text) > _LONGEST:
        raise _invalid(
            name, text, f"has {len(text):,} characters; a query has at most {_LONGEST:,}"
        )
    try:
        return _checked(name, text, folders)
    except RecursionError:
        raise _invalid(name, text, "nests too deeply") from None


def _checked(name: str, text: str, folders: Sequence[Path]) -> Query:
    parsed = _parsed(name, text)
    for node in _nodes(parsed):
        if re.fullmatch(r"(INSERT|UPDATE|DELETE|MERGE)\w*_NODE", str(node.get("type"))):
            raise _invalid(name, text, "changes rows; a query is one SELECT")
    references = [
        _reference(name, *literal, folders) for literal in _file_literals(parsed, text.encode())
    ]
    return Query(text, tuple(references), parsed)


def _parsed(name: str, text: str) -> Any:
    with duckdb.connect(":memory:", config={"autoload_known_extensions": "false"}) as connection:
        try:
            statements = connection.extract_statements(text)
            if len(statements) != 1:
                raise _invalid(
                    name, text, f"holds {len(statements)} statements; a query is one SELECT"
                )
            ((answer,),) = connection.execute(
                "SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [text]
            ).fetchall()
        except duckdb.Error as problem:
            raise _invalid(name, text, f"is not SQL: {str(problem).splitlines()[0]}") from None
    parsed = json.loads(answer)
    if parsed["error"]:
        kind = statements[0].type.name
        raise _invalid(
            name, text, f"is a statement of another kind ({kind}); a query is one SELECT"
        )
    return parsed["statements"]


def _invalid(name: str, text: Any, problem: str) -> InvalidParameters:
    return InvalidParameters(
        f"{name} {problem}",  # "[tables] customers"
        parameter=name.replace("[", "").replace("] ", "."),
        value_provided=str(text)[:200],
        validation_rule=_RULE,
    )


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parsed statement."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def _file_literals(parsed: Any, content: bytes) -> Iterator[tuple[int, int, str]]:
    """Position, length and text of each file name: after FROM and JOIN, and as arguments of functions that read files."""
    for node in _nodes(parsed):
        if node.get("type") == "BASE_TABLE":
            start = node["query_location"]
            # the node's own length takes in its alias
            written = _QUOTED.match(content, start)
            if written and re.search(r"[./]", node["table_name"]):
                yield start, len(written[0]), node["table_name"]
        if node.get("type") == "TABLE_FUNCTION" and _READERS.match(
            node["function"]["function_name"]
        ):
            for argument in node["function"]["arguments"]:
                if argument["expression"]["type"] != "COMPARE_EQUAL":
                    yield from _constants(argument)


def _constants(value: Any) -> Iterator[tuple[int, int, str]]:
    for node in _nodes(value):
        literal = node.get("literal") or {}
        if node.get("type") == "VALUE_CONSTANT" and literal["kind"] == "STRING":
            yield node["query_location"], node["query_location_length"], literal["text"]


def _reference(
    name: str, start: int, length: int, text: str, folders: Sequence[Path]
) -> FileReference:
    if not folders:
        raise _invalid(name, text, f"reads {text!r}; it may read the portfolio's tables alone")
    match = _INNER.match(text)
    path = Path(match["path"] if match else text)
    absolute = folders[0].absolute() / path
    allowed = [folder.resolve() for folder in folders]
    inside = any(absolute.resolve().is_relative_to(folder) for folder in allowed)
    if _ADDRESS.match(text) or not inside:
        raise _invalid(
            name,
            text,
            f"reads {text!r}, which does not lie below {folders[0]}: copy it there, "
            "or name its folder in [source] folder",
        )
    files = tuple(Path(file) for file in sorted(glob(str(absolute), recursive=True)))
    return FileReference(start, length, absolute, match["inner"] if match else None, files)
