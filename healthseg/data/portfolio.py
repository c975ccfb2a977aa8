"""The portfolio: validated tables, facts and their fingerprints, opened from wherever the data are."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pandas as pd

from healthseg.data import engine
from healthseg.data import extent as contents
from healthseg.data.cache import Cache
from healthseg.data.cleaning import read_frame, read_records
from healthseg.data.discovery import locate
from healthseg.data.events import Events
from healthseg.data.extent import Extent, gaps
from healthseg.data.ledger import FILE_NAME
from healthseg.data.ledger.ledger import LedgerLocation
from healthseg.data.loading import LoadedTables, contract_version
from healthseg.data.losses import Issue, Losses, TableReport, with_issues
from healthseg.data.quality import Check, LoadQuality, arr_by_customer, cross_checks
from healthseg.data.sources import Sources
from healthseg.data.storage import FOLDER, root_for, temporary_name
from healthseg.data.tables import CLIENT_ID_RULE, TABLES, TableContract, id_text
from healthseg.data.validation import SQL_TYPES
from healthseg.errors import (
    ClientNotFound,
    DataRetrievalError,
    InvalidClientId,
    InvalidParameters,
    hint,
    near,
    require_known,
)
from healthseg.periods import as_date, wall_clock
from healthseg.settings import Settings, changed
from healthseg.settings import settings as read_settings
from healthseg.settings.base import fingerprint, merged
from healthseg.settings.in_force import input_limits
from healthseg.settings.metrics import declare

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import Ledger, SettingsInForce, StageEvent


DAY = dt.timedelta(days=1)


class Portfolio:
    """A portfolio of customers: its tables, validated and counted.

    ``path`` is a folder of ``<table>.parquet|csv|xlsx|jsonl`` files (or folders of such
    files), a ``portfolio.toml``, a workbook, a SQLite or DuckDB file, a database address,
    or a dictionary of DataFrames. Opening reads nothing; tables are read when they are first
    needed, and again where they changed. Errors name what is wrong.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "customers.csv").write_text("client_id,signup_date\\nacme,2025-01-01\\n")
    >>> _ = (folder / "events.csv").write_text("client_id,user_id,occurred_at\\nacme,ann,2025-01-02 23:30:00\\n")
    >>> portfolio = Portfolio.open(folder)
    >>> portfolio.data_until.isoformat(), len(portfolio.table("events")), portfolio.has("tickets")
    ('2025-01-02', 1, False)
    """

    def __init__(
        self, sources: Sources, settings: Settings, clock: Callable[[], dt.datetime] = wall_clock
    ) -> None:
        self.path = sources.path
        self.settings = settings
        self.clock = clock
        self.root = root_for(sources.folder, sources.identity, local=sources.local)
        self.cache = Cache(self.root)
        self._sources = sources
        declare(settings.metrics)
        self._states: dict[tuple[dt.date | None, tuple[str, ...]], str] = {}
        self._loaded = LoadedTables(sources, settings, self.root / FOLDER, self._building)
        self._cursors = engine.Cursors(self._connected)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | Mapping[str, Any],
        settings: Settings | Mapping[str, Any] | None = None,
        clock: Callable[[], dt.datetime] = wall_clock,
    ) -> Portfolio:
        """The portfolio at ``path``, or of DataFrames by table; ``settings`` override those beside the data.

        ``clock`` says when something is recorded in its ledger; no figure depends on it.

        Raises DataRetrievalError where there are no tables, IntegrationError where a
        database does not answer, InvalidParameters for invalid settings.
        """
        sources = locate(path)
        if not isinstance(settings, Settings):
            settings = read_settings(merged(sources.settings, settings or {}))
        return cls(sources, settings, clock)

    @classmethod
    def of(cls, portfolio: Portfolio | str | os.PathLike[str] | Mapping[str, Any]) -> Portfolio:
        """A portfolio as it is, else the one that is opened by its path, address or tables."""
        return portfolio if isinstance(portfolio, Portfolio) else cls.open(portfolio)

    def with_settings(self, values: Settings | Mapping[str, Any]) -> Portfolio:
        """The same tables under other settings: those of ``values`` over this portfolio's. Raises InvalidParameters."""
        return type(self)(self._sources, changed(self.settings, values), self.clock)

    @property
    def folder(self) -> Path:
        """The folder of the portfolio's files."""
        return self._sources.folder

    # tables

    def has(self, name: str) -> bool:
        """Whether the table exists and can be used; stages may also have been recorded."""
        _require_known(name)
        return self._loaded.usable(name) or (name == "stage_changes" and bool(self.recorded_stages))

    def table(self, name: str) -> pd.DataFrame:
        """The validated rows of a table, sorted by its key; raises DataRetrievalError for a missing or refused one."""
        table = self.require(name)
        if name == "events":
            columns = ", ".join(f'"{column}"' for column in table.names)
            order = ("client_id", "occurred_at", *table.names[2:])
            keys = ", ".join(f'"{column}" NULLS LAST' for column in order)
            with self.with_events() as connection:
                frame = connection.execute(f"SELECT {columns} FROM events ORDER BY {keys}").df()
        else:
            frame = read_frame(self._loaded.folders[name], table.names)
        words = [column.name for column in table.columns if SQL_TYPES[column.kind] == "VARCHAR"]
        return frame.astype(dict.fromkeys(words, "str"))

    @property
    def reports(self) -> dict[str, TableReport]:
        """The accounting of each table of the sources, in the contract's order."""
        return self._loaded.reports()

    def check(self) -> Check:
        """What each table holds, what was dropped and why, and whether the portfolio can be used."""
        problems = [
            f"{name} is not usable: {report.refusal}"
            for name, report in self.reports.items()
            if report.refused
        ]
        required = [name for name, table in TABLES.items() if table.required]
        problems += [
            f"{name} is missing: it is required{self._similar_file(name)}"
            for name in required
            if name not in self.reports
        ]
        usable, warnings = all(map(self.has, required)), list(self._sources.notes)
        warnings += [issue.reason for issues in self._contradictions.values() for issue in issues]
        if usable and not self.reports["customers"].kept:
            warnings.append("customers holds no rows: the portfolio is empty")
        return Check(
            str(self.path),
            usable,
            problems,
            warnings,
            self.quality,
            [name for name in TABLES if name not in self.reports],
            self.first_event_day.isoformat() if usable and self.has("events") else None,
            self.data_until.isoformat() if usable else None,
        )

    @functools.cached_property
    def quality(self) -> LoadQuality:
        """What was lost or is doubtful in the tables, and the customers and the ARR concerned."""
        reports = with_issues(self.reports, self._contradictions)
        concerned = any(issue.clients for report in reports.values() for issue in report.issues)
        arr = arr_by_customer(self) if concerned and self.has("customers") else {}
        return LoadQuality(reports, self.settings, arr)

    @functools.cached_property
    def _contradictions(self) -> dict[str, list[Issue]]:
        """By table, where tables contradict each other; nothing where customers or events cannot be used."""
        if not all(self.has(name) for name, table in TABLES.items() if table.required):
            return {}
        rows = self.cache.get(
            "contradictions",
            self.state(),
            lambda: {
                name: [asdict(issue) for issue in issues]
                for name, issues in cross_checks(
                    self.connection(), self.data_until, self.settings
                ).items()
            },
        )
        return {name: [Issue(**issue) for issue in issues] for name, issues in rows.items()}

    @functools.cached_property
    def feature_names(self) -> dict[str, str]:
        """By name without its case, the name of each feature that is listed or was used."""
        return self._loaded.feature_names()

    @functools.cached_property
    def losses(self) -> Losses:
        """What each customer lost, by table."""
        return Losses(self.reports, self.settings)

    def absence(self, name: str, client_id: str | None = None) -> str | None:
        """Why a table (or a "table.column") can't be used, or not for a customer; None where it can."""
        if "." in name:
            table, _, column = name.partition(".")
            if client_id not in self.losses.emptied.get(name, ()):
                return None
            return f"{table}: withheld, since a value of {column} cannot be used"
        if not self.has(name):
            report = self.reports.get(name)
            return f"{name}: refused, {report.reason}" if report else f"the portfolio has no {name}"
        if client_id in self.losses.withheld.get(name, ()):
            return f"{name}: withheld, since too many of the customer's rows cannot be used"
        return None

    @property
    def _events(self) -> Events | None:
        """The events, or None where the portfolio has none that can be used."""
        self.require("customers")
        return self._loaded.events if self._loaded.usable("events") else None

    def require(self, name: str) -> TableContract:
        """The contract of a table that can be used; raises DataRetrievalError for a missing or refused one."""
        _require_known(name)
        report = self._loaded.report(name)
        if report is None or report.refused:
            needs = " and ".join(each.name for each in TABLES[name].columns if each.required)
            problem = f"the portfolio {self.path} has no table {name}{self._similar_file(name)}: it needs {needs}"
            if report is not None:
                problem = f"table {name} of {self.path} was refused: {report.reason}"
            raise DataRetrievalError(problem, parameter="table", value_provided=name)
        return TABLES[name]

    def _similar_file(self, name: str) -> str:
        """The note about a file whose name is near that of a missing table, in brackets."""
        notes = (note for note in self._sources.notes if f"did you mean {name}?" in note)
        return next((f" ({note})" for note in notes), "")

    # customers

    def client(self, client_id: str | int) -> dict[str, Any]:
        """The customer's row; raises InvalidClientId or ClientNotFound with a near match."""
        client_id = id_text(client_id)
        if not isinstance(client_id, str) or not re.fullmatch(CLIENT_ID_RULE[1:-1], client_id):
            raise InvalidClientId(
                f"client_id {str(client_id)[:120]!r} is not valid: 1 to 100 letters, digits, _ or -",
                parameter="client_id",
                value_provided=str(client_id)[:200],
                validation_rule=CLIENT_ID_RULE,
            )
        if client_id not in self._clients:
            raise ClientNotFound(
                f"no customer {client_id!r}{hint(client_id, self._clients)}",
                parameter="client_id",
                value_provided=client_id,
                did_you_mean=near(client_id, self._clients),
                validation_rule="a client_id of the customers table",
            )
        return dict(self._clients[client_id])

    @functools.cached_property
    def _clients(self) -> dict[str, dict[str, Any]]:
        rows = read_records(self._customers_folder, TABLES["customers"].names)
        return {row["client_id"]: row for row in rows}

    @property
    def _customers_folder(self) -> Path:
        return self._loaded.folders[self.require("customers").name]

    # time

    @functools.cached_property
    def first_event_day(self) -> dt.date:
        """The account-local day of the portfolio's first event: from this day on, a day without events is known.

        Without events it is the day after the last: usage is known of no day.
        """
        return self._events.extent.first_day if self._events else self.data_until + DAY

    @functools.cached_property
    def data_until(self) -> dt.date:
        """The portfolio's last whole day: the setting, else the last day of UTC on which the portfolio as a whole was
        active, with an event at 23:00 or later or rows without times; without events the last recorded day of the other tables."""
        if self.settings.data_until:
            return self.settings.data_until
        return self._events.extent.last_day if self._events else self._recorded_days[1]

    @functools.cached_property
    def _recorded_days(self) -> tuple[dt.date, dt.date]:
        return self._loaded.recorded_days(self.clock().date())

    @functools.cached_property
    def extent(self) -> Extent:
        """The days that the events cover: both ends, days that are not whole in a zone, tracking gaps."""
        if self._events is None:
            return Extent(self.first_event_day, self.data_until, self.data_until)
        extent, known = self._events.extent, self._events.months.values()
        if not self._events.has_empty_days:
            return extent
        inputs = [month.folder.name for month in known], self.settings.section_fingerprint("data")
        build = functools.partial(gaps, self.connection, extent, self.settings)
        days = self.cache.get("gaps", inputs, build)
        return replace(extent, gaps=tuple(map(dt.date.fromisoformat, days)))

    def as_of(self, value: str | dt.date | None = None) -> dt.date:
        """The date to read the portfolio at, ``data_until`` by default; raises InvalidParameters outside the data."""
        if value is None:
            return self.data_until
        day = as_date(value)
        first = self.first_event_day if self._events else self._recorded_days[0]
        if not first <= day <= self.data_until:
            side = "after" if day > self.data_until else "before"
            later = (
                ""
                if day < first or self._events
                else "; the setting data_until reads them as of a later day"
            )
            raise InvalidParameters(
                f"as_of {day} lies {side} the data, which run from {first} to {self.data_until}{later}",
                parameter="as_of",
                value_provided=str(value),
                validation_rule=f"a date from {first} to {self.data_until}",
            )
        return day

    # SQL

    def sql(self, name: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The result of ``sql/<name>.sql`` over the views, and over the frames passed by name."""
        return engine.run(self.connection(), name, frames)

    def connection(self) -> duckdb.DuckDBPyConnection:
        """This thread's cursor: a view for each clean table and fact, without rows where the table is missing or refused.

        Raises DataRetrievalError where customers are unusable."""
        return self._cursors.own()

    @contextlib.contextmanager
    def with_events(self, client_id: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that has the events as well, at least those of ``client_id``.

        Where they lie in an engine these rows are fetched, and gone with the block.
        """
        connection = self.connection()
        if self._events is None or not self._events.in_engine:
            yield connection
            return
        with contextlib.closing(engine.connect(self._spill)) as fetched:
            self._loaded.fetch_events(fetched, client_id)
            yield fetched

    def _connected(self, folders: Sequence[Path] | None = None) -> duckdb.DuckDBPyConnection:
        self.require("customers")
        limit = input_limits().disk_mb if folders else None
        connection = engine.connect(self._spill, folders=folders, spill_mb=limit)
        self._loaded.create_views(connection, self.recorded_stages)
        return connection

    def locked_connection(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for text that others wrote: the same views, and no file but those behind them."""
        return self._connected([self.root / FOLDER, *self._sources.folders])

    @contextlib.contextmanager
    def _building(self, ordered: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short-lived connection for reading and building, whose memory leaves room for the process."""
        attach = self._sources.attach
        folders = [self.root / FOLDER, *self._sources.folders]
        connection = engine.connect(
            self._spill,
            memory=engine.BUILD_MEMORY,
            folders=folders,
            attach=attach,
            ordered=ordered,
            spill_mb=input_limits().disk_mb,
        )
        with contextlib.closing(connection):
            yield connection

    @property
    def _spill(self) -> Path:
        """The folder that this process' queries spill to: a copy in another process has its own."""
        return Path(tempfile.gettempdir()) / f"healthseg{temporary_name('spill')}"

    # the ledger

    @property
    def has_ledger(self) -> bool:
        """Whether something may have been recorded."""
        return self._ledger_location.exists

    def ledger(self) -> Ledger:
        """The ledger of this portfolio, opened with its clock; reading from one that does not exist returns nothing."""
        return self._ledger_location.open()

    @functools.cached_property
    def recorded_stages(self) -> list[StageEvent]:
        """The ledger's events of the customers' own stages as they were when first read; ``reload_ledger`` reads them again."""
        return self.ledger().stage_events(lifecycle="") if self.has_ledger else []

    @functools.cached_property
    def settings_history(self) -> list[SettingsInForce]:
        """The settings that were in force, oldest first, as the ledger had them when first read."""
        return self.ledger().settings_history() if self.has_ledger else []

    def settings_at(self, day: dt.date) -> dict[str, Any] | None:
        """The settings in force at the end of a day, as the ledger has them; None before its first."""
        known = [entry for entry in self.settings_history if entry.first_used_at.date() <= day]
        return dict(known[-1].settings) if known else None

    def reload_ledger(self) -> None:
        """Reads the ledger anew when it is next needed, and drops from memory what was computed with it."""
        self.close()
        self.cache.forget()
        self._states.clear()
        for name in ("recorded_stages", "settings_history", "_sums"):
            self.__dict__.pop(name, None)

    @property
    def _ledger_location(self) -> LedgerLocation:
        """Beside tables that are files, also where that folder cannot be written; else where the settings say."""
        file = self._sources.folder / FILE_NAME if self._sources.local else None
        return LedgerLocation(self.settings.ledger, file, self.clock)

    # provenance

    def content(self, day: dt.date | None = None) -> str:
        """A fingerprint of all that was knowable by the end of ``day``: later rows and values never change it.

        Without a day, of all rows whenever they became known.
        """
        dated, snapshot = self._sums
        current = snapshot if day is None or day >= self.data_until else None
        rows = contents.until(dated, day)
        return fingerprint([contract_version(), rows, current, self.extent.state(day)])

    def state(self, day: dt.date | None = None, sections: Sequence[str] = ()) -> str:
        """What a cached value depends on: the rows known by the end of ``day`` (None: all rows), and settings.

        ``sections`` are names of ``healthseg.settings.SECTIONS``; those of how tables are read are always among them.
        """
        key = day, tuple(sections)
        if key not in self._states:
            settings = self.settings.section_fingerprint("data", *sections)
            parts = [
                self.content(day),
                settings,
                *([self.losses.shares] if self.losses.shares else []),
            ]
            self._states[key] = fingerprint(parts)
        return self._states[key]

    def fingerprint(self, as_of: dt.date | None = None, *, ledger: str | None = None) -> str:
        """A fingerprint of version, settings, all rows and the ledger's head: what a response is computed from."""
        rows = {
            name: [report.kept, report.refused, [issue.identity for issue in report.issues]]
            for name, report in self.reports.items()
        }
        dated, snapshot = self._sums
        return fingerprint(
            [
                contract_version(),
                self.settings.fingerprint,
                rows,
                contents.until(dated, None),
                snapshot,
                str(as_of) if as_of else None,
                ledger,
            ]
        )

    @functools.cached_property
    def _sums(self) -> tuple[contents.Sums, int]:
        """By day, what became known in all tables; and the snapshot's sum."""
        self.require("customers")
        dated = contents.event_sums(self._events.months) if self._events else {}
        snapshots = 0
        for number, (name, table) in enumerate(TABLES.items(), start=1):
            if name == "events" or not self.has(name):
                continue
            sums, snapshot = self._table_sums(table)
            for day, total in sums.items():
                dated[day] = (dated.get(day, 0) + number * total) % contents.WORD
            snapshots = (snapshots + number * snapshot) % contents.WORD
        return dated, snapshots

    def _table_sums(self, table: TableContract) -> tuple[contents.Sums, int]:
        """A table's sums, cached unless recorded stages are among its rows."""
        if table.name == "stage_changes" and self.recorded_stages:
            return contents.table_sums(self.connection(), table)
        rows = self._loaded.folders[table.name].name
        sums = self.cache.get(
            "table_sums",
            rows,
            lambda: contents.to_json(contents.table_sums(self.connection(), table)),
        )
        return contents.from_json(sums)

    # the object

    def close(self) -> None:
        """Closes the portfolio's connection; it opens again when it is next used."""
        self._cursors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """The customers' ids, in order."""
        return iter(sorted(self._clients))

    def __len__(self) -> int:
        return len(self._clients)

    def __bool__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        """All that was read and counted, without the connection: another process goes on from it."""
        return {name: value for name, value in self.__dict__.items() if name != "_cursors"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        declare(self.settings.metrics)
        self._cursors = engine.Cursors(self._connected)

    def __repr__(self) -> str:
        return f"Portfolio({str(self.path)!r})"


def _require_known(name: str) -> None:
    require_known(name, TABLES, f"unknown table {name!r}", parameter="table")
