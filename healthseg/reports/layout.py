"""The blocks of a spec over a result, filled into the nodes of a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from healthseg.charts import formats, small, theme
from healthseg.reports import document, spec
from healthseg.reports.document import Node, static
from healthseg.reports.figures import Filled, Piece, Scope, figure, filled, last_step, sentences

_DIRECTIONS = {"increasing": "up", "decreasing": "down", "improving": "up", "declining": "down"}
_LAST: list[tuple[Any, dict[str, theme.Picture]]] = []


def drawn(result: Any) -> dict[str, theme.Picture]:
    """A result's charts; those of the last result stay, since a page asks for each in turn."""
    if not _LAST or _LAST[0][0] is not result:
        with theme.unvalidated():
            _LAST[:] = [(result, result.charts())]
    return _LAST[0][1]


def chosen(choice: Any, result: Any) -> Any:
    """What a function chooses for a result, or the choice itself where it is none."""
    return choice(result) if callable(choice) else choice


def nodes(blocks: Iterable[spec.Block], scope: Scope, result: Any) -> tuple[Node, ...]:
    """The nodes of blocks, in their order."""
    return tuple(node for block in blocks for node in _LAYOUTS[type(block)](block, scope, result))


def paragraph(text: Filled, kind: str = "") -> list[Node]:
    """A paragraph, where the text has all its figures."""
    return [document.Paragraph(text, kind)] if text else []


def _known_text(text: spec.Text, scope: Scope, subject: Any = None) -> Filled:
    """A template filled in; empty where a figure that it needs is unknown."""
    whole = filled(text, scope, subject)
    return whole if whole else document.NO_TEXT


def _known(scope: Scope, path: str) -> bool:
    target = scope.find(path)
    return target is not None and target.value is not None


def rows(block: Any, scope: Scope) -> list[Scope]:
    """The rows that a block shows: filtered, sorted, cut."""
    items = [_item(row) for row in scope.rows(block.rows)]
    where, sort = block.where, getattr(block, "sort", None)
    items = [row for row in items if where is None or where(row.value)]
    items = sorted(items, key=lambda row: sort(row.value)) if sort else items
    items = items[::-1] if getattr(block, "newest_first", False) else items
    return items[: getattr(block, "limit", None)]


def _item(row: Scope) -> Scope:
    """A row that is no mapping becomes one, so that a template can name it."""
    return row if isinstance(row.value, Mapping) else _PlainItem(row.value, row.path, row.outer)


class _PlainItem(Scope):
    """A list's or a mapping's plain value: ``page_item`` is the value, ``page_key`` its key."""

    def find(self, path: str) -> Scope | None:
        if path == "page_item":
            return Scope(self.value, self.path, self.outer)
        if path == "page_key":
            return Scope(last_step(self.path), f"{self.path}#key", self.outer)
        return super().find(path)


# -- tables ---------------------------------------------------------------------------------------


def _table(table: spec.Table, scope: Scope, result: Any) -> list[Node]:
    shown = grid(table, scope)
    if shown is None:
        return paragraph(static(table.empty))
    return [shown]


def grid(table: spec.Table, scope: Scope) -> document.Grid | None:
    """A table with its cells filled in, without the columns that have no value; None without rows."""
    items = rows(table, scope)
    if not items:
        return None
    columns = [_ColumnTemplate(heading, value, items) for heading, value in table.columns.items()]
    lines = [[column.cell(row) for column in columns] for row in items]
    known = [at for at in range(len(columns)) if at == 0 or any(line[at].text for line in lines)]
    return document.Grid(
        tuple(document.GridColumn(columns[at].heading, columns[at].numeric) for at in known),
        tuple(tuple(line[at] for at in known) for line in lines),
        table.caption,
        table.label,
    )


class _ColumnTemplate:
    """A column as a template; its first figure decides how it is sorted and aligned."""

    def __init__(
        self, heading: str, shown: spec.Text | spec.Cell, rows: Sequence[Scope] = ()
    ) -> None:
        self.heading = heading
        self.column = shown if isinstance(shown, spec.Cell) else spec.Cell(shown)
        value = self.column.value
        self.template = value if callable(value) or "{" in value else f"{{{value}}}"
        self.path, self.form = "", ""
        if isinstance(self.template, str):
            first = self.template.partition("{")[2].partition("}")[0]
            self.path, _, form = first.partition(":")
            self.form = form.partition("?")[0]
        self.numeric = formats.is_numeric(self.form)
        self.whole = 1.0
        if self.column.bar == spec.LARGEST:
            values = [abs(float(self._value(row))) for row in rows if self._is_known(row)]
            self.whole = max(values, default=0.0) or 1.0

    def cell(self, row: Scope) -> document.GridCell:
        return document.GridCell(
            _known_text(self.template, row),
            _known_text(self.column.under, row),
            self._sort(row),
            self._share(row) if self.column.bar else None,
            str(row.sibling(self.column.link) or "") if self.column.link else "",
        )

    def _value(self, row: Scope) -> Any:
        return row.sibling(self.path) if self.path else None

    def _sort(self, row: Scope) -> str | None:
        value = self._value(row)
        if isinstance(value, list | dict | bool) or formats.is_missing(value):
            return None
        if self.form == "day":
            return formats.iso(value)
        return f"{value:.10g}" if self.numeric and isinstance(value, int | float) else None

    def _share(self, row: Scope) -> float | None:
        if not self._is_known(row):
            return None
        return min(1.0, max(0.0, abs(float(self._value(row))) / self.whole))

    def _is_known(self, row: Scope) -> bool:
        return not formats.is_missing(self._value(row))


# -- charts and texts -----------------------------------------------------------------------------


def _chart(chart: spec.Chart, scope: Scope, result: Any) -> list[Node]:
    if chart.needs and not _known(scope, chart.needs):
        return []
    picture = drawn(result)[chart.name]
    if theme.is_empty(picture):
        return paragraph(_caption(picture, chart.name, "reason"), "undrawn")
    grammar = theme.spec(picture)
    return [
        document.DrawnChart(
            _caption(picture, chart.name, "title"),
            _caption(picture, chart.name, "subtitle"),
            theme.svg_of(grammar, picture),
            grammar,
            grid(chart.table, scope) if chart.table else None,
        )
    ]


def _caption(picture: theme.Picture, name: str, part: str) -> Filled:
    text = formats.prose(picture.usermeta[part])
    return Filled((Piece(text, f"$.page.charts.{name}.{part}", "prose"),))


def _missing(missing: spec.Missing, scope: Scope, result: Any) -> list[Node]:
    if missing.path and _known(scope, missing.path):
        return []
    path = missing.why or f"$.{missing.path}"
    known = scope.find("not_measured")
    if known is not None and path in known.value:
        reason = Filled((figure(known, f'["{path}"]', "reason"),))
    else:
        text = missing.reason
        reason = filled(formats.sentence(text) if isinstance(text, str) else text, scope, result)
    return [
        document.Paragraph(reason, "missing", static(f"{missing.what}: not measured.")),
    ]


def facts(block: spec.Facts, scope: Scope, result: Any) -> list[Node]:
    """Names and values; those that are unknown are left out."""
    subject = _subject(scope, result)
    pairs = [(name, filled(text, scope, subject)) for name, text in block.pairs.items()]
    known = tuple((name, text) for name, text in pairs if text)
    return [document.FactList(known)] if known else []


def _subject(scope: Scope, result: Any) -> Any:
    """What a function that chooses a text is called with: the result, within a row the row."""
    return result if scope.path == "$" else scope.value


def points(block: spec.Points, scope: Scope, kind: str = "points") -> list[Node]:
    """A list with a line for each row that has a title or a text."""
    items = [_point(block, row) for row in rows(block, scope)]
    items = [item for item in items if item.title or item.text]
    heading = [document.Title(static(block.heading))] if block.heading else []
    if not items:
        return [*heading, *paragraph(static(block.empty), "lead")] if block.empty else []
    return [*heading, document.Listing(tuple(items), kind, block.ordered)]


def _point(block: spec.Points, row: Scope) -> document.Item:
    title, text, under = (_known_text(part, row) for part in (block.title, block.text, block.under))
    severity, level = None, ""
    if block.severity:
        severity = figure(row, block.severity, "words")
        level = str(row.sibling(block.severity))
    return document.Item(text, title, under, severity, level)


def _heading(heading: spec.Heading, scope: Scope, result: Any) -> list[Node]:
    text = filled(heading.text, scope, _subject(scope, result))
    return [document.Title(text)] if text else []


def _fold(fold: spec.Fold, scope: Scope, result: Any) -> list[Node]:
    folds: list[Node] = []
    for row in rows(fold, scope) if fold.rows else [scope]:
        subject = _subject(row, result)
        parts = nodes(chosen(fold.blocks, subject), row, result)
        if parts:
            folds.append(document.Folded(filled(fold.summary, row, subject), parts))
    return folds


def _within(within: spec.Within, scope: Scope, result: Any) -> tuple[Node, ...]:
    part = scope.find(within.path)
    return nodes(chosen(within.blocks, part.value), part, result) if part else ()


def cards(items: Sequence[spec.Card], scope: Scope, result: Any, known: bool = False) -> list[Node]:
    """At most five figures at a glance; with ``known`` those that are measured."""
    cards = [_card(card, scope, result) for card in items]
    shown = tuple(card for card in cards if card.figure or not known)[:5]
    return [document.CardRow(shown)] if shown else []


def _card(card: spec.Card, scope: Scope, result: Any) -> document.CardText:
    subject = _subject(scope, result)
    value, note, change = (
        _known_text(text, scope, subject) for text in (card.figure, card.note, card.change)
    )
    badge = figure(scope, card.band, "words") if card.band else Piece("", missing=True)
    return document.CardText(
        filled(card.name, scope, subject),
        value,
        note,
        change,
        _direction(scope, card.direction),
        None if badge.missing else badge,
        str(scope.sibling(card.band)) if card.band else "",
        _sparkline(card, scope),
    )


def _direction(scope: Scope, path: str) -> str:
    value = scope.sibling(path) if path else None
    if value is None or isinstance(value, str) or formats.is_missing(value):
        return _DIRECTIONS.get(str(value), "")
    return "up" if value > 0 else "down" if value < 0 else ""


def _sparkline(card: spec.Card, scope: Scope) -> str:
    values = scope.sibling(card.past) if card.past else None
    if values is None:
        return ""
    return small.sparkline(list(values), card.past_name, least=card.past_range)


_LAYOUTS: dict[type, Callable[[Any, Scope, Any], Iterable[Node]]] = {
    spec.Table: _table,
    spec.Chart: _chart,
    spec.Missing: _missing,
    spec.Facts: facts,
    spec.Points: lambda block, scope, result: points(block, scope),
    spec.Note: lambda note, scope, result: paragraph(
        sentences(note.texts, scope, _subject(scope, result)), "lead"
    ),
    spec.Heading: _heading,
    spec.Cards: lambda block, scope, result: cards(block.cards, scope, result),
    spec.Fold: _fold,
    spec.Within: _within,
    spec.Custom: lambda custom, scope, result: [custom.markup(result)],
}
