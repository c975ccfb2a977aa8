"""From the lines of the export to rows of events: records made whole, accounts, users and times as they are meant."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from healthseg.data.tables import CLIENT_ID_RULE
from healthseg.errors import IntegrationError, json_of_others
from healthseg.integrations.mixpanel.export import TransientFailure
from healthseg.settings.operator import IDENTITY_EVENTS, MixpanelSettings

# Ids that stand for nobody, as tracking code sends them by mistake.
NOBODY = frozenset(
    {
        "",
        "0",
        "-1",
        "anon",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "lmy47d",
        "true",
        "false",
        "[]",
        "{}",
        "00000000-0000-0000-0000-000000000000",
        "<nil>",
        "nan",
    }
)
_CLIENT_ID = re.compile(CLIENT_ID_RULE)
_MOST_PIECES, _MOST_BYTES = 1000, 1 << 24
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_SECONDS_BELOW = 100_000_000_000  # as milliseconds this is 1973: a smaller number counts seconds
EPOCH = dt.date(1970, 1, 1)
# Live events arrive within minutes: shares of arrivals that contradict the zone, and how many must be seen to say so.
_EARLY_MS, _LATE_MS, _SEEN, _EARLY_SHARE, _LIVE_SHARE = -20 * 60_000, 20 * 60_000, 50, 0.05, 0.001


def records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Each record of the lines, those split over several put together; raises TransientFailure for an answer that is not whole.

    >>> list(records([b'{"event": "a", "prop', b'erties": {"time": 1}}', b""]))
    [{'event': 'a', 'properties': {'time': 1}}]
    """
    pieces: list[str] = []
    for line in lines:
        text = _text(line)
        if not text.strip():
            continue
        if "terminated early" in text[:200].lower() and not text.lstrip().startswith("{"):
            raise TransientFailure("the export was terminated early", smaller=True)
        record = _record(text)
        if record is None and pieces:
            record = _record("".join([*pieces, text]))
            pieces = [] if record is not None else [*pieces, text]
        elif record is None:
            pieces = [text]
        elif pieces:
            raise TransientFailure(
                f"a line that is not a record: {_shown(pieces[0])}", smaller=True
            )
        if record is not None:
            yield record
        elif len(pieces) > _MOST_PIECES or sum(map(len, pieces)) > _MOST_BYTES:
            raise TransientFailure(f"lines that are no record: {_shown(pieces[0])}", smaller=True)
    if pieces:
        raise TransientFailure(
            f"the response ends within a record, or says: {_shown(pieces[0])}", smaller=True
        )


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        raise TransientFailure("a line that is not UTF-8", smaller=True) from None


def _record(text: str) -> dict[str, Any] | None:
    try:
        value = json_of_others(text)
    except ValueError:
        return None
    if isinstance(value, dict) and isinstance(value.get("properties"), dict) and "event" in value:
        return value
    if isinstance(value, dict) and "error" in value:
        raise TransientFailure(
            f"an error within the response: {_shown(str(value['error']))}", smaller=True
        )
    return None


def _shown(text: str) -> str:
    return repr(text[:80])


@dataclass
class Accounting:
    """What became of the records of a window, by day and in all."""

    received: Counter = field(default_factory=Counter)  # by day
    left_out: Counter = field(default_factory=Counter)  # by reason
    rows: Counter = field(default_factory=Counter)  # by day, before repeats are removed
    example: str | None = None  # a value that is no account


class RecordReader:
    """Turns records into rows ``(day, client_id, occurred_ms, user_id, feature, event, session_id, source,
    event_key, processed_ms)``, and accounts for each.

    ``day`` counts days of the export's own calendar since 1970; ``occurred_ms`` is UTC.
    """

    def __init__(self, settings: MixpanelSettings, first: dt.date, last: dt.date) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.event_timezone or "UTC")
        self._window = (first - EPOCH).days, (last - EPOCH).days
        self._left_out = {*IDENTITY_EVENTS, *settings.exclude_events}
        self._offsets: dict[int, tuple[int, int]] = {}
        self._arrivals: Counter[str] = Counter()
        self._number = 0
        self.accounting = Accounting()

    def rows(self, record: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a record: one for each account that it names."""
        properties, event = record["properties"], str(record["event"])
        stated = _milliseconds(properties.get("time"))
        day = stated // _DAY_MS
        if not self._window[0] <= day <= self._window[1]:
            raise TransientFailure(
                f"an event of {EPOCH + dt.timedelta(days=day)}, which was not requested",
                smaller=True,
            )
        self._number += 1
        self.accounting.received[day] += 1
        processed = _whole_number(properties.get("mp_processing_time_ms"))
        occurred = self._utc(stated, processed)
        if processed is not None and "import" not in str(properties.get("$mp_api_endpoint", "")):
            self._arrived(processed - occurred)
        if event in self._left_out:
            self.accounting.left_out["identity" if event in IDENTITY_EVENTS else "excluded"] += 1
            return
        accounts = self._accounts(properties)
        if not accounts:
            self.accounting.left_out["no account"] += 1
        distinct = _word(properties.get("distinct_id"))
        user, source = self._user(distinct), "api" if event in self._settings.api_events else "ui"
        feature, session = (
            self._named(properties, self._settings.feature_key) or event,
            self._named(properties, self._settings.session_key),
        )
        insert_id = properties.get("$insert_id")
        for account in accounts:
            self.accounting.rows[day] += 1
            key = self._key(event, distinct, insert_id, account)
            yield day, account, occurred, user, feature, event, session, source, key, processed

    def check_zone(self) -> None:
        """Raises IntegrationError where the times of arrival contradict the time zone that the events are read in."""
        seen = self._arrivals.total()
        if not self._settings.check_timezone or seen < _SEEN:
            return
        early, live = self._arrivals["early"] / seen, self._arrivals["live"] / seen
        if early > _EARLY_SHARE or live + early < _LIVE_SHARE:
            how = (
                "before they happened"
                if early > _EARLY_SHARE
                else "20 minutes or more after they happened"
            )
            raise IntegrationError(
                f"read in {self._zone.key}, {'many' if early > _EARLY_SHARE else 'all'} events arrived {how}: "
                "event_timezone is wrong (UTC for projects created since 2023, else the project's own zone); where the "
                "events are sent in batches, set check_timezone = false",
                parameter="mixpanel.event_timezone",
                value_provided=self._zone.key,
                validation_rule="the zone that the project stores its events in",
            )

    def _arrived(self, after_ms: int) -> None:
        self._arrivals[
            "early" if after_ms < _EARLY_MS else "live" if after_ms < _LATE_MS else "late"
        ] += 1

    def _utc(self, stated: int, processed: int | None) -> int:
        """UTC of a stated wall clock. In the hour that comes twice the later one, unless it had not come on arrival."""
        hour = stated // _HOUR_MS
        if hour not in self._offsets:
            naive = dt.datetime(1970, 1, 1) + dt.timedelta(hours=hour)
            self._offsets[hour] = self._offset_ms(naive), self._offset_ms(naive.replace(fold=1))
        first, second = self._offsets[hour]
        later = second < first and processed is not None and processed >= stated - second
        return stated - (second if later else first)

    def _offset_ms(self, naive: dt.datetime) -> int:
        offset = naive.replace(tzinfo=self._zone).utcoffset() or dt.timedelta()
        return int(offset.total_seconds() * 1000)

    def _accounts(self, properties: dict[str, Any]) -> list[str]:
        for key in self._settings.account_key:
            value = properties.get(key)
            values = value if isinstance(value, list) else [value]
            words = [
                word
                for word in map(_word, values)
                if word is not None and word.lower() not in NOBODY
            ]
            good = [word for word in dict.fromkeys(words) if _CLIENT_ID.match(word)]
            if good:
                return good
            if words:
                self.accounting.example = self.accounting.example or words[0][:80]
        return []

    def _user(self, distinct: str | None) -> str | None:
        if distinct is None or distinct.strip().lower() in NOBODY:
            return None
        anonymous = distinct.startswith("$device:")
        return None if anonymous and not self._settings.count_anonymous else distinct

    def _named(self, properties: dict[str, Any], key: str | None) -> str | None:
        return _word(properties.get(key)) if key else None

    def _key(self, event: str, distinct: str | None, insert_id: Any, account: str) -> bytes:
        """Equal for repeats of an event; one that has no ``$insert_id`` repeats none."""
        parts = (
            [event, distinct, str(insert_id), account]
            if insert_id is not None
            else [self._number, account]
        )
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _milliseconds(value: Any) -> int:
    number = _whole_number(value)
    if number is None:
        raise TransientFailure(f"an event without a time: {_shown(str(value))}", smaller=True)
    return number if abs(number) >= _SECONDS_BELOW else 1000 * number


def _whole_number(value: Any) -> int | None:
    """A number given as such or as text; keys are of any type in any event."""
    try:
        return (
            None
            if value is None or isinstance(value, bool)
            else int(float(value))
            if isinstance(value, str)
            else int(value)
        )
    except (ValueError, OverflowError, TypeError):
        return None


def _word(value: Any) -> str | None:
    """An id as text: 12, 12.0 and "12" are one.

    >>> [_word(value) for value in (12, 12.0, "12", " a ", None, True, {"id": 1})]
    ['12', '12', '12', 'a', None, None, None]
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if float(value).is_integer() else str(value)
