"""The tables of a page as CSV: figures as figures, and text that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from healthseg.charts.formats import DASH
from healthseg.reports.html.printed import Block

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")


def csv_files(sections: Iterable[tuple[str, list[Block]]]) -> dict[str, str]:
    """The text of a CSV file by its name, for every table of ``(heading, blocks)``."""
    files: dict[str, str] = {}
    for heading, blocks in sections:
        for table in blocks:
            if table["kind"] == "table":
                name = table["caption"] or heading or "table"
                files[f"{len(files) + 1:02d}-{_slug(name)}.csv"] = csv_text(table)
    return files


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "table"


def csv_text(table: Block) -> str:
    """A table as CSV in UTF-8 with a byte order mark, which spreadsheets need to see that it is UTF-8."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\r\n")
    write.writerow([harmless(name) for name in table["head"]])
    for texts, values in zip(table["rows"], table["values"], strict=True):
        write.writerow(
            [
                harmless(text.replace("\n", " – ")) if value is None else value
                for text, value in zip(texts, values, strict=True)
            ]
        )
    return "\ufeff" + file.getvalue()


def harmless(words: str) -> str:
    """Text that a spreadsheet shows as it is; a figure is left as one.

    >>> harmless("=cmd|'/C calc'!A0"), harmless("-5.2"), harmless("- five"), harmless("–")
    ("'=cmd|'/C calc'!A0", '-5.2', "'- five", '')
    """
    words = " ".join(words.split())
    if words == DASH:
        return ""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", words):
        return words
    return f"'{words}" if _FORMULA.match(words) else words
