"""Facts counted in an engine against five hand-written queries there, against DuckDB's facts, and one more day.

    python benchmarks/engines.py [--engine postgresql] [--events 5000000] [--days 548] [--copy]

The same events lie in the engine and in Parquet files, from which DuckDB counts what is expected. Prints one line a
figure: name, measured ratio, what is to be reached. Processor time is that of the engine and of this process together.
``--copy`` opens the same tables by the address of PostgreSQL alone as well, which copies the events.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.data.engines import Engine, EngineAddress  # noqa: E402
from healthseg.data.facts import FACTS  # noqa: E402
from healthseg.data.portfolio import Portfolio  # noqa: E402

LOCAL = "(e.occurred_at AT TIME ZONE 'UTC') AT TIME ZONE c.timezone"
SECONDS = "CAST(EXTRACT(EPOCH FROM last_at - MIN(first_at) OVER w) AS BIGINT)"
# how an engine writes what the others write as above
OWN = {
    "spark": {
        LOCAL: "FROM_UTC_TIMESTAMP(e.occurred_at, c.timezone)",
        SECONDS: "TIMESTAMPDIFF(SECOND, MIN(first_at) OVER w, last_at)",
    }
}
PERSON = "COALESCE(e.source, 'ui') <> 'api'"
JOINED = "FROM events AS e JOIN customers AS c USING (client_id)"
RIVALS = {
    "user_day": f"""
        SELECT client_id, e.user_id, CAST({LOCAL} AS DATE) AS day, COUNT(*) FILTER (WHERE {PERSON}) AS events,
          COUNT(*) FILTER (WHERE NOT ({PERSON})) AS api_events {JOINED} GROUP BY 1, 2, 3""",
    "feature_day": f"""
        SELECT client_id, e.user_id, e.feature, CAST({LOCAL} AS DATE) AS day, COUNT(*) AS events {JOINED}
        WHERE {PERSON} AND e.feature IS NOT NULL GROUP BY 1, 2, 3, 4""",
    "user_hour": f"""
        SELECT client_id, e.user_id, DATE_TRUNC('hour', e.occurred_at) AS hour_utc, CAST({LOCAL} AS DATE) AS day,
          CAST(EXTRACT(HOUR FROM {LOCAL}) AS INT) AS hour, COUNT(*) AS events {JOINED} WHERE {PERSON} GROUP BY 1, 2, 3, 4, 5""",
    "sessions": f"""
        WITH gaps AS (
          SELECT client_id, e.user_id, e.occurred_at, {LOCAL} AS local_at,
            LAG(e.occurred_at) OVER (PARTITION BY client_id, e.user_id ORDER BY e.occurred_at) AS previous
          {JOINED} WHERE {PERSON} AND e.user_id IS NOT NULL
        ), numbered AS (
          SELECT *, SUM(CASE WHEN previous IS NULL OR occurred_at - previous > INTERVAL '30' MINUTE THEN 1 ELSE 0 END)
            OVER (PARTITION BY client_id, user_id ORDER BY occurred_at) AS number FROM gaps
        ), days AS (
          SELECT client_id, user_id, number, CAST(local_at AS DATE) AS day, MIN(occurred_at) AS first_at,
            MAX(occurred_at) AS last_at, COUNT(*) AS events FROM numbered GROUP BY 1, 2, 3, 4
        )
        SELECT client_id, user_id, day, events, MIN(first_at) OVER w AS session_start, MIN(day) OVER w AS start_day,
          {SECONDS} AS seconds FROM days WINDOW w AS (PARTITION BY client_id, user_id, number)""",
    "feature_life": f"""
        SELECT client_id, e.user_id, e.feature, MIN(CAST({LOCAL} AS DATE)) AS first_day,
          MAX(CAST({LOCAL} AS DATE)) AS last_day {JOINED}
        WHERE {PERSON} AND e.feature IS NOT NULL GROUP BY 1, 2, 3""",
}  # fmt: skip
CUSTOMERS = """
    SELECT 'c' || n AS client_id, DATE '2024-01-01' AS signup_date,
      (['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Tokyo'])[1 + n % 4] AS timezone FROM range(250) AS r(n)"""
EVENTS = """
    SELECT 'c' || hash(n // 40) % 250 AS client_id, 'u' || hash(n // 40) % 250 || '_' || hash(n // 20 + 7) % 40 AS user_id,
      TIMESTAMP '2024-01-01' + to_microseconds(CAST(n * ({days}.0 * 86400e6 / {events}) AS BIGINT)) AS occurred_at,
      'feature_' || hash(n + 1) % 30 AS feature, CASE hash(n + 2) % 10 WHEN 0 THEN 'api' ELSE 'ui' END AS source
    FROM range({events}) AS r(n)"""
NEXT_DAY = """
    SELECT 'c' || n % 250 AS client_id, 'u' || n % 250 || '_' || n % 40 AS user_id,
      TIMESTAMP '2024-01-01' + to_days({days}) + to_seconds(n) AS occurred_at, 'feature_1' AS feature, 'ui' AS source
    FROM range(CAST({events} / {days} AS BIGINT)) AS r(n)"""


class Tables:
    """The events in an engine, and as Parquet files; ``address`` is the engine's."""

    def __init__(self, engine: str, folder: Path, address: str) -> None:
        self.engine, self.address, self.files = engine, address, folder / "files"
        (self.files / "events").mkdir(parents=True)

    def write(self, part: str, query: str) -> None:
        """A part of a table, in both places."""
        path = self.files / f"{part}.parquet"
        duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT PARQUET)")
        name = part.partition("/")[0]
        if self.engine == "duckdb":
            with duckdb.connect(self.address) as connection:
                made = f"CREATE TABLE IF NOT EXISTS {name} AS FROM '{path}' LIMIT 0"
                connection.execute(f"{made}; INSERT INTO {name} FROM '{path}'")
        elif self.engine == "postgresql":
            rows = duckdb.sql(f"FROM '{path}'").to_arrow_reader()
            with _postgres(self.address) as cursor:
                cursor.adbc_ingest(name, rows, mode="create_append")

    def index(self) -> None:
        if self.engine == "postgresql":
            with _postgres(self.address) as cursor:
                cursor.execute("CREATE INDEX ON events (occurred_at)")
                cursor.execute("ANALYZE")

    def source(self, name: str) -> str:
        where = f"{self.files}/events" if name == "events" else f"{self.files}/{name}.parquet"
        return f"parquet.`{where}`" if self.engine == "spark" else name

    def rival(self, query: str) -> str:
        for words, own in OWN.get(self.engine, {}).items():
            query = query.replace(words, own)
        for name in ("events", "customers"):
            query = query.replace(f" {name} AS ", f" {self.source(name)} AS ")
        return query

    def bytes(self) -> int:
        """Of the events as they would travel."""
        return duckdb.sql(f"FROM '{self.files}/events/*.parquet'").to_arrow_table().nbytes

    def portfolio(self, home: Path) -> Path:
        home.mkdir()
        toml = f'[source]\nengine = "{self.engine}"\naddress = "$HEALTHSEG_ENGINE"\n[tables]\n'
        names = ("customers", "events")
        toml += "".join(f'{name} = "SELECT * FROM {self.source(name)}"\n' for name in names)
        (home / "portfolio.toml").write_text(toml)
        return home


@contextlib.contextmanager
def _postgres(address: str) -> Iterator[object]:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        yield cursor
        connection.commit()


@contextlib.contextmanager
def server(engine: str, folder: Path) -> Iterator[tuple[str, psutil.Process | None]]:
    """An engine's address and the process of its server: Spark's and DuckDB's are this one's own."""
    if engine != "postgresql":
        yield ("local[2]" if engine == "spark" else str(folder / "events.duckdb")), None
        return
    from tests.data.postgres import server as postgres

    with postgres() as address:
        data = Path(address.partition("host=")[2]) / "data"
        yield address, psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))


def processor_seconds(server: psutil.Process | None) -> float:
    own = psutil.Process().cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for parent in (psutil.Process(), server):
        for child in parent.children(recursive=True) if parent else ():
            with contextlib.suppress(psutil.NoSuchProcess):  # it is counted with the ended ones
                times = child.cpu_times()
                total += times.user + times.system
    if server is not None:
        ended = server.cpu_times()
        total += ended.children_user + ended.children_system
    return total


def measured(server: psutil.Process | None, work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds by the clock."""
    before, start = processor_seconds(server), time.perf_counter()
    work()
    return processor_seconds(server) - before, time.perf_counter() - start


def line(name: str, ratio: float, goal: str, words: str = "") -> None:
    print(f"{name:<58} {ratio:6.2f}  {goal}  {words}", flush=True)


def count_bare(tables: Tables) -> None:
    for query in RIVALS.values():
        # a session of its own each time
        with EngineAddress(tables.engine, tables.address).connected() as driver:
            driver.arrow(tables.rival(query))


def opened(path: Path | str) -> Portfolio:
    portfolio = Portfolio.open(path)
    assert portfolio.reports["events"].kept
    return portfolio


def differences(home: Path, files: Path) -> int:
    """Rows of facts that one of both has and the other has not."""
    count = 0
    for fact in FACTS:
        one, other = (
            f"(FROM read_parquet('{folder}/.healthseg/facts/*/*/{fact}.parquet'))"
            for folder in (home, files)
        )
        for pair in ((one, other), (other, one)):
            query = f"SELECT COUNT(*) FROM ({pair[0]} EXCEPT ALL {pair[1]})"
            count += duckdb.sql(query).fetchall()[0][0]
    return count


def compare(tables: Tables, server: psutil.Process | None, options: argparse.Namespace) -> None:
    sizes = {"events": options.events, "days": options.days}
    tables.write("customers", CUSTOMERS)
    tables.write("events/first", EVENTS.format(**sizes))
    tables.index()
    home = tables.portfolio(tables.files.parent / "portfolio")
    if tables.engine == "spark":  # to start it is no part of counting
        with EngineAddress("spark", tables.address).connected() as driver:
            driver.arrow("SELECT 1")
    fetched: list[int] = []
    ask = Engine.execute

    def counted(engine: Engine, text: str) -> object:
        before = engine.bytes_fetched
        answer = ask(engine, text)
        fetched.append(engine.bytes_fetched - before)
        return answer

    Engine.execute = counted  # type: ignore[method-assign,assignment]
    bare = measured(server, lambda: count_bare(tables))
    built = measured(server, lambda: opened(home))
    size, stored = sum(fetched), tables.bytes()
    again = measured(server, lambda: opened(home))
    in_files = measured(None, lambda: opened(tables.files))
    line("rows that differ from DuckDB's facts", differences(home, tables.files), "0")
    words = f"{built[0]:.1f} s of processor against {bare[0]:.1f} s"
    line("facts in the engine / five bare queries, processor", built[0] / bare[0], "<= 1.5", words)
    line("facts in the engine / five bare queries, clock", built[1] / bare[1], "<= 1.5")
    facts = (home / ".healthseg" / "facts").glob("*/*/*.parquet")
    kept = sum(path.stat().st_size for path in facts)
    line("bytes fetched / bytes of the events", size / stored, "<= 0.05", f"{size:,}")
    line("bytes of facts / bytes of the events", kept / stored, "<= 0.05", f"{kept:,}")
    line("opening again, nothing changed / building, processor", again[0] / built[0], "<= 0.15")
    tables.write("events/next", NEXT_DAY.format(**sizes))
    day = measured(server, lambda: opened(home))
    words = f"{day[0]:.1f} s of {built[0]:.1f} s"
    line("adding a day / building, processor", day[0] / built[0], "<= 0.15", words)
    day = measured(None, lambda: opened(tables.files))
    words = f"{day[0]:.1f} s of {in_files[0]:.1f} s"
    line("the same of Parquet files", day[0] / in_files[0], "<= 0.15", words)
    if options.copy:
        copied = measured(server, lambda: opened(tables.address))
        words = f"{built[0]:.1f} s of processor against {copied[0]:.1f} s"
        line("opening / opening by copying, processor", built[0] / copied[0], "<= 0.2", words)
        line("opening again / opening by copying, processor", again[0] / copied[0], "<= 0.2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", default="postgresql", choices=("postgresql", "spark", "duckdb"))
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--copy", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        with server(options.engine, folder) as (address, process):
            os.environ["HEALTHSEG_ENGINE"] = address
            os.environ["HEALTHSEG_INPUT_LIMITS__SECONDS"] = "100000"
            compare(Tables(options.engine, folder, address), process, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert set(FACTS) == set(RIVALS)


if __name__ == "__main__":
    main()
