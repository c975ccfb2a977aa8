"""``portfolio.toml`` with a query per table, written whole or not at all, and what ``healthseg init`` reports of it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthseg.data import database
from healthseg.data.database import refused_queries
from healthseg.data.discovery import ADDRESS, TOML
from healthseg.data.engine import connect
from healthseg.data.exports.draft import Draft, DraftTable, draft
from healthseg.data.exports.generic import OWN
from healthseg.data.exports.presets import Recognised
from healthseg.data.exports.survey import (
    ExportTable,
    Survey,
    flattened,
    identifier,
    list_files,
    look_at,
    measured,
)
from healthseg.data.sources import Refused, quoted
from healthseg.data.storage import writing
from healthseg.errors import DataRetrievalError, InvalidParameters
from healthseg.settings import trust
from healthseg.settings.base import toml_content

_SETTINGS_FILES = (TOML, "healthseg.toml", "healthseg.sqlite")
_SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class Outline:
    """What ``healthseg init`` made of the sources: the file, its tables, what is left to decide and what is missing."""

    path: Path
    recognised: tuple[str, ...]
    decisions: tuple[str, ...]
    unread: tuple[str, ...]
    missing: dict[str, str]
    example: str | None

    @property
    def commands(self) -> list[str]:
        """What to run next."""
        folder = _shell_word(str(self.path.parent))
        client = self.example or "CLIENT_ID"
        commands = [
            f"healthseg check {folder}",
            f"healthseg run calculate_health_score --portfolio {folder} -p client_id={client}",
        ]
        if "events" in self.missing:  # a score needs them; the other pages do not
            commands.append(f"healthseg report --portfolio {folder} --overview --all-clients")
        return commands

    def to_dict(self) -> dict[str, Any]:
        return {
            "portfolio": str(self.path),
            "recognised": list(self.recognised),
            "decisions": list(self.decisions),
            "not_read": list(self.unread),
            "missing": self.missing,
            "next": self.commands,
        }

    def to_text(self) -> str:
        lines = [f"wrote {self.path}", "", *_section("recognised", self.recognised)]
        lines += _section("to decide (lines with DECIDE in the file)", self.decisions)
        lines += _section("not read", self.unread)
        missing = [f"{name}: {words}" for name, words in self.missing.items()]
        lines += _section("missing, and what it would make possible", missing)
        return "\n".join([*lines, "next:", *(f"  {command}" for command in self.commands)])


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {entry}" for entry in entries), ""] if entries else []


def _shell_word(text: str) -> str:
    import shlex

    return shlex.quote(text)


def write_portfolio(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] = ".",
    *,
    force: bool = False,
) -> Outline:
    """Looks at files and folders, and writes ``portfolio.toml`` to a folder.

    Raises InvalidParameters where the folder has one already and ``force`` is not set, DataRetrievalError where
    a source is not there or holds no table that is recognised.
    """
    folder = Path(out).expanduser()
    path = folder / TOML
    if path.exists() and not force:
        raise InvalidParameters(
            f"{path} exists: use --force to write it anew, or --out for another folder",
            parameter="out",
            value_provided=str(path),
            validation_rule="a folder without a portfolio.toml",
        )
    address = address_of(sources)
    files, root = ([], folder.resolve()) if address else list_files(sources)
    with (
        tempfile.TemporaryDirectory(prefix="healthseg-") as spill,
        connect(Path(spill)) as connection,
    ):
        survey = Survey(root, connection, Path(spill))
        if address:
            look_at_database(survey, address)
        look_at(survey, [file for file in files if file.name not in _SETTINGS_FILES])
        content = draft(survey)
        if address:
            _prove_in_database(content, address)
        if not content.tables:
            raise _nothing_recognised(sources, content)
        text = portfolio_text(content, folder)
        example = _example(content)
    _write(path, text)
    if trust.acting(toml_content(path), folder):
        trust.trust([path])  # whoever runs this named the sources
    recognised = tuple(_origin(table.recognised, table.table) for table in content.tables)
    unread = (*survey.unread, *_unrecognised(content))
    return Outline(path, recognised, tuple(content.decisions), unread, content.missing, example)


def _prove_in_database(content: Draft, address: str) -> None:
    """Runs each query in the database itself: what it refuses is written as a comment."""
    queries = {
        table.table: in_dialect(table.query(), content.survey.dialect) for table in content.tables
    }
    for name, reason in refused_queries(address, queries).items():
        table = next(table for table in content.tables if table.table == name)
        table.blocked = f"the database refuses the query: {reason}"
        content.tables.remove(table)
        content.others.append(table)


def _write(path: Path, text: str) -> None:
    try:
        with writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InvalidParameters(
            f"{path} cannot be written: {problem.strerror or problem}",
            parameter="out",
            value_provided=str(path.parent),
            validation_rule="a folder in which files may be written",
        ) from None


def _nothing_recognised(
    sources: Sequence[str | os.PathLike[str]], content: Draft
) -> DataRetrievalError:
    remarks = [*content.decisions, *_unrecognised(content), *content.survey.unread]
    named = ", ".join(str(source) for source in sources)
    more = f": {'; '.join(remarks[:6])}" if remarks else ""
    return DataRetrievalError(
        f"no table was recognised in {named}{more}. Rename columns as docs/data.md has them (customers needs client_id and "
        "signup_date), or write portfolio.toml by hand, one query per table",
        parameter="source",
        value_provided=named,
        validation_rule="exports of a known system, or tables whose columns have usual names",
    )


def _unrecognised(content: Draft) -> list[str]:
    lines = []
    for table in content.unrecognised:
        more = ", …" if len(table.columns) > _SHOWN_COLUMNS else ""
        names = ", ".join(list(table.columns)[:_SHOWN_COLUMNS])
        lines.append(f"{table.label} is like no table of the contract; its columns: {names}{more}")
    return lines


def _example(content: Draft) -> str | None:
    """A customer that most tables know, the first by its id."""
    ids = [
        f"SELECT DISTINCT client_id FROM ({table.query()}\n)"
        for table in content.tables
        if table.table in ("customers", "contracts", "events", "tickets")
    ]
    query = f"SELECT client_id FROM ({' UNION ALL '.join(ids)}) WHERE client_id IS NOT NULL GROUP BY 1 ORDER BY COUNT(*) DESC, 1"
    rows = content.survey.rows(f"{query} LIMIT 1")
    return str(rows[0][0]) if rows else None


# The file


def portfolio_text(content: Draft, out: Path) -> str:
    """The text of ``portfolio.toml``."""
    lines = [
        "# Written by healthseg init: a query for each table of docs/data.md. Read it through: where it says",
        "# DECIDE, the files alone do not say which is right. Nothing was changed in the files themselves.",
        "#",
        *_comment_list("Decisions that are yours", content.decisions),
        *_comment_list("Not read", [*content.survey.unread, *_unrecognised(content)]),
        *_comment_list(
            "Missing, and what it would make possible",
            [f"{name}: {words}" for name, words in content.missing.items()],
        ),
        *_source_section(content.survey, out),
        "[tables]",
    ]
    for table in content.tables:
        lines += _table_lines(table, content.survey.dialect)
    if content.others:
        lines += [
            "",
            "# Not used: other sources of the same tables, and tables that lack something.",
        ]
    for table in content.others:
        lines += [_comment(line) for line in _table_lines(table, content.survey.dialect)]
    return "\n".join(lines) + "\n"


def _comment_list(title: str, entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield f"# {title}:"
        yield from (f"# - {entry}" for entry in map(_one_line, entries))
        yield "#"


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _source_section(survey: Survey, out: Path) -> list[str]:
    """The database, or where the files are, unless they are beside ``portfolio.toml``."""
    if survey.address:
        hint = [f"# {survey.address} is an environment variable with the database's address"]
        address = f"address = {_quoted(survey.address)}"
        return ["", "[source]", *(hint if survey.address.startswith("$") else []), address, ""]
    folder, target = survey.folder, out.resolve()
    if folder == target:
        return [""]
    near = (
        folder.is_relative_to(target)
        or target.is_relative_to(folder)
        or folder.parent == target.parent
    )
    path = os.path.relpath(folder, target) if near else str(folder)
    escaped = Path(path).as_posix().replace("$", "$$")
    return ["", "[source]", f"folder = {_quoted(escaped)}", ""]


def _quoted(text: str) -> str:
    """A TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def _table_lines(table: DraftTable, dialect: str) -> list[str]:
    lines = ["", _comment(_origin(table.recognised, table.table))]
    lines += [
        _comment(remark)
        for remark in (*table.recognised.source.remarks, table.recognised.export.remark)
        if remark
    ]
    if table.recognised.export.recognised_by:
        lines.append(_comment(f"as in: {table.recognised.export.found_in}"))
    lines += [_comment(text) for text in table.comments]
    if table.blocked:
        lines.append(_comment(f"DECIDE: {table.blocked}"))
    text = table.query()
    if dialect:
        lines += [_comment(comment) for comment in comments_of(text, dialect)]
        text = in_dialect(text, dialect)
    text = text.replace("\\", "\\\\").replace('"""', '""\\"')
    return [*lines, f'{table.table} = """', *text.splitlines(), '"""']


def _comment(line: str) -> str:
    return f"# {_one_line(line) if not line.startswith(' ') else line}".rstrip()


def _origin(recognised: Recognised, table: str) -> str:
    """``customers from Account.csv (12 rows): Salesforce, Account (Salesforce Object Reference: …)``."""
    export, source = recognised.export, recognised.source
    system = f"{export.system}, {export.name}" if export.system != OWN else "a table of your own"
    return f"{table} from {source.label} ({source.rows:,} rows): {system}, recognised by {_known_by(recognised)}"


def _known_by(recognised: Recognised) -> str:
    names = recognised.export.recognised_by
    return f"its columns {', '.join(names)}" if names else recognised.export.found_in


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
