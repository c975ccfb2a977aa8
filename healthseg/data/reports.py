"""What became of every row: the accounting of a table, and the check of a whole portfolio."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Drop:
    """Rows left out for one reason, with one of them to look at."""

    reason: str
    count: int
    example: str | None = None
    file: str | None = None
    line: int | None = None

    def to_text(self) -> str:
        where = f" in {self.file}" if self.file else ""
        where += f", line {self.line}" if self.line else ""
        shown = (
            f": for example {self.example!r}{where}"
            if self.example is not None
            else (f":{where}" if where else "")
        )
        return f"{self.count:,} dropped, {self.reason}{shown}"


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
    def from_dict(cls, values: dict[str, Any]) -> TableReport:
        values = {key: value for key, value in values.items() if key != "dropped"}
        return cls(**values | {"drops": [Drop(**drop) for drop in values["drops"]]})

    def to_text(self) -> list[str]:
        head = f"{self.table}: {self.read:,} read, {self.kept:,} kept"
        lines = [f"{head}; REFUSED: {self.reason}" if self.refused else head]
        lines += ["  " + drop.to_text() for drop in self.drops]
        lines += [
            f"  {count:,} unusable values of {column} left empty"
            for column, count in self.corrected.items()
        ]
        return lines + ["  note: " + warning for warning in self.warnings]


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
        return asdict(self) | {
            "tables": {name: report.to_dict() for name, report in self.tables.items()}
        }

    def to_text(self) -> str:
        lines = [f"{self.portfolio}: {'usable' if self.usable else 'NOT USABLE'}"]
        if self.data_until:
            lines.append(f"events from {self.first_event_day}, whole days until {self.data_until}")
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings]
        for report in self.tables.values():
            lines += report.to_text()
        if self.missing:
            lines.append("not given: " + ", ".join(self.missing))
        return "\n".join(lines)
