"""Presets: how the exports of common systems are recognised, and how they become the contract's tables.

Each system is a TOML file under ``presets/``. ``{Column}`` in an expression is a column of the export, whatever its
case, blanks and punctuation; ``{Column:day}``, ``{Column:time}``, ``{Column:number}`` and ``{Column:yes}`` read it as such.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from healthseg.data.exports.readings import EMPTY, Reading, read_dates, read_numbers, text_of
from healthseg.data.exports.survey import ExportTable, Survey, plain

_SLOT = re.compile(r"\{([^{}]+?)(?::(day|time|number|yes))?\}")


@dataclass(frozen=True)
class MappedColumn:
    """Expressions for a column of the contract, the first whose columns are there; why; a question to the user.

    The question is about the last expression, or about ``ask_if_whole``, where no value of it has decimals.
    """

    choices: tuple[str, ...]
    why: str = ""
    ask: str = ""
    ask_if_whole: str = ""


@dataclass(frozen=True)
class MappedTable:
    """``questions``: they stand by the rows about which they are asked, where there are any."""

    table: str
    columns: Mapping[str, MappedColumn]
    only: tuple[str, ...] = ()
    only_why: str = ""
    last: str = ""
    ask: str = ""
    questions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportPreset:
    """One file of a system. ``customer`` and ``person`` say whose row it is; ``customers``: a row is a customer.

    ``left_out`` says which rows of the system are never read, such as deleted ones, and why.
    """

    system: str
    name: str
    recognised_by: tuple[str, ...]
    tables: tuple[MappedTable, ...]
    files: frozenset[str] = frozenset()
    customer: tuple[str, ...] = ()
    person: tuple[str, ...] = ()
    customers: bool = False
    rank: int = 50
    remark: str = ""
    found_in: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recognised:
    """An export that was found in the files."""

    export: ExportPreset
    source: ExportTable
    columns: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def exports() -> tuple[ExportPreset, ...]:
    """All exports of all presets, in the order of the systems' names."""
    folder = importlib.resources.files("healthseg.data.exports").joinpath("presets")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return tuple(
        _export(system, content)
        for file in files
        if file.name.endswith(".toml")
        for system in [tomllib.loads(file.read_text("utf-8"))]
        for content in system["exports"]
    )


def _export(system: Mapping[str, Any], content: Mapping[str, Any]) -> ExportPreset:
    tables = tuple(
        MappedTable(
            table["table"],
            {name: _column(value) for name, value in table["columns"].items()},
            _texts(table.get("only", ())),
            table.get("only_why", ""),
            table.get("last", ""),
            table.get("ask", ""),
            table.get("questions", {}),
        )
        for table in content.get("tables", ())
    )
    return ExportPreset(
        system["name"],
        content["name"],
        tuple(content["recognised_by"]),
        tables,
        frozenset(content.get("files", ())),
        _texts(content.get("customer", ())),
        _texts(content.get("person", ())),
        content.get("customers", False),
        content.get("rank", system.get("rank", 50)),
        content.get("remark", ""),
        system["documented_in"],
        system.get("left_out", {}),
    )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _column(value: Any) -> MappedColumn:
    if isinstance(value, Mapping):
        texts = (value.get(key, "") for key in ("why", "ask", "ask_if_whole"))
        return MappedColumn(_texts(value["sql"]), *texts)
    return MappedColumn(_texts(value))


def recognise(table: ExportTable) -> ExportPreset | None:
    """The export that a table is: of those whose columns are all there, the one that names most."""
    names = set(table.by_name)
    fitting = [
        export
        for export in exports()
        if names >= set(map(plain, export.recognised_by))
        and (not export.files or export.files & table.words)
    ]
    return max(fitting, key=lambda export: _likeness(export, names), default=None)


def _likeness(export: ExportPreset, names: set[str]) -> tuple[int, int, int]:
    slots = {
        plain(slot)
        for table in export.tables
        for column in table.columns.values()
        for choice in column.choices
        for slot, _ in _SLOT.findall(choice)
    }
    return len(export.recognised_by), len(slots & names), bool(export.files)


def resolve(survey: Survey, source: ExportTable, template: str) -> Reading | None:
    """An expression with its columns filled in; None where the source lacks one of them.

    Undecided where one of its columns has two readings: the options are the whole expression under each.
    """
    columns = source.by_name
    readings = {}
    for slot, kind in _SLOT.findall(template):
        expression = columns.get(plain(slot))
        if expression is None:
            return None
        readings[slot, kind] = read_as(survey, source, expression, kind)
    texts = dict.fromkeys(reading.seen for reading in readings.values())
    if len(texts) > 1:  # empty only where all of its columns are
        texts.pop(EMPTY, None)
    seen = "; ".join(text for text in texts if text)
    undecided = [key for key, reading in readings.items() if reading.sql is None]
    if not undecided:
        return Reading(
            _filled(template, {key: reading.sql or "" for key, reading in readings.items()}), seen
        )
    options = tuple(
        (
            words,
            _filled(
                template,
                {
                    key: reading.sql or dict(reading.options)[words]
                    for key, reading in readings.items()
                },
            ),
        )
        for words, _ in readings[undecided[0]].options
    )
    return Reading(None, seen, options)


def read_as(survey: Survey, source: ExportTable, expression: str, kind: str) -> Reading:
    """A column read as a kind of value."""
    if kind == "number":
        return read_numbers(survey, source, expression)
    if kind in ("day", "time"):
        return read_dates(survey, source, expression, day=kind == "day")
    if kind == "yes":
        return Reading(f"(LOWER({text_of(expression)}) IN ('true', 't', 'yes', 'y', '1'))")
    return Reading(expression)


def _filled(template: str, by_slot: Mapping[tuple[str, str], str]) -> str:
    return _SLOT.sub(lambda match: by_slot[match.group(1), match.group(2) or ""], template)


def slot(name: str) -> bool:
    """Whether an expression is one column alone."""
    return _SLOT.fullmatch(name) is not None
