"""The sync: which days are wanted, in windows, within Mixpanel's limits, until each is there or known not to be."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from healthseg.data import engine
from healthseg.data import sync_state as states
from healthseg.data.sources import quoted
from healthseg.data.storage import FOLDER, temporary_name, writing
from healthseg.data.sync_state import DAY, SyncState, folder_of
from healthseg.errors import DataRetrievalError, HealthsegError, IntegrationError, InvalidParameters
from healthseg.integrations.mixpanel.export import (
    Credentials,
    DayNotBegun,
    MixpanelExport,
    TransientFailure,
)
from healthseg.integrations.mixpanel.records import EPOCH, RecordReader, records
from healthseg.settings import fingerprint
from healthseg.settings.operator import MixpanelSettings

HOUR_SECONDS, APART_SECONDS = 3600.0, 0.34  # three queries a second at most
FIRST_PAUSE, LONGEST_PAUSE, JITTER = 2.0, 60.0, (1.0, 5.0)
BUSY_PAUSE, BUSY_ATTEMPTS = 300.0, 12  # where others use up the hour's limit: until it is over
SAY_EVERY = 500_000
MOST_IN_A_ROW = 2  # days that cannot be had, one after the other, before the sync gives up
RULES = (
    "project_id",
    "event_timezone",
    "account_key",
    "feature_key",
    "session_key",
    "exclude_events",
    "api_events",
    "count_anonymous",
)
Span = tuple[dt.date, dt.date]


@dataclass
class SyncOutcome:
    """What a sync did: days fetched, rows by day, what was left out and why, days that could not be had."""

    first: str
    last: str
    fetched: list[str] = field(default_factory=list)
    already_there: int = 0
    incomplete: dict[str, str] = field(default_factory=dict)
    received: int = 0
    events: int = 0
    repeats: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    no_account_example: str | None = None
    queries: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Sync:
    """A sync of one portfolio's folder.

    ``now`` and ``sleep`` are the face's clock and its patience, ``say`` hears how it goes on.
    """

    def __init__(
        self,
        portfolio: Path,
        settings: MixpanelSettings,
        secrets: Mapping[str, str | None],
        *,
        now: Callable[[], dt.datetime],
        sleep: Callable[[float], None],
        say: Callable[[str], None] = lambda line: None,
        seed: int = 7,
    ) -> None:
        _require(portfolio, settings)
        self._portfolio, self._settings = portfolio, settings
        self._export = MixpanelExport(settings, Credentials.of(settings, secrets))
        self._now, self._sleep, self._say = now, sleep, say
        self._random = random.Random(seed)
        self._zone = ZoneInfo(str(settings.event_timezone))

    def run(self, first: dt.date | None = None, last: dt.date | None = None) -> SyncOutcome:
        """Fetch the days from ``first`` to ``last`` (both included; default: the earliest day that is there, and
        yesterday) that are missing or not final yet; raises IntegrationError where Mixpanel is down or refuses.

        What was fetched stays, and the next call goes on from there.
        """
        with states.alone(self._portfolio):
            self._state = states.read(self._portfolio) or SyncState()
            self._begin_anew_for_other_rules()
            span = self._span(first, last)
            outcome = SyncOutcome(span[0].isoformat(), span[1].isoformat())
            try:
                self._fetch_all(self._windows(span, outcome), outcome)
            except HealthsegError as problem:
                self._ended(problem.message)
                raise
            except OSError as problem:
                self._ended(f"cannot write: {problem.strerror or problem}")
                raise DataRetrievalError(
                    f"the events cannot be written to {self._portfolio}: "
                    f"{problem.strerror or problem}",
                    parameter="portfolio",
                ) from None
            self._ended(
                None if not outcome.incomplete else f"{len(outcome.incomplete)} days are incomplete"
            )
            return outcome

    # which days

    def _begin_anew_for_other_rules(self) -> None:
        rules = fingerprint(
            {
                name: value
                for name, value in self._settings.model_dump(mode="json").items()
                if name in RULES
            }
        )
        if self._state.rules not in ("", rules):
            self._say(
                "the settings that events are read by have changed: every day is fetched again"
            )
            self._state.days, self._state.incomplete = {}, {}
        self._state.rules = rules

    def _today(self) -> dt.date:
        return self._now().astimezone(self._zone).date()

    def _span(self, first: dt.date | None, last: dt.date | None) -> Span:
        last = min(
            last or self._today() - DAY, self._today()
        )  # no later day has begun where the project is
        known = [dt.date.fromisoformat(day) for day in (*self._state.days, *self._state.incomplete)]
        first = first or min(known, default=last - 29 * DAY)
        if first > last:
            raise InvalidParameters(
                f"the first day, {first}, lies after the last, {last}",
                parameter="from",
                value_provided=str(first),
                validation_rule=f"no later than {last}",
            )
        return first, last

    def _final(self, day: dt.date) -> bool:
        """Whether a day was fetched when no event of it could be on its way any more."""
        fetched = self._state.fetched_at(day)
        settled = dt.datetime.combine(
            day + (1 + self._settings.lookback_days) * DAY, dt.time(), self._zone
        )
        return fetched is not None and fetched >= settled

    def _windows(self, span: Span, outcome: SyncOutcome) -> list[Span]:
        """Runs of days that are wanted, none longer than a window, the earliest first."""
        days = [span[0] + k * DAY for k in range((span[1] - span[0]).days + 1)]
        wanted = [day for day in days if not self._final(day)]
        outcome.already_there = len(days) - len(wanted)
        windows: list[Span] = []
        for day in wanted:
            joins = (
                windows
                and day - windows[-1][1] == DAY
                and (day - windows[-1][0]).days < self._settings.window_days
            )
            windows[-1:] = [(windows[-1][0], day)] if joins else [*windows[-1:], (day, day)]
        return windows

    # fetching

    def _fetch_all(self, windows: list[Span], outcome: SyncOutcome) -> None:
        waiting, total, in_a_row = list(windows), len(windows), 0
        while waiting:
            window = waiting.pop(0)
            self._say(f"{window[0]} to {window[1]} ({total - len(waiting)} of {total} windows)")
            failure = self._tried(window, outcome)
            if failure is None:
                in_a_row = 0
                continue
            if failure.smaller and window[0] < window[1]:
                middle = window[0] + (window[1] - window[0]) // 2
                waiting[:0] = [(window[0], middle), (middle + DAY, window[1])]
                total += 1
                continue
            self._not_whole(window, failure.reason, outcome)
            in_a_row += 1
            if not failure.smaller or in_a_row == MOST_IN_A_ROW:
                raise IntegrationError(
                    f"Mixpanel’s response is invalid ({failure.reason}), tried {self._settings.attempts} times; "
                    "events fetched before remain",
                    parameter="mixpanel",
                    value_provided=failure.reason,
                )

    def _tried(self, window: Span, outcome: SyncOutcome) -> TransientFailure | None:
        """None when the window is there; the failure when it could not be had.

        A window that is too much is tried twice as it is, then in halves; a single day as often as any other.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                self._once(window, outcome)
                return None
            except DayNotBegun:
                failure = TransientFailure(
                    "its last day has not begun in the project's zone", smaller=True
                )
                if window[0] == window[1]:
                    return failure
                window = window[0], window[1] - DAY
                continue
            except TransientFailure as problem:
                failure = problem
            most = self._settings.attempts + (BUSY_ATTEMPTS if failure.busy else 0)
            if attempt >= most or (failure.smaller and window[0] < window[1] and attempt >= 2):
                return failure
            self._pause(attempt, failure)

    def _pause(self, attempt: int, failure: TransientFailure) -> None:
        longest = BUSY_PAUSE if failure.busy else LONGEST_PAUSE
        wait = min(FIRST_PAUSE * 2 ** (attempt - 1), longest) + self._random.uniform(*JITTER)
        self._say(f"  {failure.reason}; again in {wait:.0f} s")
        self._sleep(wait)

    def _once(self, window: Span, outcome: SyncOutcome) -> None:
        """Fetch a window: all of it is there afterwards, or nothing of it has changed."""
        self._wait_for_the_limit()
        outcome.queries += 1
        reader = RecordReader(self._settings, *window)
        with ExportWindow(self._portfolio) as rows:
            for number, record in enumerate(records(self._export.lines(*window)), 1):
                rows.add(reader.rows(record))
                if number % SAY_EVERY == 0:
                    self._say(f"  {number:,} events")
            reader.check_zone()
            self._refuse_sudden_emptiness(window, reader)
            days = range((window[0] - EPOCH).days, (window[1] - EPOCH).days + 1)
            events_by_day = rows.write_days({day: reader.accounting.rows[day] for day in days})
        self._record_days(events_by_day, reader, outcome)

    def _refuse_sudden_emptiness(self, window: Span, reader: RecordReader) -> None:
        """An empty answer for days that had events before is none."""
        before = sum(
            self._state.days.get(str(window[0] + k * DAY), {}).get("received", 0)
            for k in range((window[1] - window[0]).days + 1)
        )
        if before and not reader.accounting.received.total():
            raise TransientFailure(f"an empty response where there were {before:,} events before")

    def _record_days(
        self, events_by_day: dict[int, int], reader: RecordReader, outcome: SyncOutcome
    ) -> None:
        fetched, accounting = self._now().isoformat(), reader.accounting
        for number, events in events_by_day.items():
            day = str(EPOCH + dt.timedelta(days=number))
            self._state.days[day] = {
                "fetched_at": fetched,
                "received": accounting.received[number],
                "events": events,
            }
            self._state.incomplete.pop(day, None)
            outcome.fetched.append(day)
        outcome.received += accounting.received.total()
        outcome.events += sum(events_by_day.values())
        outcome.repeats += accounting.rows.total() - sum(events_by_day.values())
        outcome.left_out = dict(Counter(outcome.left_out) + accounting.left_out)
        outcome.no_account_example = outcome.no_account_example or accounting.example
        states.write(self._portfolio, self._state)

    def _not_whole(self, window: Span, reason: str, outcome: SyncOutcome) -> None:
        for k in range((window[1] - window[0]).days + 1):
            day = str(window[0] + k * DAY)
            self._state.incomplete[day] = outcome.incomplete[day] = reason
        self._say(f"  not had: {reason}")
        states.write(self._portfolio, self._state)

    def _wait_for_the_limit(self) -> None:
        """Until one more query is within the hour's limit and a third of a second after the last."""
        now = self._now().timestamp()
        queries = [at for at in self._state.queries if now - HOUR_SECONDS < at <= now]
        wait = queries[-1] + APART_SECONDS - now if queries else 0.0
        if len(queries) >= self._settings.queries_per_hour:
            wait = queries[-self._settings.queries_per_hour] + HOUR_SECONDS - now + 1.0
            self._say(f"  {len(queries)} queries within the hour: going on in {wait / 60:.0f} min")
        if wait > 0:
            self._sleep(wait)
        self._state.queries = [*queries, self._now().timestamp()]
        states.write(self._portfolio, self._state)

    def _ended(self, error: str | None) -> None:
        at = self._now().isoformat()
        self._state.last = {"at": at, "ok": error is None} | ({"error": error} if error else {})
        self._state.synced_at = at if error is None else self._state.synced_at
        states.write(self._portfolio, self._state)


def _require(portfolio: Path, settings: MixpanelSettings) -> None:
    """Raises InvalidParameters where the settings, or the portfolio, leave open what an event is."""
    if not settings.account_key:
        raise InvalidParameters(
            'which property names the customer? set mixpanel.account_key, as in "company_id"',
            parameter="mixpanel.account_key",
            validation_rule="one property's name, or several",
        )
    if settings.event_timezone is None:
        raise InvalidParameters(
            'in which time zone does the project store its events? set mixpanel.event_timezone: "UTC" for projects '
            "made since 1 January 2023, else the zone of the project's settings",
            parameter="mixpanel.event_timezone",
            validation_rule="an IANA time zone",
        )
    if not portfolio.is_dir():
        raise InvalidParameters(
            f"{portfolio} is not a folder: events are synced into the folder of a portfolio",
            parameter="portfolio",
            value_provided=str(portfolio),
        )
    other = next(
        (
            name
            for name in ("events.parquet", "events.csv", "events.csv.gz")
            if (portfolio / name).exists()
        ),
        None,
    )
    if other:
        raise InvalidParameters(
            f"{portfolio} has its events in {other}: move it to events/{other}, beside which "
            "Mixpanel's are put",
            parameter="portfolio",
            value_provided=other,
        )


# -- from the export to days on disk ---------------------------------------------------------------


_BATCH = 50_000  # rows written at once
_BUCKET = 400_000  # rows compared at once: about 100 MB
_MEMORY = "350MB"
_EXPORTED = pa.schema(
    [
        ("day", pa.int32()),
        ("client_id", pa.string()),
        ("occurred_at", pa.timestamp("ms")),
        ("user_id", pa.string()),
        ("feature", pa.string()),
        ("event", pa.string()),
        ("session_id", pa.string()),
        ("source", pa.string()),
        ("event_key", pa.binary(16)),
        ("processed_ms", pa.int64()),
        ("place", pa.int64()),
    ]
)
# A count says that each row is an event of its own: two of one instant are not one that was sent twice.
_EVENTS = pa.schema(
    [
        *(
            _EXPORTED.field(name)
            for name in (
                "client_id",
                "occurred_at",
                "user_id",
                "feature",
                "event",
                "session_id",
                "source",
            )
        ),
        ("count", pa.int64()),
    ]
)


class ExportWindow:
    """The rows of a window, on disk beside the portfolio until ``place`` moves them to it; used in a ``with`` block."""

    def __init__(self, portfolio: Path) -> None:
        self._portfolio = portfolio
        parent = portfolio / FOLDER / "mixpanel"
        parent.mkdir(parents=True, exist_ok=True)
        self._folder = parent / temporary_name("window")
        self._folder.mkdir()
        self._writer = pq.ParquetWriter(self._folder / "spool.parquet", _EXPORTED)
        self._waiting: list[tuple[Any, ...]] = []
        self._written = 0

    def __enter__(self) -> ExportWindow:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._waiting.extend(rows)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        columns = [
            *zip(*self._waiting, strict=True),
            range(self._written, self._written + len(self._waiting)),
        ]
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, _EXPORTED, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_EXPORTED))
        self._written += len(self._waiting)
        self._waiting = []

    def write_days(self, counts: dict[int, int]) -> dict[int, int]:
        """Each event once into its day's file, then all files to their places; rows kept by day.

        ``counts`` are the rows of every day of the window; a day without any has no file.
        """
        self._flush()
        self._writer.close()
        written = {day: self._day(day, rows) if rows else 0 for day, rows in counts.items()}
        target = folder_of(self._portfolio)
        target.mkdir(parents=True, exist_ok=True)
        for day, rows in written.items():
            name = f"{EPOCH + dt.timedelta(days=day)}.parquet"
            if rows:
                with writing(target / name) as temporary:
                    (self._folder / name).replace(temporary)
            else:
                (target / name).unlink(missing_ok=True)
        return written

    def _day(self, day: int, rows: int) -> int:
        """Writes a day's events; keys are compared in buckets, so that a day of any size fits into memory."""
        buckets, written = -(-rows // _BUCKET), 0
        connection = engine.connect(self._folder / "spill", memory=_MEMORY)
        spool = quoted(str(self._folder / "spool.parquet"))
        connection.execute("SET threads = 1")
        try:
            with pq.ParquetWriter(
                self._folder / f"{EPOCH + dt.timedelta(days=day)}.parquet", _EVENTS
            ) as writer:
                for bucket in range(buckets):
                    connection.execute(
                        f"CREATE OR REPLACE TEMP VIEW exported AS SELECT * FROM read_parquet({spool}) "
                        f"WHERE day = {day} AND HASH(event_key) % {buckets} = {bucket}"
                    )
                    for batch in connection.sql(engine.sql_text("mixpanel/newest")).to_arrow_reader(
                        _BATCH
                    ):
                        counted = batch.append_column(
                            "count", pa.array([1] * len(batch), pa.int64())
                        )
                        writer.write_batch(counted.select(_EVENTS.names).cast(_EVENTS))
                        written += len(batch)
        finally:
            connection.close()
        return written
