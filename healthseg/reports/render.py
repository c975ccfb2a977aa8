"""A page's spec over a result, as markup: in a notebook's cells, and from there in HTML, PDF and CSV."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats, small, theme
from healthseg.reports import privacy, spec
from healthseg.reports.figures import (
    Filled,
    Piece,
    Scope,
    Text,
    figure,
    filled,
    last_step,
    root,
    sentences,
)
from healthseg.reports.html import page as html
from healthseg.reports.html.page import Html, fold, safe

if TYPE_CHECKING:
    from healthseg.charts.formats import Frame
    from healthseg.data.portfolio import Portfolio

LONG_CELL = 28
_DIRECTIONS = {"increasing": "up", "decreasing": "down", "improving": "up", "declining": "down"}


class ReportPage:
    """A page over a result: its opening, its sections by name, its method and its footer."""

    def __init__(self, page: spec.Page, result: Any, portfolio: Portfolio) -> None:
        self.spec, self.result, self.portfolio = page, result, portfolio

    @functools.cached_property
    def scope(self) -> Scope:
        """The result as templates see it."""
        return root(self.result)

    @property
    def names(self) -> list[str]:
        """The sections' names, in the page's order."""
        return [section.name for section in self.spec.sections]

    def opening(self) -> Html:
        """Whose page it is, the verdict, warnings, and figures at a glance."""
        result, page = self.result, self.spec
        title = self._filled(page.title)
        verdict = formats.prose(formats.sentence(result.verdict().removeprefix(f"{title.text}: ")))
        mood = figure(self.scope, page.band).text if page.band else ""
        about = [self._filled(line) for line in page.about]
        below = "".join(f'<p class="hs-about">{markup(line)}</p>' for line in about if line)
        cards = _chosen(page.cards, result)
        quality = spec.Points("data_quality.summary", "{page_item}")
        warnings = spec.Points("warnings", "{page_item:sentence}")
        body = (
            f'{html.style()}<header class="hs-opening{f" hs-is-{safe(mood)}" if mood else ""}">'
            f"<h1>{markup(title, 'bdi')}</h1>"
            f'<p class="hs-verdict">{_figure(Piece(verdict, "$.page.verdict", "verdict"))}</p>'
            f"{below}</header>{_points(quality, self.scope, result, 'warnings')}"
            f"{_points(warnings, self.scope, result, 'warnings')}"
            f"{_cards(cards, self.scope, result)}"
        )
        facts = {
            "title": formats.plain(title.text, 120),
            "kind": page.kind,
            "verdict": verdict,
            "as_of": str(result.as_of),
            "fingerprint": result.fingerprint,
            "response": privacy.hidden(result.to_dict()),
        }
        return Html(body, result.verdict(), facts)

    def section(self, name: str) -> PageSection:
        """The answer to a question; its lead, charts, frames and tables can be had apart."""
        return PageSection(self, self.spec.section(name))

    def method(self) -> Html:
        """How the figures were computed, and what could not be measured, behind a fold."""
        text = sentences(self.spec.method, self.scope, self.result)
        facts = _facts(spec.Facts(self.spec.method_facts), self.scope, self.result)
        unmeasured = spec.Table(
            "not_measured",
            {"In the response": "page_key", "Why it is not measured": "page_item"},
            label="keys",
        )
        shown = facts + _table(unmeasured, self.scope, self.result)
        return Html(fold("How this was computed", f"<p>{markup(text)}</p>{shown}"), text.text)

    def footer(self) -> Html:
        """Where the figures come from: data, settings, version."""
        import healthseg

        settings = self.portfolio.settings.differing()
        differing = "; ".join(
            f"{name} = {formats.plain(value, 80)}" for name, value in sorted(settings.items())
        )
        facts = spec.Facts(
            {
                "As of": "{as_of:day}",
                "Data until": "{data_until:day}",
                "Fingerprint": "{fingerprint}",
                "Coverage": "{coverage:percent} of the inputs",
            }
        )
        made = html.facts(
            [
                ("healthseg", healthseg.__version__),
                ("Settings", differing or "all at their defaults"),
            ]
        )
        text = f"as of {self.result.as_of}, {self.result.fingerprint}"
        body = _facts(facts, self.scope, self.result) + made
        return Html(f'<div class="hs-footer">{body}</div>', text)

    def _filled(self, text: Text) -> Filled:
        return filled(text, self.scope, self.result)


class PageSection:
    """A section of a page: shown as a whole, or its lead, charts and frames apart."""

    def __init__(self, page: ReportPage, section: spec.Section) -> None:
        self.page, self.spec = page, section

    @property
    def question(self) -> str:
        return self.spec.question

    @functools.cached_property
    def lead(self) -> Html:
        """The answer in a sentence or two."""
        texts = _chosen(self.spec.lead, self.page.result)
        answer = sentences(texts, self.page.scope, self.page.result)
        return Html(_paragraph(answer, "lead"), answer.text)

    @functools.cached_property
    def blocks(self) -> list[spec.Block]:
        """The blocks that this result has."""
        return list(_chosen(self.spec.blocks, self.page.result))

    @property
    def charts(self) -> dict[str, theme.Picture]:
        """The section's altair charts by name."""
        charts = html.drawn(self.page.result)
        names = [block.name for block in self.blocks if isinstance(block, spec.Chart)]
        return {name: charts[name] for name in names}

    @property
    def frames(self) -> dict[str, Frame]:
        """The rows of the section's tables as frames, by the name of what they show."""
        tables = [
            block if isinstance(block, spec.Table) else block.table
            for block in self.blocks
            if isinstance(block, spec.Table | spec.Chart)
        ]
        return {
            table.rows.rpartition(".")[2]: formats.frame(
                [row.value for row in _rows(table, self.page.scope)]
            )
            for table in tables
            if table is not None
        }

    @property
    def table(self) -> Html:
        """The section's tables."""
        tables = [block for block in self.blocks if isinstance(block, spec.Table)]
        folded = [block.table for block in self.blocks if isinstance(block, spec.Chart)]
        shown = [
            _table(table, self.page.scope, self.page.result)
            for table in (*tables, *folded)
            if table
        ]
        return Html("".join(shown))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        body = blocks(self.blocks, self.page.scope, self.page.result)
        return Html(self.lead.markup + body, self.lead.text or self.question)._repr_mimebundle_()


def _chosen(given: Any, result: Any) -> Any:
    """What a function chooses for a result, or what stands there itself."""
    return given(result) if callable(given) else given


# -- texts and figures ----------------------------------------------------------------------------


def markup(text: Filled, tag: str = "span") -> str:
    """A filled template as markup, in which each figure carries its path."""
    return "".join(
        _figure(piece, tag) if piece.path else safe_static(piece.text) for piece in text.pieces
    )


def safe_static(text: str) -> str:
    """Static text of a page, whose spaces at the ends stay."""
    lead, tail = " " * text.startswith(" "), " " * (text.endswith(" ") and text.strip() != "")
    return f"{lead}{safe(text)}{tail}"


def _figure(piece: Piece, tag: str = "span") -> str:
    text = safe(piece.text)
    if not formats.is_numeric(piece.form):
        tag = "bdi" if tag == "span" else tag
    return f"<{tag}{_address(piece)}>{text}</{tag}>"


def _address(piece: Piece) -> str:
    form = f' data-format="{safe(piece.form)}"' if piece.form else ""
    return f' data-figure="{safe(piece.path)}"{form}'


def _paragraph(text: Filled, kind: str = "") -> str:
    name = f' class="hs-{kind}"' if kind else ""
    return f"<p{name}>{markup(text)}</p>" if text else ""


# -- blocks ---------------------------------------------------------------------------------------


def blocks(given: Iterable[spec.Block], scope: Scope, result: Any) -> str:
    """Blocks one below the other."""
    return "".join(_BLOCKS[type(block)](block, scope, result) for block in given)


def _known(scope: Scope, path: str) -> bool:
    target = scope.find(path)
    return target is not None and target.value is not None


def _rows(given: Any, scope: Scope) -> list[Scope]:
    rows = [_item(row) for row in scope.rows(given.rows)]
    where, sort = given.where, getattr(given, "sort", None)
    rows = [row for row in rows if where is None or where(row.value)]
    rows = sorted(rows, key=lambda row: sort(row.value)) if sort else rows
    rows = rows[::-1] if getattr(given, "newest_first", False) else rows
    return rows[: getattr(given, "limit", None)]


def _item(row: Scope) -> Scope:
    """A row that is no mapping becomes one, so that a template can name it."""
    return row if isinstance(row.value, Mapping) else _Item(row.value, row.path, row.outer)


class _Item(Scope):
    """A list's or a mapping's plain value: ``page_item`` is the value, ``page_key`` its key."""

    def find(self, path: str) -> Scope | None:
        if path == "page_item":
            return Scope(self.value, self.path, self.outer)
        if path == "page_key":
            return Scope(last_step(self.path), f"{self.path}#key", self.outer)
        return super().find(path)


def _table(table: spec.Table, scope: Scope, result: Any) -> str:
    rows = _rows(table, scope)
    if not rows:
        return f"<p>{safe(table.empty)}</p>" if table.empty else ""
    columns = [_CellWriter(heading, value) for heading, value in table.columns.items()]
    cells = [[_Cell(column, row) for column in columns] for row in rows]
    shown = [at for at in range(len(columns)) if at == 0 or any(line[at].known for line in cells)]
    head = "".join(
        f'<th scope="col"{_class(columns[at].numeric)}>{safe(columns[at].heading)}</th>'
        for at in shown
    )
    lines = [
        f"<tr{_class(False, 'hs-later' * (place >= html.ROWS_SHOWN))}>"
        + "".join(line[at].markup("th" if at == shown[0] else "td") for at in shown)
        + "</tr>"
        for place, line in enumerate(cells)
    ]
    more = (
        f'<label class="hs-more"><input type="checkbox"> Show all {formats.number(len(rows))} '
        f"{safe(table.label)}</label>"
        if len(rows) > html.ROWS_SHOWN
        else ""
    )
    title = f"<caption>{safe(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="hs-table"><div class="hs-scroll" role="group" '
        f'aria-label="{safe(table.caption or table.label)}" tabindex="0"><table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{more}</div>"
    )


def _class(numeric: bool, *names: str) -> str:
    known = [name for name in ("hs-num" * numeric, *names) if name]
    return f' class="{" ".join(known)}"' if known else ""


class _Cell:
    """A filled cell of a table."""

    def __init__(self, writer: _CellWriter, row: Scope) -> None:
        self.writer, self.row = writer, row
        self.text = filled(writer.template, row)
        self.under = filled(writer.column.under, row)

    @property
    def known(self) -> bool:
        return bool(self.text)

    def markup(self, tag: str) -> str:
        label, text = safe(self.writer.heading), self.text
        alone = len(text.pieces) == 1 and text.pieces[0].path and not self.under
        body = safe(text.pieces[0].text) if alone else markup(text)
        body = body if self.known else formats.DASH
        if not self.writer.numeric and alone:
            body = f"<bdi>{body}</bdi>"
        body += f"<small>{markup(self.under)}</small>" if self.under else ""
        long = "hs-long" * (tag == "td" and len(text.text) > LONG_CELL and not self.writer.numeric)
        address = _address(text.pieces[0]) if alone else ""
        scope = ' scope="row"' if tag == "th" else ""
        bar = self._bar() if self.writer.column.bar else ""
        classes = _class(self.writer.numeric, long, "hs-bar" * bool(bar))
        return f'<{tag}{scope}{classes} data-label="{label}"{self._sort()}{bar}{address}>{body}</{tag}>'

    def _value(self) -> Any:
        target = self.row.find(self.writer.path) if self.writer.path else None
        return None if target is None else target.value

    def _sort(self) -> str:
        """What the cell is sorted by, where its text says it in another way."""
        value = self._value()
        if isinstance(value, list | dict | bool) or formats.is_missing(value):
            return ""
        if self.writer.form == "day":
            return f' data-sort="{formats.iso(value)}"'
        number = self.writer.numeric and isinstance(value, int | float)
        return f' data-sort="{value:.10g}"' if number else ""

    def _bar(self) -> str:
        share = self._value()
        if formats.is_missing(share):
            return ""
        return f' style="--hs-share:{100 * min(1.0, max(0.0, float(share))):.0f}%"'


class _CellWriter:
    """A column as a template; its first figure decides how it is sorted and aligned."""

    def __init__(self, heading: str, shown: Text | spec.Cell) -> None:
        self.heading = heading
        self.column = shown if isinstance(shown, spec.Cell) else spec.Cell(shown)
        value = self.column.value
        self.template = value if callable(value) or "{" in value else f"{{{value}}}"
        self.path, self.form = "", ""
        if isinstance(self.template, str):
            path, _, form = self.template.strip("{}").partition(":")
            self.path, self.form = path, form.partition("?")[0]
            if "{" in self.template[1:]:
                first = self.template.partition("{")[2].partition("}")[0]
                self.path, _, form = first.partition(":")
                self.form = form.partition("?")[0]
        self.numeric = formats.is_numeric(self.form)


def _chart(chart: spec.Chart, scope: Scope, result: Any) -> str:
    if chart.needs and not _known(scope, chart.needs):
        return ""
    picture = html.drawn(result)[chart.name]
    if theme.is_empty(picture):
        return f'<p class="hs-lead">{_caption(picture, chart.name, "reason")}</p>'
    figures = _table(chart.table, scope, result) if chart.table else ""
    data = fold("The figures as a table", figures) if figures else ""
    grammar = theme.spec(picture)
    title, subtitle = (_caption(picture, chart.name, part) for part in ("title", "subtitle"))
    return (
        f'<figure class="hs-chart"><figcaption><h3>{title}</h3><p class="hs-sub">{subtitle}</p>'
        f'</figcaption><div class="hs-drawn">{theme.svg_of(grammar, picture)}</div>{data}'
        f"{html.inert_data(grammar, html.SPEC, 'hs-spec')}</figure>"
    )


def _caption(picture: theme.Picture, name: str, part: str) -> str:
    text = formats.prose(picture.usermeta[part])
    return _figure(Piece(text, f"$.page.charts.{name}.{part}", "prose"))


def _missing(missing: spec.Missing, scope: Scope, result: Any) -> str:
    if missing.path and _known(scope, missing.path):
        return ""
    path = missing.why or f"$.{missing.path}"
    known = scope.find("not_measured")
    if known is not None and path in known.value:
        why = figure(known, f'["{path}"]', "sentence")
        reason = Filled((why,))
    else:
        text = missing.reason
        reason = filled(formats.sentence(text) if isinstance(text, str) else text, scope, result)
    what = f"<b>{safe(missing.what)}: not measured.</b>"
    return f'<p class="hs-missing">{what} {markup(reason)}</p>'


def _facts(facts: spec.Facts, scope: Scope, result: Any) -> str:
    known = [
        (name, filled(text, scope, _asked(scope, result))) for name, text in facts.pairs.items()
    ]
    body = "".join(
        f"<div><dt>{safe(name)}</dt><dd>{markup(text)}</dd></div>" for name, text in known if text
    )
    return f'<dl class="hs-facts">{body}</dl>' if body else ""


def _asked(scope: Scope, result: Any) -> Any:
    """What a function that chooses a text is called with: the result, within a row the row."""
    return result if scope.path == "$" else scope.value


def _points(points: spec.Points, scope: Scope, result: Any, kind: str = "points") -> str:
    rows = _rows(points, scope)
    items = [item for row in rows if (item := _point(points, row))]
    heading = f"<h3>{safe(points.heading)}</h3>" if points.heading else ""
    if not items:
        return f'{heading}<p class="hs-lead">{safe(points.empty)}</p>' if points.empty else ""
    return heading + html.lines(items, kind, points.ordered)


def _point(points: spec.Points, row: Scope) -> str:
    title, text, under = (filled(part, row) for part in (points.title, points.text, points.under))
    mark = ""
    if points.severity:
        level = figure(row, points.severity, "words")
        mark = f'<span class="hs-severity hs-{safe(row.sibling(points.severity))}"{_address(level)}>{safe(level.text)}</span> '
    bold = f"<b>{markup(title)}</b>" if title else ""
    small_print = f"<small>{markup(under)}</small>" if under else ""
    body = markup(text) if text else ""
    joint = ": " if bold and body else ""
    return f"{mark}{bold}{joint}{body}{small_print}" if bold or body else ""


def _note(note: spec.Note, scope: Scope, result: Any) -> str:
    return _paragraph(sentences(note.texts, scope, _asked(scope, result)), "lead")


def _heading(heading: spec.Heading, scope: Scope, result: Any) -> str:
    text = filled(heading.text, scope, _asked(scope, result))
    return f"<h3>{markup(text)}</h3>" if text else ""


def _fold(given: spec.Fold, scope: Scope, result: Any) -> str:
    scopes = _rows(given, scope) if given.rows else [scope]
    folds = []
    for row in scopes:
        body = blocks(_chosen(given.blocks, _asked(row, result)), row, result)
        summary = filled(given.summary, row, _asked(row, result))
        if body:
            folds.append(
                f'<details class="hs-fold"><summary>{markup(summary)}</summary><div>{body}</div></details>'
            )
    return "".join(folds)


def _within(given: spec.Within, scope: Scope, result: Any) -> str:
    part = scope.find(given.path)
    return blocks(_chosen(given.blocks, part.value), part, result) if part else ""


def _custom(custom: spec.Custom, scope: Scope, result: Any) -> str:
    return custom.markup(result)


def _cards_block(block: spec.Cards, scope: Scope, result: Any) -> str:
    return _cards(block.cards, scope, result)


def _cards(cards: Sequence[spec.Card], scope: Scope, result: Any) -> str:
    shown = "".join(_card(card, scope, result) for card in cards[:5])
    return f'<div class="hs-cards">{shown}</div>' if shown else ""


def _card(card: spec.Card, scope: Scope, result: Any) -> str:
    asked = _asked(scope, result)
    name, value, note, change = (
        filled(text, scope, asked) for text in (card.name, card.figure, card.note, card.change)
    )
    shown = markup(value) if value else formats.DASH
    moved = ""
    if change:
        direction = _direction(scope, card.direction)
        arrow = {"up": "▲ ", "down": "▼ "}.get(direction, "")
        moved = f'<span class="hs-change hs-{direction or "flat"}">{arrow}{markup(change)}</span>'
    band = figure(scope, card.band, "words") if card.band else Piece("", missing=True)
    badge = (
        ""
        if band.missing
        else f'<span class="hs-band hs-is-{safe(scope.sibling(card.band))}"{_address(band)}>'
        f"{safe(band.text)}</span>"
    )
    return (
        f'<div class="hs-card"><p class="hs-name">{markup(name)}</p>'
        f'<p class="hs-figure"><span>{shown}</span>{badge}</p>'
        f'<p class="hs-line">{moved}{_past(card, scope)}</p>'
        f'<p class="hs-note">{markup(note) if note else ""}</p></div>'
    )


def _direction(scope: Scope, path: str) -> str:
    value = scope.sibling(path) if path else None
    if value is None or isinstance(value, str) or formats.is_missing(value):
        return _DIRECTIONS.get(str(value), "")
    return "up" if value > 0 else "down" if value < 0 else ""


def _past(card: spec.Card, scope: Scope) -> str:
    values = scope.sibling(card.past) if card.past else None
    if values is None:
        return ""
    return small.sparkline(list(values), card.past_name, least=card.past_range)


_BLOCKS: dict[type, Callable[[Any, Scope, Any], str]] = {
    spec.Table: _table,
    spec.Chart: _chart,
    spec.Missing: _missing,
    spec.Facts: _facts,
    spec.Points: _points,
    spec.Note: _note,
    spec.Heading: _heading,
    spec.Cards: _cards_block,
    spec.Fold: _fold,
    spec.Within: _within,
    spec.Custom: _custom,
}
