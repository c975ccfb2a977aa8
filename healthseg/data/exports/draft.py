"""The queries of a ``portfolio.toml`` from the exports that were recognised: one source per table, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import duckdb

from healthseg.data.exports.generic import OWN, recognise_own, vocabulary
from healthseg.data.exports.links import (
    Hub,
    Link,
    Side,
    find_links,
    hub_of,
    keys_of,
    kinds_of,
    normalised,
)
from healthseg.data.exports.presets import (
    ExportPreset,
    MappedColumn,
    MappedTable,
    Recognised,
    recognise,
    resolve,
)
from healthseg.data.exports.readings import EMPTY, text_of
from healthseg.data.exports.survey import ExportTable, Survey, united
from healthseg.data.sources import quoted
from healthseg.data.tables import CLIENT_ID_RULE, TABLES
from healthseg.settings.data import DataSettings

# how many of the links that were measured are offered beside the one that is used
SHOWN_LINKS = 4


@dataclass(frozen=True)
class DraftColumn:
    """A column of a query. Where the column is undecided, ``options`` has its readings and ``sql`` is None."""

    name: str
    sql: str | None
    comment: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass
class DraftTable:
    """A query for a table of the contract. ``blocked`` says why it cannot be used as it is."""

    table: str
    recognised: Recognised
    columns: list[DraftColumn]
    comments: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    qualify: str = ""
    link: Link | None = None
    other_links: list[Link] = field(default_factory=list)
    blocked: str = ""
    derived: str = ""

    @property
    def is_decided(self) -> bool:
        return all(column.sql is not None for column in self.columns)

    def sql_of(self, name: str) -> str | None:
        """The expression of a column, where it has one."""
        return next((column.sql for column in self.columns if column.name == name), None)

    def query(self, indent: str = "") -> str:
        """The query as it is written to the file, with comments; undecided columns are comments alone."""
        if self.derived:
            return self.derived
        lines = ["SELECT"]
        for column in self.columns:
            lines += _column_lines(column)
        lines.append(f"FROM {self.recognised.source.relation} AS t")
        if self.link:
            lines += ["-- which customer a row belongs to:", f"-- {self.link.to_text()}: used"]
            lines.append(f"LEFT JOIN ({self.link.pairs}) AS link ON link.key = {self.link.key}")
            for other in self.other_links[:SHOWN_LINKS]:
                lines.append(f"-- or, {other.to_text()}:")
                lines.append(f"-- LEFT JOIN ({other.pairs}) AS link ON link.key = {other.key}")
        if self.where:
            lines.append("WHERE " + "\n  AND ".join(self.where))
        if self.qualify:
            lines.append(f"QUALIFY {self.qualify}")
        return "\n".join(indent + line for line in lines)


def _column_lines(column: DraftColumn) -> list[str]:
    comment = f"  -- {column.comment}" if column.comment else ""
    if column.sql is not None:
        return [f"  {column.sql} AS {column.name},{comment}"]
    lines = [
        f"  -- DECIDE {column.name}: {column.comment}; remove the dashes before one of these lines"
    ]
    return lines + [f"  -- {sql} AS {column.name},  -- {words}" for words, sql in column.options]


# the tables from which customers are derived where no table lists them, and their first day
_DERIVED_FROM = {
    "contracts": "starts_on",
    "events": "occurred_at",
    "arr_changes": "effective_on",
    "invoices": "issued_on",
    "tickets": "opened_at",
}

# names that accounts for tests often have
_LIKE_TESTS = r"(?i)(^|[^a-z])(tests?|testing|sandbox|dummy|demo|do not use)([^a-z]|$)"


@dataclass
class Draft:
    """All that the file says. ``tables`` are used, ``others`` are written as comments."""

    survey: Survey
    tables: list[DraftTable]
    others: list[DraftTable]
    unrecognised: list[ExportTable]

    @property
    def decisions(self) -> list[str]:
        """What is left for the user to decide, table by table."""
        return [
            f"{draft.table}: {question}" for draft in self.tables for question in draft.questions
        ] + [
            f"{draft.table} of {draft.recognised.source.label}: {draft.blocked}"
            for draft in self.others
            if draft.blocked
        ]

    @property
    def missing(self) -> dict[str, str]:
        """The tables that no source provides, with what they make possible."""
        present = {draft.table for draft in self.tables}
        return {
            name: entry["makes_possible"]
            for name, entry in vocabulary().items()
            if name not in present
        }


def draft(survey: Survey) -> Draft:
    """Everything that can be said about the tables of a survey."""
    recognised, unrecognised = recognised_exports(survey)
    hub, customers = _customers(survey, recognised)
    drafts = []
    for item in recognised:
        for mapped in item.export.tables:
            if mapped.table != "customers":
                drafts.append(_drafted(survey, item, mapped, hub, recognised))
    used, others = _chosen([*customers, *drafts])
    if any(item.table == "customers" for item in used):
        _complete_signup(used)
    else:
        used += _derived_customers(survey, used)
    _prove(survey, used, others)
    order = {name: number for number, name in enumerate(TABLES)}
    return Draft(survey, sorted(used, key=lambda item: order[item.table]), others, unrecognised)


def recognised_exports(survey: Survey) -> tuple[list[Recognised], list[ExportTable]]:
    """The survey's tables by what they are; files of the same export become one table."""
    groups: dict[tuple[str, str, str], list[ExportTable]] = {}
    exports: dict[tuple[str, str, str], ExportPreset] = {}
    unrecognised = []
    for table in survey.tables:
        export = recognise(table) or recognise_own(table)
        if export is None:
            unrecognised.append(table)
            continue
        columns = repr((export.tables, export.customer)) if export.system == OWN else ""
        key = export.system, export.name, columns
        groups.setdefault(key, []).append(table)
        exports.setdefault(key, export)
    return [
        Recognised(exports[key], united(survey, tables)) for key, tables in groups.items()
    ], unrecognised


# Customers


def _customers(
    survey: Survey, recognised: Sequence[Recognised]
) -> tuple[Hub | None, list[DraftTable]]:
    """The table that lists the customers, and drafts of it and of the others that could."""
    listing = [
        (item, mapped)
        for item in recognised
        for mapped in item.export.tables
        if mapped.table == "customers" and keys_of(survey, item)
    ]
    listing.sort(key=lambda pair: _standing(pair[0]))
    if not listing:
        base = _base(survey, recognised)
        return (base, []) if base else (None, [])
    drafts, hub = [], None
    for item, mapped in listing:
        side, question = _customer_key(survey, item, recognised)
        draft = _mapped_columns(survey, item, mapped)
        key, comment = client_id(survey, item.source, side.sql)
        draft.columns.insert(0, DraftColumn("client_id", key, comment))
        draft.questions += [question] if question else []
        last = resolve(survey, item.source, mapped.last) if mapped.last else None
        draft.qualify = last.sql or "" if last else ""
        drafts.append(draft)
        if hub is None:
            where = " WHERE " + " AND ".join(draft.where) if draft.where else ""
            hub = hub_of(survey, item, side, key, where)
    if len(drafts) > 1:
        labels = ", ".join(draft.recognised.source.label for draft in drafts[1:])
        drafts[0].comments.append(f"{labels} could list the customers as well: see below")
    return hub, drafts


def _standing(item: Recognised) -> tuple[int, int, int, str]:
    """Which of several sources is used: by rank, the nearer to the top folder, the longer."""
    return item.export.rank, item.source.label.count("/"), -item.source.rows, item.source.label


def _base(survey: Survey, recognised: Sequence[Recognised]) -> Hub | None:
    """Where no table lists the customers: the first table that has their ids."""
    for table in _DERIVED_FROM:
        for item in recognised:
            sides = keys_of(survey, item)
            if sides and any(mapped.table == table for mapped in item.export.tables):
                key, _ = client_id(survey, item.source, sides[0].sql)
                hub = Hub(item, sides[0], key, "", {}, 0)
                for kind in kinds_of(survey, item.source, sides[0]):
                    side = replace(sides[0], kind=kind)
                    value = normalised(side.sql, kind)
                    rows = survey.rows(
                        f"SELECT DISTINCT {value}, {key} FROM {item.source.relation} AS t"
                    )
                    hub.columns[side] = {value: {own} for value, own in rows if value is not None}
                    hub.size = max(hub.size, len(hub.columns[side]))
                return hub
    return None


def _customer_key(
    survey: Survey, item: Recognised, recognised: Sequence[Recognised]
) -> tuple[Side, str]:
    """The column that identifies a customer: of several, the one that other tables refer to most."""
    sides = keys_of(survey, item)
    if len(sides) == 1:
        return sides[0], ""
    references = {side: _references(survey, item, side, recognised) for side in sides}
    best = max(sides, key=lambda side: (references[side], -sides.index(side)))
    counts = ", ".join(
        f"{side.name} ({references[side]:,} of its values are in other tables)" for side in sides
    )
    return best, f"two columns could be the id of a customer: {counts}; {best.name} is used"


def _references(
    survey: Survey, item: Recognised, side: Side, recognised: Sequence[Recognised]
) -> int:
    values = f"SELECT DISTINCT {text_of(side.sql)} AS v FROM {item.source.relation} AS t"
    counts = [0]
    for other in recognised:
        for key in keys_of(survey, other) if other is not item else ():
            theirs = f"SELECT DISTINCT {text_of(key.sql)} AS v FROM {other.source.relation} AS t"
            counts.append(survey.value(f"SELECT COUNT(*) FROM ({values} INTERSECT {theirs})"))
    return max(counts)


def client_id(survey: Survey, source: ExportTable, sql: str) -> tuple[str, str]:
    """An id as the contract takes it, with a comment where other characters are replaced."""
    text = text_of(sql)
    unfit = f"{text} IS NOT NULL AND NOT regexp_matches({text}, {quoted(CLIENT_ID_RULE)})"
    if not survey.has(f"SELECT 1 FROM {source.relation} AS t WHERE {unfit}"):
        return text, ""
    replaced = f"LEFT(REGEXP_REPLACE({text}, '[^a-zA-Z0-9_-]+', '_', 'g'), 100)"
    before, after = survey.rows(
        f"SELECT COUNT(DISTINCT {text}), COUNT(DISTINCT {replaced}) FROM {source.relation} AS t"
    )[0]
    comment = "other characters than letters, digits, _ and - become _"
    return replaced, comment + (
        f"; {before - after:,} ids become equal to another" if after < before else ""
    )


# Columns


def _mapped_columns(survey: Survey, item: Recognised, mapped: MappedTable) -> DraftTable:
    """The columns of a mapping that the source has, and which of its rows count."""
    draft = DraftTable(mapped.table, item, [])
    known = {column.name: column for column in TABLES[mapped.table].columns}
    for name, column in mapped.columns.items():
        if name not in known:
            continue
        readings = (resolve(survey, item.source, choice) for choice in column.choices)
        choice, reading = next(
            ((c, r) for c, r in zip(column.choices, readings, strict=True) if r), (None, None)
        )
        if reading is None or choice is None:
            if known[name].required:
                draft.blocked = f"no column fits {name}"
            continue
        if reading.seen == EMPTY and not known[name].required:
            continue
        comment = "; ".join(text for text in (column.why, reading.seen) if text)
        if reading.sql is None:
            draft.questions.append(f"{name}: {reading.seen}")
        elif _is_asked(survey, item, column, choice):
            draft.questions.append(f"{name}: {column.ask}")
            comment = "; ".join(text for text in (comment, f"DECIDE: {column.ask}") if text)
        draft.columns.append(DraftColumn(name, reading.sql, comment, reading.options))
    required = {name for name, column in known.items() if column.required} - {
        "client_id",
        "signup_date",
    }
    if absent := sorted(required - set(mapped.columns)):
        draft.blocked = f"no column fits {', '.join(absent)}"
    if mapped.ask:
        draft.questions.append(mapped.ask)
        draft.comments.append(f"DECIDE: {mapped.ask}")
    _leave_out(survey, item, draft)
    _add_filter(survey, item, mapped, draft)
    for rows, question in mapped.questions.items():
        _ask_about(survey, item, draft, rows, question)
    if mapped.table == "customers" and (called := draft.sql_of("name")):
        question = "have a name as tests have: are they customers? else leave them out by their id"
        _ask_about(
            survey,
            item,
            draft,
            f"regexp_matches({text_of(called)}, {quoted(_LIKE_TESTS)})",
            question,
        )
    return draft


def _is_asked(survey: Survey, item: Recognised, column: MappedColumn, choice: str) -> bool:
    """Whether a column's question stands: not for a better choice than the last, nor for amounts with decimals."""
    if not column.ask or (choice != column.choices[-1] and not column.ask_if_whole):
        return False
    amount = resolve(survey, item.source, column.ask_if_whole) if column.ask_if_whole else None
    if amount is None or amount.sql is None:
        return True
    marked = f"regexp_matches(CAST({amount.sql} AS VARCHAR), '[.,][0-9]{{1,2}}$')"
    return not survey.has(f"SELECT 1 FROM {item.source.relation} AS t WHERE {marked}")


def _leave_out(survey: Survey, item: Recognised, draft: DraftTable) -> None:
    """The system's rows that are never read, such as deleted ones, are left out."""
    for template, why in item.export.left_out.items():
        reading = resolve(survey, item.source, template)
        if reading is None or reading.sql is None:
            continue
        rows = survey.value(f"SELECT COUNT(*) FROM {item.source.relation} AS t WHERE {reading.sql}")
        draft.where.append(f"NOT COALESCE({reading.sql}, FALSE)")
        if rows:
            draft.comments.append(f"{rows:,} of {item.source.rows:,} rows are left out: {why}")


def _ask_about(
    survey: Survey, item: Recognised, draft: DraftTable, rows: str, question: str
) -> None:
    """A question about some of the rows that count, where there are any."""
    reading = resolve(survey, item.source, rows)
    if reading is None or reading.sql is None:
        return
    where = " AND ".join([*draft.where, reading.sql])
    count = survey.value(f"SELECT COUNT(*) FROM {item.source.relation} AS t WHERE {where}")
    if count:
        draft.questions.append(f"{count:,} rows {question}")
        draft.comments.append(f"DECIDE: {count:,} rows {question}")


def _add_filter(survey: Survey, item: Recognised, mapped: MappedTable, draft: DraftTable) -> None:
    """Only the rows that the mapping is about, unless none is."""
    readings = (resolve(survey, item.source, choice) for choice in mapped.only)
    reading = next((reading for reading in readings if reading), None)
    if reading is None or reading.sql is None:
        return
    rows = survey.value(f"SELECT COUNT(*) FROM {item.source.relation} AS t WHERE {reading.sql}")
    if not rows:
        draft.comments.append(f"no row passes the filter ({mapped.only_why}), so that all are used")
        return
    draft.where.append(f"({reading.sql})" if " OR " in reading.sql else reading.sql)
    if rows < item.source.rows:
        draft.comments.append(f"{rows:,} of {item.source.rows:,} rows: {mapped.only_why}")


# Links


def _drafted(
    survey: Survey,
    item: Recognised,
    mapped: MappedTable,
    hub: Hub | None,
    recognised: Sequence[Recognised],
) -> DraftTable:
    draft = _mapped_columns(survey, item, mapped)
    if not TABLES[mapped.table].of_customers:
        return draft
    links = find_links(survey, hub, item, recognised) if hub else []
    if not links or not links[0].usable:
        near = "; ".join(link.to_text() for link in links[:SHOWN_LINKS])
        draft.blocked = "no column says which customer a row belongs to" + (
            f" ({near})" if near else ""
        )
        links = []
    used = links[0] if links else None
    _set_client_id(survey, draft, used)
    draft.other_links = links[1:] if draft.link else []
    if mapped.last:
        owner = used.key if used else draft.columns[0].sql or "client_id"
        last = resolve(survey, item.source, mapped.last.replace("{customer}", owner))
        draft.qualify = last.sql or "" if last else ""
    if used and not used.direct:
        draft.questions.append(f"which customer a row belongs to: {used.to_text()}, is used")
    return draft


def _set_client_id(survey: Survey, draft: DraftTable, link: Link | None) -> None:
    """The id of the customer, through the link; rows that match no customer are left out only where they are many."""
    source = draft.recognised.source
    if link is None:
        sides = keys_of(survey, draft.recognised)
        sql = text_of(sides[0].sql) if sides else "NULL"
        draft.columns.insert(0, DraftColumn("client_id", sql, "DECIDE: the customer's id"))
        return
    key, comment = client_id(survey, source, link.key)
    if not link.pairs:
        draft.columns.insert(0, DraftColumn("client_id", key, comment))
        return
    matched, rows = survey.rows(
        f"SELECT COUNT(link.client_id), COUNT(*) FROM {source.relation} AS t "
        f"LEFT JOIN ({link.pairs}) AS link ON link.key = {link.key}"
    )[0]
    lost = rows - matched
    is_much = lost > DataSettings().max_loss_share * rows
    if link.direct and not is_much:
        draft.columns.insert(0, DraftColumn("client_id", key, comment))
        return
    draft.link = link
    draft.columns.insert(0, DraftColumn("client_id", f"COALESCE(link.client_id, {key})", comment))
    if is_much:
        draft.where.append("link.client_id IS NOT NULL")
        draft.comments.append(
            f"{lost:,} of {rows:,} rows belong to no customer of the portfolio and are left out"
        )


def _chosen(drafts: Sequence[DraftTable]) -> tuple[list[DraftTable], list[DraftTable]]:
    """One draft per table: usable ones first, by their export's rank; the others are offered as comments."""
    used: dict[str, DraftTable] = {}
    others = []
    for draft in sorted(
        drafts,
        key=lambda item: (
            bool(item.blocked),
            *_standing(item.recognised),
        ),
    ):
        if draft.blocked or draft.table in used:
            others.append(draft)
        else:
            used[draft.table] = draft
    contracts, changes = used.get("contracts"), used.get("arr_changes")
    if contracts and changes and contracts.recognised is not changes.recognised and changes.qualify:
        others.append(used.pop("arr_changes"))  # they are the ends of other contracts
    for draft in others:
        if draft.table in used and draft.table != "customers" and not draft.blocked:
            source = draft.recognised.source.label
            used[draft.table].questions.append(
                f"{source} has {draft.table} as well and is not used, since both would count twice"
            )
    return list(used.values()), others


def _complete_signup(used: list[DraftTable]) -> None:
    """Customers without a day of signup: their first day in another table."""
    customers = next((draft for draft in used if draft.table == "customers"), None)
    if customers is None or any(column.name == "signup_date" for column in customers.columns):
        return
    for table, day in _DERIVED_FROM.items():
        base = next((draft for draft in used if draft.table == table and draft.is_decided), None)
        if base is not None:
            key = customers.columns[0].sql
            first = f"(SELECT MIN(CAST(b.{day} AS DATE)) FROM (\n{base.query('    ')}\n  ) AS b WHERE b.client_id = {key})"
            ask = f"no column says when a customer signed up: its first day in {table} is taken"
            customers.columns.append(DraftColumn("signup_date", first, f"DECIDE: {ask}"))
            customers.questions.append(f"signup_date: {ask}")
            return
    customers.blocked = "no column fits signup_date"


def _derived_customers(survey: Survey, used: Sequence[DraftTable]) -> list[DraftTable]:
    """Where no table lists the customers: one for each id of another table, since its first day there."""
    for table, day in _DERIVED_FROM.items():
        for base in used:
            if base.table == table and base.is_decided:
                query = (
                    f"SELECT client_id, MIN(CAST({day} AS DATE)) AS signup_date\nFROM (\n{base.query('  ')}\n)\n"
                    "WHERE client_id IS NOT NULL\nGROUP BY client_id"
                )
                ask = f"no table lists the customers: they are those of {table}, since their first day there"
                names = [side.name for side in keys_of(survey, base.recognised)]
                if len(names) > 1:
                    ask += (
                        f"; {names[0]} is taken as their id, and {' or '.join(names[1:])} could be"
                    )
                draft = DraftTable(
                    "customers", base.recognised, [], [f"DECIDE: {ask}"], [ask], derived=query
                )
                return [draft]
    return []


def _prove(survey: Survey, used: list[DraftTable], others: list[DraftTable]) -> None:
    """Runs each query once: what fails is written as a comment, with its reason."""
    for draft in list(used):
        try:
            if not survey.value(f"SELECT COUNT(*) FROM ({draft.query()}\n)"):
                used.remove(draft)
        except duckdb.Error as problem:
            draft.blocked = f"the query fails: {str(problem).splitlines()[0][:200]}"
            used.remove(draft)
            others.append(draft)
