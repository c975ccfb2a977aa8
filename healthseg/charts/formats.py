"""Figures and names as a reader sees them: one way to write a number, its unit, a date, a name.

Everything here takes what a frame holds, missing values included, and gives text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import pandas as pd

Frame: TypeAlias = pd.DataFrame
MINUS, DASH = "\u2212", "–"
JOIN = "\u00a0"  # a figure and its unit stay on one line
# Control characters have no glyph, and directional overrides show other text than is there.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def is_missing(value: Any) -> bool:
    """Whether there is no figure: None, NaN, NaT or pandas' NA.

    >>> is_missing(float("nan")), is_missing(0)
    (True, False)
    """
    return value is None or (
        not isinstance(value, (list, dict, tuple, set)) and bool(pd.isna(value))
    )


def frame(rows: list[Any]) -> Frame:
    """Rows as a frame, for readers who compute with what a table shows."""
    return pd.DataFrame(rows)


def showable(text: str) -> str:
    """The text with a mark for each character that has no glyph, or makes others look as they are not.

    >>> showable("a\\x01b\\nc")
    'a\ufffdb\\nc'
    """
    return _UNSHOWABLE.sub("\ufffd", text)


def plain(value: Any, limit: int | None = None) -> str:
    """Text on one line, with what cannot be shown replaced, and cut to ``limit`` characters.

    >>> plain("Acme\\nInc", limit=7)
    'Acme I…'
    """
    if is_missing(value):
        return ""
    text = re.sub("[ \t-\r\x85\u2028\u2029]+", " ", showable(str(value))).strip()
    return text if limit is None or len(text) <= limit else text[: max(1, limit - 1)].rstrip() + "…"


def number(value: Any, decimals: int = 0) -> str:
    """A figure with thousands separators, or a dash where there is none.

    >>> number(1234567), number(-3.14159, 1), number(None)
    ('1,234,567', '−3.1', '–')
    """
    if is_missing(value):
        return DASH
    text = f"{float(value):,.{decimals}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")


def signed(value: Any, decimals: int = 0) -> str:
    """A change, with its sign.

    >>> signed(2.44, 1), signed(-3), signed(0)
    ('+2.4', '−3', '0')
    """
    text = number(value, decimals)
    return f"+{text}" if not is_missing(value) and value > 0 and text.strip("0.,") else text


def percent(share: Any, decimals: int = 0) -> str:
    """A share of one as per cent; what is positive but rounds to nothing says so.

    >>> percent(0.734), percent(0.0004), percent(0)
    ('73%', '<1%', '0%')
    """
    if is_missing(share):
        return DASH
    least = 10.0**-decimals
    if 0 < float(share) * 100 < least / 2:
        return f"<{number(least, decimals)}%"
    return f"{number(100 * float(share), decimals)}%"


# the key of amounts whose currency no table names
NO_CURRENCY = "unknown"


def money(amount: Any, currency: Any = None) -> str:
    """An amount with its currency, to the unit.

    >>> money(1234567.8, "EUR"), money(1200)
    ('EUR\\xa01,234,568', '1,200')
    >>> money(-5963, "EUR")
    '−EUR\\xa05,963'
    """
    return DASH if is_missing(amount) else _with_currency(number(amount), currency)


def _with_currency(figure: str, currency: Any) -> str:
    """A figure behind its currency; the sign comes before both."""
    if is_missing(currency) or currency == NO_CURRENCY:
        return figure
    sign = MINUS if figure.startswith(MINUS) else ""
    return f"{sign}{plain(currency, 8)}{JOIN}{figure.removeprefix(MINUS)}"


def signed_money(amount: Any, currency: Any = None) -> str:
    """A change of an amount, with its sign.

    >>> signed_money(2_520_000, "EUR"), signed_money(-29_000, "EUR"), signed_money(0, "EUR")
    ('+EUR\\xa02.52M', '−EUR\\xa029k', 'EUR\\xa00')
    """
    text = brief_money(amount, currency)
    return f"+{text}" if not is_missing(amount) and amount > 0 else text


def amounts(by_currency: Mapping[str, float]) -> str:
    """Sums that cannot be added up, each in its currency.

    >>> amounts({"USD": 4_371_994, "EUR": 8_890_361})
    'EUR\\xa08.89M and USD\\xa04.37M'
    """
    return " and ".join(brief_money(by_currency[name], name) for name in sorted(by_currency))


def brief_money(amount: Any, currency: Any = None) -> str:
    """An amount short enough for a label.

    >>> brief_money(1234567, "EUR"), brief_money(-48200), brief_money(50_000), brief_money(310)
    ('EUR\\xa01.23M', '−48.2k', '50k', '310')
    """
    if is_missing(amount):
        return DASH
    size = abs(float(amount))
    for least, unit in ((999_500_000, "bn"), (999_500, "M"), (9_995, "k")):
        if size >= least:
            scaled = float(amount) / {"bn": 1e9, "M": 1e6, "k": 1e3}[unit]
            decimals = max(0, 2 - len(str(int(abs(scaled)))) + 1)
            figure = number(scaled, decimals)
            figure = figure.rstrip("0").rstrip(".") if "." in figure else figure
            return _with_currency(f"{figure}{unit}", currency)
    return money(amount, currency)


def day(value: Any) -> str:
    """A date in words that no country reads another way.

    >>> day("2025-10-09")
    '9\\xa0Oct\\xa02025'
    """
    if is_missing(value):
        return DASH
    date = pd.Timestamp(value)
    return f"{date.day}{JOIN}{_MONTHS[date.month - 1]}{JOIN}{date.year}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def iso(value: Any) -> str | None:
    """``YYYY-MM-DD``: date-only text is the same instant in every time zone's browser."""
    return None if is_missing(value) else pd.Timestamp(value).strftime("%Y-%m-%d")


def quantity(value: Any, unit: Any) -> str:
    """A metric's value with its unit, as precise as it is of use.

    >>> quantity(0.734, "share of seats"), quantity(0.93, "ratio"), quantity(3, "days"), quantity(45, "NPS points")
    ('73%', '0.93\\xa0×', '3\\xa0days', '+45')
    """
    word = plain(unit)
    if is_missing(value):
        return DASH
    if word.startswith("share"):
        return percent(value)
    if word.startswith("NPS"):
        return signed(value)
    if word == "ratio":
        return f"{number(value, 2)}{JOIN}×"
    if word == "1 to 5":
        return f"{number(value, 1)} of 5"
    text = number(
        value, 0 if float(value) == round(float(value)) or abs(float(value)) >= 100 else 1
    )
    short = {"hours": "h"}.get(word, word)
    if text == "1" and short.endswith("s"):
        short = short[:-1]
    return f"{text}{JOIN}{short}".strip()


_NAMES = {
    "csm": "manager",
    "csm_judgement": "manager’s judgement",
    "direct_csm": "manager in person",
    "email": "e-mail",
    "in_app": "in the app",
}


_ACRONYM = re.compile(r"\b(?:api|sso|sdk|csv|pdf|nps|csat|crm|arr|nrr|grr)\b")


def words(name: Any) -> str:
    """A key's name as words: ``at_risk`` is "at risk".

    >>> words("at_risk"), words("direct_csm"), words("api_console")
    ('at risk', 'manager in person', 'API console')
    """
    known = _NAMES.get(plain(name))
    return known or _ACRONYM.sub(lambda match: match[0].upper(), plain(name).replace("_", " "))


def sentence(text: str) -> str:
    """With its first letter large."""
    return text[:1].upper() + text[1:]


_ISO_DAY = re.compile(r"(?<![\w-])\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d)(?![\w-])")


_ONE_OF_MANY = re.compile(
    r"(?<![\d.,:])1(\s(?:day|week|month|year|hour|point|customer|user|seat|stage|ticket|event|segment|milestone))s\b"
)


_HOURS = re.compile(r"\b(\d{1,2}(?:am|pm)?)-(\d{1,2}(?:am|pm))\b")
# not in the names of files and columns
_RAW_NAME = re.compile(r"(?<!\w)[A-Za-z]+(?:_[A-Za-z]+)+(?!\w)")
_IN_PROSE = re.compile(r"(?<![\w./-])(?:api|sso|sdk|nps|csat|crm)(?![\w./-])", re.IGNORECASE)


def spelled(text: str) -> str:
    """A text with the names of settings, parameters and stages in it as words.

    >>> spelled("no score is required of the stage at_risk of cs_client_002")
    'no score is required of the stage at risk of cs_client_002'
    """
    return _RAW_NAME.sub(lambda match: match[0].replace("_", " "), text)


def lower_first(text: Any) -> str:
    """A text within a sentence; what begins with an acronym stays.

    >>> lower_first("Usage falls"), lower_first("NPS below zero")
    ('usage falls', 'NPS below zero')
    """
    known = plain(text)
    return known if known[1:2].isupper() else known[:1].lower() + known[1:]


def prose(text: Any) -> str:
    """A sentence of a response as a reader has it: dates in words, a true minus, acronyms, one day and two days.

    >>> prose("since 2025-07-12 by -4.2% (10-11am), Api console")
    'since 12\xa0Jul\xa02025 by −4.2% (10–11am), API console'
    >>> prose("after 1 days, 21 days and 1.1 days")
    'after 1 day, 21 days and 1.1 days'
    """
    dated = _ISO_DAY.sub(lambda match: day(match.group()), plain(text))
    dated = _IN_PROSE.sub(lambda match: match[0].upper(), _HOURS.sub(r"\1–\2", dated))
    signed = re.sub(r"(^|[\s(])-(?=\d)", rf"\1{MINUS}", dated)
    return _ONE_OF_MANY.sub(r"1\1", re.sub(r"(?<=\d)\s%", "%", signed))


def cells(text: str) -> float:
    """About how many letters' width a text takes: East Asian letters are twice as wide.

    >>> cells("abc"), cells("日本")
    (3.0, 3.6)
    """
    return float(
        sum(1.8 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)
    )


def fitted(text: Any, pixels: float, letter: float = 6.9) -> str:
    """A text cut to what fits into a width, with letters of about ``letter`` pixels."""
    text = plain(text)
    while text and cells(text) * letter > pixels and len(text) > 2:
        text = plain(
            text, max(2, min(len(text) - 1, int(len(text) * pixels / (cells(text) * letter))))
        )
    return text


# -- formats by name: "percent.1", "number.0 customer" --------------------------------------------


def _count(items: Any, decimals: int = 0) -> str:
    return number(0 if is_missing(items) else len(items))


def _over(reduce: Callable[[Iterable[Any]], Any]) -> Callable[[Any, int], str]:
    """A number that summarises a list or the values of a mapping."""

    def write(items: Any, decimals: int = 0) -> str:
        values = items.values() if isinstance(items, dict) else items or ()
        known = [value for value in values if not is_missing(value)]
        return number(reduce(known) if known else None, decimals)

    return write


def _total(items: Any, decimals: int = 0) -> str:
    return _over(sum)(items or [0], decimals)


def _listed(items: Any, decimals: int = 0) -> str:
    return ", ".join(plain(item) for item in items or ())


def significant(value: Any, digits: int = 2) -> str:
    """A figure of a few significant digits, for p and q values.

    >>> significant(0.00123), significant(0.5)
    ('0.0012', '0.5')
    """
    return DASH if is_missing(value) else f"{float(value):.{digits or 2}g}".replace("-", MINUS)


def figure(value: Any, decimals: int = 0) -> str:
    """A figure of any kind: what is whole has no decimals.

    >>> figure(3106, 4), figure(0.84371, 4)
    ('3,106', '0.8437')
    """
    return number(value, 0 if is_missing(value) or float(value).is_integer() else decimals)


def signed_percent(share: Any, decimals: int = 0) -> str:
    """A change of a share of one, as per cent with its sign.

    >>> signed_percent(0.0241, 1)
    '+2.4%'
    """
    return DASH if is_missing(share) else f"{signed(100 * share, decimals)}%"


def points(share: Any, decimals: int = 0) -> str:
    """A difference of two shares of one, in percentage points with its sign.

    >>> points(-0.26)
    '−26'
    """
    return DASH if is_missing(share) else signed(100 * share, decimals)


def rate(value: Any, decimals: int = 0) -> str:
    """How many in a span of time, also where they round to none.

    >>> rate(0.2), rate(12.4)
    ('<1', '12')
    """
    return "<1" if not is_missing(value) and 0 < value < 0.5 else number(value, decimals)


NUMERIC: dict[str, Callable[[Any, int], str]] = {
    "number": number,
    "figure": figure,
    "rate": rate,
    "signed": signed,
    "percent": percent,
    "signed_percent": signed_percent,
    "points": points,
    "significant": significant,
    "count": _count,
    "total": _total,
    "max": _over(max),
}


def limits(description: Any) -> str:
    """The limits of a tier as a reader says them.

    >>> limits("EUR 50,000 < ARR <= EUR 100,000"), limits("ARR <= EUR 10,000")
    ('ARR above EUR 50,000, up to EUR 100,000', 'ARR up to EUR 10,000')
    """
    text = re.sub(r"^(.+) < ARR <= (.+)$", r"ARR above \1, up to \2", plain(description))
    return text.replace("ARR <= ", "ARR up to ").replace("ARR > ", "ARR above ")


def path_in_words(path: Any) -> str:
    """The path of a figure in a response, as words.

    >>> path_in_words("$.value_tiers[*].avg_arr_per_customer"), path_in_words("$.evidence")
    ('Average ARR per customer (value tiers)', 'Evidence')
    """
    steps = re.sub(r"\[[^\]]*\]", "", plain(path)).removeprefix("$.").split(".")
    *of, name = (re.sub(r"\bavg\b", "average", words(step)) for step in steps)
    name = re.sub(r" days$", ", in days", name)
    return sentence(name + (f" ({of[-1]})" if of else ""))


def met(condition: Any) -> str:
    """Whether a condition is met.

    >>> met(True), met(None)
    ('✓ yes', '? not known')
    """
    return "? not known" if is_missing(condition) else "✓ yes" if condition else "✗ no"


TEXTUAL: dict[str, Callable[[Any], str]] = {
    "": plain,
    "day": day,
    # The last day of a span whose end is exclusive.
    "day_before": lambda end: day(pd.Timestamp(str(end)[:10]) - pd.Timedelta(days=1)),
    "words": words,
    "Words": lambda name: sentence(words(name)),
    "prose": prose,
    "sentence": lambda text: sentence(prose(text)),
    "reason": lambda text: sentence(spelled(prose(text))),
    "lower": lower_first,
    "list": _listed,
    "lower_list": lambda items: ", ".join(plain(item).lower() for item in items or ()),
    # A text up to its first bracket or comma.
    "short": lambda text: re.split(r" \(|,", prose(text))[0],
    # The first step of a path, "a → a".
    "first_step": lambda text: words(text.split(" → ")[0]),
    "steps": lambda texts: "; ".join(map(prose, texts or ())),
    # At most two steps, a sentence each.
    "two_steps": lambda texts: ". ".join(map(prose, (texts or ())[:2])),
    "all_words": lambda names: ", ".join(map(words, names or ())),
    "path_words": lambda names: " → ".join(map(words, names or ())),
    "sum_words": lambda names: " + ".join(map(words, names or ())),
    "numbers": lambda values: ", ".join(map(number, values or ())),
    "limits": limits,
    "path": path_in_words,
}
WITH_A_SIBLING: dict[str, tuple[Callable[[Any, Any], str], str]] = {
    "money": (money, "currency"),
    "brief_money": (brief_money, "currency"),
    "signed_money": (signed_money, "currency"),
    "quantity": (quantity, "unit"),
}


def manager(csm_id: Any, names: Any = None) -> str:
    """A manager's name, where it is known; an id says that it is a manager's.

    >>> manager("csm_01", {"csm_01": "Ada Lind"}), manager("csm_02", {}), manager("Ada Lind")
    ('Ada Lind', 'Manager csm_02', 'Ada Lind')
    """
    known = (names or {}).get(csm_id)
    if known is None and re.search(r"[\d_]", str(csm_id)) and not re.search(r"[\s@]", str(csm_id)):
        return plain(f"Manager {csm_id}")
    return plain(csm_id if known is None else known)


_FORM = re.compile(r"(?P<name>[A-Za-z_]*)(?:\.(?P<decimals>\d))?(?: (?P<noun>.+))?")


def is_numeric(form: str) -> bool:
    """Whether a format is of figures, which a table aligns at the right.

    >>> is_numeric("percent.1"), is_numeric("day"), is_numeric("number day")
    (True, False, True)
    """
    name = re.match("[A-Za-z_]*", form).group()  # type: ignore[union-attr]
    return name in NUMERIC or name in WITH_A_SIBLING


def written(value: Any, form: str = "", sibling: Callable[[str], Any] = lambda name: None) -> str:
    """A value in a named format: ``percent.1`` has one decimal, ``number day`` names what is counted.

    ``sibling`` looks up what belongs to the value: an amount's ``currency``, a quantity's ``unit``.

    >>> written(0.0241, "signed_percent.1"), written(2, "number day"), written(1, "number person|people")
    ('+2.4%', '2\\xa0days', '1\\xa0person')
    >>> written(None, "number?not reached")
    'not reached'
    >>> written(1200, "money", {"currency": "EUR"}.get), written([1, 2], "count customer")
    ('EUR\\xa01,200', '2\\xa0customers')
    """
    form, optional, otherwise = form.partition("?")
    if optional and otherwise and is_missing(value):
        return otherwise
    match = _FORM.fullmatch(form)
    if match is None:
        raise ValueError(f"{form!r} is not a format")
    name, decimals, noun = match["name"], int(match["decimals"] or 0), match["noun"]
    if name in WITH_A_SIBLING:
        write, beside = WITH_A_SIBLING[name]
        text = write(value, sibling(beside))
    elif name in NUMERIC:
        text = NUMERIC[name](value, decimals)
    elif name == "met":
        text = met(value)
    elif name == "manager":
        text = DASH if is_missing(value) else manager(value, sibling("managers"))
    else:
        text = DASH if is_missing(value) else TEXTUAL[name](value)
    return f"{text}{JOIN}{_plural(noun, text)}" if noun and text != DASH else text


_IN_TEMPLATE = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


def filled(template: str, row: dict[str, Any]) -> str:
    """A template with the figures of a row in their formats.

    >>> filled("{name}: {share:percent} of users", {"name": "Acme", "share": 0.5})
    'Acme: 50% of users'
    """
    return _IN_TEMPLATE.sub(
        lambda match: written(row.get(match[1]), match[2] or "", row.get), template
    )


def _plural(noun: str, figure: str) -> str:
    """The noun's form for a figure as it is written; ``person|people`` gives both forms."""
    singular, _, plural = noun.partition("|")
    return singular if figure in ("1", f"{MINUS}1") else plural or f"{singular}s"
