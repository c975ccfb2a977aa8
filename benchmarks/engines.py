"""Facts counted in PostgreSQL against five hand-written queries there, against a copy of the events, and one more day.

    python benchmarks/engines.py [--events 5000000] [--days 548] [--copy]

Prints one line a figure: name, measured ratio, what is to be reached. Processor time is that of the server and of this
process together. ``--copy`` opens the same tables by the database's address alone as well, which copies the events.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from adbc_driver_postgresql import dbapi

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.data.facts import FACTS  # noqa: E402
from healthseg.data.portfolio import Portfolio  # noqa: E402
from tests.data.postgres import server  # noqa: E402

LOCAL = "(e.occurred_at AT TIME ZONE 'UTC') AT TIME ZONE c.timezone"
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
          EXTRACT(HOUR FROM {LOCAL})::int AS hour, COUNT(*) AS events {JOINED} WHERE {PERSON} GROUP BY 1, 2, 3, 4, 5""",
    "sessions": f"""
        WITH gaps AS (
          SELECT client_id, e.user_id, e.occurred_at, {LOCAL} AS local_at,
            LAG(e.occurred_at) OVER (PARTITION BY client_id, e.user_id ORDER BY e.occurred_at) AS previous
          {JOINED} WHERE {PERSON} AND e.user_id IS NOT NULL
        ), numbered AS (
          SELECT *, SUM(CASE WHEN previous IS NULL OR occurred_at - previous > INTERVAL '30 minutes' THEN 1 ELSE 0 END)
            OVER (PARTITION BY client_id, user_id ORDER BY occurred_at) AS number FROM gaps
        ), days AS (
          SELECT client_id, user_id, number, CAST(local_at AS DATE) AS day, MIN(occurred_at) AS first_at,
            MAX(occurred_at) AS last_at, COUNT(*) AS events FROM numbered GROUP BY 1, 2, 3, 4
        )
        SELECT client_id, user_id, day, events, MIN(first_at) OVER w AS session_start, MIN(day) OVER w AS start_day,
          EXTRACT(EPOCH FROM last_at - MIN(first_at) OVER w)::bigint AS seconds
        FROM days WINDOW w AS (PARTITION BY client_id, user_id, number)""",
    "feature_life": f"""
        SELECT client_id, e.user_id, e.feature, MIN(CAST({LOCAL} AS DATE)) AS first_day,
          MAX(CAST({LOCAL} AS DATE)) AS last_day {JOINED}
        WHERE {PERSON} AND e.feature IS NOT NULL GROUP BY 1, 2, 3""",
}  # fmt: skip
TABLES = """
    CREATE TABLE customers AS SELECT 'c' || n AS client_id, DATE '2024-01-01' AS signup_date,
      (ARRAY['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Tokyo'])[1 + n % 4] AS timezone FROM generate_series(0, 249) AS n;
    CREATE TABLE events AS SELECT 'c' || abs(hashint8(n / 40)) % 250 AS client_id,
      'u' || abs(hashint8(n / 40)) % 250 || '_' || abs(hashint8(n / 20 + 7)) % 40 AS user_id,
      TIMESTAMP '2024-01-01' + n * INTERVAL '1 second' * ({days}.0 * 86400 / {events}) AS occurred_at,
      'feature_' || abs(hashint8(n + 1)) % 30 AS feature,
      CASE abs(hashint8(n + 2)) % 10 WHEN 0 THEN 'api' ELSE 'ui' END AS source FROM generate_series(0, {events} - 1) AS n;
    CREATE INDEX ON events (occurred_at);
    ANALYZE
"""
NEXT_DAY = """
    INSERT INTO events SELECT 'c' || n % 250, 'u' || n % 250 || '_' || n % 40,
      TIMESTAMP '2024-01-01' + {days} * INTERVAL '1 day' + n * INTERVAL '1 second', 'feature_1', 'ui'
      FROM generate_series(0, {events} / {days}) AS n
"""


def run(address: str, *statements: str) -> None:
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def processor_seconds(postmaster: psutil.Process) -> float:
    own, ended = psutil.Process().cpu_times(), postmaster.cpu_times()
    total = own.user + own.system + ended.children_user + ended.children_system
    for child in postmaster.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it is counted with the ended ones
            times = child.cpu_times()
            total += times.user + times.system
    return total


def measured(postmaster: psutil.Process, work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds by the clock."""
    before, start = processor_seconds(postmaster), time.perf_counter()
    work()
    return processor_seconds(postmaster) - before, time.perf_counter() - start


def line(name: str, ratio: float, goal: str, words: str = "") -> None:
    print(f"{name:<58} {ratio:6.2f}  {goal}  {words}", flush=True)


def count_bare(address: str) -> None:
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        for query in RIVALS.values():
            cursor.execute(query)
            cursor.fetch_arrow_table()


def opened(path: Path | str) -> Portfolio:
    portfolio = Portfolio.open(path)
    assert portfolio.reports["events"].kept
    return portfolio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--copy", action="store_true")
    options = parser.parse_args()
    sizes = {"events": options.events, "days": options.days}
    with server() as address, tempfile.TemporaryDirectory() as folder:
        os.environ["HEALTHSEG_ENGINE"] = address
        os.environ["HEALTHSEG_INPUT_LIMITS__SECONDS"] = "100000"
        os.environ["HEALTHSEG_CACHE"] = str(Path(folder) / "cache")
        data = Path(address.partition("host=")[2]) / "data"
        postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        run(address, *TABLES.format(**sizes).split(";"))
        toml = '[source]\nengine = "postgresql"\naddress = "$HEALTHSEG_ENGINE"\n[tables]\n'
        toml += "".join(f'{name} = "SELECT * FROM {name}"\n' for name in ("customers", "events"))
        home = Path(folder) / "portfolio"
        home.mkdir()
        (home / "portfolio.toml").write_text(toml)
        bare = measured(postmaster, lambda: count_bare(address))
        built = measured(postmaster, lambda: opened(home))
        again = measured(postmaster, lambda: opened(home))
        facts = (home / ".healthseg" / "facts").glob("*/*/*.parquet")
        size = sum(path.stat().st_size for path in facts)
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_table_size('events')")
            ((stored,),) = cursor.fetchall()
        run(address, NEXT_DAY.format(**sizes))
        day = measured(postmaster, lambda: opened(home))
        words = f"{built[0]:.1f} s of processor against {bare[0]:.1f} s"
        line(
            "facts in PostgreSQL / five bare queries, processor",
            built[0] / bare[0],
            "<= 1.5",
            words,
        )
        line("facts in PostgreSQL / five bare queries, clock", built[1] / bare[1], "<= 1.5")
        line("bytes of facts / bytes of the events' table", size / stored, "<= 0.05")
        line("opening again, nothing changed / building, processor", again[0] / built[0], "<= 0.15")
        line("adding a day / building, processor", day[0] / built[0], "<= 0.15")
        if options.copy:
            copied = measured(postmaster, lambda: opened(address))
            line("opening / opening by copying, processor", built[0] / copied[0], "<= 0.2")
            line("opening again / opening by copying, processor", again[0] / copied[0], "<= 0.2")
    assert set(FACTS) == set(RIVALS)


if __name__ == "__main__":
    main()
