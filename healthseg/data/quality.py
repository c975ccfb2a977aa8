"""The quality of the data that were loaded: what tables lost, where they contradict each other, whom that concerns.

Issues that are seen while a table is read stand in its report (``losses``). Those that need several tables are
``CROSS_CHECKS``: a text ``sql/checks/<name>.sql`` that returns a ``client_id`` (or another word) a row, and an entry here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
from pydantic import Field

from healthseg.data.contracts import contract_issues, contracted_arr
from healthseg.data.engine import sql_text
from healthseg.data.feature_names import near_misses
from healthseg.data.losses import HARMLESS, Issue, IssueKind, Losses, TableReport
from healthseg.data.rates import rate_issue
from healthseg.settings.base import Unchanging
from healthseg.settings.data import DataSettings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


@dataclass(frozen=True)
class CrossCheck:
    """Where tables contradict each other: the table that is named, and the sentence about ``n`` customers."""

    table: str
    words: str
    kind: IssueKind = "conflict"
    # whether its rows are customers
    of_customers: bool = True


CROSS_CHECKS = {
    "events_before_signup": CrossCheck(
        "events", "{n:,} customers have events before their signup_date, for example {example}"
    ),
    "events_after_churn": CrossCheck(
        "events", "{n:,} customers have events on or after churned_on, for example {example}"
    ),
    "churn_disagrees": CrossCheck(
        "customers",
        "{n:,} customers whose churn differs between churned_on, arr_changes and stage_changes, "
        "for example {example}",
    ),
    "users_of_two_spellings": CrossCheck(
        "events",
        "{n:,} customers have users whose ids differ in upper and lower case alone, each of which counts, "
        "for example {example}",
        kind="note",
    ),
    "many_contents": CrossCheck(
        "messages",
        "messages.content is meant as a category: {n:,} values are too many or too long, "
        "for example {example}",
        kind="note",
        of_customers=False,
    ),
}


def cross_checks(
    connection: duckdb.DuckDBPyConnection, day: dt.date, settings: DataSettings
) -> dict[str, list[Issue]]:
    """By table, where it contradicts another on the portfolio's last day; nothing is corrected."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE portfolio_day AS SELECT CAST(? AS DATE) AS day", [day]
    )
    issues = contract_issues(connection, day, settings)
    if issue := rate_issue(connection, day, settings):
        issues.setdefault("customers", []).append(issue)
    if near := near_misses(connection):
        issues.setdefault("events", []).append(near)
    for name, check in CROSS_CHECKS.items():
        query = (
            f"SELECT client_id, COUNT(*) FROM ({sql_text(f'checks/{name}')}) GROUP BY 1 ORDER BY 1"
        )
        rows: dict[str, int] = dict(connection.execute(query).fetchall())
        if rows:
            example = min(rows)
            words = check.words.format(n=len(rows), example=example)
            clients = rows if check.of_customers else {}
            issue = Issue(words, len(rows), example, kind=check.kind, rows=False, clients=clients)
            issues.setdefault(check.table, []).append(issue)
    return issues


def arr_by_customer(portfolio: Portfolio) -> dict[str, float]:
    """By customer, the ARR that its tables have last, contracts in force added up; nothing where there are several currencies."""
    customers = portfolio.table("customers").set_index("client_id")
    if customers["currency"].nunique() > 1:
        return {}
    arr = customers["arr"]
    day = portfolio.data_until
    if portfolio.has("arr_changes"):
        rows = portfolio.table("arr_changes").sort_values("effective_on", kind="stable")
        rows = rows[rows["effective_on"] <= pd.Timestamp(day)]
        arr = arr.fillna(rows.groupby("client_id")["arr"].last())
    if portfolio.has("contracts"):
        arr = arr.fillna(contracted_arr(portfolio.connection(), day, portfolio.settings))
    return {str(client): float(value) for client, value in arr.dropna().items()}


# -- what responses and ``check`` say -----------------------------------------------------


class IssueQuality(Unchanging):
    """One reason for which rows or values of a table are lost or doubtful."""

    kind: IssueKind = Field(
        description="dropped, repeated, version, conflict (rows), emptied (values), note"
    )
    reason: str = Field(description="The rule, with the allowed values")
    column: str | None = Field(description="The column concerned")
    count: int = Field(description="Rows or values")
    share: float | None = Field(description="Of the rows read")
    example: str | None = Field(description="A value as the file has it")
    file: str | None = Field(description="The example's file")
    line: int | None = Field(description="The example's line (of a Parquet file its row)")
    customers: int = Field(description="Customers concerned, as far as they are known")
    arr: float | None = Field(
        description="Their ARR; null where it is unknown or in several currencies"
    )


class TableQuality(Unchanging):
    """What became of the rows of a table."""

    table: str = Field(description="The table")
    rows_read: int = Field(description="Rows read")
    rows_dropped: int = Field(description="Rows that are not used, whatever the reason")
    dropped_share: float | None = Field(description="Of the rows read")
    values_emptied: int = Field(description="Values that could not be used and are unknown now")
    conflicts: int = Field(description="Rows or customers about which rows or tables disagree")
    refused: str | None = Field(description="Why the whole table is not used")
    withheld_customers: int = Field(
        description="Customers whose metrics of this table are withheld because too many rows are lost"
    )
    customers: int = Field(description="Customers concerned by what is lost or doubtful")
    arr: float | None = Field(description="Their ARR")
    issues: list[IssueQuality] = Field(description="Reason by reason, the largest first")


class DataQuality(Unchanging):
    """What was lost or is doubtful in the data that a response rests on; empty lists where nothing is."""

    summary: list[str] = Field(description="In sentences, what a reader has to know")
    customer: list[TableQuality] = Field(description="Of this customer, by table")
    portfolio: list[TableQuality] = Field(description="Of all customers, by table")


@dataclass(frozen=True)
class LoadQuality:
    """What was lost or is doubtful in all tables, with the issues between tables, and the customers concerned."""

    reports: dict[str, TableReport]
    settings: DataSettings
    # by customer, the latest ARR that a table holds; empty where it cannot be added up
    arr: dict[str, float] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not any(map(_doubtful, self.reports.values()))

    def of(self, client_id: str | None = None) -> DataQuality:
        """As a response has it: for a customer and for the portfolio."""
        doubtful = [report for report in self.reports.values() if _doubtful(report)]
        portfolio = [self.of_table(report) for report in doubtful]
        customer = [self.of_table(report, client_id) for report in doubtful] if client_id else []
        customer = [table for table in customer if table.issues or table.refused]
        summary = [*map(_sentence, customer)] if client_id else [*map(_sentence, portfolio)]
        return DataQuality(summary=summary, customer=customer, portfolio=portfolio)

    def of_table(self, report: TableReport, client_id: str | None = None) -> TableQuality:
        """A table's quality, for all customers or for one."""
        issues = [issue for issue in report.issues if issue.kind != "version"]
        rows = report.read
        if client_id is not None:
            issues = [
                _of_client(issue, client_id) for issue in issues if client_id in issue.clients
            ]
            rows = report.client_rows.get(client_id, 0)
        clients = {client for issue in issues for client in issue.clients}
        dropped = sum(issue.count for issue in issues if issue.rows)
        withheld = Losses({report.table: report}, self.settings).withheld.get(
            report.table, frozenset()
        )
        return TableQuality(
            table=report.table,
            rows_read=rows,
            rows_dropped=dropped,
            dropped_share=_share(dropped, rows),
            values_emptied=sum(issue.count for issue in issues if issue.kind == "emptied"),
            conflicts=sum(issue.count for issue in issues if issue.kind == "conflict"),
            refused=report.reason if report.refused else None,
            withheld_customers=len(withheld if client_id is None else withheld & {client_id}),
            customers=len(clients),
            arr=self._arr_of(clients),
            issues=[self._issue(issue, rows) for issue in sorted(issues, key=_largest_first)],
        )

    def _issue(self, issue: Issue, rows: int) -> IssueQuality:
        return IssueQuality(
            kind=issue.kind,
            reason=issue.reason,
            column=issue.column,
            count=issue.count,
            share=_share(issue.count, rows),
            example=issue.example,
            file=issue.file,
            line=issue.line,
            customers=len(issue.clients),
            arr=self._arr_of(issue.clients),
        )

    def _arr_of(self, clients: Iterable[str]) -> float | None:
        known = [self.arr[client] for client in clients if client in self.arr]
        return round(sum(known), 2) if known else None


def _doubtful(report: TableReport) -> bool:
    return report.refused or any(issue.kind != "version" for issue in report.issues)


def _largest_first(issue: Issue) -> tuple[int, str]:
    return -issue.count, issue.reason


def _of_client(issue: Issue, client_id: str) -> Issue:
    """The part of an issue that concerns a customer; the example only where it is that customer's."""
    own = issue.client == client_id
    return Issue(
        issue.reason,
        issue.clients[client_id],
        issue.example if own else None,
        issue.file if own else None,
        issue.line if own else None,
        issue.kind,
        issue.column,
        issue.rows,
        {client_id: issue.clients[client_id]},
    )


def _share(count: int, rows: int) -> float | None:
    return round(count / rows, 4) if rows else None


def _sentence(table: TableQuality) -> str:
    """What a table lost, in a sentence with figures.

    >>> table = TableQuality(table="tickets", rows_read=40, rows_dropped=3, dropped_share=0.075, values_emptied=1,
    ...     conflicts=0, refused=None, withheld_customers=0, customers=2, arr=None, issues=[])
    >>> _sentence(table)
    'tickets: 3 of 40 rows (7.5%) are not used; 1 value is unknown'
    """
    name = table.table.replace("_", " ")
    if table.refused:
        return f"{name}: refused, {table.refused}"
    parts = []
    if table.rows_dropped:
        verb = "is" if table.rows_dropped == 1 else "are"
        share = f" ({table.dropped_share:.1%})" if table.dropped_share else ""
        parts.append(f"{table.rows_dropped:,} of {table.rows_read:,} rows{share} {verb} not used")
    if table.values_emptied:
        parts.append(_counted(table.values_emptied, "value is", "values are") + " unknown")
    if table.conflicts:
        parts.append(_counted(table.conflicts, "contradiction", "contradictions"))
    if table.withheld_customers:
        parts.append(
            "metrics are withheld of "
            + _counted(table.withheld_customers, "customer", "customers")
            + " that lost too many rows"
        )
    notes = [issue.reason for issue in table.issues if issue.kind == "note"]
    doubtful = sum(issue.count for issue in table.issues if issue.column == "churned_on")
    if name == "customers" and doubtful:
        who = _counted(doubtful, "customer", "customers")
        notes.append(f"whether {who} churned is unknown, since churned_on cannot be read")
    return f"{name}: {'; '.join([*parts, *notes])}"


def _counted(count: int, singular: str, many: str) -> str:
    return f"{count:,} {singular if count == 1 else many}"


@dataclass(frozen=True)
class Check:
    """What each table holds, what was dropped and why, and whether the portfolio can be used."""

    portfolio: str
    usable: bool
    problems: list[str]
    warnings: list[str]
    quality: LoadQuality
    missing: list[str]
    first_event_day: str | None = None
    data_until: str | None = None

    @property
    def tables(self) -> dict[str, TableReport]:
        return self.quality.reports

    def losses_above(self, share: float) -> list[str]:
        """The tables that are refused, or that lost more than a share of their rows or of a column's values."""
        losses = [
            f"{name}: refused, {report.refusal}"
            for name, report in self.tables.items()
            if report.refused
        ]
        for name, report in self.tables.items():
            lost = sum(issue.count for issue in report.drops if issue.kind not in HARMLESS)
            columns = {f"values of {column}, in": n for column, n in report.corrected.items()}
            losses += [
                f"{name}: {count:,} {what} {report.read:,} rows ({count / report.read:.1%})"
                for what, count in {"of": lost, **columns}.items()
                if count > share * report.read
            ]
        return losses

    def to_dict(self) -> dict[str, Any]:
        return {
            "portfolio": self.portfolio,
            "usable": self.usable,
            "problems": self.problems,
            "warnings": self.warnings,
            "tables": {name: self._table(report) for name, report in self.tables.items()},
            "missing": self.missing,
            "first_event_day": self.first_event_day,
            "data_until": self.data_until,
        }

    def _table(self, report: TableReport) -> dict[str, Any]:
        return self.quality.of_table(report).model_dump() | {
            "read": report.read,
            "kept": report.kept,
            "dropped": report.dropped,
            "corrected": report.corrected,
            "warnings": report.warnings,
            "columns": report.columns,
            "files": report.files,
        }

    def to_text(self) -> str:
        lines = [f"{self.portfolio}: {'usable' if self.usable else 'NOT USABLE'}"]
        if self.data_until:
            whole = f"events from {self.first_event_day}, whole days until {self.data_until}"
            last = f"no usable events; the other tables record days until {self.data_until}"
            lines.append(whole if self.first_event_day else last)
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for report in self.tables.values():
            lines += self._table_text(report)
        if self.missing:
            lines.append("missing: " + ", ".join(self.missing))
        return "\n".join(lines)

    def _table_text(self, report: TableReport) -> list[str]:
        table = self.quality.of_table(report)
        head = f"{report.table}: {report.read:,} read, {report.kept:,} kept"
        lines = [f"{head}; REFUSED: {report.refusal}" if report.refused else head]
        lines += [
            "  " + _issue_text(issue) for issue in table.issues if issue.reason not in self.warnings
        ]
        if table.withheld_customers:
            customers = _counted(table.withheld_customers, "customer", "customers")
            lines.append(
                f"  metrics of {report.table} are withheld of {customers} that lost too many rows"
            )
        return [*lines, *("  note: " + warning for warning in report.warnings)]


def _issue_text(issue: IssueQuality) -> str:
    verb = {"emptied": "values emptied", "conflict": "conflicts", "note": ""}.get(
        issue.kind, "dropped"
    )
    share = f" ({issue.share:.1%})" if issue.share and verb else ""
    where = f" in {issue.file}" if issue.file else ""
    where += f", line {issue.line}" if issue.line else ""
    example = (
        f": for example {issue.example!r}{where}"
        if issue.example is not None
        else where and f":{where}"
    )
    touched = _counted(issue.customers, "customer", "customers") if issue.customers else ""
    touched += f", ARR {issue.arr:,.0f}" if issue.arr is not None else ""
    head = f"{issue.count:,} {verb}{share}, {issue.reason}" if verb else issue.reason
    return head + example + (f"; {touched}" if touched else "")
