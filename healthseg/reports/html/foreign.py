"""Outputs of notebooks that are not ours, on a page that loads nothing: altair's charts become named pictures."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from healthseg.charts import formats, theme
from healthseg.reports import document
from healthseg.reports.document import static
from healthseg.reports.html import printed
from healthseg.reports.html.writer import fold, written

_GRAMMAR = "application/vnd.vegalite."
_CALL = re.compile(r"\}\)\((?=\{)")
ROWS_AT_MOST = 500


def piece(output: Mapping[str, Any]) -> str:
    """An output as markup: what was shown, else its text; empty where there is nothing."""
    data = output.get("data", {})
    spec = chart_of(data)
    if spec is not None:
        return _figure(_showable(spec))
    for kind in ("text/html", "image/svg+xml"):
        if kind in data:
            return "".join(data[kind])
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="a picture of the notebook" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
    text = "".join(
        data.get("text/plain", output.get("text", "") if output.get("name") == "stdout" else "")
    )
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def blocks(output: Mapping[str, Any]) -> list[printed.Block]:
    """An output as PDF and CSV have it: a chart, the tables of its HTML, else its text."""
    data = output.get("data", {})
    spec = chart_of(data)
    if spec is not None:
        spec = _showable(spec)
        drawing, table = _drawn(spec), _figures(spec)
        figure = {"kind": "figure", "words": printed.text("h3", _name(spec)), "svg": drawing}
        return [figure] * bool(drawing) + (printed.grid(table) if table else [])
    tables = parse("".join(data.get("text/html", ""))).all("table")
    if tables:
        return [block for table in tables for block in printed.grid(_grid(table))]
    stdout = output.get("text", "") if output.get("name") == "stdout" else ""
    return printed.text("p", "".join(data.get("text/plain", stdout)))


def _grid(table: Node) -> document.Grid:
    """A table of somebody's HTML."""
    lines = [[cell.text for cell in row.elements] for row in table.all("tr")]
    widest = max((len(line) for line in lines), default=0)
    head, *body = [[*line, *[""] * (widest - len(line))] for line in lines] or [[]]
    cells = [tuple(document.GridCell(static(text)) for text in line) for line in body]
    return document.Grid(tuple(map(document.GridColumn, head)), tuple(cells))


def chart_of(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The grammar of an altair chart: as such, or within the HTML that loads its renderer from elsewhere."""
    for kind, value in data.items():
        if kind.startswith(_GRAMMAR):
            return dict(value)
    markup = "".join(data.get("text/html", ""))
    if "vegaEmbed" not in markup:
        return None
    for call in _CALL.finditer(markup):
        try:
            spec, _ = json.JSONDecoder().raw_decode(markup, call.end())
        except ValueError:
            continue
        return spec
    return None


def _showable(value: Any) -> Any:
    """The grammar with texts that can be drawn: the renderer ends the whole process at a control character."""
    if isinstance(value, str):
        return formats.showable(value)
    if isinstance(value, Mapping):
        return {formats.showable(name): _showable(part) for name, part in value.items()}
    return [_showable(part) for part in value] if isinstance(value, list) else value


def _drawn(spec: Mapping[str, Any]) -> str:
    """The chart as a picture with its name; empty where it cannot be drawn."""
    try:
        return theme.named(theme.draw(json.dumps(spec, sort_keys=True)), _name(spec))
    except ValueError:
        return ""


def _figure(spec: Mapping[str, Any]) -> str:
    drawing = _drawn(spec)
    if not drawing:
        return f"<pre>{html.escape(f'{_name(spec)}: this chart cannot be drawn.')}</pre>"
    figures = _figures(spec)
    table = fold("The figures as a table", written([figures])) if figures else ""
    figure = f'<figure class="hs-chart"><div>{drawing}</div>{table}</figure>'
    return f'<div class="hs">{figure}</div>'


def _name(spec: Mapping[str, Any]) -> str:
    title = spec.get("title") or spec.get("description") or "Chart"
    words = title.get("text", "Chart") if isinstance(title, Mapping) else title
    return formats.plain(" ".join(words) if isinstance(words, list) else words, 200)


def _figures(spec: Mapping[str, Any]) -> document.Grid | None:
    """The chart's data, where it carries them."""
    rows = (
        next(iter(spec.get("datasets", {}).values()), None)
        or (spec.get("data") or {}).get("values")
        or []
    )
    rows = [row for row in rows if isinstance(row, Mapping)][:ROWS_AT_MOST]
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        return None
    columns = [document.GridColumn(name, _is_numeric(rows, name)) for name in names]
    lines = [
        tuple(_cell(row.get(column.heading), column.numeric) for column in columns) for row in rows
    ]
    return document.Grid(tuple(columns), tuple(lines))


def _cell(value: Any, numeric: bool) -> document.GridCell:
    sort = f"{value:.10g}" if numeric and value is not None else None
    return document.GridCell(static(formats.plain(value)), sort=sort)


def _is_numeric(rows: list[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


_PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_LEFT_OUT = re.compile(r"<(style|script)\b.*?</\1>", re.DOTALL)
_VOID = frozenset({"input", "br", "hr", "img", "meta", "picture-at"})


@dataclass
class Node:
    """An element: its tag, its attributes, and what is in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[Node | str] = field(default_factory=list)

    @property
    def names(self) -> frozenset[str]:
        """Its classes."""
        return frozenset(self.attributes.get("class", "").split())

    @property
    def text(self) -> str:
        """Its words, in one line.

        >>> parse("<p>One <b>two</b>: <small>three</small></p>").text
        'One two: three'
        """
        joined = " ".join(" ".join(self._words()).replace("\u00a0", " ").split())
        return re.sub(r" (?=[:;,])", "", joined)

    @property
    def lines(self) -> list[str]:
        """Its words, those in small type each on a line of their own.

        >>> parse("<th><bdi>Acme</bdi><small>usage fell</small></th>").elements[0].lines
        ['Acme', 'usage fell']
        """
        small = [part.text for part in self.elements if part.tag == "small"]
        rest = Node(
            self.tag,
            {},
            [part for part in self.parts if isinstance(part, str) or part.tag != "small"],
        )
        return [line for line in (rest.text, *small) if line]

    def _words(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part._words()

    def all(self, tag: str) -> list[Node]:
        """The elements of a tag within it, in order; not those within one of them."""
        matches = []
        for part in self.elements:
            matches += [part] if part.tag == tag else part.all(tag)
        return matches

    @property
    def elements(self) -> list[Node]:
        """The elements directly in it."""
        return [part for part in self.parts if isinstance(part, Node)]


def parse(piece: str) -> Node:
    """A piece of a page as a tree; a picture is an element ``svg`` with its whole text in it."""
    pictures: list[str] = []

    def replace(match: re.Match[str]) -> str:
        pictures.append(match.group())
        return f'<picture-at number="{len(pictures) - 1}">'

    reader = _NodeReader(pictures)
    reader.feed(_PICTURE.sub(replace, _LEFT_OUT.sub("", piece)))
    reader.close()
    return reader.root


class _NodeReader(HTMLParser):
    def __init__(self, pictures: list[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("piece")
        self._open, self._pictures = [self.root], pictures

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "picture-at":
            node = Node("svg", {"whole": self._pictures[int(values["number"])]})
        else:
            node = Node(tag, values)
        self._open[-1].parts.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if any(node.tag == tag for node in self._open[1:]):
            while self._open.pop().tag != tag:
                continue

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)
