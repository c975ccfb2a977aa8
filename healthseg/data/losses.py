"""What became of the rows of a table: its accounting, issue by issue."""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from healthseg.settings.data import DataSettings

# dropped: the row cannot be used. repeated: it is identical to another. version: a later row of its key replaces it.
# conflict: rows of one key, or tables, contradict each other. emptied: the value cannot be used. note: worth knowing.
IssueKind = Literal["dropped", "repeated", "version", "conflict", "emptied", "note"]
# rows of these kinds are no loss: another row stands for them
HARMLESS = ("repeated", "version", "conflict")
# lines of a CSV file below its last row, without its columns: no loss
FOOTER = "the line below the last row is none: a sum, or without the header's columns"
ZONE = "customers.timezone"


@dataclass(frozen=True)
class Issue:
    """Rows or values of a table with one reason: how many, an example, and how many of each customer.

    ``rows`` says whether the rows are left out. ``clients`` is empty where no customer is concerned;
    ``client`` is the customer of the example.
    """

    reason: str
    count: int
    example: str | None = None
    file: str | None = None
    line: int | None = None
    kind: IssueKind = "dropped"
    column: str | None = None
    rows: bool = True
    clients: dict[str, int] = field(default_factory=dict)
    client: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What it says whatever the files' names and the order of their rows."""
        return self.kind, self.reason, self.count, sorted(self.clients.items())

    def to_text(self) -> str:
        head = f"{self.count:,} dropped, " if self.rows else ""
        head = f"{self.count:,} emptied, " if self.kind == "emptied" else head
        where = f" in {self.file}" if self.file else ""
        where += f", line {self.line}" if self.line else ""
        if self.example is not None:
            where = f" for example {self.example!r}{where}"
        return head + self.reason + (f":{where}" if where else "")


def note_on_customers(text: str, clients: Mapping[str, int], column: str | None = None) -> Issue:
    """A note on rows that are read all the same, with how many there are of each customer."""
    rows = sum(clients.values())
    return Issue(
        text, rows, min(clients), kind="note", column=column, rows=False, clients=dict(clients)
    )


@dataclass(frozen=True)
class TableReport:
    """The accounting of one table: ``read == kept + dropped``.

    ``refused`` tables are as if they were missing, and ``reason`` says why. ``warnings`` say how the table is read.
    ``client_rows`` has the rows read of each customer that lost one.
    """

    table: str
    read: int = 0
    kept: int = 0
    issues: list[Issue] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    refused: bool = False
    reason: str | None = None
    setting: str | None = None  # that a refusal follows from
    client_rows: dict[str, int] = field(default_factory=dict)

    @property
    def refusal(self) -> str | None:
        """Why the table is refused, with the setting that would allow it."""
        return f"{self.reason} (setting {self.setting})" if self.setting else self.reason

    @property
    def drops(self) -> list[Issue]:
        """The issues whose rows are left out."""
        return [issue for issue in self.issues if issue.rows]

    @property
    def dropped(self) -> int:
        return sum(issue.count for issue in self.drops)

    @property
    def corrected(self) -> dict[str, int]:
        """By column, the values that could not be used and became empty."""
        counts: dict[str, int] = {}
        for issue in self.issues:
            if issue.kind == "emptied" and issue.column:
                counts[issue.column] = counts.get(issue.column, 0) + issue.count
        return counts

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableReport:
        return cls(**{**values, "issues": [Issue(**issue) for issue in values["issues"]]})

    def to_text(self) -> list[str]:
        head = f"{self.table}: {self.read:,} read, {self.kept:,} kept"
        return [
            f"{head}; REFUSED: {self.refusal}" if self.refused else head,
            *("  " + issue.to_text() for issue in self.issues),
            *("  note: " + warning for warning in self.warnings),
        ]


class Losses:
    """What each customer lost in the tables of some reports."""

    def __init__(self, reports: Mapping[str, TableReport], settings: DataSettings) -> None:
        self._reports, self._settings = reports, settings

    def _of(self, report: TableReport, *kinds: IssueKind) -> dict[str, int]:
        lost: dict[str, int] = {}
        for issue in report.issues:
            for client, count in issue.clients.items() if issue.kind in kinds else ():
                lost[client] = lost.get(client, 0) + count
        return lost

    @functools.cached_property
    def shares(self) -> dict[str, dict[str, float]]:
        """By table and customer, lost rows and emptied values as a share of its rows, at most 1."""
        shares = {}
        for name, report in self._reports.items():
            if lost := self._of(report, "dropped", "emptied"):
                rows = report.client_rows
                shares[name] = {
                    client: min(1.0, count / max(1, rows.get(client, count)))
                    for client, count in lost.items()
                }
        return shares

    @functools.cached_property
    def withheld(self) -> dict[str, frozenset[str]]:
        """By table, the customers that lost too many of its rows: their metrics of it are not measured."""
        most = self._settings.max_customer_loss_share
        withheld = {}
        for name, report in self._reports.items():
            rows, lost = report.client_rows, self._of(report, "dropped")
            clients = frozenset(c for c, count in lost.items() if count > most * rows.get(c, count))
            if clients:
                withheld[name] = clients
        return withheld

    @functools.cached_property
    def emptied(self) -> dict[str, frozenset[str]]:
        """By "table.column", the customers of whom a value could not be used, with or without its row.

        Where most customers' time zones cannot be read the column is as if it were not there.
        """
        emptied = {
            f"{name}.{issue.column}": frozenset(issue.clients)
            for name, report in self._reports.items()
            for issue in report.issues
            if issue.kind == "emptied" or (issue.kind == "dropped" and issue.column == "count")
        }
        if ZONE in emptied and 2 * len(emptied[ZONE]) > self._reports["customers"].kept:
            del emptied[ZONE]
        return emptied

    def activity(self) -> dict[str, int]:
        """By customer, the events that are no person's only because a value of them cannot be used."""
        lost: dict[str, int] = {}
        report = self._reports.get("events")
        for issue in report.issues if report else ():
            if issue.kind in ("dropped", "emptied") and issue.column in (
                "source",
                "count",
                "occurred_at",
            ):
                for client, count in issue.clients.items():
                    lost[client] = lost.get(client, 0) + count
        return lost


def refusal(name: str, files: Sequence[str], reason: str) -> TableReport:
    """The report of a table that cannot be used at all."""
    return TableReport(name, files=list(files), refused=True, reason=reason)


def _excessive_loss(
    report: TableReport,
    settings: DataSettings,
    unlisted: Mapping[str, int],
    dropped: Container[str],
) -> str | None:
    """Why a table is refused for its losses, or None. A row that another stands for is no loss.

    A single row refuses no table, and neither does a single customer among others: its own metrics are withheld. Nor do
    rows of customers whose row in customers was ``dropped``. ``unlisted`` has the rows of each one that is not in it.
    """
    losses = [issue for issue in report.issues if issue.rows and issue.kind not in HARMLESS]
    footer = sum(issue.count for issue in losses if issue.reason == FOOTER)
    excused = footer + sum(count for client, count in unlisted.items() if client in dropped)
    read, remaining = report.read - excused, report.kept
    lost = sum(issue.count for issue in losses) - excused
    if lost <= 0 or (lost == 1 and remaining):
        return None
    by_client = {client: count for client, count in unlisted.items() if client not in dropped}
    for issue in losses:
        for client, count in issue.clients.items():
            by_client[client] = by_client.get(client, 0) + count
    worst = max(by_client, key=lambda client: (by_client[client], client), default="")
    rows = report.client_rows.get(worst, unlisted.get(worst, 0))
    rest, lost_rest = read - rows, lost - by_client.get(worst, 0)
    of, gone = (rest, lost_rest) if rest else (read, lost)
    if gone <= settings.max_loss_share * of:
        return None
    largest = max(losses, key=lambda issue: issue.count)
    doubts = [issue.reason for issue in report.issues if issue.kind == "note"]
    because = "; ".join([largest.reason, *doubts])
    return (
        f"{lost:,} of {read:,} rows cannot be used ({lost / read:.1%}; at most {settings.max_loss_share:.0%} may be "
        f"lost), most of them because {because}"
    )


def refused_for_losses(
    report: TableReport,
    settings: DataSettings,
    empty: str | None = None,
    unlisted: Mapping[str, int] = MappingProxyType({}),
    dropped: Container[str] = (),
) -> TableReport:
    """The report, refused where too much is lost, or for the reason ``empty``."""
    excessive = _excessive_loss(report, settings, unlisted, dropped)
    reason, setting = excessive or empty, "max_loss_share" if excessive else None
    return replace(report, refused=reason is not None, reason=reason, setting=setting)


def with_issues(
    reports: Mapping[str, TableReport], issues: Mapping[str, Sequence[Issue]]
) -> dict[str, TableReport]:
    """The reports with more issues, by table."""
    return {
        name: replace(report, issues=[*report.issues, *issues.get(name, ())])
        for name, report in reports.items()
    }
