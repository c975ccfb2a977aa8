"""A query for a table of the contract as it is written to the file: columns with reasons, links, questions."""

from __future__ import annotations

from dataclasses import dataclass, field

from healthseg.data.exports.links import Link
from healthseg.data.exports.presets import Recognised

# how many of the links that were measured are offered beside the one that is used
SHOWN_LINKS = 4


@dataclass(frozen=True)
class DraftColumn:
    """A column of a query. Where the column is undecided, ``options`` has its readings and ``sql`` is None."""

    name: str
    sql: str | None
    comment: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass
class DraftTable:
    """A query for a table of the contract. ``blocked`` says why it cannot be used as it is."""

    table: str
    recognised: Recognised
    columns: list[DraftColumn]
    comments: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    qualify: str = ""
    link: Link | None = None
    other_links: list[Link] = field(default_factory=list)
    blocked: str = ""
    derived: str = ""

    @property
    def is_decided(self) -> bool:
        return all(column.sql is not None for column in self.columns)

    def sql_of(self, name: str) -> str | None:
        """The expression of a column, where it has one."""
        return next((column.sql for column in self.columns if column.name == name), None)

    def query(self, indent: str = "") -> str:
        """The query as it is written to the file, with comments; undecided columns are comments alone."""
        if self.derived:
            return self.derived
        lines = ["SELECT"]
        for column in self.columns:
            lines += _column_lines(column)
        lines.append(f"FROM {self.recognised.source.relation} AS t")
        if self.link:
            lines += ["-- which customer a row belongs to:", f"-- {self.link.to_text()}: used"]
            lines.append(f"LEFT JOIN ({self.link.pairs}) AS link ON link.key = {self.link.key}")
            for other in self.other_links[:SHOWN_LINKS]:
                lines.append(f"-- or, {other.to_text()}:")
                lines.append(f"-- LEFT JOIN ({other.pairs}) AS link ON link.key = {other.key}")
        if self.where:
            lines.append("WHERE " + "\n  AND ".join(self.where))
        if self.qualify:
            lines.append(f"QUALIFY {self.qualify}")
        return "\n".join(indent + line for line in lines)


def _column_lines(column: DraftColumn) -> list[str]:
    comment = f"  -- {column.comment}" if column.comment else ""
    if column.sql is not None:
        return [f"  {column.sql} AS {column.name},{comment}"]
    lines = [
        f"  -- DECIDE {column.name}: {column.comment}; remove the dashes before one of these lines"
    ]
    return lines + [f"  -- {sql} AS {column.name},  -- {words}" for words, sql in column.options]
