"""Which customer a row of another system belongs to: candidates, with the share that matches in the data.

A row's key is compared with the columns of the customers' table, directly or through another export of its system
(Stripe's customers, Zendesk's organizations, users). Ids are compared as they are, e-mail addresses, web addresses
and domains by their domain, names without case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from healthseg.data.exports.generic import OWN
from healthseg.data.exports.presets import Recognised, resolve
from healthseg.data.exports.readings import text_of
from healthseg.data.exports.survey import ExportTable, Survey, plain
from healthseg.data.sources import quoted

KINDS = ("id", "15 characters of the id", "domain", "name", "number")
_FREE_MAIL = (
    "gmail.com",
    "outlook.com",
    "hotmail.com",
    "yahoo.com",
    "icloud.com",
    "gmx.de",
    "web.de",
    "proton.me",
    "aol.com",
)
_DOMAIN_LIKE = r"^(.*@)?([a-zA-Z]+://)?[\w.-]+\.[a-zA-Z]{2,}([/:?].*)?$"
_NAME_LIKE = re.compile(r"name|company|organi[sz]ation|customer|account|client")
_KEY_LIKE = re.compile(
    r"(company|account|org|organi[sz]ation|customer|client|tenant|workspace|group|team)(s|id|key|uuid|name|0)?$"
)
# a column of the customers' table identifies a customer where most of its values are of one customer
_MIN_UNIQUE_SHARE = 0.5
_MIN_SHARE = 0.2
_MIN_WEAK_SHARE = 0.5
_MAX_KEYS = 100_000
_MAX_COLUMNS = 200
_TELLING = re.compile(
    r"id$|key|name|mail|domain|web|url|company|account|customer|external|metadata"
)


@dataclass(frozen=True)
class Link:
    """``key`` of a row is looked up in ``pairs``, a select of key and client_id; of ``keys`` values ``matched`` match."""

    key: str
    pairs: str
    words: str
    kind: str
    matched: int
    keys: int
    customers: int
    direct: bool = False

    @property
    def share(self) -> float:
        return max(self.matched / self.keys, min(1.0, self.matched / max(self.customers, 1)))

    @property
    def usable(self) -> bool:
        if self.kind == "number":
            return False
        return self.share >= (_MIN_SHARE if self.kind.endswith("id") else _MIN_WEAK_SHARE)

    def to_text(self) -> str:
        return f"{self.words}: {self.matched:,} of {self.keys:,} match ({self.matched / self.keys:.0%})"


@dataclass(frozen=True)
class Side:
    """A column that may identify a customer: its expression, in which relation, and its name for the reader."""

    sql: str
    name: str
    kind: str = "id"


@dataclass
class Hub:
    """The customers' table: what the others are linked to."""

    recognised: Recognised
    side: Side
    key: str
    where: str
    columns: dict[Side, dict[str, set[str]]]
    size: int

    def pairs(self, side: Side) -> str:
        value = normalised(side.sql, side.kind)
        return (
            f"SELECT {value} AS key, MIN({self.key}) AS client_id FROM {self.recognised.source.relation} AS t"
            f"{self.where} GROUP BY 1 HAVING COUNT(DISTINCT {self.key}) = 1"
        )


def normalised(sql: str, kind: str) -> str:
    """A value as it is compared."""
    text = text_of(sql)
    if kind == "domain":
        bare = f"REGEXP_REPLACE(REGEXP_REPLACE(LOWER({text}), '^.*@|^[a-z]+://', ''), '^www\\.|[/:?].*$', '', 'g')"
        return f"NULLIF({bare}, '')"
    if kind == "name":
        return f"LOWER({text})"
    return f"LEFT({text}, 15)" if kind.startswith("15") else text


def hub_of(survey: Survey, recognised: Recognised, side: Side, key: str, where: str) -> Hub:
    """The customers' table with the values of each column that may identify a customer."""
    source = recognised.source
    size = survey.value(f"SELECT COUNT(DISTINCT {key}) FROM {source.relation} AS t{where}")
    columns = {}
    for name, sql in _telling(source):
        for kind in _kinds(survey, source.relation, sql, name, where):
            column = Side(sql, name, kind)
            if values := _values(survey, source.relation, column, key, where):
                columns[column] = values
    return Hub(recognised, side, key, where, columns, size)


def _telling(source: ExportTable) -> list[tuple[str, str]]:
    """The columns that may identify a customer; of very many, those whose names say so."""
    columns = list(source.columns.items())
    if len(columns) <= _MAX_COLUMNS:
        return columns
    named = [pair for pair in columns if _TELLING.search(plain(pair[0]))]
    return named[:_MAX_COLUMNS]


def kinds_of(survey: Survey, source: ExportTable, side: Side) -> list[str]:
    """In which ways a column's values may be compared."""
    return list(_kinds(survey, source.relation, side.sql, side.name, ""))


def _kinds(survey: Survey, relation: str, sql: str, name: str, where: str) -> Iterator[str]:
    text = text_of(sql)
    known, domains, spaced, long_ids = survey.rows(
        f"SELECT COUNT({text}), COUNT(*) FILTER (regexp_matches({text}, {quoted(_DOMAIN_LIKE)})), "
        f"COUNT(*) FILTER (CONTAINS({text}, ' ')), "
        f"COUNT(*) FILTER (regexp_matches({text}, '^[a-zA-Z0-9]{{15}}([A-Z0-9]{{3}})?$')) FROM {relation} AS t{where}"
    )[0]
    if not known:
        return
    if domains > known / 2:
        yield from ("id", "domain")
    elif _NAME_LIKE.search(plain(name)) and (spaced or plain(name).endswith("name")):
        yield "name"
    else:
        yield from ("id", "15 characters of the id") if long_ids == known else ("id",)


def _values(survey: Survey, relation: str, side: Side, key: str, where: str) -> dict[str, set[str]]:
    """Customers by value; empty where the column does not tell customers apart."""
    value = normalised(side.sql, side.kind)
    rows = survey.rows(
        f"SELECT DISTINCT {value}, {key} FROM {relation} AS t{where} LIMIT {_MAX_KEYS}"
    )
    values: dict[str, set[str]] = {}
    for text, client_id in rows:
        if text is not None and client_id is not None and text not in _FREE_MAIL:
            values.setdefault(text, set()).add(client_id)
    unique = sum(len(ids) == 1 for ids in values.values())
    customers = len({client_id for ids in values.values() for client_id in ids})
    return values if unique > _MIN_UNIQUE_SHARE * customers else {}


def keys_of(survey: Survey, recognised: Recognised) -> list[Side]:
    """The columns of an export that may say whose row it is: its preset's, then those whose names look like it."""
    source, sides = recognised.source, []
    for template in recognised.export.customer:
        reading = resolve(survey, source, template)
        if reading and reading.sql:
            sides.append(Side(reading.sql, re.sub(r".*\{(.*?)\}.*", r"\1", template)))
    known = {side.sql for side in sides}
    if recognised.export.system != OWN and not recognised.export.customers:
        sides += [
            Side(sql, name)
            for name, sql in source.columns.items()
            if sql not in known and _KEY_LIKE.search(plain(name).rpartition(".")[2])
        ]
    return [
        side
        for side in sides
        if survey.has(f"SELECT 1 FROM {source.relation} AS t WHERE {text_of(side.sql)} IS NOT NULL")
    ]


def find_links(
    survey: Survey, hub: Hub, recognised: Recognised, others: Sequence[Recognised]
) -> list[Link]:
    """All candidates for an export's rows that match at all: usable ones first, ids before domains before names."""
    sides = keys_of(survey, recognised)
    if recognised is hub.recognised and hub.side in sides:
        own = Link(
            text_of(hub.side.sql), "", hub.side.name, KINDS[0], hub.size, hub.size, hub.size, True
        )
        return [own] if hub.size else []
    links = [link for side in sides for link in _links_of(survey, hub, recognised, side, others)]
    if not any(link.usable and link.kind == KINDS[0] for link in links):
        links += _links_by_person(survey, hub, recognised, others)
    best: dict[tuple[str, bool], Link] = {}
    for link in sorted(links, key=lambda link: (-link.matched, KINDS.index(link.kind))):
        best.setdefault((link.words.partition(", by ")[0], link.kind == "domain"), link)
    return sorted(
        best.values(),
        key=lambda link: (not link.usable, KINDS.index(link.kind), -link.share, not link.direct),
    )


def _links_of(
    survey: Survey, hub: Hub, recognised: Recognised, side: Side, others: Sequence[Recognised]
) -> Iterator[Link]:
    relation = recognised.source.relation
    same_system = recognised.export.system in (hub.recognised.export.system, OWN)
    for kind in _kinds(survey, relation, side.sql, side.name, ""):
        keys = _distinct(survey, relation, normalised(side.sql, kind))
        for column in (column for column in hub.columns if column.kind == kind):
            direct = column.sql == hub.side.sql
            link = _measured(hub, keys, replace(side, kind=kind), column, direct and kind == "id")
            if (
                link
                and direct
                and not same_system
                and all(key.isdigit() and len(key) < 7 for key in keys)
            ):
                link = replace(
                    link, kind="number", words=f"{link.words} (both systems may count from 1)"
                )
            if link:
                yield link
    for other in others:
        if (
            other.export.customers
            and other.export.system == recognised.export.system
            and other is not recognised
        ):
            yield from _links_through(survey, hub, relation, side, other)


def _distinct(survey: Survey, relation: str, value: str) -> set[str]:
    rows = survey.rows(
        f"SELECT DISTINCT {value} FROM {relation} AS t WHERE {value} IS NOT NULL ORDER BY 1 LIMIT {_MAX_KEYS}"
    )
    return {str(text) for (text,) in rows}


def _measured(hub: Hub, keys: set[str], side: Side, column: Side, direct: bool) -> Link | None:
    values = hub.columns[column]
    matched = sum(len(values.get(key, ())) == 1 for key in keys)
    if not matched:
        return None
    words = f"{side.name} = {column.name} of {hub.recognised.source.label}"
    if side.kind not in ("id", "name"):
        words += f", by {side.kind}"
    return Link(
        normalised(side.sql, side.kind),
        hub.pairs(column),
        words,
        side.kind,
        matched,
        len(keys),
        hub.size,
        direct,
    )


def _links_through(
    survey: Survey, hub: Hub, relation: str, side: Side, other: Recognised
) -> Iterator[Link]:
    """Through the customers of the row's own system: their columns against those of the hub."""
    own_keys = keys_of(survey, other)
    if not own_keys:
        return
    key, keys = text_of(own_keys[0].sql), _distinct(survey, relation, text_of(side.sql))
    for name, sql in _telling(other.source):
        for kind in _kinds(survey, other.source.relation, sql, name, ""):
            value = normalised(sql, kind)
            pairs = dict(
                survey.rows(
                    f"SELECT DISTINCT {value}, {key} FROM {other.source.relation} AS t LIMIT {_MAX_KEYS}"
                )
            )
            for column in (column for column in hub.columns if column.kind == kind):
                hits = {
                    own
                    for text, own in pairs.items()
                    if len(hub.columns[column].get(text, ())) == 1
                }
                if matched := len(hits & keys):
                    words = f"{name} of {other.source.label} = {column.name} of {hub.recognised.source.label}"
                    words += f", by {kind}" if kind not in ("id", "name") else ""
                    yield Link(
                        text_of(side.sql),
                        _through(hub.pairs(column), other, key, value),
                        words,
                        kind,
                        matched,
                        len(keys),
                        hub.size,
                    )


def _through(pairs: str, other: Recognised, key: str, value: str) -> str:
    return (
        f"SELECT {key} AS key, MIN(c.client_id) AS client_id FROM {other.source.relation} AS t "
        f"JOIN ({pairs}) AS c ON c.key = {value} GROUP BY 1 HAVING COUNT(DISTINCT c.client_id) = 1"
    )


def _links_by_person(
    survey: Survey, hub: Hub, recognised: Recognised, others: Sequence[Recognised]
) -> Iterator[Link]:
    """Through the people of an export that knows their customer: Segment's groups, Zendesk's users, contacts."""
    people = [
        other
        for other in others
        if other.export.person and other.export.customer and other is not recognised
    ]
    for person in _persons(survey, recognised):
        yield from _links_of(survey, hub, recognised, person, [])
        keys = _distinct(survey, recognised.source.relation, text_of(person.sql))
        for other in people:
            known = [
                link
                for side in keys_of(survey, other)
                for link in _links_of(survey, hub, other, side, others)
            ]
            usable = sorted(
                (link for link in known if link.usable),
                key=lambda link: (KINDS.index(link.kind), -link.share),
            )
            for link in usable[:1]:
                yield from _through_person(survey, hub, keys, person, other, link)


def _persons(survey: Survey, recognised: Recognised) -> list[Side]:
    readings = [
        (template, resolve(survey, recognised.source, template))
        for template in recognised.export.person
    ]
    return [
        Side(reading.sql, template.strip("{}"))
        for template, reading in readings
        if reading and reading.sql
    ]


def _through_person(
    survey: Survey, hub: Hub, keys: set[str], person: Side, other: Recognised, link: Link
) -> Iterator[Link]:
    for own in _persons(survey, other):
        pairs = _through(link.pairs, other, text_of(own.sql), link.key)
        hits = {str(key) for key, _ in survey.rows(pairs)}
        if matched := len(hits & keys):
            words = f"{person.name} = {own.name} of {other.source.label}, and there {link.words}"
            yield Link(text_of(person.sql), pairs, words, link.kind, matched, len(keys), hub.size)
