"""A report as a PDF, typeset by Typst: no browser, no network. Texts reach it as data, never as its markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from healthseg.errors import CalculationError
from healthseg.reports.html import scripting
from healthseg.reports.html.markup import Node, parse

ROWS_SHOWN = 40
_PAINT = re.compile(r"var\(--hs-[a-z_]+,(#[0-9a-fA-F]{6})\)")


def available() -> None:
    """Raise CalculationError where Typst is not installed."""
    try:
        import typst  # noqa: F401
    except ImportError:
        raise CalculationError("PDF needs Typst: pip install 'healthseg[pdf]'") from None


def made(
    title: str, kicker: str, sections: Iterable[tuple[str, Iterable[str]]], footer: Iterable[str]
) -> bytes:
    """The bytes of a PDF; ``sections`` are ``(heading, pieces)`` as on the page."""
    available()
    import typst

    blocks: list[dict[str, Any]] = []
    for heading, pieces in sections:
        if heading:
            blocks.append({"kind": "h2", "text": heading})
        for piece in pieces:
            blocks += _blocks(parse(piece))
    end = [block for piece in footer for block in _blocks(parse(piece))]
    data = json.dumps(
        {"title": title, "kicker": kicker, "blocks": blocks, "footer": end}, ensure_ascii=False
    )
    return typst.compile(
        str(scripting.templates() / "report.typ"), sys_inputs={"data": data}, format="pdf"
    )


def _blocks(node: Node) -> list[dict[str, Any]]:
    """What stands in an element, from top to bottom."""
    found: list[dict[str, Any]] = []
    for part in node.parts:
        if isinstance(part, str):
            found += [{"kind": "p", "text": " ".join(part.split())}] if part.strip() else []
        else:
            found += _block(part)
    return found


def _block(node: Node) -> list[dict[str, Any]]:
    if node.names & _LEFT_OUT:
        return []
    if node.tag in _PLAIN:
        return [{"kind": _kind(node), "text": node.text}] if node.text else []
    if node.tag == "svg":
        return [{"kind": "svg", "svg": _painted(node)}]
    if node.tag in ("ul", "ol"):
        return [{"kind": node.tag, "items": [item.text for item in node.all("li") if item.text]}]
    if node.tag == "dl":
        return [
            {
                "kind": "facts",
                "items": [[part.text for part in pair.elements] for pair in node.elements],
            }
        ]
    if node.tag == "table":
        return _table(node)
    if node.tag == "figure":
        return _figure(node)
    if "hs-cards" in node.names:
        return [{"kind": "cards", "items": [_card(card) for card in node.elements]}]
    if "hs-tiles" in node.names:
        return [{"kind": "cards", "items": [_tile(tile) for tile in node.elements]}]
    if node.tag == "summary":
        return [{"kind": "h3", "text": node.text}]
    return [] if node.tag in ("label", "button", "input") else _blocks(node)


_PLAIN = frozenset({"p", "h1", "h2", "h3", "pre", "span", "b", "small", "bdi"})
_LEFT_OUT = frozenset({"hs-ends", "hs-sliders", "hs-more"})
_KINDS = {"hs-verdict": "verdict", "hs-about": "soft", "hs-missing": "soft", "hs-sub": "soft"}


def _kind(node: Node) -> str:
    own = node.tag if node.tag in ("h1", "h2", "h3") else "p"
    return next((_KINDS[name] for name in sorted(node.names) if name in _KINDS), own)


def _painted(node: Node) -> str:
    """A picture with its colours themselves, where a page has names for them."""
    return _PAINT.sub(r"\1", node.attributes["whole"])


def _card(card: Node) -> list[str]:
    """Name, figure, change and note."""
    return [part.text for part in card.elements]


def _tile(tile: Node) -> list[str]:
    """The figure of a tile is its first part, a card's its second."""
    figure, name, *rest = (part.text for part in tile.elements)
    return [name, figure, *rest]


def _figure(node: Node) -> list[dict[str, Any]]:
    """A chart with its title, drawn for paper; its figures are in the HTML report."""
    words = [{"kind": _kind(part), "text": part.text} for part in node.elements[0].elements]
    wide = next(part for part in node.elements if "hs-drawn" in part.names)
    return [{"kind": "figure", "words": words, "svg": _painted(wide.all("svg")[0])}]


def _table(node: Node) -> list[dict[str, Any]]:
    rows = [row.elements for row in node.all("tr")]
    head = node.all("thead")
    titles, body = (rows[0], rows[1:]) if head and rows else ([], rows)
    across = max((len(row) for row in rows), default=0)
    if not across or not body:
        return []
    right = ["hs-num" in cell.names for cell in (titles or body[0])]
    return [
        {
            "kind": "table",
            "caption": " ".join(part.text for part in node.all("caption")),
            "right": right + [False] * (across - len(right)),
            "head": [cell.text for cell in titles],
            "rows": [
                ["\n".join(cell.lines) for cell in row] + [""] * (across - len(row))
                for row in body[:ROWS_SHOWN]
            ],
            "more": max(0, len(body) - ROWS_SHOWN),
        }
    ]
