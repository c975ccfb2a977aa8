"""Clean tables and facts on disk: built from the sources where files or settings changed, else read as they are."""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from healthseg.data import facts
from healthseg.data.cache import code_digest
from healthseg.data.cleaning import ROWS, clean_table, empty_select, read_frame, unreadable
from healthseg.data.copies import COPIES, prepare
from healthseg.data.engine import (
    NO_ACCOUNTS,
    BuildConnection,
    Connect,
    create_accounts,
    parquet,
)
from healthseg.data.events import Events
from healthseg.data.feature_names import (
    TABLES_OF_FEATURES,
    create_spellings,
    feature_names,
    respelt,
)
from healthseg.data.ledger.ledger import stage_view
from healthseg.data.losses import TableReport, refusal
from healthseg.data.sources import Refused, SourcePart, Sources
from healthseg.data.storage import evict, is_intact, read_json, sweep, write_folder, write_json
from healthseg.data.tables import TABLES, TableContract
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import StageEvent

_REPORT = "report.json"
_UNUSED_DAYS = 30


def contract_version() -> str:
    """Changes with the code that reads, validates and counts, and with the engine's own hashes."""
    return f"{duckdb.__version__}-{code_digest('data', contents=True)}"


@dataclass
class LoadedTables:
    """The tables of a portfolio, each read or built when it is first needed: its accounting and clean rows.

    Tables of customers need customers; events, which are many, are read last. Safe to use from several threads.
    """

    sources: Sources
    settings: Settings
    folder: Path
    connect: Connect
    # the folder of each table's clean rows
    folders: dict[str, Path] = field(default_factory=dict)
    # each customer's client_id and time zone
    accounts: pd.DataFrame = field(default_factory=NO_ACCOUNTS.copy)
    # the customers whose row in customers cannot be used
    dropped: frozenset[str] = frozenset()
    events: Events | None = None
    _reports: dict[str, TableReport] = field(default_factory=dict)
    _build: BuildConnection | None = None
    _swept: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def report(self, name: str) -> TableReport | None:
        """The accounting of a table, loaded if it is not yet; None where the sources do not have it."""
        if name in self._reports or name not in self.sources.parts:
            return self._reports.get(name)
        with self._building() as build:
            if name not in self._reports:
                self._reports[name] = self._load(name, build)
        return self._reports[name]

    def reports(self) -> dict[str, TableReport]:
        """The accounting of all tables, in the contract's order."""
        with self._building():
            # events need customers and users, and are read last
            for name in sorted(self.sources.parts, key=lambda name: name == "events"):
                self.report(name)
        return {name: self._reports[name] for name in TABLES if name in self._reports}

    def usable(self, name: str) -> bool:
        report = self.report(name)
        return report is not None and not report.refused

    def recorded_days(self, today: dt.date) -> tuple[dt.date, dt.date]:
        """The first and last day on which tables of customers record something, up to today: later days are plans."""
        frames = [
            read_frame(self.folders[name], table.recorded_on)
            for name, table in TABLES.items()
            if name != "events" and table.recorded_on and self.usable(name)
        ]
        days = pd.concat([frame[name] for frame in frames for name in frame]).dropna()
        days = days[days < pd.Timestamp(today) + pd.Timedelta(days=1)]
        return (days.min().date(), days.max().date()) if len(days) else (today, today)

    def create_views(
        self, connection: duckdb.DuckDBPyConnection, stages: Sequence[StageEvent]
    ) -> None:
        """A view for each clean table and fact, without rows where the table is missing or refused.

        ``stages`` are those that were recorded, beside the imported ones.
        """
        self.reports()
        create_accounts(connection, self.accounts)
        respell = create_spellings(connection, self.feature_names(), self._feature_words())
        for name, table in TABLES.items():
            usable = self.usable(name)
            if name == "events" and usable:
                continue
            rows = parquet([self.folders[name] / ROWS]) if usable else ""
            select = f"SELECT * FROM {rows}" if usable else empty_select(table)
            if respell and usable and name in TABLES_OF_FEATURES:
                select = respelt(select, name)
            if name == "stage_changes":
                connection.execute(f"CREATE VIEW imported_stage_changes AS {select}")
                zones = dict(self.accounts.itertuples(index=False, name=None))
                select = stage_view(connection, select, stages, zones)
            connection.execute(f'CREATE VIEW "{name}" AS {select}')
        if self.events is not None:
            self.events.create_views(connection, respell)
            return
        for name, select in facts.empty_views().items():
            connection.execute(f"CREATE VIEW {name} AS {select}")

    def fetch_events(
        self, connection: duckdb.DuckDBPyConnection, client_id: str | None = None
    ) -> None:
        """The table ``events`` of a connection, out of the engine that they lie in."""
        assert self.events is not None
        with self._building() as build:
            self.events.fetch(build, connection, client_id)

    def listed_features(self) -> list[str]:
        """The names in the features table; none without it."""
        if not self.usable("features"):
            return []
        return read_frame(self.folders["features"], ["feature"])["feature"].tolist()

    def feature_names(self) -> dict[str, str]:
        """By name without its case, the name of each feature that is listed or was used."""
        self.usable("events")
        return feature_names(self.listed_features(), self.features_seen)

    @property
    def features_seen(self) -> dict[str, str]:
        return self.events.features_seen if self.events else {}

    def _feature_words(self) -> set[str]:
        """All spellings of features."""
        words = set(self.features_seen)
        for name in TABLES_OF_FEATURES:
            if self.usable(name):
                words |= set(read_frame(self.folders[name], ["feature"])["feature"].dropna())
        return words

    @contextlib.contextmanager
    def _building(self) -> Iterator[BuildConnection]:
        """The connection to build with, shared by all that is loaded within the outermost block."""
        with self._lock:
            if self._build is not None:
                yield self._build
                return
            if not self._swept:
                self._swept = True
                inner = [self.folder / name for name in ("tables", "facts", "cache")]
                months = self.folder.glob("facts/*")
                roots = (
                    self.folder,
                    self.folder.parent,
                    self.sources.folder,
                    Path(tempfile.gettempdir()),
                )
                sweep(*roots, *inner, inner[0] / COPIES, inner[0] / "events", *months)
            with BuildConnection(self.connect) as self._build:
                self._build.set_accounts(self.accounts)
                try:
                    yield self._build
                finally:
                    self._build = None

    def _load(self, name: str, build: BuildConnection) -> TableReport:
        if TABLES[name].of_customers and not self.usable("customers"):
            files, why = [part.label for part in self.sources.parts[name]], self.report("customers")
            reason = f": {why.reason}" if why else ""
            return refusal(name, files, f"the customers that it belongs to are not usable{reason}")
        if name == "events":
            return self._load_events(build)
        report = self._load_table(TABLES[name], build)
        if name == "customers" and not report.refused:
            self.accounts = _accounts(self.folders[name], self.settings)
            dropped = {client for issue in report.drops for client in issue.clients}
            self.dropped = frozenset(dropped - set(self.accounts["client_id"]))
            build.set_accounts(self.accounts)
        return report

    def _load_table(self, table: TableContract, build: BuildConnection) -> TableReport:
        """A table's report and clean rows, from disk where its files did not change."""
        accounts = ""
        if table.of_customers:
            accounts = fingerprint([self.accounts.to_dict("split")["data"], sorted(self.dropped)])
        token = self.sources.token(table.name) or uuid.uuid4().hex
        settings = self.settings
        rules = settings.max_loss_share, settings.csat_scale, *_readings(settings)
        key = fingerprint([contract_version(), table.name, token, accounts, *rules])
        tables = self.folder / "tables"
        target = tables / f"{table.name}-{key}"

        def fill(temporary: Path) -> None:
            report = self._clean(build, table, temporary)
            write_json(temporary / _REPORT, report.to_dict())

        report = read_json(target / _REPORT) if is_intact(target) else None
        if report is None:
            report = read_json(write_folder(target, fill) / _REPORT)
            in_use = {path.name for path in self.folders.values()}
            evict(tables, _UNUSED_DAYS, keep={*in_use, target.name, "events", COPIES})
            evict(tables / COPIES, _UNUSED_DAYS)
        assert report is not None
        self.folders[table.name] = target
        return TableReport.from_dict(report)

    def _clean(self, build: BuildConnection, table: TableContract, target: Path) -> TableReport:
        """Reads a table's parts, writes its clean rows to ``target``."""
        parts = self.sources.parts[table.name]
        try:
            ready = [prepare(part, target.parent / COPIES, table) for part in parts]
            with build.within(f"table {table.name}", _files(parts)):
                return clean_table(
                    build.connection, table, ready, self.settings, target, self.dropped
                )
        except Refused as problem:
            return refusal(table.name, [part.label for part in parts], str(problem))

    def _load_events(self, build: BuildConnection) -> TableReport:
        """The events' report; their facts are counted, or read from disk."""
        parts = self.sources.parts["events"]
        settings, excluded = self.settings, self._excluded()
        try:
            version = fingerprint([contract_version(), *_readings(settings)])
            # how long an engine takes is its owner's to limit
            limited = build.within("table events", _files(parts))
            with contextlib.nullcontext() if parts[0].engine else limited:
                events = Events.build(
                    self.folder, build, parts, self.accounts, excluded, settings, version
                )
                report = events.report(build, settings, self.dropped)
        except Refused as problem:
            return refusal("events", [part.label for part in parts], str(problem))
        except duckdb.Error as problem:
            return unreadable("events", parts, problem)
        if not report.refused:
            self.events = events
        return report

    def _excluded(self) -> pd.DataFrame:
        """Internal and test users, by the settings: left out of facts."""
        empty = {name: pd.Series(dtype="str") for name in ("client_id", "user_id")}
        pairs = [pd.DataFrame(empty)]
        domains = {domain.lower() for domain in self.settings.exclude_email_domains}
        if self.settings.exclude_users:
            users = pd.DataFrame({"user_id": sorted(self.settings.exclude_users)})
            pairs.append(self.accounts[["client_id"]].merge(users, how="cross"))
        if domains and self.usable("users"):
            users = read_frame(self.folders["users"], ("client_id", "user_id", "email_domain"))
            internal = users["email_domain"].str.lower().isin(domains)
            pairs.append(users.loc[internal, ["client_id", "user_id"]])
        return pd.concat(pairs).drop_duplicates().sort_values(["client_id", "user_id"])

    def __getstate__(self) -> dict[str, Any]:
        """All that was loaded, for another process."""
        return {**self.__dict__, "_lock": None, "_build": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())


def _files(parts: Sequence[SourcePart]) -> list[Path]:
    """What the parts are read from."""
    attached = {Path(part.attach) for part in parts if part.attach}
    files = {part.path for part in parts if part.path is not None}
    return [*attached, *files]


def _accounts(folder: Path, settings: Settings) -> pd.DataFrame:
    frame = read_frame(folder, ("client_id", "timezone"))
    zone = frame["timezone"].fillna(settings.default_timezone)
    return pd.DataFrame({"client_id": frame["client_id"], "zone": zone})


def _readings(settings: Settings) -> tuple[object, ...]:
    """The settings by which values are read."""
    midnights = settings.midnight_days_min_rows, settings.midnight_days_min_share
    return settings.missing_words, settings.synonyms, settings.formats, *midnights
