"""A report as a PDF, typeset by Typst: no browser, no network. Texts reach it as data, never as its markup."""

from __future__ import annotations

import json
from collections.abc import Iterable

from healthseg.errors import CalculationError
from healthseg.reports import document
from healthseg.reports.html import scripting
from healthseg.reports.html.printed import Block

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
) -> bytes:
    """The bytes of a PDF; ``sections`` are ``(heading, blocks)`` as on the page."""
    available()
    import typst

    shown: list[Block] = []
    for heading, blocks in sections:
        shown += [{"kind": "h2", "text": heading}] if heading else []
        shown += [_cut(block) for block in blocks if not block.get("data_only")]
    content = {"title": title, "kicker": kicker, "blocks": shown, "footer": footer}
    return typst.compile(
        str(scripting.templates() / "report.typ"),
        sys_inputs={"data": json.dumps(content, ensure_ascii=False)},
        format="pdf",
    )


def _cut(block: Block) -> Block:
    """A table with the rows that fit on paper, and how many more there are."""
    if block["kind"] != "table":
        return block
    more = max(0, len(block["rows"]) - ROWS_SHOWN)
    return {**block, "rows": block["rows"][:ROWS_SHOWN], "values": [], "clients": [], "more": more}
