"""The nodes of a page as HTML, alike in JupyterLab and in an exported report.

Whatever comes from a portfolio passes through ``safe``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import itertools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from healthseg.charts import formats, theme
from healthseg.reports import document
from healthseg.reports.figures import Filled, Piece

# The letters of a cell that fill a line of their own on a phone.
LONG_CELL = 28
# The columns of a table for which half of a wide page is enough.
NARROW_COLUMNS = 5
SPEC = "application/vnd.vegalite+json"
REPORT = "application/vnd.healthseg.report+json"
# Of a section that answers nothing: the reasons.
UNKNOWN = "application/vnd.healthseg.unknown+json"
_ARROWS = {"up": "▲ ", "down": "▼ "}
_INERT = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def safe(value: Any) -> str:
    """Text from a portfolio, as text: no markup of it is read, and its writing direction stays its own.

    >>> safe("<b>Acme</b>")
    '&lt;b&gt;Acme&lt;/b&gt;'
    """
    return html.escape(formats.plain(value), quote=True)


def style() -> str:
    """The look of all nodes, as one style element."""
    sheet = resources.files("healthseg.reports.html").joinpath("templates/pieces.css")
    return f"<style>{sheet.read_text('utf-8')}</style>"


def inert_data(value: Any, kind: str = "application/json", name: str = "hs-data") -> str:
    """Data for a report's own script, which JupyterLab leaves alone; of charts, what static reports leave out."""
    return f'<script type="{kind}" class="{name}">{inert(value)}</script>'


def inert(value: Any) -> str:
    """A JSON value that can stand within a script element: no text of it ends the element or begins another.

    >>> inert("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_INERT)


def written(nodes: Iterable[document.Node]) -> str:
    """Nodes one below the other."""
    return "".join(_WRITERS[type(node)](node) for node in nodes)


def panels(nodes: Iterable[document.Node]) -> str:
    """Nodes side by side where the page is wide enough for two."""
    groups = _groups(nodes)
    if len(groups) < 2:
        return "".join(map(written, groups))
    parts = []
    for wide, run in itertools.groupby(groups, _is_wide):
        members = [f'<div class="hs-panel">{written(group)}</div>' for group in run]
        columns = not wide and len(members) > 1
        body = "".join(members)
        parts.append(f'<div class="hs-columns">{body}</div>' if columns else body)
    return "".join(parts)


def is_narrow(nodes: Iterable[document.Node]) -> bool:
    """Whether half of a wide page is enough for the nodes; a numbered list, of actions, stands across the page."""
    nodes = tuple(nodes)
    if any(isinstance(node, document.Listing) and node.ordered for node in nodes):
        return False
    groups = _groups(nodes)
    return len(groups) < 2 and not any(map(_is_wide, groups))


def _groups(nodes: Iterable[document.Node]) -> list[list[document.Node]]:
    """Nodes that belong together: a heading with what follows it, a chart, a table with what is said of it."""
    groups: list[list[document.Node]] = []
    for node in nodes:
        begun = bool(groups) and not _is_wide(groups[-1]) and not _is_wide([node])
        last = groups[-1] if begun else []
        headed = all(isinstance(item, document.Title | document.Paragraph) for item in last)
        begins = isinstance(node, document.Title | document.DrawnChart | document.Grid)
        if begun and (headed or not begins):
            last.append(node)
        elif groups and isinstance(groups[-1][-1], document.Title):
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _is_wide(nodes: Iterable[document.Node]) -> bool:
    return any(
        isinstance(node, document.CardRow | document.Markup | document.Opening)
        or (isinstance(node, document.Grid) and len(node.columns) > NARROW_COLUMNS)
        or (isinstance(node, document.Folded) and _is_wide(node.nodes))
        for node in nodes
    )


# -- texts and figures ----------------------------------------------------------------------------


def text_of(text: Filled, tag: str = "span") -> str:
    """A filled template as markup, in which each figure carries its path."""
    return "".join(
        figure(piece, tag) if piece.path else _static(piece.text) for piece in text.pieces
    )


def _static(text: str) -> str:
    """Static text of a page, whose spaces at the ends stay, also those that keep a line together."""
    if not text.strip():
        return text[:1]
    start, end = text[0] if text[0].isspace() else "", text[-1] if text[-1].isspace() else ""
    return f"{start}{safe(text)}{end}"


def figure(piece: Piece, tag: str = "span") -> str:
    """A figure with its path; a name keeps its writing direction to itself."""
    if not formats.is_numeric(piece.form):
        tag = "bdi" if tag == "span" else tag
    return _linked(piece, f"<{tag}{_address(piece)}>{safe(piece.text)}</{tag}>")


def _linked(piece: Piece, markup: str) -> str:
    """The name of a customer as a link; a report that knows the customer's page says where it leads."""
    return f'<a data-client="{safe(piece.client)}">{markup}</a>' if piece.client else markup


def report_link(tool: str) -> str:
    """Where a section's subject has a report of its own: a link, once the page knows where that is."""
    return f'<p class="hs-report"><a data-report="{safe(tool)}"></a></p>' if tool else ""


def _address(piece: Piece) -> str:
    form = f' data-format="{safe(piece.form)}"' if piece.form else ""
    return f' data-figure="{safe(piece.path)}"{form}'


# -- nodes ----------------------------------------------------------------------------------------


def _opening(opening: document.Opening) -> str:
    mood = f" hs-is-{safe(opening.mood)}" if opening.mood else ""
    parts = written((opening.title, opening.verdict, *opening.about))
    return f'{style()}<header class="hs-opening{mood}">{parts}</header>'


def _title(title: document.Title) -> str:
    tag, text = ("bdi" if title.level == 1 else "span"), title.text
    if title.level == 1:  # a page leads nowhere by its own title
        text = Filled(tuple(replace(piece, client="") for piece in text.pieces))
    return f"<h{title.level}>{text_of(text, tag)}</h{title.level}>"


def _paragraph(paragraph: document.Paragraph) -> str:
    kind = f' class="hs-{paragraph.kind}"' if paragraph.kind else ""
    bold = f"<b>{text_of(paragraph.title)}</b> " if paragraph.title else ""
    return f"<p{kind}>{bold}{text_of(paragraph.text)}</p>"


def _listing(listing: document.Listing) -> str:
    tag = "ol" if listing.ordered else "ul"
    items = "".join(f"<li>{_item(item)}</li>" for item in listing.items)
    return f'<{tag} class="hs-{listing.kind}">{items}</{tag}>' if items else ""


def _item(item: document.Item) -> str:
    mark = ""
    if item.severity is not None:
        kind = f"hs-severity hs-{safe(item.level)}"
        text = safe(item.severity.text)
        mark = f'<span class="{kind}"{_address(item.severity)}>{text}</span> '
    bold = f"<b>{text_of(item.title)}</b>" if item.title else ""
    body = text_of(item.text) if item.text else ""
    small = f"<small>{text_of(item.under)}</small>" if item.under else ""
    return f"{mark}{bold}{': ' if bold and body else ''}{body}{small}"


def _facts(facts: document.FactList) -> str:
    body = "".join(
        f"<div><dt>{safe(name)}</dt><dd>{text_of(text)}</dd></div>" for name, text in facts.pairs
    )
    return f'<dl class="hs-facts">{body}</dl>' if body else ""


def _grid(grid: document.Grid) -> str:
    head = "".join(
        f'<th scope="col"{_classes("hs-num" * column.numeric)}>{safe(column.heading)}</th>'
        for column in grid.columns
    )
    body = "".join(_line(grid, number) for number in range(len(grid.lines)))
    of_all = f"{formats.number(len(grid.lines))} {safe(grid.label)}"
    more = (
        f'<label class="hs-more" data-printed="The first {document.ROWS_SHOWN} of {of_all}">'
        f'<input type="checkbox"> Show all {of_all}</label>'
        if len(grid.lines) > document.ROWS_SHOWN
        else ""
    )
    caption = f"<caption>{safe(grid.caption)}</caption>" if grid.caption else ""
    return (
        f'<div class="hs-table"><div class="hs-scroll" role="group" '
        f'aria-label="{safe(grid.caption or grid.label)}" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}</div>"
    )


def _line(grid: document.Grid, number: int) -> str:
    later = "hs-later" * (number >= document.ROWS_SHOWN)
    cells = [
        _cell(column, cell, "td" if index else "th")
        for index, (column, cell) in enumerate(zip(grid.columns, grid.lines[number], strict=True))
    ]
    return f"<tr{_classes(later)}>{''.join(cells)}</tr>"


def _classes(*names: str) -> str:
    known = " ".join(filter(None, names))
    return f' class="{known}"' if known else ""


def _cell(column: document.GridColumn, cell: document.GridCell, tag: str) -> str:
    text = cell.text
    alone = len(text.pieces) == 1 and text.pieces[0].path and not (cell.under or cell.link)
    body = safe(text.pieces[0].text) if alone else text_of(text)
    body = body if text else formats.DASH
    if alone and not column.numeric:
        body = _linked(text.pieces[0], f"<bdi>{body}</bdi>")
    if cell.link:
        body = f'<a href="{safe(cell.link)}">{body}</a>'
    body += f"<small>{text_of(cell.under)}</small>" if cell.under else ""
    long = tag == "td" and len(text.text) > LONG_CELL and not column.numeric
    classes = _classes(
        "hs-num" * column.numeric, "hs-long" * long, "hs-bar" * (cell.share is not None)
    )
    row = ' scope="row"' if tag == "th" else ""
    sort = f' data-sort="{safe(cell.sort)}"' if cell.sort is not None else ""
    bar = f' style="--hs-share:{100 * cell.share:.0f}%"' if cell.share is not None else ""
    address = _address(text.pieces[0]) if alone else ""
    label = f' data-label="{safe(column.heading)}"'
    return f"<{tag}{row}{classes}{label}{sort}{bar}{address}>{body}</{tag}>"


def _cards(row: document.CardRow) -> str:
    cards = "".join(map(_card, row.cards))
    return f'<div class="hs-cards">{cards}</div>' if cards else ""


def _card(card: document.CardText) -> str:
    change = ""
    if card.change:
        arrow = _ARROWS.get(card.direction, "")
        kind = f"hs-change hs-{card.direction or 'flat'}"
        change = f'<span class="{kind}">{arrow}{text_of(card.change)}</span>'
    badge = ""
    if card.badge is not None:
        kind = f"hs-band hs-is-{safe(card.band)}"
        badge = f'<span class="{kind}"{_address(card.badge)}>{safe(card.badge.text)}</span>'
    value = text_of(card.figure) if card.figure else formats.DASH
    note = text_of(card.note) if card.note else ""
    return (
        f'<div class="hs-card"><p class="hs-name">{text_of(card.name)}</p>'
        f'<p class="hs-figure"><span>{value}</span>{badge}</p>'
        f'<p class="hs-line">{change}{card.sparkline}</p><p class="hs-note">{note}</p></div>'
    )


def _figure(figure: document.DrawnChart) -> str:
    table = fold("The figures as a table", _grid(figure.table)) if figure.table else ""
    title, subtitle = text_of(figure.title), text_of(figure.subtitle)
    return (
        f'<figure class="hs-chart"><figcaption><h3>{title}</h3><p class="hs-sub">{subtitle}</p>'
        f'</figcaption><div class="hs-drawn">{figure.svg}</div>{table}'
        f"{inert_data(figure.grammar, SPEC, 'hs-spec')}</figure>"
    )


def fold(summary: str, body: str) -> str:
    """What a reader opens when wanted; the summary is markup."""
    return f'<details class="hs-fold"><summary>{summary}</summary><div>{body}</div></details>'


def _folded(folded: document.Folded) -> str:
    return fold(text_of(folded.summary), written(folded.nodes))


_WRITERS: dict[type, Callable[[Any], str]] = {
    document.Opening: _opening,
    document.Title: _title,
    document.Paragraph: _paragraph,
    document.Listing: _listing,
    document.FactList: _facts,
    document.Grid: _grid,
    document.CardRow: _cards,
    document.DrawnChart: _figure,
    document.Drawing: lambda drawing: drawing.svg,
    document.Folded: _folded,
    document.Markup: lambda markup: markup.html,
}


# -- scripts, and the policy that allows them alone ------------------------------------------------


_SPECS = re.compile(rf'<script type="{re.escape(SPEC)}" class="hs-spec">[^<]*</script>')
_PARTS = (
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
)


def templates() -> Path:
    """The folder of the reports' templates."""
    return Path(str(resources.files("healthseg.reports.html"))) / "templates"


def policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: no network, and of scripts these alone.

    Vega compiles its charts' expressions, so a page with its bundle allows that as well; what it compiles comes from
    charts of ours, whose texts are data.
    """
    hashes = [f"'sha256-{_hash(script)}'" for script in scripts]
    compiled = ["'unsafe-eval'"] if any(len(script) > _BUNDLE for script in scripts) else []
    allowed = f"script-src {' '.join([*hashes, *compiled])}" if scripts else "script-src 'none'"
    return "; ".join([_PARTS[0], allowed, *_PARTS[1:]])


_BUNDLE = 500_000


@functools.lru_cache(maxsize=16)
def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@functools.cache
def report() -> str:
    """Sorting and paging of tables, and the what-if of the weights."""
    return _file("report.js")


@functools.cache
def index() -> str:
    """Search, sorting and paging of the portfolio at a glance."""
    return _file("index.js")


@functools.cache
def charts() -> str:
    """Draws each chart of a page from its grammar, in the page's colours, with figures under the pointer."""
    return _file("charts.js").replace("/*names*/{}", json.dumps(theme.VARIABLES, sort_keys=True))


@functools.cache
def pieces() -> str:
    """The look of tables and charts, for pages whose notebook does not bring it along."""
    return _file("pieces.css")


def _file(name: str) -> str:
    return (templates() / name).read_text("utf-8").strip()


@functools.cache
def vega() -> str:
    """Vega with its embedder and what they need as one script."""
    import vl_convert

    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--").strip()


def has_specs(piece: str) -> bool:
    """Whether a piece of a page holds charts that can be drawn interactively."""
    return f'<script type="{SPEC}"' in piece


def without_specs(piece: str) -> str:
    """The same piece with its charts as pictures only."""
    return _SPECS.sub("", piece)
