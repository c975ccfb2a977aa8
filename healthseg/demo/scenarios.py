"""Which portfolios can be simulated: named sets of parameters, the calendar, random streams, local time."""

from __future__ import annotations

import csv
import datetime as dt
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthseg.demo.schema import (
    DAY_MS,
    EPOCH,
    HOUR_MS,
    NEVER,
    PLACES,
    TABLES,
    TRUTH,
    replace_file,
    table,
)
from healthseg.errors import require_known
from healthseg.periods import zone_offsets

VERSION = "1"
LAST_DAY = dt.date(2025, 10, 10)
STEP_DAYS = 30
# busy seats and habit go with churn, and promoters are noise; open tickets and payment tell the truth
WRONG_SCORE = (
    *(("seats", -2.5), ("habit", -2.5), ("promoters", 0.0), ("tickets", 4.0), ("payment", 6.0)),
    *(("trend", 0.0), ("breadth", 0.0), ("silence", 0.0), ("unused_and_broken", 0.0)),
)


@dataclass(frozen=True)
class Scenario:
    """What is planted. ``null`` plants nothing; the others change a few parameters of ``plain``, ``default`` to what a newcomer expects."""

    name: str
    clients: int = 250
    # rhythms, changing users and rates, order, bundles, anomalies, message laws
    planted: bool = True
    # of the monthly log-odds of churn, and in the middle of a term of a year or more
    intercept: float = -4.0
    mid_term_log_odds: float = 0.0
    # multiplies the drivers' coefficients
    driver_scale: float = 1.0
    # multiply the coefficients of single drivers: below 0 where the scorecard has them the wrong way round
    driver_factors: tuple[tuple[str, float], ...] = ()
    # terms, renewals, trials, returns, groups and currencies, as a newcomer expects them; else a contract a year
    lively: bool = False
    # events per session rise and fall with the calendar quarter, by this share
    quarter_amplitude: float = 0.0
    # of the customers that sign up within the portfolio, those whose rollout somebody guides
    guided_share: float = 0.0
    # of the messages about a feature, those that go to customers that are about to begin with it
    campaign_share: float = 0.0
    # whether what is measured of a customer is well or badly together
    correlated: bool = True
    frailty_sd: float = 0.6
    # per standard deviation of log seats, the planted confounder
    size_log_odds: float = 0.0
    # the same confounder on adopting `file_sharing`
    size_on_adoption: float = 0.0
    # adopted features that cause retention
    feature_log_odds: tuple[tuple[str, float], ...] = ()
    # of having adopted the planted sequence in its order
    sequence_log_odds: float = 0.0
    # usage falls after notice, and only then
    leak: bool = False
    # four groups of customers far apart
    segments: bool = False
    # faults in CSV tables
    dirty: bool = False
    # from this step on, other coefficients and a higher base
    drift_from_step: int | None = None


def _scenarios() -> dict[str, Scenario]:
    plain = Scenario("plain")
    lively: dict[str, Any] = {"lively": True, "intercept": -3.9, "mid_term_log_odds": -2.6}
    lively |= {"quarter_amplitude": 0.16, "guided_share": 0.45, "campaign_share": 0.4}
    changes: dict[str, dict[str, Any]] = {
        "default": lively,
        "plain": {},
        "null": {"planted": False, "intercept": -3.3, "driver_scale": 0.0, "frailty_sd": 0.0},
        "leak": lively | {"leak": True},
        "confounded": {
            "driver_scale": 0.0,
            "intercept": -3.45,
            "size_log_odds": -1.1,
            "size_on_adoption": 1.8,
        },
        "effects": {
            "clients": 2_000,
            "feature_log_odds": (("scheduled_exports", -1.1), ("audit_trail", -1.0)),
            "sequence_log_odds": -1.0,
            "driver_scale": 0.85,
            "intercept": -3.6,
        },
        "segments": {"segments": True, "driver_scale": 0.0, "intercept": -3.5},
        "dirty": lively | {"dirty": True},
        "wrong_score": {"driver_factors": WRONG_SCORE, "correlated": False},
        "drift": {"drift_from_step": 10},
    }
    return {name: replace(plain, name=name, **each) for name, each in changes.items()}


SCENARIOS = _scenarios()


def scenario_named(name: str) -> Scenario:
    """The scenario of that name.

    >>> scenario_named("null").planted
    False
    """
    require_known(name, SCENARIOS, f"unknown scenario {name!r}", parameter="scenario")
    return SCENARIOS[name]


def epoch_day(day: dt.date) -> int:
    """Days since 1970-01-01.

    >>> epoch_day(dt.date(1970, 1, 11))
    10
    """
    return (day - EPOCH).days


def timeline(months: int) -> tuple[int, int]:
    """First epoch day and number of days of so many whole months that end with 2025-10-10.

    >>> timeline(18)
    (19824, 548)
    """
    after = LAST_DAY + dt.timedelta(days=1)
    years, month = divmod(after.year * 12 + after.month - 1 - months, 12)
    start = epoch_day(dt.date(years, month + 1, after.day))
    return start, epoch_day(after) - start


def random_stream(seed: int, batch: int, subject: str) -> np.random.Generator:
    """The random numbers of one subject in one batch: no subject shifts another's draws."""
    return np.random.default_rng([seed, batch, zlib.crc32(subject.encode())])


@dataclass(frozen=True)
class World:
    """A scenario on its calendar, for one batch of customers. Day numbers count from ``start``."""

    scenario: Scenario
    seed: int
    batch: int
    # epoch day of the portfolio's first day
    start: int
    days: int

    @property
    def planted(self) -> bool:
        return self.scenario.planted

    @property
    def lively(self) -> bool:
        return self.scenario.lively

    @property
    def segments(self) -> bool:
        return self.scenario.segments

    @property
    def steps(self) -> np.ndarray:
        """Days on which the hazard's 30-day steps begin; the first 30 days have no metrics yet."""
        return np.arange(STEP_DAYS, self.days, STEP_DAYS)

    @property
    def weeks(self) -> int:
        return self.days // 7 + 1

    @cached_property
    def days_to_quarter_end(self) -> np.ndarray:
        """Of each day, the calendar days until the next quarter begins."""
        day = (np.arange(self.start, self.start + self.days)).astype("datetime64[D]")
        months = day.astype("datetime64[M]")
        ends = months + 3 - (months.astype(int) % 3)
        return (ends.astype("datetime64[D]") - day).astype(int)

    @property
    def weekdays(self) -> np.ndarray:
        """The weekday of each day, Monday 0."""
        return (np.arange(self.start, self.start + self.days) + 3) % 7

    def random(self, subject: str) -> np.random.Generator:
        return random_stream(self.seed, self.batch, subject)

    def table(self, name: str, /, **values: Any) -> pa.Table:
        return table(TABLES[name], self.start, values)

    def truth(self, name: str, /, **values: Any) -> pa.Table:
        return table(TRUTH[name], self.start, values)

    @cached_property
    def _offsets(self) -> tuple[int, np.ndarray]:
        """First UTC hour, and offsets in milliseconds of PLACES by UTC hour."""
        low, high = self.start - 4, self.start + self.days + 3
        offsets = np.zeros((len(PLACES), (high - low) * 24), np.int64)
        zones = [zone for _, zone, _ in PLACES]
        span = [EPOCH + dt.timedelta(days=day) for day in (low, high)]
        for name, since, until, offset in zone_offsets(zones, *span):
            hours = slice(since // 3600 - low * 24, until // 3600 - low * 24)
            offsets[zones.index(name), hours] = offset * 1_000
        return low * 24, offsets

    def _offset_ms(self, utc_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        first, offsets = self._offsets
        return offsets[zone, np.clip(utc_ms // HOUR_MS - first, 0, offsets.shape[1] - 1)]

    def utc_ms(self, day: np.ndarray, clock_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        """UTC of a local day and clock; an hour that daylight saving skips becomes the next one."""
        local_ms = (day + self.start) * DAY_MS + clock_ms
        return local_ms - self._offset_ms(local_ms - self._offset_ms(local_ms, zone), zone)

    def local_day(self, utc_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        """The account-local day number of an instant, exact across daylight saving."""
        return (utc_ms + self._offset_ms(utc_ms, zone)) // DAY_MS - self.start


def before(day: np.ndarray, until: np.ndarray | int) -> np.ndarray:
    """The day where it lies before ``until``, else NEVER.

    >>> before(np.array([3, 9]), 5).tolist()
    [3, 1000000]
    """
    return np.where(day < until, day, NEVER)


# -- dirt ------------------------------------------------------------------------------------------
# The scenario `dirty`: tables as CSV with faults, each listed with what the product must do with it. Rows to be dropped are
# added to the clean ones, and no driver is counted from what is altered in a clean row: the rest of the truth stays as in
# `default`.


CSV_TABLES = ("customers", "users", "tickets", "surveys", "invoices", "contracts")
LATE = "events/late.csv"
EVENT_COLUMNS = ["client_id", "occurred_at", "source", "count"]
# how often each fault occurs in a table
TIMES = 5
Row = dict[str, str]
# rows that must be dropped: table, fault, column, value
ADDED = (
    ("customers", "wrong_type", "signup_date", "31/31/2024"),
    ("customers", "missing_required", "signup_date", ""),
    ("customers", "bad_id", "client_id", "no such id!"),
    ("users", "unknown_customer", "client_id", "cs_client_99999"),
    ("users", "missing_required", "user_id", ""),
    ("tickets", "unknown_customer", "client_id", "cs_client_99999"),
    ("tickets", "impossible_date", "resolved_at", "2001-01-01 10:00:00"),
    ("tickets", "wrong_type", "opened_at", "yesterday"),
    ("surveys", "bad_enum", "kind", "ces"),
    ("surveys", "wrong_type", "score", "very good"),
    ("surveys", "missing_required", "responded_at", ""),
    ("invoices", "wrong_type", "amount", "twelve"),
    ("invoices", "impossible_date", "due_on", "2001-01-01"),
    ("invoices", "bad_id", "client_id", "../secrets"),
    ("contracts", "impossible_date", "ends_on", "2001-01-01"),
    ("contracts", "wrong_type", "arr", "a lot"),
)
# optional values that must become null: table, fault, column, value, old value ("*": any but empty)
ALTERED = (
    ("customers", "wrong_type", "strategic_value", "high", "*"),
    ("tickets", "wrong_type", "csat", "great", "*"),
    ("tickets", "bad_enum", "severity", "unrated", "low"),
    ("contracts", "wrong_type", "renews_on", "soon", "*"),
)
KEYS = {
    "customers": "client_id",
    "users": "user_id",
    "tickets": "ticket_id",
    "invoices": "invoice_id",
}
# API calls that arrive late: fault, expected, moment, other values. Without a count, a row can repeat
LATE_EVENTS: tuple[tuple[str, str, str, Row], ...] = (
    ("plain", "kept", "{day} 12:00:00", {"count": ""}),
    ("mixed_zone", "kept", "{day} 14:30:00+02:00", {}),
    ("mixed_zone", "kept", "{day}T06:30:00-06:00", {}),
    ("impossible_date", "dropped", "2031-01-01 00:00:00", {}),
    ("impossible_date", "dropped", "1890-01-01 00:00:00", {}),
    ("wrong_type", "dropped", "noon", {}),
    ("missing_required", "dropped", "", {}),
    ("bad_enum", "corrected", "{day} 13:00:00", {"source": "robot"}),
    ("wrong_type", "dropped", "{day} 13:15:00", {"count": "many"}),
    ("bad_id", "dropped", "{day} 12:45:00", {"client_id": "a b"}),
    ("unknown_customer", "dropped", "{day} 12:50:00", {"client_id": "cs_client_99999"}),
)


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "milliseconds")
    return "" if value is None else str(value)


class _Dirty:
    """A table's rows, and the faults put into them so far, as rows of the truth."""

    def __init__(self, name: str, rows: list[Row], rng: np.random.Generator) -> None:
        self.name, self.rows, self._rng = name, rows, rng
        self._clean, self._used = len(rows), set[int]()
        self.faults: list[dict[str, str | int]] = []

    def _choose(self, fits: Callable[[Row], bool] = lambda row: True) -> list[int]:
        free = [row for row in range(self._clean) if row not in self._used and fits(self.rows[row])]
        chosen = [free[position] for position in sorted(self._rng.permutation(len(free))[:TIMES])]
        self._used |= set(chosen)
        return chosen

    def note(self, row: int, column: str, fault: str, expected: str) -> None:
        values = self.rows[row]
        fault_row: dict[str, str | int] = {"table": self.name, "row": row + 1}
        fault_row |= {"client_id": values["client_id"], "column": column, "fault": fault}
        self.faults.append(fault_row | {"value": values.get(column, ""), "expected": expected})

    def append(self, row: Row, column: str, fault: str, expected: str) -> None:
        self.rows.append(row)
        self.note(len(self.rows) - 1, column, fault, expected)

    def repeat(self) -> None:
        for row in self._choose():
            self.append(dict(self.rows[row]), "client_id", "duplicate", "dropped")

    def add(self, fault: str, column: str, value: str) -> None:
        key = KEYS.get(self.name)
        for serial, row in enumerate(self._choose()):
            fresh = {key: f"extra_{fault}_{column}_{serial}"} if key else {}
            self.append({**self.rows[row], **fresh, column: value}, column, fault, "dropped")

    def alter(self, fault: str, column: str, value: str, old: str) -> None:
        for row in self._choose(
            lambda row: row[column] == old if old != "*" else row[column] != ""
        ):
            self.rows[row][column] = value
            self.note(row, column, fault, "corrected")

    def shift_zone(self) -> None:
        """Write the same instant with an offset."""
        column = "opened_at"
        for row in self._choose(lambda row: row[column] != ""):
            moment = dt.datetime.fromisoformat(self.rows[row][column]) + dt.timedelta(hours=2)
            self.rows[row][column] = moment.isoformat(" ", "milliseconds") + "+02:00"
            self.note(row, column, "mixed_zone", "kept")

    def write(self, path: Path, columns: list[str]) -> None:
        def write_rows(partial: Path) -> None:
            with open(partial, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

        replace_file(path, write_rows)


def _dirty_table(name: str, content: pa.Table, seed: int) -> _Dirty:
    rows = [{key: _text(value) for key, value in row.items()} for row in content.to_pylist()]
    dirty = _Dirty(name, rows, random_stream(seed, 0, f"dirt:{name}"))
    for table_name, fault, column, value, old in ALTERED:
        if table_name == name:
            dirty.alter(fault, column, value, old)
    if name == "tickets":
        dirty.shift_zone()
    for table_name, fault, column, value in ADDED:
        if table_name == name:
            dirty.add(fault, column, value)
    dirty.repeat()
    return dirty


def _late_events(customers: pa.Table, seed: int) -> _Dirty:
    """API calls that arrive late, of customers who are live at the portfolio's end."""
    live = [row["client_id"] for row in customers.to_pylist() if row["churned_on"] is None]
    dirty = _Dirty("events", [], random_stream(seed, 0, "dirt:events"))
    for serial in range(TIMES):
        day, client_id = LAST_DAY - dt.timedelta(days=1 + serial), live[serial % len(live)]
        for fault, expected, moment, other in LATE_EVENTS:
            row = {"client_id": client_id, "occurred_at": moment.format(day=day)}
            row |= {"source": "api", "count": "3", **other}
            dirty.append(row, next(iter(other), "occurred_at"), fault, expected)
    for position in range(3):
        row = dict(dirty.rows[position * len(LATE_EVENTS)])
        dirty.append(row, "occurred_at", "duplicate", "dropped")
    return dirty


def write_dirt(out: Path, tables: dict[str, pa.Table], world: World) -> pa.Table:
    """Write the dirty tables as CSV; returns the faults. ``row`` counts data rows, from 1."""
    faults = []
    for name in CSV_TABLES:
        dirty = _dirty_table(name, tables[name], world.seed)
        dirty.write(out / f"{name}.csv", tables[name].column_names)
        faults += dirty.faults
    late = _late_events(tables["customers"], world.seed)
    late.write(out / LATE, EVENT_COLUMNS)
    faults += late.faults
    return world.truth("dirt", **{name: [row[name] for row in faults] for name in TRUTH["dirt"]})
