"""The nodes of a page as plain blocks, and PDF and CSV written from them: typeset by Typst, without a browser or a network."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from healthseg.charts import formats
from healthseg.charts.formats import DASH
from healthseg.errors import CalculationError
from healthseg.reports import document
from healthseg.reports.figures import Filled
from healthseg.reports.html import writer

Block = dict[str, Any]
_PAINT = re.compile(r"var\(--hs-[a-z_]+,(#[0-9a-fA-F]{6})\)")
_LOOKS = {"verdict": "verdict", "about": "soft", "missing": "soft", "sub": "soft"}


def blocks(nodes: Iterable[document.Node]) -> list[Block]:
    """Nodes as JSON values, from top to bottom."""
    return [block for node in nodes for block in _WRITERS[type(node)](node)]


def text(kind: str, words: str) -> list[Block]:
    """A text of a kind (``p``, ``h3``, ``soft``), where it has words."""
    words = " ".join(words.split())
    return [{"kind": kind, "text": words}] if words else []


def _words(*texts: Filled) -> str:
    return " ".join(text.text for text in texts if text).strip()


def _item(item: document.Item) -> str:
    level = formats.sentence(item.severity.text) if item.severity else ""
    parts = ": ".join(
        filter(None, (level, *(part.text for part in (item.title, item.text) if part)))
    )
    return " – ".join(filter(None, (parts, item.under.text)))


def grid(table: document.Grid) -> list[Block]:
    """A table: what its cells say, and the figures that a spreadsheet takes."""
    return [
        {
            "kind": "table",
            "caption": table.caption,
            "right": [column.numeric for column in table.columns],
            "head": [column.heading for column in table.columns],
            "rows": [
                ["\n".join(filter(None, (_cell(cell), cell.under.text))) for cell in line]
                for line in table.lines
            ],
            "values": [[cell.sort for cell in line] for line in table.lines],
            "clients": [_client(line) for line in table.lines],
        }
    ]


def _client(line: Iterable[document.GridCell]) -> str:
    """The client_id of the customer that a row names."""
    return next((piece.client for cell in line for piece in cell.text.pieces if piece.client), "")


def _cell(cell: document.GridCell) -> str:
    return cell.text.text or formats.DASH


def _card(card: document.CardText) -> list[str]:
    figure = [card.figure.text or formats.DASH, card.badge.text if card.badge else ""]
    return [card.name.text, " ".join(filter(None, figure)), card.change.text, card.note.text]


def painted(svg: str) -> str:
    """A picture with its colours themselves, where a page has names for them."""
    return _PAINT.sub(r"\1", svg)


def _figure(figure: document.DrawnChart) -> list[Block]:
    words = [*text("h3", figure.title.text), *text("soft", figure.subtitle.text)]
    table = grid(figure.table) if figure.table else []
    drawing = {"kind": "figure", "words": words, "svg": painted(figure.svg)}
    return [drawing, *({**block, "data_only": True} for block in table)]


def _opening(opening: document.Opening) -> list[Block]:
    return blocks((opening.title, opening.verdict, *opening.about))


def _folded(node: document.Folded) -> list[Block]:
    """Paper says what a fold holds, as the browser's print does; CSV has its tables."""
    if not node.printed:
        return []
    hidden = [{**block, "data_only": True} for block in blocks(node.nodes)]
    return [*text("soft", f"On the page: {node.summary.text}"), *hidden]


_WRITERS: dict[type, Callable[[Any], list[Block]]] = {
    document.Opening: _opening,
    document.Title: lambda node: text(f"h{node.level}", node.text.text),
    document.Paragraph: lambda node: text(
        _LOOKS.get(node.kind, "p"), _words(node.title, node.text)
    ),
    document.Listing: lambda node: [
        {"kind": "ol" if node.ordered else "ul", "items": [_item(item) for item in node.items]}
    ],
    document.FactList: lambda node: [
        {"kind": "facts", "items": [[name, value.text] for name, value in node.pairs]}
    ],
    document.Grid: grid,
    document.CardRow: lambda node: [{"kind": "cards", "items": list(map(_card, node.cards))}],
    document.DrawnChart: _figure,
    document.Drawing: lambda node: [{"kind": "svg", "svg": painted(node.svg)}],
    document.Folded: _folded,
    document.Markup: lambda node: blocks(node.printed),
}


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
    """A table as CSV, with a client_id where its rows name customers; in UTF-8 with a byte order mark, which spreadsheets need to see that it is UTF-8."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    named = any(table["clients"])
    write.writerow([*["client_id"] * named, *(harmless(name) for name in table["head"])])
    for client, texts, values in zip(table["clients"], table["rows"], table["values"], strict=True):
        cells = [
            harmless(text.replace("\n", " – ")) if value is None else value
            for text, value in zip(texts, values, strict=True)
        ]
        write.writerow([*[harmless(client)] * named, *cells])
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


# -- PDF -------------------------------------------------------------------------------------------


# As many as a page on a screen shows before a reader asks for more.
ROWS_SHOWN = document.ROWS_SHOWN


def available() -> None:
    """Raise CalculationError where Typst is not installed."""
    try:
        import typst  # noqa: F401
    except ImportError:
        raise CalculationError("PDF needs Typst: pip install 'healthseg[pdf]'") from None


def pdf_bytes(
    title: str,
    kicker: str,
    sections: Iterable[tuple[str, list[Block]]],
    footer: list[Block],
    links: Mapping[str, str] | None = None,
    home: str = "",
) -> bytes:
    """The bytes of a PDF; ``sections`` are ``(heading, blocks)`` as on the page.

    ``links`` are addresses by the names of customers, ``home`` that of the index; both relative to the PDF.
    """
    available()
    import typst

    shown: list[Block] = []
    for heading, blocks in sections:
        shown += [{"kind": "h2", "text": heading}] if heading else []
        shown += [_cut(block) for block in blocks if not block.get("data_only")]
    named = sorted(links or {}, key=len, reverse=True)  # of two names with one beginning the longer
    content = {
        **{"title": title, "kicker": kicker, "blocks": shown, "footer": footer, "home": home},
        **{"links": dict(links or {}), "names": "|".join(map(_whole, named))},
    }
    return typst.compile(
        str(writer.templates() / "report.typ"),
        sys_inputs={"data": json.dumps(content, ensure_ascii=False)},
        format="pdf",
    )


def _whole(name: str) -> str:
    """A pattern of a name as a whole; the typesetter's expressions know no look-around."""
    edges = [r"\b" * bool(re.fullmatch(r"\w", letter)) for letter in (name[0], name[-1])]
    return f"{edges[0]}{re.escape(name)}{edges[1]}"


def _cut(block: Block) -> Block:
    """A table with the rows that fit on paper, and how many more there are."""
    if block["kind"] != "table":
        return block
    more = max(0, len(block["rows"]) - ROWS_SHOWN)
    return {**block, "rows": block["rows"][:ROWS_SHOWN], "values": [], "clients": [], "more": more}
