"""How a column of text is read as dates or numbers: by one reading that fits the whole column, else it is undecided."""

from __future__ import annotations

from dataclasses import dataclass

from healthseg.data.exports.survey import ExportTable, Survey
from healthseg.data.sources import quoted

_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %I:%M %p")
# a value's look, and the days that strptime reads in it
_NAMED_DAYS = (
    "%d/%b/%y",
    "%d/%b/%Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%Y/%m/%d",
)
_ISO = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"
_UNIX = {10: "1", 13: "1e3", 16: "1e6"}
_SLASHED = r"^\d{1,2}([./-])\d{1,2}[./-](\d{4}|\d{2})\b.*$"
# what stands around the digits: currency signs and codes, percents, blanks
_AROUND = r"[^0-9.,()-]"
EMPTY = "empty in every row"
_ONE_GROUP = {".": r"^-?[1-9]\d{0,2}(\.\d{3})+$", ",": r"^-?[1-9]\d{0,2}(,\d{3})+$"}


@dataclass(frozen=True)
class Reading:
    """An SQL expression with what was seen. Where a column has two readings, ``options`` has both and ``sql`` is None."""

    sql: str | None
    seen: str = ""
    options: tuple[tuple[str, str], ...] = ()


def text_of(expression: str) -> str:
    """An expression as trimmed text, empty text as null."""
    if expression.startswith("NULLIF("):
        return expression
    return f"NULLIF(TRIM({expression}::VARCHAR), '')"


def read_dates(survey: Survey, table: ExportTable, expression: str, *, day: bool) -> Reading:
    """How a column is read as days, or as instants."""
    text = text_of(expression)
    values = f"(SELECT {text} AS v FROM {table.relation} AS t WHERE {text} IS NOT NULL)"
    if not survey.has(f"SELECT 1 FROM {values}"):
        return Reading(expression, EMPTY)
    if _fits(survey, values, f"regexp_matches(v, {quoted(_ISO)})"):
        return Reading(expression)
    for digits, scale in _UNIX.items():
        if _fits(survey, values, rf"regexp_matches(v, '^\d{{{digits}}}(\.\d+)?$')"):
            instant = f"TO_TIMESTAMP(CAST({text} AS DOUBLE) / {scale})"
            return Reading(
                _as_day(instant, day),
                "seconds since 1970" if scale == "1" else "parts of a second since 1970",
            )
    return (
        _read_slashed(survey, values, text, day)
        or _read_named(survey, values, text, day)
        or Reading(expression, "no single format fits all values")
    )


def _fits(survey: Survey, values: str, condition: str) -> bool:
    return not survey.has(f"SELECT 1 FROM {values} WHERE NOT COALESCE({condition}, FALSE)")


def _as_day(sql: str, day: bool) -> str:
    return f"CAST({sql} AS DATE)" if day else sql


def _parsed(text: str, days: tuple[str, ...]) -> str:
    formats = ", ".join(quoted(day + time) for day in days for time in _TIMES)
    return f"TRY_STRPTIME({text}, [{formats}])"


def _read_slashed(survey: Survey, values: str, text: str, day: bool) -> Reading | None:
    """Days of digits alone: day first where a first number is above 12, month first where a second is, else undecided."""
    if not _fits(survey, values, f"regexp_matches(v, {quoted(_SLASHED)})"):
        return None
    long_year = _fits(survey, values, r"regexp_matches(v, '^\d+[./-]\d+[./-]\d{4}')")
    mark = survey.value(f"SELECT MIN(regexp_extract(v, {quoted(_SLASHED)}, 1)) FROM {values}")
    year, example = "%Y" if long_year else "%y", survey.value(f"SELECT MIN(v) FROM {values}")
    fitting = {}
    for words, order in (("day first", "%d{0}%m{0}"), ("month first", "%m{0}%d{0}")):
        days = (order.format(mark) + year,)
        if _fits(survey, values, f"{_parsed('v', days)} IS NOT NULL"):
            timed = survey.has(f"SELECT 1 FROM {values} WHERE v LIKE '%:%'")
            formats = [
                quoted(days[0] + time) for time in _TIMES if _used(survey, values, days[0] + time)
            ]
            fitting[words] = _as_day(
                f"TRY_STRPTIME({text}, [{', '.join(formats)}])", day or not timed
            )
    if not fitting:
        return None
    if len(fitting) == 1:
        words, sql = next(iter(fitting.items()))
        return Reading(
            sql, f"{words}, as the only reading that fits all values, for example {example}"
        )
    return Reading(None, f"{example} is read day first or month first", tuple(fitting.items()))


def _used(survey: Survey, values: str, form: str) -> bool:
    return survey.has(f"SELECT 1 FROM {values} WHERE TRY_STRPTIME(v, {quoted(form)}) IS NOT NULL")


def _read_named(survey: Survey, values: str, text: str, day: bool) -> Reading | None:
    if not _fits(survey, values, f"{_parsed('v', _NAMED_DAYS)} IS NOT NULL"):
        return None
    forms = [
        day_form + time
        for day_form in _NAMED_DAYS
        for time in _TIMES
        if _used(survey, values, day_form + time)
    ]
    example = survey.value(f"SELECT MIN(v) FROM {values}")
    timed = any("%M" in form for form in forms)
    parsed = f"TRY_STRPTIME({text}, [{', '.join(map(quoted, forms))}])"
    return Reading(_as_day(parsed, day or not timed), f"dates such as {example}")


def read_numbers(survey: Survey, table: ExportTable, expression: str) -> Reading:
    """How a column is read as numbers; undecided where 12.500 may be 12½ or 12,500."""
    if expression not in table.text:
        return Reading(f"TRY_CAST({expression} AS DOUBLE)")
    bare = f"NULLIF(REGEXP_REPLACE({text_of(expression)}, {quoted(_AROUND)}, '', 'g'), '')"
    values = f"(SELECT {bare} AS v FROM {table.relation} AS t WHERE {bare} IS NOT NULL)"
    around = survey.has(
        f"SELECT 1 FROM {table.relation} AS t WHERE {text_of(expression)} <> {bare} OR {bare} LIKE '%(%'"
    )
    text = bare if around else expression
    readings = {
        "the dot is the decimal mark": f"TRY_CAST(REPLACE({text}, ',', '') AS DOUBLE)",
        "the comma is the decimal mark": f"TRY_CAST(REPLACE(REPLACE({text}, '.', ''), ',', '.') AS DOUBLE)",
    }
    marks = {
        mark for mark in ".," if survey.has(f"SELECT 1 FROM {values} WHERE CONTAINS(v, '{mark}')")
    }
    decimal = _decimal_mark(survey, values, marks)
    if decimal is None:
        example = survey.value(f"SELECT MIN(v) FROM {values} WHERE regexp_matches(v, '[.,]')")
        return Reading(None, f"{example} has two readings", tuple(readings.items()))
    if decimal == "." and "," not in marks:
        return Reading(f"TRY_CAST({text} AS DOUBLE)")
    words = f"the {'dot' if decimal == '.' else 'comma'} is the decimal mark"
    return Reading(readings[words], f"{words} in all values")


def _decimal_mark(survey: Survey, values: str, marks: set[str]) -> str | None:
    """The mark before the decimals; None where every marked number could as well be grouped by thousands."""
    if not marks:
        return "."
    if len(marks) == 2:
        last = survey.rows(
            f"SELECT DISTINCT regexp_extract(v, '[.,][^.,]*$')[1] FROM {values} "
            "WHERE CONTAINS(v, '.') AND CONTAINS(v, ',')"
        )
        if len(last) == 1:
            return str(last[0][0])
    alone = [mark for mark in marks if not _fits_marked(survey, values, mark)]
    if len(alone) == 1:
        return alone[0]
    return "." if marks == {","} and _repeats_comma(survey, values) else None


def _fits_marked(survey: Survey, values: str, mark: str) -> bool:
    """Whether all values with the mark could be groups of thousands."""
    marked = f"(SELECT v FROM {values} WHERE CONTAINS(v, '{mark}'))"
    return _fits(survey, marked, f"regexp_matches(v, {quoted(_ONE_GROUP[mark])})")


def _repeats_comma(survey: Survey, values: str) -> bool:
    """Whether a value has two commas, as only thousands do."""
    return survey.has(f"SELECT 1 FROM {values} WHERE LENGTH(v) - LENGTH(REPLACE(v, ',', '')) > 1")
