"""Clean tables and facts on disk: built from the sources where files or settings changed, else read as they are."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pandas as pd

from healthseg.data.cache import code_digest
from healthseg.data.cleaning import clean_table, read_frame, unreadable
from healthseg.data.engine import NO_ACCOUNTS, BuildConnection
from healthseg.data.events import Events
from healthseg.data.losses import TableReport, refusal
from healthseg.data.sources import Refused, Sources
from healthseg.data.storage import evict, is_intact, read_json, write_folder, write_json
from healthseg.data.tables import TABLES, Table
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

_REPORT = "report.json"
_UNUSED_DAYS = 30


def contract_version() -> str:
    """Changes with the code that reads, validates and counts, and with the engine's own hashes."""
    return f"{duckdb.__version__}-{code_digest('data', contents=True)}"


@dataclass
class LoadedTables:
    """The accounting of each table, the folders of their clean rows, and what customers and events are needed for."""

    reports: dict[str, TableReport] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    # each customer's client_id and time zone
    accounts: pd.DataFrame = field(default_factory=NO_ACCOUNTS.copy)
    events: Events | None = None

    def usable(self, name: str) -> bool:
        return name in self.reports and not self.reports[name].refused


def load(
    sources: Sources,
    settings: Settings,
    folder: Path,
    connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> LoadedTables:
    """Loads all tables of the sources: customers first, events last."""
    loaded = LoadedTables()
    with BuildConnection(connect) as build:
        for name, table in TABLES.items():
            if name in sources.parts and name != "events":
                _load_table(loaded, build, table, sources, settings, folder)
                if name == "customers" and loaded.usable(name):
                    loaded.accounts = _accounts(loaded.folders[name], settings)
                    build.set_accounts(loaded.accounts)
        if "events" in sources.parts:
            loaded.reports["events"] = _load_events(loaded, build, sources, settings, folder)
    loaded.reports = {name: loaded.reports[name] for name in TABLES if name in loaded.reports}
    return loaded


def _accounts(folder: Path, settings: Settings) -> pd.DataFrame:
    frame = read_frame(folder, ("client_id", "timezone"))
    zone = frame["timezone"].fillna(settings.default_timezone)
    return pd.DataFrame({"client_id": frame["client_id"], "zone": zone})


def _load_table(
    loaded: LoadedTables,
    build: BuildConnection,
    table: Table,
    sources: Sources,
    settings: Settings,
    folder: Path,
) -> None:
    """A table's report and clean rows, from disk where its files did not change."""
    accounts = ""
    if table.of_customers and "customers" in loaded.folders:
        accounts = fingerprint(loaded.accounts.to_dict("split")["data"])
    token = sources.token(table.name) or uuid.uuid4().hex
    rules = settings.max_loss_share, settings.csat_max
    key = fingerprint([contract_version(), table.name, token, accounts, *rules])
    target = folder / "tables" / f"{table.name}-{key}"

    def fill(temporary: Path) -> None:
        parts = sources.parts[table.name]
        report = clean_table(build.connection, table, parts, settings, temporary)
        write_json(temporary / _REPORT, report.to_dict())

    report = read_json(target / _REPORT) if is_intact(target) else None
    if report is None:
        shutil.rmtree(target, ignore_errors=True)
        report = read_json(write_folder(target, fill) / _REPORT)
        in_use = {path.name for path in loaded.folders.values()}
        evict(folder / "tables", _UNUSED_DAYS, keep={*in_use, target.name, "events"})
    assert report is not None
    loaded.folders[table.name] = target
    loaded.reports[table.name] = TableReport.from_dict(report)


def _load_events(
    loaded: LoadedTables,
    build: BuildConnection,
    sources: Sources,
    settings: Settings,
    folder: Path,
) -> TableReport:
    """The events' report; their facts are counted, or read from disk."""
    parts = sources.parts["events"]
    files = [part.label for part in parts]
    if not loaded.usable("customers"):
        return refusal("events", files, "the customers that they belong to are not usable")
    excluded, version = _excluded(loaded, settings), contract_version()
    try:
        loaded.events = Events.build(
            folder, build, parts, loaded.accounts, excluded, settings, version
        )
        return loaded.events.report(build, settings)
    except Refused as problem:
        return refusal("events", files, str(problem))
    except duckdb.Error as problem:
        return unreadable("events", parts, problem)


def _excluded(loaded: LoadedTables, settings: Settings) -> pd.DataFrame:
    """Internal and test users, by the settings: left out of facts."""
    pairs = [pd.DataFrame({"client_id": pd.Series(dtype="str"), "user_id": pd.Series(dtype="str")})]
    domains = {domain.lower() for domain in settings.exclude_email_domains}
    if settings.exclude_users:
        users = pd.DataFrame({"user_id": sorted(settings.exclude_users)})
        pairs.append(loaded.accounts[["client_id"]].merge(users, how="cross"))
    if domains and loaded.usable("users"):
        users = read_frame(loaded.folders["users"], ("client_id", "user_id", "email_domain"))
        internal = users["email_domain"].str.lower().isin(domains)
        pairs.append(users.loc[internal, ["client_id", "user_id"]])
    return pd.concat(pairs).drop_duplicates().sort_values(["client_id", "user_id"])
