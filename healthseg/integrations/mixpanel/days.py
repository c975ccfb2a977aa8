"""A window of exported events on its way to disk: spooled, each event once, a file a day, each whole or not there."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from healthseg.data import engine
from healthseg.data.sources import quoted
from healthseg.data.storage import FOLDER, temporary_name, writing
from healthseg.data.sync_state import folder_of
from healthseg.integrations.mixpanel.records import EPOCH

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

    def place(self, counts: dict[int, int]) -> dict[int, int]:
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
