"""The portfolio: validated tables, facts and their fingerprints, opened from wherever the data are."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from healthseg.data import content as contents
from healthseg.data import engine
from healthseg.data.cache import Cache, code_digest
from healthseg.data.ledger import stages as ledger_stages
from healthseg.data.reading import clean_rows, crosschecks
from healthseg.data.reading.cleaning import (
    ROWS,
    clean_table,
    prepare_accounts,
    refusal,
    schema,
    unreadable,
)
from healthseg.data.reading.event_store import EventStore
from healthseg.data.reading.parsing import SQL_TYPES
from healthseg.data.reading.sources import Sources, locate
from healthseg.data.reading.validation import Refused
from healthseg.data.reports import Check, TableReport
from healthseg.data.store import Store, root_for
from healthseg.data.tables import CLIENT_ID_RULE, TABLES, Table
from healthseg.data.wallclock import wall_clock
from healthseg.data.workbench import Workbench
from healthseg.errors import (
    ClientNotFound,
    DataRetrievalError,
    InvalidClientId,
    InvalidParameters,
    hint,
    near,
)
from healthseg.periods import as_date
from healthseg.settings import Settings, fingerprint
from healthseg.settings import settings as make_settings


def contract_version() -> str:
    """Changes with the code that reads, validates and counts, and with the engine's own hashes."""
    return f"{duckdb.__version__}-{code_digest('data', contents=True)}"


class Portfolio:
    """A portfolio of customers: tables as given, validated, and counted.

    ``path`` is a folder of ``<table>.parquet|csv|csv.gz`` files (or folders of such
    files), a ``portfolio.toml``, a DuckDB file or a database address. Opening reads
    nothing that did not change since the last time; errors name what is wrong.

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
        self.store = Store(self.root)
        self.cache = Cache(self.root)
        self._sources = sources
        self._token = uuid.uuid4().hex[:8]
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._reports: dict[str, TableReport] = {}
        self._folders: dict[str, Path] = {}
        self._states: dict[tuple[dt.date | None, tuple[str, ...]], str] = {}

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        settings: Settings | Mapping[str, Any] | None = None,
        clock: Callable[[], dt.datetime] = wall_clock,
    ) -> Portfolio:
        """The portfolio at ``path``; ``settings`` given here stand over those that lie beside the data.

        ``clock`` says when something is recorded in its ledger; no figure depends on it.

        Raises DataRetrievalError where there are no tables, IntegrationError where a
        database does not answer, InvalidParameters for settings that cannot be.
        """
        sources = locate(path)
        if not isinstance(settings, Settings):
            settings = make_settings({**sources.settings, **(settings or {})})
        return cls(sources, settings, clock)

    # what is there

    def has(self, name: str) -> bool:
        """Whether the table was given and could be used; stages may also have been recorded."""
        self._known_table(name)
        report = self.reports.get(name)
        given = report is not None and not report.refused
        return given or (name == "stage_changes" and bool(self.recorded_stages))

    def table(self, name: str) -> pd.DataFrame:
        """The validated rows of a table, sorted by its key; raises DataRetrievalError for one missing or refused."""
        table = self._require(name)
        if name == "events":
            columns = ", ".join(f'"{column}"' for column in table.names)
            order = ", ".join(
                f'"{column}" NULLS LAST'
                for column in ("client_id", "occurred_at", *table.names[2:])
            )
            frame = self.connection().execute(f"SELECT {columns} FROM events ORDER BY {order}").df()
        else:
            frame = clean_rows.frame(self._folders[name], table.names)
        words = [column.name for column in table.columns if SQL_TYPES[column.kind] == "VARCHAR"]
        return frame.astype(dict.fromkeys(words, "str"))

    @functools.cached_property
    def reports(self) -> dict[str, TableReport]:
        """The accounting of each table that was given, in the contract's order."""
        with Workbench(self._working) as bench:
            names = [name for name in TABLES if name in self._sources.parts and name != "events"]
            found = {}
            for name in names:
                found[name] = self._cleaned(bench, TABLES[name])
                if name == "customers" and not found[name].refused:
                    bench.know(self._accounts)
            if "events" in self._sources.parts:
                found["events"] = self._counted(bench, found)
        return {name: found[name] for name in TABLES if name in found}

    @functools.cached_property
    def _accounts(self) -> pd.DataFrame:
        """Each customer's id and time zone."""
        frame = clean_rows.frame(self._folders["customers"], ("client_id", "timezone"))
        zone = frame["timezone"].fillna(self.settings.default_timezone)
        return pd.DataFrame({"client_id": frame["client_id"], "zone": zone})

    @functools.cached_property
    def _accounts_fingerprint(self) -> str:
        return fingerprint(self._accounts.to_dict("split")["data"])

    def _cleaned(self, bench: Workbench, table: Table) -> TableReport:
        """A table's report and clean rows, from the store where its files did not change."""
        parts = self._sources.parts[table.name]
        token = self._sources.token(table.name)
        known = table.of_customers and "customers" in self._folders
        accounts = self._accounts_fingerprint if known else ""
        key = fingerprint(
            [
                contract_version(),
                table.name,
                token or uuid.uuid4().hex,
                accounts,
                self.settings.max_loss_share,
                self.settings.csat_max,
            ]
        )
        name = f"{table.name}-{key}"
        folder = self.store.path("tables", name)
        report = self.store.get_json("reports", name) if folder.is_dir() else None
        if report is not None:
            self._folders[table.name] = folder
            return TableReport.from_dict(report)

        def fill(target: Path) -> None:  # the report first: who finds the folder finds it too
            cleaned = clean_table(bench.connection, table, parts, self.settings, target)
            self.store.put_json("reports", name, cleaned.to_dict())

        if folder.is_dir():  # its report is lost
            shutil.rmtree(folder)
        self._folders[table.name] = self.store.make_folder(folder, fill)
        self._evict()
        return TableReport.from_dict(self.store.get_json("reports", name))

    def _evict(self) -> None:
        """Clean tables that were made more than a month ago and are not in use, and what crashed processes left."""
        current = {folder.name for folder in self._folders.values()}
        self.store.evict("tables", days=30, keep=current)
        self.store.evict("reports", days=30, keep={f"{name}.json" for name in current})
        self.store.evict("spill", days=1)

    def _counted(self, bench: Workbench, found: Mapping[str, TableReport]) -> TableReport:
        """The events' report; their facts are built, or found in the store."""
        parts = self._sources.parts["events"]
        if "customers" not in found or found["customers"].refused:
            return refusal("events", parts, "the customers that they belong to are not usable")
        try:
            self._event_store = EventStore.build(
                self.store,
                bench,
                parts,
                self._accounts,
                self._excluded(found),
                self.settings,
                contract_version(),
            )
            return self._event_store.report(bench, self.settings)
        except Refused as problem:
            return refusal("events", parts, str(problem))
        except duckdb.Error as problem:
            return refusal("events", parts, unreadable(parts[0], problem))

    def _excluded(self, found: Mapping[str, TableReport]) -> pd.DataFrame:
        """Internal and test users, by the settings: left out of facts."""
        pairs = [
            pd.DataFrame({"client_id": pd.Series(dtype="str"), "user_id": pd.Series(dtype="str")})
        ]
        domains = {domain.lower() for domain in self.settings.exclude_email_domains}
        if self.settings.exclude_users:
            named = pd.DataFrame({"user_id": sorted(self.settings.exclude_users)})
            pairs.append(self._accounts[["client_id"]].merge(named, how="cross"))
        if domains and "users" in found and not found["users"].refused:
            users = clean_rows.frame(
                self._folders["users"], ("client_id", "user_id", "email_domain")
            )
            pairs.append(
                users.loc[users["email_domain"].str.lower().isin(domains), ["client_id", "user_id"]]
            )
        return pd.concat(pairs).drop_duplicates().sort_values(["client_id", "user_id"])

    # what was recorded

    @property
    def has_ledger(self) -> bool:
        """Whether something may have been recorded."""
        return ledger_stages.there_is(self.settings.ledger, self._ledger_file)

    @property
    def has_recorded_stages(self) -> bool:
        """Whether stages may have been recorded, now."""
        return ledger_stages.may_have_stages(self.settings.ledger, self._ledger_file)

    def ledger(self) -> Any:
        """The ledger of this portfolio, opened with its clock; reading from one that is not there finds nothing."""
        return ledger_stages.opened(self.settings.ledger, self._ledger_file, self.clock)

    @functools.cached_property
    def settings_history(self) -> list[Any]:
        """The settings that were in force, oldest first, as the ledger has them when they are first asked for."""
        return ledger_stages.settings_history(self.settings.ledger, self._ledger_file, self.clock)

    @property
    def folder(self) -> Path:
        """Where the portfolio's files lie."""
        return self._sources.folder

    @functools.cached_property
    def _ledger_file(self) -> Path | None:
        return ledger_stages.ledger_file(self._sources.folder, self._sources.local)

    @functools.cached_property
    def recorded_stages(self) -> list[Any]:
        """The stage events of the ledger when they were first asked for; ``reload_ledger`` reads them again."""
        return self.ledger().stage_events() if self.has_recorded_stages else []

    # time

    @functools.cached_property
    def first_event_day(self) -> dt.date:
        """The account-local day of the portfolio's first event: from here on, no events means none."""
        self._require("events")
        return self._event_store.first_day

    @functools.cached_property
    def data_until(self) -> dt.date:
        """The portfolio's last whole day: the setting, else the last day of UTC with an event at 23:00 or later,
        or the last calendar day of rows without times."""
        if self.settings.data_until is not None:
            return self.settings.data_until
        self._require("events")
        return self._event_store.last_whole_day

    def as_of(self, value: str | dt.date | None = None) -> dt.date:
        """The date to read the portfolio at, ``data_until`` by default; raises InvalidParameters outside the data."""
        if value is None:
            return self.data_until
        day = as_date(value)
        if not self.first_event_day <= day <= self.data_until:
            raise InvalidParameters(
                f"as_of {day} lies {'after' if day > self.data_until else 'before'} the data, which run from "
                f"{self.first_event_day} to {self.data_until}",
                parameter="as_of",
                value_provided=str(value),
                validation_rule=f"a date from {self.first_event_day} to {self.data_until}",
            )
        return day

    # customers

    def client(self, client_id: str) -> dict[str, Any]:
        """The customer's row; raises InvalidClientId or ClientNotFound with a near match."""
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
        names = self._require("customers").names
        return {
            row["client_id"]: row for row in clean_rows.records(self._folders["customers"], names)
        }

    # SQL

    @contextlib.contextmanager
    def _working(self):
        """A short-lived connection for reading and building, with memory kept for the process."""
        self._spill.mkdir(parents=True, exist_ok=True)
        search = self._sources.search or self._sources.folder
        connection = engine.connect(
            self._spill, memory=engine.BUILD_MEMORY, search=search, attach=self._sources.attach
        )
        try:
            yield connection
        finally:
            connection.close()
            with contextlib.suppress(OSError):
                self._spill.rmdir()

    def connection(self) -> duckdb.DuckDBPyConnection:
        """The portfolio's connection, opened at first use: a view for each clean table (without rows where it is
        missing or refused) and for each fact. Raises DataRetrievalError where customers or events are unusable."""
        if self._connection is None:
            for name in ("customers", "events"):
                self._require(name)
            connection = engine.connect(self._spill)
            for name, table in TABLES.items():
                if name != "events":
                    usable = name in self._folders and not self.reports[name].refused
                    select = (
                        f"SELECT * FROM {engine.parquet([self._folders[name] / ROWS])}"
                        if usable
                        else schema(table)
                    )
                    if name == "stage_changes":
                        connection.execute(f"CREATE VIEW imported_stage_changes AS {select}")
                        zones = dict(
                            zip(self._accounts["client_id"], self._accounts["zone"], strict=True)
                        )
                        select = ledger_stages.stage_view(
                            connection, select, self.recorded_stages, zones
                        )
                    connection.execute(f'CREATE VIEW "{name}" AS {select}')
            prepare_accounts(connection, self._accounts)
            self._event_store.create_views(connection)
            self._connection = connection
        return self._connection

    def sql(self, name: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The result of ``sql/<name>.sql`` over the views, and over the frames given by name."""
        return engine.run(self.connection(), name, frames)

    # provenance

    @functools.cached_property
    def _sums(self) -> tuple[contents.Sums, int]:
        """By day, what became known in all tables; and the snapshot's sum."""
        self._require("customers")
        self._require("events")
        dated: contents.Sums = contents.event_sums(self._event_store.months)
        snapshots = 0
        for place, (name, table) in enumerate(TABLES.items(), start=1):
            if name == "events" or not self.has(name):
                continue
            sums, snapshot = self._table_sums(table)
            for day, total in sums.items():
                dated[day] = (dated.get(day, 0) + place * total) % 2**64
            snapshots = (snapshots + place * snapshot) % 2**64
        return dated, snapshots

    def _table_sums(self, table: Table) -> tuple[contents.Sums, int]:
        """A table's sums, kept beside its clean rows unless stages that were recorded stand among them."""
        if table.name == "stage_changes" and self.recorded_stages:
            return contents.table_sums(self.connection(), table)
        file = self._folders[table.name] / contents.FILE
        kept = contents.read_sums(file)
        if kept is None:
            kept = contents.table_sums(self.connection(), table)
            with self.store.writing(file) as temporary:
                contents.write_sums(temporary, kept)
        return kept

    def content(self, day: dt.date | None = None) -> str:
        """A fingerprint of all that was knowable by the end of ``day``: later rows and values never change it.

        Without a day, of all rows whenever they became known.
        """
        dated, snapshot = self._sums
        return fingerprint(
            [
                contract_version(),
                contents.until(dated, day),
                snapshot if day is None or day >= self.data_until else None,
            ]
        )

    def state(self, day: dt.date | None = None, sections: Sequence[str] = ()) -> str:
        """What a cached value depends on: the rows known by the end of ``day`` (None: all rows), and settings.

        ``sections`` are names of ``healthseg.settings.SECTIONS``; those of how tables are read are always among them.
        """
        key = day, tuple(sections)
        if key not in self._states:
            settings = self.settings.section_fingerprint("data", *sections)
            self._states[key] = fingerprint([self.content(day), settings])
        return self._states[key]

    def fingerprint(self, as_of: dt.date | None = None, *, ledger: str | None = None) -> str:
        """A fingerprint of version, settings, all rows and the ledger's head: what a response is made from."""
        rows = {name: [report.kept, report.refused] for name, report in self.reports.items()}
        dated, snapshot = self._sums
        return fingerprint(
            [
                contract_version(),
                self.settings.fingerprint,
                rows,
                sum(dated.values()) % 2**64,
                snapshot,
                str(as_of) if as_of else None,
                ledger,
            ]
        )

    def check(self) -> Check:
        """What each table holds, what was dropped and why, and whether the portfolio can be used."""
        problems = [
            f"{name} is not usable: {report.reason}"
            for name, report in self.reports.items()
            if report.refused
        ]
        problems += [
            f"{name} is missing: it is required{self._note_for(name)}"
            for name, table in TABLES.items()
            if table.required and name not in self.reports
        ]
        usable = all(self.has(name) for name, table in TABLES.items() if table.required)
        warnings = list(self._sources.notes) + (crosschecks.warnings(self) if usable else [])
        return Check(
            str(self.path),
            usable,
            problems,
            warnings,
            self.reports,
            [name for name in TABLES if name not in self.reports],
            self.first_event_day.isoformat() if usable else None,
            self.data_until.isoformat() if usable else None,
        )

    def _note_for(self, name: str) -> str:
        note = next((note for note in self._sources.notes if f"did you mean {name}?" in note), None)
        return f" ({note})" if note else ""

    def _known_table(self, name: str) -> None:
        if name not in TABLES:
            raise InvalidParameters(
                f"unknown table {name!r}{hint(name, TABLES)}",
                parameter="table",
                value_provided=name,
                validation_rule="one of " + ", ".join(TABLES),
            )

    def _require(self, name: str) -> Table:
        self._known_table(name)
        report = self.reports.get(name)
        if report is None:
            raise DataRetrievalError(
                f"the portfolio {self.path} has no table {name}{self._note_for(name)}",
                parameter="table",
                value_provided=name,
            )
        if report.refused:
            raise DataRetrievalError(
                f"table {name} of {self.path} was refused: {report.reason}",
                parameter="table",
                value_provided=name,
            )
        return TABLES[name]

    def reload_ledger(self) -> None:
        """Reads the ledger anew when it is next needed, and drops from memory what was computed with it."""
        self.close()
        self.cache.forget()
        self._states.clear()
        for name in ("recorded_stages", "settings_history", "_sums"):
            self.__dict__.pop(name, None)

    @property
    def _spill(self) -> Path:
        """Where this process' queries spill to: a copy in another process has its own."""
        return self.store.path("spill", f"{os.getpid()}-{self._token}")

    def __getstate__(self) -> dict[str, Any]:
        """All that was read and counted, without the connection: a process of ours goes on from it."""
        return {**self.__dict__, "_connection": None}

    def close(self) -> None:
        """Ends the portfolio's connection; it opens again when it is next used."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __repr__(self) -> str:
        return f"Portfolio({str(self.path)!r})"
