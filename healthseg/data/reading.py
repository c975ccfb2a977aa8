"""How values are read: words, ids, numbers and dates as files have them, in SQL.

Words are NFC, trimmed, with single inner blanks; the setting ``missing_words`` stand for no value. Numbers and dates in text
are read in one way for the whole column of a file: ``readings`` looks at all its values first. Where two ways fit
("12.500", "03/04/2025") the column is not read, and the table says so and asks for ``[formats]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from healthseg.data.sources import quoted
from healthseg.data.tables import Column, TableContract
from healthseg.settings.data import LONGEST_TEXT, DataSettings

WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT")
FLOATS = ("DOUBLE", "FLOAT")
NUMERIC = (*WHOLE, *FLOATS)
US, EUROPEAN = "1,234.56", "1.234,56"
# plain digits: a value that two ways fit is not read
STRICT = "strict"
DAY_FIRST, MONTH_FIRST = "day first", "month first"
PERCENT = "%"
# values of a column of events that decide how its dates are read: reading all of a large file twice takes too long
_SAMPLE_ROWS = 20_000
# written out, since engines have other words for classes of characters
_SPACES = "[ \t\n\f\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
# letters that nobody sees: soft hyphens and joints of no width, within ids also those that join letters
_UNSEEN, _UNSEEN_IN_IDS = "[\u00ad\u200b\u2060\ufeff]+", "[\u00ad\u200b-\u200d\u2060\ufeff]+"
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
# ISO 8601's basic format with a time: 20250303T100530Z
_BASIC = r"((?:19|20)\d{2})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)"
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_DATES = {
    "other": ("%Y/%m/%d", "%d.%m.%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
    DAY_FIRST: ("%d/%m/%Y", "%d-%m-%Y"),
    MONTH_FIRST: ("%m/%d/%Y", "%m-%d-%Y"),
}
_FOUR_DIGITS = r"(^|\D)\d{4}(\D|$)"
# what stands around a number: currency signs and codes, a percent sign, spaces and apostrophes between thousands
_CURRENCY = r"[€$£¥₹]|^[A-Z]{3}|[A-Z]{3}$"
_AROUND = rf"%|{_CURRENCY}"
# as India writes lakhs and crores: 12,50,000
_INDIAN = r"[1-9]\d?(,\d{2})+,\d{3}"
_NUMBERS = {
    US: rf"^[+-]?(\d+|[1-9]\d{{0,2}}(,\d{{3}})+|{_INDIAN})?(\.\d*)?([eE][+-]?\d+)?$",
    EUROPEAN: r"^[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)?(,\d*)?$",
}
_WHOLE_TEXT = r"^[+-]?\d+(\.0{1,2})?([eE]\+?\d+)?$"
# words of a rating that was not given
_NO_ANSWER = ("offered", "unoffered", "Offered", "Unoffered", "unrated", "not rated", "no response")
_YES = (
    "true", "t", "yes", "y", "1", "1.0", "on", "enabled", "wahr", "ja", "j", "oui", "vrai", "sí", "si", "sim", "verdadero",
    "verdadeiro", "vero",
)  # fmt: skip
_NO = (
    "false", "f", "no", "n", "0", "0.0", "off", "disabled", "falsch", "nein", "non", "faux", "não", "nao", "nee", "falso",
)  # fmt: skip
# dates that systems write for "no date"; those of other years before 1990 or after 2200 are impossible
_NO_DATE = (
    "DATE '0001-01-01'", "DATE '1601-01-01'", "DATE '1753-01-01'", "DATE '1899-12-30'", "DATE '1899-12-31'",
    "DATE '1900-01-01'", "DATE '1969-12-31'", "DATE '1970-01-01'", "DATE '2099-12-31'",
)  # fmt: skip
_NO_DATE_FROM = "DATE '2900-01-01'"


@dataclass(frozen=True)
class Parsed:
    """SQL for a column's clean value, whether the source has any, and how it is written: see ``midnights``."""

    value: str
    present: str
    midnight: str = "0"


@dataclass(frozen=True)
class Readings:
    """How the columns of a part are read where it is not the plain way, and why some cannot be read."""

    formats: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)


# -- words --------------------------------------------------------------------------------


def is_id(column: Column) -> bool:
    """Whether a column holds identifiers, which are text also where a file has numbers."""
    return column.kind == "id" or column.name.endswith("_id")


def text_of(column: Column, raw: str, settings: DataSettings) -> str:
    """The text of a column's value: clean, and missing where a word says so."""
    name = f'"{column.name}"'
    text = f"CAST({name} AS VARCHAR)"
    if raw == "VARCHAR":
        text = f"CASE WHEN STRLEN({name}) > {LONGEST_TEXT} THEN LEFT({name}, {LONGEST_TEXT}) ELSE {name} END"
    if is_id(column) and (raw in FLOATS or raw.startswith("DECIMAL")):
        whole = f"CAST(CAST({name} AS BIGINT) AS VARCHAR)"
        return (
            f"CASE WHEN {name} = FLOOR({name}) AND ABS({name}) < 9e15 THEN {whole} ELSE {text} END"
        )
    if raw != "VARCHAR" and not raw.startswith("ENUM"):
        return text
    plain = (
        f"STRLEN({text}) = LENGTH({text}) AND NOT CONTAINS({text}, '  ') AND NOT CONTAINS({text}, CHR(9)) "
        f"AND NOT CONTAINS({text}, CHR(10)) AND NOT CONTAINS({text}, CHR(13))"
    )
    unseen = quoted(_UNSEEN_IN_IDS if is_id(column) else _UNSEEN)
    seen = f"regexp_replace(nfc_normalize({text}), {unseen}, '', 'g')"
    spaced = f"regexp_replace({seen}, {quoted(_SPACES)}, ' ', 'g')"
    return f"TRIM(CASE WHEN {plain} THEN {text} ELSE {spaced} END)"


def present_text(column: Column, text: str, settings: DataSettings) -> str:
    """``text`` without the words that stand for no value, and whole numbers as ids without their decimals."""
    words = ["", *settings.missing_words, *(_NO_ANSWER if column.rating else ())]
    value = text
    if is_id(column):
        whole = f"ENDS_WITH({text}, '.0') AND regexp_full_match({text}, '\\d+\\.0')"
        # as workbooks keep numbers as text: '007 and ="007"
        marked = f'regexp_full_match({text}, \'="[^"]+"\')'
        value = (
            f"CASE WHEN {whole} THEN LEFT({text}, LENGTH({text}) - 2) "
            f"WHEN {marked} THEN SUBSTR({text}, 3, LENGTH({text}) - 3) "
            f"WHEN STARTS_WITH({text}, '''') THEN SUBSTR({text}, 2) ELSE {text} END"
        )
        words += [f"{word}.0" for word in settings.missing_words if word.isdigit()]
    missing = f"STRLEN({text}) <= {max(len(word.encode()) for word in words)} AND {text} IN ({', '.join(map(quoted, words))})"
    return f"CASE WHEN {missing} THEN NULL ELSE {value} END"


def as_text(column: Column, raw: str) -> str:
    """The value of a column that has DuckDB's type ``raw`` as text."""
    return f'"{column.name}"' if raw == "VARCHAR" else f'CAST("{column.name}" AS VARCHAR)'


def lookup_of(column: Column, raw: str, reading: str | None) -> str | None:
    """What a text is looked up by, worked out once: its words in lower case without signs, or a number's bare digits.

    None for a column that needs neither. An engine takes long to prepare the classes of all letters: plain words do
    without them.
    """
    letters, text = r"\p{L}\p{N}", as_text(column, raw)
    if column.kind == "zone":
        text = _with_slashes(text)
    elif column.rating:
        letters += r"\p{So}"
    elif not column.allowed:
        numeric = column.kind in ("integer", "number") and reading is not None
        return bare(text) if numeric else None
    lower = f"LOWER({text})"
    words = f"TRIM(regexp_replace({lower}, '[^{letters}]+', ' ', 'g'))"
    return f"CASE WHEN regexp_full_match({lower}, '[a-z0-9]*') THEN {lower} ELSE {words} END"


def word_of(column: Column, text: str, words: str, settings: DataSettings) -> str:
    """The allowed word that a text is, or that its ``words`` stand for by the settings' synonyms; else the text in lower case."""
    assert column.allowed is not None
    lower = f"LOWER({text})"
    allowed = ", ".join(map(quoted, column.allowed))
    synonyms = settings.synonyms.get(column.name, {})
    known = {word.replace("_", " "): word for word in column.allowed} | {
        " ".join(word.lower().replace("_", " ").replace("-", " ").split()): meaning
        for word, meaning in synonyms.items()
        if meaning in column.allowed
    }
    cases = _translated(words, known)
    return f"CASE WHEN {lower} IN ({allowed}) THEN {lower} {cases} ELSE {lower} END"


def _translated(text: str, meanings: Mapping[str, str]) -> str:
    """The branches of a CASE that turn words into their meanings: one a meaning, since each evaluates ``text`` anew."""
    words: dict[str, list[str]] = {}
    for word, meaning in meanings.items():
        words.setdefault(meaning, []).append(quoted(word))
    return " ".join(
        f"WHEN {text} IN ({', '.join(each)}) THEN {quoted(meaning)}"
        for meaning, each in words.items()
    )


def currency_of(text: str, settings: DataSettings) -> str:
    """A currency's code in capitals; a sign or name where the settings know it."""
    upper = f"UPPER({text})"
    synonyms = settings.synonyms.get("currency", {})
    cases = _translated(upper, {word.upper(): code for word, code in synonyms.items()})
    known = f"CASE {cases} ELSE {upper} END" if cases else upper
    return f"CASE WHEN regexp_full_match({known}, '[A-Z]{{3}}') THEN {known} END"


def _with_slashes(zone: str) -> str:
    """As HubSpot writes them: "europe_slash_berlin"."""
    return f"REPLACE(LOWER({zone}), '_slash_', '/')"


def zone_of(text: str, words: str, settings: DataSettings) -> str:
    """A time zone's IANA name, whatever its case; by a name that the settings know, or by its city; else the text."""
    cases = _translated(words, settings.synonyms.get("timezone", {}))
    known = f"CASE {cases} END" if cases else "NULL"
    named = f"(SELECT MIN(zone) FROM known_zones WHERE LOWER(zone) = {_with_slashes(text)})"
    of_city = f"(SELECT MIN(zone) FROM known_zones WHERE city = {words})"
    return f"COALESCE({named}, {known}, {of_city}, {text})"


def rating_of(text: str, words: str, settings: DataSettings) -> str:
    """The number in the text of a rating: of a word or a face, of stars, of "4 of 5"."""
    number = f"regexp_replace({text}, '^(\\d+([.,]\\d+)?) ?((/|of|out of) ?\\d+|stars?)$', '\\1')"
    cases = _translated(words, settings.synonyms.get("csat", {}))
    said = f"CASE {cases} ELSE {number} END" if cases else number
    return (
        f"CASE WHEN regexp_full_match({text}, '[★⭐☆]+') "
        f"THEN CAST(LENGTH(regexp_replace({text}, '[^★⭐]', '', 'g')) AS VARCHAR) "
        f"WHEN regexp_matches({text}, '[^-0-9.,+]') THEN {said} ELSE {text} END"
    )


def boolean_of(text: str) -> str:
    lower = f"LOWER({text})"
    return (
        f"CASE WHEN {lower} IN ({', '.join(map(quoted, _YES))}) THEN TRUE "
        f"WHEN {lower} IN ({', '.join(map(quoted, _NO))}) THEN FALSE END"
    )


# -- numbers ------------------------------------------------------------------------------


def bare(text: str) -> str:
    """A number's text without what stands around it; brackets are a minus sign."""
    minus = (
        f"CASE WHEN regexp_full_match({text}, '\\(.*\\)') THEN '-' || {text}[2:-2] ELSE {text} END"
    )
    digits = f"TRIM(regexp_replace(REPLACE({minus}, '−', '-'), {quoted(_AROUND)}, '', 'g'))"
    for _ in range(2):  # matches don't overlap: "1 250 000" has two
        digits = f"regexp_replace({digits}, '(\\d)[ ''’](\\d{{3}})', '\\1\\2', 'g')"
    return f"regexp_replace({digits}, '^(.*)-$', '-\\1')"


def _fits(digits: str, style: str) -> str:
    return (
        f"(regexp_matches({digits}, '\\d') AND regexp_matches({digits}, {quoted(_NUMBERS[style])}))"
    )


def number_of(text: str, reading: str | None, digits: str | None = None) -> str:
    """A finite number from text that is read in a given way, the plain one by default; ``digits`` are its bare ones."""
    if reading is None:
        value = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN ISFINITE({value}) THEN {value} END"
    style, digits = reading.removesuffix(PERCENT), digits or bare(text)
    if style == STRICT:
        doubtful = f"{_fits(digits, US)} AND {_fits(digits, EUROPEAN)} AND regexp_matches({digits}, '[.,]')"
        value = number_of(text, US + reading.removeprefix(STRICT), digits)
        return f"CASE WHEN NOT ({doubtful}) THEN {value} END"
    plain = f"REPLACE({digits}, ',', '')"
    if style == EUROPEAN:
        plain = f"REPLACE(REPLACE({digits}, '.', ''), ',', '.')"
    value = f"TRY_CAST(CASE WHEN {_fits(digits, style)} THEN {plain} END AS DOUBLE)"
    if reading.endswith(PERCENT):
        value = f"CASE WHEN CONTAINS({text}, '%') THEN {value} / 100 END"
    else:
        value = f"CASE WHEN NOT CONTAINS({text}, '%') THEN {value} END"
    return f"CASE WHEN ISFINITE({value}) THEN {value} END"


def whole_of(text: str, reading: str | None, digits: str | None = None) -> str:
    """A whole number from text; "1.000" is not 1 unless the reading says so."""
    number = number_of(text, reading, digits)
    fits = "TRUE" if reading else f"regexp_matches({text}, {quoted(_WHOLE_TEXT)})"
    return (
        f"CASE WHEN {fits} AND {number} = FLOOR({number}) AND ABS({number}) < 9e15 "
        f"THEN CAST({number} AS BIGINT) END"
    )


# -- dates --------------------------------------------------------------------------------


def is_epoch(text: str) -> str:
    """Whether a text is a count of seconds since 1970, or of their thousandths, millionths or billionths, with decimals or without."""
    return f"regexp_full_match({text}, '\\d{{10}}(\\d{{3}}){{0,3}}(\\.\\d+)?')"


def is_day_number(text: str) -> str:
    """Whether a text is a day of eight digits, 20250930 (ISO 8601's basic format)."""
    return f"regexp_full_match({text}, '(19|20)\\d{{6}}')"


def is_basic_instant(text: str) -> str:
    """Whether a text is a moment in ISO 8601's basic format, 20250303T100530Z."""
    return f"regexp_full_match({text}, {quoted(_BASIC)})"


def is_workbook_day(text: str) -> str:
    """Whether a text is a day of 1990 to 2099 as workbooks count them, from the end of 1899, with its part of a day."""
    return f"regexp_full_match({text}, '(3[3-9]|[4-6]\\d|7[0-2])\\d{{3}}(\\.\\d+)?')"


def instant_of(text: str, reading: str | None) -> str:
    """A moment in UTC from text: ISO 8601 (also with a decimal comma), 20250930, a workbook's day, seconds since 1970 or their
    thousandths, and in the formats of the reading."""
    whole = f"SPLIT_PART({text}, '.', 1)"
    count, part = (
        f"TRY_CAST({whole} AS BIGINT)",
        f"TRY_CAST('0' || SUBSTR({text}, STRLEN({whole}) + 1) AS DOUBLE)",
    )
    factors = {
        10: f"* 1000000 + CAST(ROUND({part} * 1000000) AS BIGINT)",
        13: f"* 1000 + CAST(ROUND({part} * 1000) AS BIGINT)",
        16: "",
        19: "// 1000",
    }
    cases = " ".join(f"WHEN {size} THEN {count} {factor}" for size, factor in factors.items())
    iso = (
        f"CASE WHEN regexp_matches({text}, {quoted(_ISO)}) "
        f"THEN TRY_CAST(REPLACE({text}, ',', '.') AS TIMESTAMPTZ) AT TIME ZONE 'UTC' "
        f"WHEN {is_day_number(text)} THEN TRY_STRPTIME({text}, '%Y%m%d') "
        f"WHEN {is_basic_instant(text)} "
        f"THEN TRY_CAST(regexp_replace({text}, {quoted(_BASIC)}, '\\1-\\2-\\3 \\4:\\5:\\6') AS TIMESTAMPTZ) AT TIME ZONE 'UTC' "
        f"WHEN {is_workbook_day(text)} THEN MAKE_TIMESTAMP(CAST(ROUND((TRY_CAST({text} AS DOUBLE) - 25569) * 86400) AS BIGINT) * 1000000) "
        f"WHEN {is_epoch(text)} THEN MAKE_TIMESTAMP(CASE STRLEN({whole}) {cases} END) END"
    )
    if reading is None:
        return iso
    return f"COALESCE({iso}, {_formatted(text, ['other', reading])})"


def _formatted(text: str, names: Sequence[str]) -> str:
    """The moment in a text by formats that are tried in turn: none fits a text in ISO 8601, and to try takes long."""
    formats = [day + time for name in names for day in _DATES.get(name, ()) for time in _TIMES]
    listed = ", ".join(map(quoted, formats))
    return (
        f"CASE WHEN regexp_matches({text}, {quoted(_ISO)}) THEN NULL "
        f"WHEN regexp_matches({text}, {quoted(_FOUR_DIGITS)}) THEN TRY_STRPTIME({text}, [{listed}]) END"
    )


def without_sentinels(value: str, day: str) -> str:
    """A date, or nothing where it stands for no date."""
    return f"CASE WHEN {day} IN ({', '.join(_NO_DATE)}) OR {day} >= {_NO_DATE_FROM} THEN NULL ELSE {value} END"


def no_date(text: str) -> str:
    """Whether a text that is no date of the calendar stands for no date, as 0000-00-00."""
    return f"STARTS_WITH({text}, '0000-') OR STARTS_WITH({text}, '9999-')"


# -- one reading a column -----------------------------------------------------------------


def readings(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    types: Mapping[str, str],
    relation: str,
    settings: DataSettings,
) -> Readings:
    """How the text columns of a relation with numbers or dates are read."""
    chosen = Readings()
    columns = [column for column in table.columns if types.get(column.name) == "VARCHAR"]
    of_events = table.name == "events"
    for column in columns:
        wanted = settings.formats.get(f"{table.name}.{column.name}")
        if column.kind in ("timestamp", "date"):
            limit = f" LIMIT {_SAMPLE_ROWS}" if of_events else ""
            counts = _date_counts(
                connection, column, f"(SELECT * FROM {relation}{limit})", settings
            )
            reading, doubt = _date_reading(counts, wanted or settings.formats.get("dates"))
        elif column.kind in ("integer", "number") and not of_events:
            counts = _number_counts(connection, column, relation, settings)
            reading, doubt = _number_reading(counts, wanted or settings.formats.get("numbers"))
        else:
            continue
        if reading:
            chosen.formats[column.name] = reading
        if doubt:
            chosen.doubtful[column.name] = (
                f"{doubt}; say which in [formats] of portfolio.toml: {table.name}.{column.name}"
            )
    return chosen


def number_reading(
    connection: duckdb.DuckDBPyConnection, column: Column, relation: str, settings: DataSettings
) -> tuple[str | None, str | None]:
    """How the numbers in a column of text are read (None: the plain way), and why they can't be."""
    return _number_reading(
        _number_counts(connection, column, relation, settings), settings.formats.get("numbers")
    )


def _values(column: Column, relation: str, settings: DataSettings) -> str:
    """A column's different values, each with the number of times that it is there."""
    text = present_text(column, "text", settings)
    inner = f"SELECT {text_of(column, 'VARCHAR', settings)} AS text FROM {relation}"
    return (
        f"(SELECT text, COUNT(*) AS times FROM (SELECT {text} AS text FROM ({inner})) "
        "WHERE text IS NOT NULL GROUP BY text)"
    )


def _date_counts(
    connection: duckdb.DuckDBPyConnection, column: Column, relation: str, settings: DataSettings
) -> dict[str, Any]:
    """How many values each order of day and month alone can read, and how many both, differently."""
    day, month, other = (_formatted("text", [name]) for name in (DAY_FIRST, MONTH_FIRST, "other"))
    return _counts(
        connection,
        f"SELECT {day} AS first, {month} AS second, {other} AS other, {instant_of('text', None)} AS plain, text, times "
        f"FROM {_values(column, relation, settings)}",
        {
            "first": "first IS NOT NULL AND second IS NULL",
            "second": "second IS NOT NULL AND first IS NULL",
            "both": "first <> second",
            "same": "first = second",
            "other": "plain IS NULL AND other IS NOT NULL",
        },
    )


def _date_reading(counts: Mapping[str, Any], wanted: str | None) -> tuple[str | None, str | None]:
    if wanted in (DAY_FIRST, MONTH_FIRST):
        return wanted, None
    plain = "other" if counts["other"] else None
    if not (counts["first"] or counts["second"] or counts["both"]):
        return (DAY_FIRST if counts["same"] else plain), None
    return _chosen(counts, DAY_FIRST, MONTH_FIRST, plain)


def _number_counts(
    connection: duckdb.DuckDBPyConnection, column: Column, relation: str, settings: DataSettings
) -> dict[str, Any]:
    """How many values each way of writing numbers alone can read, and how many both, differently."""
    us, european = (_fits("digits", style) for style in (US, EUROPEAN))
    inner = (
        f"SELECT text, times, {bare('text')} AS digits FROM {_values(column, relation, settings)}"
    )
    sign = f"NULLIF(regexp_extract(text, {quoted(_CURRENCY)}), '')"
    sign = f"REPLACE(REPLACE(REPLACE({sign}, '€', 'EUR'), '£', 'GBP'), '₹', 'INR')"
    return _counts(
        connection,
        f"SELECT text, times, digits, {us} AS us, {european} AS eu, {sign} AS sign FROM ({inner})",
        {
            "first": "us AND NOT eu",
            "second": "eu AND NOT us",
            "both": "us AND eu AND regexp_matches(digits, '[.,]')",
            "all": "us OR eu",
            "percent": "(us OR eu) AND CONTAINS(text, '%')",
            "decorated": "(us OR eu) AND (text <> digits OR CONTAINS(text, ','))",
        },
        "COUNT(DISTINCT sign) FILTER (us OR eu)",
    )


def _number_reading(counts: Mapping[str, Any], wanted: str | None) -> tuple[str | None, str | None]:
    every, percent = counts["all"], counts["percent"]
    if counts["extra"] > 1:
        return None, "the amounts are in several currencies: give them a column currency"
    if _few(percent, every):
        percent = 0
    elif 0 < percent < every and not _few(every - percent, every):
        return None, "some values are per cent and others are not"
    end = PERCENT if percent else ""
    if wanted in (US, EUROPEAN):
        return wanted + end, None
    plain = US + end if percent or counts["decorated"] else None
    if not (counts["first"] or counts["second"] or counts["both"]):
        return plain, None
    reading, doubt = _chosen(counts, US, EUROPEAN, STRICT)
    return (plain if reading == US else reading and reading + end), doubt


def _chosen(
    counts: Mapping[str, Any], first: str, second: str, neither: str | None
) -> tuple[str | None, str | None]:
    """The reading that the values have in common; a few that have another are left out, one by one."""
    fewer, more = sorted((counts["first"], counts["second"]))
    if more and (not fewer or (_few(fewer, more) and fewer < more)):
        return (first if counts["first"] == more else second), None
    if more:
        return (
            None,
            f"some values are {first} and others {second}, for example {counts['example']!r}",
        )
    if _few(counts["both"], counts["present"]):
        return neither, None
    return None, f"{counts['example']!r} can be read as {first} or {second}"


def _few(part: int, of: int) -> bool:
    """Whether so few values are slips: one, or a tenth."""
    return 0 < part <= max(1, of // 10) and part < of


def _counts(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    conditions: Mapping[str, str],
    extra: str = "0",
) -> dict[str, Any]:
    """By name how many values meet a condition, how many there are, and an example that two readings fit."""
    items = [
        f"COALESCE(SUM(times) FILTER ({condition}), 0)"
        for condition in ("TRUE", *conditions.values())
    ]
    example = f"COALESCE(MIN(text) FILTER ({conditions['both']}), MIN(text) FILTER ({conditions['first']}))"
    items += [example, extra]
    (row,) = connection.execute(f"SELECT {', '.join(items)} FROM ({select})").fetchall()
    return dict(zip(["present", *conditions, "example", "extra"], row, strict=True))
