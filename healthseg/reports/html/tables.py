"""The tables of a page as CSV: figures as figures, and text that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from healthseg.reports.html.markup import Node, parse

_FORMULA = re.compile(r"[=+\-@\t\r\n]")


def csv_files(sections: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """The text of a CSV file by its name, for every table of ``(heading, pieces)``."""
    found: dict[str, str] = {}
    for heading, pieces in sections:
        for piece in pieces:
            for node in parse(piece).all("table"):
                caption = " ".join(part.text for part in node.all("caption")) or heading or "table"
                found[f"{len(found) + 1:02d}-{_slug(caption)}.csv"] = text(node)
    return found


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "table"


def text(table: Node) -> str:
    """A table as CSV in UTF-8 with a byte order mark, which spreadsheets need to see that it is UTF-8."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\r\n")
    for row in table.all("tr"):
        write.writerow([_value(cell) for cell in row.elements if cell.tag in ("th", "td")])
    return "\ufeff" + file.getvalue()


def _value(cell: Node) -> str:
    figure = cell.attributes.get("data-sort")
    return figure if figure is not None else harmless(" – ".join(cell.lines))


def harmless(words: str) -> str:
    """Text that a spreadsheet shows as it is; a figure is left as one.

    >>> harmless("=cmd|'/C calc'!A0"), harmless("-5.2"), harmless("- five"), harmless("–")
    ("'=cmd|'/C calc'!A0", '-5.2', "'- five", '')
    """
    if words == "–":
        return ""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", words):
        return words
    return f"'{words}" if _FORMULA.match(words) else words
