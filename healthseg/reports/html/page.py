"""The pieces that pages are made of, alike in JupyterLab and in an exported report.

Each function gives an ``Html`` that shows itself. Whatever comes from a portfolio passes through ``safe``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from healthseg.charts import formats, theme
from healthseg.reports import privacy

ROWS_SHOWN = 12
LONG = (
    40  # characters of a cell, its own markup among them, that fill a line of their own on a phone
)
SPEC = "application/vnd.vegalite+json"
REPORT = "application/vnd.healthseg.report+json"


class Html:
    """A piece of a page; ``facts`` travel beside it, for the report's title and the index."""

    def __init__(self, markup: str, text: str = "", facts: Mapping[str, Any] | None = None) -> None:
        self.markup, self.text, self.facts = markup, text, facts

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {
            "text/html": f'<div class="hs">{self.markup}</div>',
            "text/plain": self.text or "a piece of a page",
        }
        return bundle | ({REPORT: dict(self.facts)} if self.facts else {})


def safe(value: Any) -> str:
    """Text from a portfolio, as text: no markup of it is read, and its writing direction stays its own.

    >>> safe("<b>Acme</b>")
    '&lt;b&gt;Acme&lt;/b&gt;'
    """
    return html.escape(formats.plain(value), quote=True)


def prose(text: Any) -> str:
    """A sentence of a response as safe text, with its dates and figures as a reader has them."""
    return safe(formats.prose(text))


def isolated(value: Any) -> str:
    """Safe text whose direction does not reach beyond it: for names."""
    return f"<bdi>{safe(value)}</bdi>"


def style() -> str:
    """The look of all pieces, as one style element."""
    sheet = resources.files("healthseg.reports.html").joinpath("templates/pieces.css")
    return f"<style>{sheet.read_text('utf-8')}</style>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="hs-{kind}">{prose(text)}</p>' if kind else f"<p>{prose(text)}</p>"


def joined(*sentences: str) -> str:
    """Sentences as one text; empty ones are left out.

    >>> joined("One", "", "two.")
    'One. Two.'
    """
    return " ".join(formats.sentence(text.rstrip(".")) + "." for text in sentences if text)


def lines(texts: Iterable[str], kind: str = "points", ordered: bool = False) -> str:
    """A list of finished pieces of markup."""
    tag = "ol" if ordered else "ul"
    items = "".join(f"<li>{text}</li>" for text in texts)
    return f'<{tag} class="hs-{kind}">{items}</{tag}>' if items else ""


def missing(what: str, why: str) -> str:
    """The one line where something would have stood."""
    return f'<p class="hs-missing"><b>{safe(what)}: not measured.</b> {prose(formats.sentence(why))}</p>'


def fold(summary: str, body: str) -> str:
    """What a reader opens when wanted."""
    return f'<details class="hs-fold"><summary>{safe(summary)}</summary><div>{body}</div></details>'


@dataclass(frozen=True)
class Card:
    """A figure with its name, its change and its past."""

    name: str
    figure: str
    note: str = ""
    change: str = ""
    direction: str = ""  # up, down or nothing
    band: str = ""
    spark: str = ""


def cards(items: Sequence[Card]) -> str:
    """At most five figures at a glance."""
    return f'<div class="hs-cards">{"".join(_card(item) for item in items[:5])}</div>'


def _card(item: Card) -> str:
    arrow = {"up": "▲ ", "down": "▼ "}.get(item.direction, "")
    change = (
        f'<span class="hs-change hs-{item.direction or "flat"}">{arrow}{safe(item.change)}</span>'
        if item.change
        else ""
    )
    band = (
        f'<span class="hs-band hs-is-{safe(item.band)}">{safe(formats.words(item.band))}</span>'
        if item.band
        else ""
    )
    return (
        f'<div class="hs-card"><p class="hs-name">{safe(item.name)}</p>'
        f'<p class="hs-figure"><span>{safe(item.figure)}</span>{band}</p>'
        f'<p class="hs-line">{change}{item.spark}</p><p class="hs-note">{safe(item.note)}</p></div>'
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: which key of a row, under which heading, written how."""

    key: str
    heading: str
    write: Callable[[Any], str] | None = None
    numeric: bool = False
    markup: Callable[[Mapping[str, Any]], str] | None = None

    def cell(self, row: Mapping[str, Any]) -> str:
        if self.markup:
            return self.markup(row)
        value = row.get(self.key)
        if self.key in privacy.USER_KEYS:
            value = privacy.shown(value)
        if self.write:
            return safe(self.write(value))
        return isolated(value) if not formats.is_missing(value) else formats.DASH


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    caption: str = "",
    label: str = "rows",
) -> str:
    """A table of which twelve rows are seen before all are asked for; columns without any value are left out."""
    if not rows:
        return ""
    columns = [
        column for place, column in enumerate(columns) if place == 0 or _any_known(column, rows)
    ]
    head = "".join(
        f'<th scope="col"{_right(column)}>{safe(column.heading)}</th>' for column in columns
    )
    body = "".join(
        f"<tr{_later(place)}>{''.join(_cell(column, row, first) for first, column in enumerate(columns))}</tr>"
        for place, row in enumerate(rows)
    )
    more = (
        f'<label class="hs-more"><input type="checkbox"> Show all {formats.number(len(rows))} {safe(label)}</label>'
        if len(rows) > ROWS_SHOWN
        else ""
    )
    title = f"<caption>{safe(caption)}</caption>" if caption else ""
    return (
        f'<div class="hs-table"><div class="hs-scroll" role="group" '
        f'aria-label="{safe(caption or label)}" tabindex="0">'
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}</div>"
    )


def _any_known(column: Column, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has anything to show: one that has not is left out."""
    return any(not formats.is_missing(row.get(column.key, "")) for row in rows)


def _right(column: Column) -> str:
    return ' class="hs-num"' if column.numeric else ""


def _later(place: int) -> str:
    return ' class="hs-later"' if place >= ROWS_SHOWN else ""


def _cell(column: Column, row: Mapping[str, Any], first: int) -> str:
    tag, text = "td" if first else 'th scope="row"', column.cell(row)
    label = f'data-label="{safe(column.heading)}"'
    kind = _right(column) or (' class="hs-long"' if first and len(text) > LONG else "")
    return f"<{tag}{kind} {label}{_sorted_by(column, row)}>{text}</{tag.split()[0]}>"


def _sorted_by(column: Column, row: Mapping[str, Any]) -> str:
    """What a cell is sorted by, where its text says it in another way: a number as such, a date as it is written."""
    value = row.get(column.key)
    if formats.is_missing(value) or isinstance(value, bool | str):
        return ""
    if hasattr(value, "isoformat"):
        return f' data-sort="{safe(value.isoformat())}"'
    return f' data-sort="{value:.10g}"' if column.numeric and isinstance(value, int | float) else ""


def figure(result: Any, name: str, figures: str = "") -> str:
    """A chart of a result, with its figures as a table behind a fold."""
    chart = drawn(result)[name]
    if theme.is_empty(chart):
        return paragraph(chart.usermeta["reason"], "lead")
    caption = f'<h3>{safe(chart.usermeta["title"])}</h3><p class="hs-sub">{safe(chart.usermeta["subtitle"])}</p>'
    data, spec = fold("The figures as a table", figures) if figures else "", theme.spec(chart)
    return (
        f'<figure class="hs-chart"><figcaption>{caption}</figcaption><div class="hs-drawn">'
        f"{theme.svg_of(spec, chart)}</div>{data}{inert_data(spec, SPEC, 'hs-spec')}</figure>"
    )


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


_INERT = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


_LAST: list[tuple[Any, dict[str, theme.Picture]]] = []


def drawn(result: Any) -> dict[str, theme.Picture]:
    """A result's charts; those of the last result stay, since a page asks for each in turn."""
    if not _LAST or _LAST[0][0] is not result:
        with theme.unvalidated():
            _LAST[:] = [(result, result.charts())]
    return _LAST[0][1]


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values in two columns; values that are missing are left out."""
    known = [(safe(name), prose(value)) for name, value in pairs if value]
    body = "".join(
        f"<div><dt>{name}</dt><dd><bdi>{value}</bdi></dd></div>" for name, value in known
    )
    return f'<dl class="hs-facts">{body}</dl>'


def warnings(result: Any) -> str:
    """What the response warns of."""
    return lines(
        (prose(formats.sentence(formats.plain(text))) for text in result.warnings), "warnings"
    )


def unmeasured(result: Any) -> str:
    """Every key of the response that could not be measured, with the reason."""
    rows = [{"key": key, "why": why} for key, why in result.not_measured.items()]
    return table(
        rows,
        [
            Column("key", "In the response", formats.plain),
            Column("why", "Why it is not measured", formats.plain),
        ],
        label="keys",
    )


def footer(result: Any, portfolio: Any) -> Html:
    """Where the figures come from: data, settings, version. The report adds when it was made."""
    import healthseg

    differing = portfolio.settings.differing()
    settings = (
        "; ".join(
            f"{name} = {formats.plain(value, 80)}" for name, value in sorted(differing.items())
        )
        or "all at their defaults"
    )
    pairs = [
        ("As of", formats.day(result.as_of)),
        ("Data until", formats.day(result.data_until)),
        ("Fingerprint", result.fingerprint),
        ("healthseg", healthseg.__version__),
        ("Settings", settings),
        (
            "Coverage",
            f"{formats.percent(result.coverage)} of the inputs"
            if result.coverage is not None
            else "",
        ),
    ]
    return Html(
        f'<div class="hs-footer">{facts(pairs)}</div>',
        f"as of {result.as_of}, {result.fingerprint}",
    )


def opening(
    response: Any,
    kind: str,
    title: str,
    about: Sequence[str],
    items: Sequence[Card] = (),
    band: str = "",
) -> Html:
    """How a page begins: whose it is, the verdict in a line, about what, warnings and figures at a glance.

    ``about`` holds lines of finished markup; the facts travel to the report's title and the index.
    """
    verdict = formats.prose(formats.sentence(response.verdict().removeprefix(f"{title}: ")))
    mood = f" hs-is-{safe(band)}" if band else ""
    below = "".join(f'<p class="hs-about">{line}</p>' for line in about if line)
    markup = (
        f'{style()}<header class="hs-opening{mood}"><h1>{isolated(title)}</h1><p class="hs-verdict">{safe(verdict)}</p>'
        f"{below}</header>{warnings(response)}{cards(items) if items else ''}"
    )
    told = {"title": formats.plain(title, 120), "kind": kind, "verdict": verdict}
    told |= {
        "as_of": str(response.as_of),
        "fingerprint": response.fingerprint,
        "response": privacy.hidden(response.to_dict()),
    }
    return Html(markup, response.verdict(), told)


def method(response: Any, *sentences: str, pairs: Iterable[tuple[str, str]] = ()) -> Html:
    """How was this computed? Behind a fold, with what could not be measured."""
    text, known = joined(*sentences), list(pairs)
    shown = facts(known) if known else ""
    return Html(
        fold("How this was computed", f"<p>{prose(text)}</p>{shown}{unmeasured(response)}"), text
    )
