"""The events of a portfolio: staged, counted by month, and accounted for row by row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

from healthseg.data import facts
from healthseg.data.content import event_sums
from healthseg.data.reading import staging
from healthseg.data.reading.sources import Part, quoted
from healthseg.data.reading.staging import EVENTS, Staged
from healthseg.data.reading.validation import allowed_loss, example
from healthseg.data.reports import Drop, TableReport
from healthseg.data.store import Store
from healthseg.data.workbench import Workbench
from healthseg.settings import Settings

_FUTURE = "occurred_at lies more than 30 days after the portfolio's other events"


@dataclass(frozen=True)
class EventStore:
    """What the files hold, and the months of facts that were made of them."""

    staged: Staged
    months: dict[str, facts.Month]

    @classmethod
    def build(
        cls,
        store: Store,
        bench: Workbench,
        parts: Sequence[Part],
        accounts: pd.DataFrame,
        excluded: pd.DataFrame,
        settings: Settings,
        version: str,
    ) -> EventStore:
        """Reads the files that are new, builds the months that changed; raises Refused for what is no table."""
        staged = staging.stage(store, bench, parts, settings, version)
        zones = dict(accounts.itertuples(index=False, name=None))
        return cls(staged, facts.build(store, bench, staged, zones, excluded, settings, version))

    @property
    def first_day(self) -> dt.date:
        return min(event_sums(self.months))

    @property
    def last_whole_day(self) -> dt.date:
        """The last day of UTC with an event at 23:00 or later, or of rows without times; no earlier than the first."""
        records = [month.record for month in self.months.values()]
        days = [
            dt.date.fromisoformat(record["last_day"]) for record in records if record["last_day"]
        ]
        times = [
            dt.datetime.fromisoformat(record["last_at"]) for record in records if record["last_at"]
        ]
        if times:
            days.append(
                max(times).date() - (dt.timedelta(0) if max(times).hour >= 23 else facts.DAY)
            )
        return max(self.first_day, *days)

    def report(self, bench: Workbench, settings: Settings) -> TableReport:
        """The accounting of all rows of all files."""
        read, drops, fixed, notes = staging.accounted(self.staged, bench, settings)
        repeats = sum(month.record["repeats"] for month in self.months.values())
        drops += self._beyond(bench, settings) + self._unknown(bench, settings)
        drops += self._repeated(bench, settings)
        kept = read - sum(drop.count for drop in drops)
        reason = allowed_loss(read, read - kept - repeats, settings, drops)
        if reason is None and not event_sums(self.months):
            reason = "it holds no rows that can be counted"
        columns = sorted(
            {name for entry in self.staged.entries.values() for name in entry["types"]}
        )
        return TableReport(
            "events",
            read,
            kept,
            fixed,
            drops,
            notes,
            columns,
            list(self.staged.entries),
            reason is not None,
            reason,
        )

    def _beyond(self, bench: Workbench, settings: Settings) -> list[Drop]:
        if not self.staged.beyond:
            return []
        label = min(
            label
            for label, entry in self.staged.entries.items()
            if any(dt.date.fromisoformat(day) > self.staged.last for day, *_ in entry["days"])
        )
        condition = f"fault = 0 AND occurred_at >= DATE '{self.staged.last + facts.DAY}'"
        return [
            self._drop(
                bench, settings, _FUTURE, self.staged.beyond, label, "occurred_at", condition
            )
        ]

    def _unknown(self, bench: Workbench, settings: Settings) -> list[Drop]:
        rows = [
            (client, *value)
            for month in self.months.values()
            for client, value in month.record["unknown"].items()
        ]
        if not rows:
            return []
        client, _, label = min(rows)
        return [
            self._drop(
                bench,
                settings,
                "client_id is not in customers",
                sum(row[1] for row in rows),
                label,
                "client_id",
                f"client_id = {quoted(client)}",
            )
        ]

    def _repeated(self, bench: Workbench, settings: Settings) -> list[Drop]:
        records = [month.record for month in self.months.values() if month.record["repeats"]]
        if not records:
            return []
        client, at = records[0]["repeat"]
        label = min(
            label
            for label, entry in self.staged.entries.items()
            if at[:10] in {row[0] for row in entry["days"]}
        )
        condition = f"client_id = {quoted(client)} AND occurred_at = TIMESTAMP {quoted(at)}"
        return [
            self._drop(
                bench,
                settings,
                "identical to another row of the same instant",
                sum(record["repeats"] for record in records),
                label,
                "occurred_at",
                condition,
            )
        ]

    def _drop(
        self,
        bench: Workbench,
        settings: Settings,
        words: str,
        count: int,
        label: str,
        column: str,
        condition: str,
    ) -> Drop:
        value, line = example(
            bench.connection,
            EVENTS,
            self.staged.parts[label],
            self.staged.layout(label),
            settings,
            column,
            condition,
        )
        return Drop(words, count, value, label, line)

    def create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The views of the kept events and of each fact; the connection holds ``accounts``."""
        connection.execute(
            "CREATE TEMP TYPE client_word AS ENUM (SELECT client_id FROM accounts ORDER BY 1)"
        )
        facts.make_offsets(connection, min(self.staged.days), self.staged.last + facts.DAY)
        repeats = any(month.record["repeats"] for month in self.months.values())
        connection.execute(f"CREATE VIEW events AS {facts.events_select(self.staged, repeats)}")
        for name, select in facts.views(self.months).items():
            connection.execute(f"CREATE VIEW {name} AS {select}")
