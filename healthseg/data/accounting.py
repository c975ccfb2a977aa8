"""Counts of a table's losses by reason and by customer, each with an example, as the issues of its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import duckdb

from healthseg.data.engine import Executes
from healthseg.data.losses import FOOTER, Issue, IssueKind
from healthseg.data.sources import OPEN_QUOTATION, Refused, SourcePart
from healthseg.data.tables import Column, TableContract
from healthseg.data.validation import (
    KINDS,
    Layout,
    Reason,
    checked,
    fault_of,
    line_of,
    numbered,
    reasons,
)
from healthseg.settings.data import LONGEST_TEXT, DataSettings

OTHER_COLUMNS = "the line does not have the header's columns"
# what reports write below their rows: who made it, when, whose it is
_FOOTER_LINES = 10
# by part, its lines that have other columns than its header
Rejected = dict[str, list[tuple[int, str]]]


def take_rejects(
    connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[SourcePart]
) -> Rejected:
    """The lines without the header's columns, by part, after a scan that wrote them to ``table``, which is removed.

    Raises Refused for a quotation without an end: nobody knows how many lines it took in.
    """
    rejected: Rejected = {}
    if parts[0].format != "csv":
        return rejected
    labels = {str(part.scanned): part.label for part in parts}
    rows = connection.execute(
        "SELECT file_path, line, MIN(csv_line), BOOL_OR(error_type = 'UNQUOTED VALUE') "
        f"FROM {table} JOIN {table}_scan USING (scan_id, file_id) GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    for path, line, text, unquoted in rows:
        if unquoted and "\n" in text.strip():
            raise Refused(f"{labels[path]}, line {line}: {OPEN_QUOTATION}")
        first = text.strip().splitlines()[0][:200] if text.strip() else ""
        rejected.setdefault(labels[path], []).append((line, first))
    for name in (table, f"{table}_scan"):
        connection.execute(f"DROP TABLE {name}")
    return rejected


def doubts(layouts: Mapping[str, Layout]) -> list[Issue]:
    """The notes about columns that can be read in two ways and are therefore not read."""
    return [
        Issue(f"{name} is not read: {doubt}", 0, None, label, kind="note", column=name, rows=False)
        for label, layout in layouts.items()
        for name, doubt in sorted(layout.doubtful.items())
    ]


def rejected_drops(
    lines: Mapping[str, Sequence[tuple[int, str]]], last: Mapping[str, int] = MappingProxyType({})
) -> list[Issue]:
    """The drops for lines that do not have the columns of their CSV file; a few below its ``last`` row are its footer."""
    footers = {
        label: [line for line in rejected if line[0] > last.get(label, line[0])]
        for label, rejected in lines.items()
    }
    footers = {label: below for label, below in footers.items() if len(below) <= _FOOTER_LINES}
    others = {
        label: [line for line in rejected if line not in footers.get(label, ())]
        for label, rejected in lines.items()
    }
    issues = []
    for reason, listed in ((OTHER_COLUMNS, others), (FOOTER, footers)):
        if any(listed.values()):
            label = min(label for label, rejected in listed.items() if rejected)
            line, text = listed[label][0]
            issues.append(Issue(reason, sum(map(len, listed.values())), text, label, line))
    return issues


# -- counts by reason, and examples -------------------------------------------------------


@dataclass
class Count:
    """Rows with one reason number, or one mask: by part label and by customer."""

    parts: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def add(self, label: str, client: str | None, count: int) -> None:
        self.parts[label] = self.parts.get(label, 0) + count
        if client is not None:
            self.clients[client] = self.clients.get(client, 0) + count


Counts = dict[int, Count]


def counted(rows: Iterable[tuple[int, str, str | None, int]]) -> Counts:
    """Counts by number from rows of number, part label, customer and count."""
    counts: Counts = {}
    for number, label, client, count in rows:
        counts.setdefault(number, Count()).add(label, client, count)
    return counts


@dataclass(frozen=True)
class Example:
    """A value as a file has it, its line, and the customer of the row."""

    value: str | None = None
    line: int | None = None
    client: str | None = None


def example(
    connection: Executes,
    table: TableContract,
    part: SourcePart,
    layout: Layout,
    settings: DataSettings,
    column: str,
    condition: str,
) -> Example:
    """The first value of ``column`` in a part for which ``condition`` holds over the checked rows."""
    if column not in layout.types:
        return Example()
    raw = f'LEFT(CAST("{column}" AS VARCHAR), {LONGEST_TEXT}) AS source_text'
    select = checked(table, layout, part.relation, settings, row=numbered(part), carried=(raw,))
    client = "client_id" if "client_id" in layout.types and "client_id" in table.names else "NULL"
    first = (
        f"SELECT source_text, row_number, {client} AS client FROM ({select}) WHERE {condition} "
        "ORDER BY row_number, client, source_text LIMIT 1"
    )
    for value, row, customer in connection.execute(first).fetchall():
        return Example(value, line_of(part, layout, row), customer)
    return Example()


def drops_by_reason(
    connection: Executes,
    table: TableContract,
    settings: DataSettings,
    counts: Counts,
    parts: Mapping[str, tuple[SourcePart, Layout]],
) -> list[Issue]:
    """The drops from counts by reason number, each with its first example."""
    return [
        _issue(
            connection,
            table,
            settings,
            parts,
            counts[number],
            reason,
            f"fault = {number}",
            "dropped",
        )
        for number, reason in enumerate(reasons(table, settings), start=1)
        if number in counts
    ]


def emptied_by_reason(
    connection: Executes,
    table: TableContract,
    settings: DataSettings,
    counts: Counts,
    parts: Mapping[str, tuple[SourcePart, Layout]],
) -> list[Issue]:
    """The emptied values from counts by mask, each column with its first example."""
    issues = []
    for bit, column in enumerate(table.columns):
        of_column = Count()
        for mask, count in counts.items():
            if mask >> bit & 1:
                for label, rows in count.parts.items():
                    of_column.add(label, None, rows)
                for client, rows in count.clients.items():
                    of_column.clients[client] = of_column.clients.get(client, 0) + rows
        if of_column.parts:
            words = _emptied_words(table, column, settings)
            condition = f"fault = 0 AND (mask & {1 << bit}) > 0"
            reason = Reason(words, condition, column.name)
            issues.append(
                _issue(connection, table, settings, parts, of_column, reason, condition, "emptied")
            )
    return issues


def _emptied_words(table: TableContract, column: Column, settings: DataSettings) -> str:
    """Why an optional value can be emptied."""
    fault = fault_of(column, settings)
    words = [] if column.kind in ("text", "id") else [f"{column.name} is not {KINDS[column.kind]}"]
    words += [fault.words] if fault else []
    words += [f"{column.name} of arr or seats is not a number"] if column.name == "value" else []
    words += [
        f"lies before {order.earlier}"
        for order in table.orders
        if order.later == column.name and not order.drops_row
    ]
    return ", or ".join(words)


def _issue(
    connection: Executes,
    table: TableContract,
    settings: DataSettings,
    parts: Mapping[str, tuple[SourcePart, Layout]],
    count: Count,
    reason: Reason,
    condition: str,
    kind: IssueKind,
) -> Issue:
    label = min(count.parts)
    part, layout = parts[label]
    shown = example(connection, table, part, layout, settings, reason.column, condition)
    return Issue(
        reason.words,
        count.total,
        shown.value,
        label,
        shown.line,
        kind,
        reason.column,
        rows=kind != "emptied",
        clients=count.clients,
        client=shown.client,
    )
