"""What became of every row: the accounting of a table, the check of a portfolio, and what tables say about each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb

from healthseg.data.engine import sql_text
from healthseg.settings.data import DataSettings

_CROSS_CHECKS = {
    "events_before_signup": "{n:,} customers have events before their signup_date, for example {example}",
    "events_after_churn": "{n:,} customers have events on or after churned_on, for example {example}",
    "arr_disagrees": "{n:,} customers whose ARR differs between arr_changes, contracts and customers, "
    "for example {example}",
    "churn_disagrees": "{n:,} customers whose churn differs between churned_on, arr_changes and stage_changes, "
    "for example {example}",
    "many_contents": "messages.content is meant as a category: {n:,} values are too many or too long, "
    "for example {example}",
}


@dataclass(frozen=True)
class Drop:
    """Rows left out for one reason, with an example."""

    reason: str
    count: int
    example: str | None = None
    file: str | None = None
    line: int | None = None

    def to_text(self) -> str:
        where = f" in {self.file}" if self.file else ""
        where += f", line {self.line}" if self.line else ""
        if self.example is not None:
            where = f" for example {self.example!r}{where}"
        return f"{self.count:,} dropped, {self.reason}" + (f":{where}" if where else "")


@dataclass(frozen=True)
class TableReport:
    """The accounting of one table: ``read == kept + sum(drop.count)``.

    ``corrected`` counts, by column, the values that could not be used and became
    empty; ``refused`` tables are as if they were missing, and ``reason`` says why.
    """

    table: str
    read: int = 0
    kept: int = 0
    corrected: dict[str, int] = field(default_factory=dict)
    drops: list[Drop] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    refused: bool = False
    reason: str | None = None

    @property
    def dropped(self) -> int:
        return sum(drop.count for drop in self.drops)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"dropped": self.dropped}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableReport:
        fields = {key: value for key, value in values.items() if key != "dropped"}
        return cls(**fields | {"drops": [Drop(**drop) for drop in fields["drops"]]})

    def to_text(self) -> list[str]:
        head = f"{self.table}: {self.read:,} read, {self.kept:,} kept"
        return [
            f"{head}; REFUSED: {self.reason}" if self.refused else head,
            *("  " + drop.to_text() for drop in self.drops),
            *(
                f"  {count:,} unusable values of {column} left empty"
                for column, count in self.corrected.items()
            ),
            *("  note: " + warning for warning in self.warnings),
        ]


@dataclass(frozen=True)
class Check:
    """What each table holds, what was dropped and why, and whether the portfolio can be used."""

    portfolio: str
    usable: bool
    problems: list[str]
    warnings: list[str]
    tables: dict[str, TableReport]
    missing: list[str]
    first_event_day: str | None = None
    data_until: str | None = None

    def to_dict(self) -> dict[str, Any]:
        tables = {name: report.to_dict() for name, report in self.tables.items()}
        return asdict(self) | {"tables": tables}

    def to_text(self) -> str:
        lines = [f"{self.portfolio}: {'usable' if self.usable else 'NOT USABLE'}"]
        if self.data_until:
            lines.append(f"events from {self.first_event_day}, whole days until {self.data_until}")
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for report in self.tables.values():
            lines += report.to_text()
        if self.missing:
            lines.append("missing: " + ", ".join(self.missing))
        return "\n".join(lines)


def refusal(name: str, files: Sequence[str], reason: str) -> TableReport:
    """The report of a table that cannot be used at all."""
    return TableReport(name, files=list(files), refused=True, reason=reason)


def excessive_loss(
    read: int, lost: int, settings: DataSettings, drops: Sequence[Drop]
) -> str | None:
    """Why a table is refused for its losses, or None. Identical rows are no loss."""
    if not read or lost <= settings.max_loss_share * read:
        return None
    worst = max(drops, key=lambda drop: drop.count)
    return (
        f"{lost:,} of {read:,} rows cannot be used ({lost / read:.1%}; at most {settings.max_loss_share:.0%} may be "
        f"lost, setting max_loss_share), most of them because {worst.reason}"
    )


def cross_checks(connection: duckdb.DuckDBPyConnection, day: dt.date) -> list[str]:
    """Where tables contradict each other on the portfolio's last day: warnings, never corrected in silence."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE portfolio_day AS SELECT CAST(? AS DATE) AS day", [day]
    )
    warnings = []
    for name, words in _CROSS_CHECKS.items():
        query = f"SELECT COUNT(*), MIN(client_id) FROM ({sql_text(f'checks/{name}')})"
        ((n, example),) = connection.execute(query).fetchall()
        if n:
            warnings.append(words.format(n=n, example=example))
    return warnings
