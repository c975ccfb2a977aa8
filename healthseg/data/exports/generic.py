"""Tables of one's own: recognised by the names of their columns, each column with the reason for its guess."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from typing import Any

from healthseg.data.exports.presets import ExportPreset, MappedColumn, MappedTable
from healthseg.data.exports.survey import ExportTable, plain
from healthseg.data.tables import TABLES, Column

OWN = "your own tables"
_READ_AS = {"date": "day", "timestamp": "time", "number": "number", "integer": "number"}
_MONTHLY, _UNCLEAR = "monthly_", "unclear_"
_UNCLEAR_ASK = "{name} is read as a year's: divide it by the contract's years, by 100 if it is in cents, or multiply a month's by 12"
# days whose names do not say what they mean: created, and closed or ended
_AMBIGUOUS_DAYS: dict[str, tuple[tuple[str, ...], str]] = {
    "signup_date": (
        ("created", "datecreated"),
        "{name} may be the day of the row, not of the signature",
    ),
    "churned_on": (
        ("closed", "end"),
        "{name} may be the end of a contract or of the row, not the customer's churn",
    ),
}


@functools.cache
def vocabulary() -> Mapping[str, Any]:
    """By table of the contract: the names of its columns elsewhere, the words of file names, what it makes possible."""
    file = importlib.resources.files("healthseg.data.exports").joinpath("tables.toml")
    return tomllib.loads(file.read_text("utf-8"))


def _vocabulary_of(table: str) -> Mapping[str, Any]:
    """The words for a table; a table that no system has under other names goes by the contract's."""
    names = {column: [column] for column in TABLES[table].names}
    return vocabulary().get(table, {"words": [], "columns": names})


def _is_named(source: ExportTable, table: str) -> bool:
    return bool(source.words & set(_vocabulary_of(table)["words"]))


def recognise_own(source: ExportTable) -> ExportPreset | None:
    """The contract's table that a table's columns are most like; None where required columns are missing."""
    guesses = {table: _guess(source, table) for table in TABLES}
    scores = {
        table: (source.stem == table, _is_named(source, table), len(columns))
        for table, columns in guesses.items()
        if _is_enough(source, table, columns)
    }
    if not scores:
        return None
    table = max(scores, key=lambda name: scores[name])
    keys = _names_in(source, _vocabulary_of(table)["columns"].get("client_id", ()))
    mapped = MappedTable(
        table, {name: column for name, column in guesses[table].items() if name != "client_id"}
    )
    return ExportPreset(
        OWN,
        table,
        (),
        (mapped,),
        customer=tuple(f"{{{key}}}" for key in keys),
        person=tuple(f"{{{name}}}" for name in _names_in(source, ("user_id", "email"))),
        customers=table == "customers",
        rank=5,
        found_in="the names of its columns",
    )


def _is_enough(source: ExportTable, table: str, columns: Mapping[str, MappedColumn]) -> bool:
    """Whether all required columns are there; ``id`` and other common names count only where the file's name agrees."""
    required = {column.name for column in TABLES[table].columns if column.required}
    required.discard("signup_date")  # else the first day of another table
    if table == "surveys":
        required.discard("kind")
    if not required <= set(columns):
        return False
    named = _is_named(source, table)
    telling = {"customers": {"arr", "plan", "seats"}, "users": {"role", "deactivated_at"}}.get(
        table, set()
    )
    if table not in vocabulary():
        return source.stem == table
    if table in ("customers", "users", "features", "entitlements", "arr_changes", "stage_changes"):
        return named or (bool(telling & set(columns)) and table == "customers")
    return named or len(columns) > len(required)


def _names_in(source: ExportTable, names: tuple[str, ...] | list[str]) -> list[str]:
    """The source's own columns that have one of these names, the best first."""
    by_name = source.by_part
    return list(dict.fromkeys(by_name[plain(name)] for name in names if plain(name) in by_name))


def _guess(source: ExportTable, table: str) -> dict[str, MappedColumn]:
    """The contract's columns that the source seems to have."""
    known = _vocabulary_of(table)["columns"]
    guesses, used = {}, set()
    for column in TABLES[table].columns:
        matches = [
            name for name in _names_in(source, known.get(column.name, ())) if name not in used
        ]
        monthly = _names_in(source, known.get(_MONTHLY + column.name, ()))
        unclear = _names_in(source, known.get(_UNCLEAR + column.name, ()))
        if not (matches or monthly or unclear):
            continue
        guesses[column.name] = _mapped(column, matches, monthly, unclear)
        if column.name not in ("client_id", "user_id", "feature"):
            used |= {*matches[:1]}
    if table == "surveys" and "kind" not in guesses and "score" in guesses:
        guesses["kind"] = _survey_kind(source)
    return guesses


def _survey_kind(source: ExportTable) -> MappedColumn:
    names = source.words | set(map(plain, source.columns))
    if any("csat" in name for name in names) and not any("nps" in name for name in names):
        return MappedColumn(("'csat'",), "the file's words say csat")
    ask = (
        ""
        if any("nps" in name for name in names)
        else "nothing says whether the scores are nps or csat"
    )
    return MappedColumn(("'nps'",), "the file's words say nps" if not ask else "", ask)


def _mapped(
    column: Column, matches: list[str], monthly: list[str], unclear: list[str]
) -> MappedColumn:
    kind = _READ_AS.get(column.kind, "")
    form = f"{{{{{{}}:{kind}}}}}" if kind else "{{{}}}"
    if matches:
        ask = _doubt(column, matches, monthly)
        if column.allowed and column.kind == "text":
            return MappedColumn(
                (f"LOWER({form.format(matches[0])})",), _why(matches[0], column), ask
            )
        return MappedColumn((form.format(matches[0]),), _why(matches[0], column), ask)
    if monthly:
        return MappedColumn((f"12 * {form.format(monthly[0])}",), f"{monthly[0]} × 12")
    return MappedColumn((form.format(unclear[0]),), "", _UNCLEAR_ASK.format(name=unclear[0]))


def _doubt(column: Column, matches: list[str], monthly: list[str]) -> str:
    """A question where several columns fit, or where a day may mean another thing."""
    if column.name == "client_id":
        return ""
    others = [] if plain(matches[0]) == plain(column.name) else matches[1:]
    others += [f"{name} × 12" for name in monthly]
    if others:
        return f"{matches[0]} is used; {_listed(others)} would fit as well"
    beginnings, doubt = _AMBIGUOUS_DAYS.get(column.name, ((), ""))
    return doubt.format(name=matches[0]) if plain(matches[0]).startswith(beginnings) else ""


def _why(name: str, column: Column) -> str:
    return "" if plain(name) == plain(column.name) else f"guessed from the name {name}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
