"""Facts against hand-written DuckDB queries on the raw Parquet, one per fact; and the cost of one more day.

    python benchmarks/facts.py [--events 5000000] [--days 548] [--memory 50000000]

Prints one line a figure: name, measured ratio, what is to be reached.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from healthseg.data.portfolio import Portfolio

START = dt.date(2024, 1, 1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney")
LOCAL = "(e.occurred_at AT TIME ZONE 'UTC') AT TIME ZONE c.timezone"
PERSON = "coalesce(e.source, 'ui') <> 'api'"

RIVALS = {
    "user_day": f"""
        SELECT e.client_id, e.user_id, CAST({LOCAL} AS DATE) AS day,
          count(*) FILTER (WHERE {PERSON}) AS events, count(*) FILTER (WHERE NOT ({PERSON})) AS api_events
        FROM events e JOIN customers c USING (client_id) GROUP BY ALL""",
    "feature_day": f"""
        SELECT e.client_id, e.user_id, e.feature, CAST({LOCAL} AS DATE) AS day, count(*) AS events
        FROM events e JOIN customers c USING (client_id) WHERE {PERSON} AND e.feature IS NOT NULL GROUP BY ALL""",
    "user_hour": f"""
        SELECT e.client_id, e.user_id, date_trunc('hour', e.occurred_at) AS hour_utc,
          CAST({LOCAL} AS DATE) AS day, hour({LOCAL}) AS hour, count(*) AS events
        FROM events e JOIN customers c USING (client_id) WHERE {PERSON} GROUP BY ALL""",
    "sessions": f"""
        WITH gaps AS (
          SELECT e.client_id, e.user_id, e.occurred_at, {LOCAL} AS local_at,
            lag(e.occurred_at) OVER (PARTITION BY e.client_id, e.user_id ORDER BY e.occurred_at) AS previous
          FROM events e JOIN customers c USING (client_id) WHERE {PERSON} AND e.user_id IS NOT NULL
        ), numbered AS (
          SELECT *, sum(CASE WHEN previous IS NULL OR occurred_at - previous > INTERVAL 30 MINUTE THEN 1 ELSE 0 END)
            OVER (PARTITION BY client_id, user_id ORDER BY occurred_at) AS number FROM gaps
        ), days AS (
          SELECT client_id, user_id, number, CAST(local_at AS DATE) AS day, min(occurred_at) AS first_at,
            max(occurred_at) AS last_at, count(*) AS events FROM numbered GROUP BY ALL
        )
        SELECT client_id, user_id, day, events, min(first_at) OVER w AS session_start, min(day) OVER w AS start_day,
          date_diff('second', min(first_at) OVER w, last_at) AS seconds
        FROM days WINDOW w AS (PARTITION BY client_id, user_id, number)""",
    "feature_life": f"""
        SELECT e.client_id, e.user_id, e.feature, min(CAST({LOCAL} AS DATE)) AS first_day,
          max(CAST({LOCAL} AS DATE)) AS last_day
        FROM events e JOIN customers c USING (client_id) WHERE {PERSON} AND e.feature IS NOT NULL GROUP BY ALL""",
}


def make_portfolio(folder: Path, events: int, days: int, clients: int = 250) -> None:
    """A folder with customers and one file of events by time: 30 users a customer, bursts of about twelve events."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    zones = "[" + ", ".join(f"'{zone}'" for zone in ZONES) + "]"
    connection.execute(f"""COPY (SELECT 'client_' || lpad(CAST(i AS VARCHAR), 5, '0') AS client_id,
        DATE '2023-12-01' AS signup_date, {zones}[1 + i % {len(ZONES)}] AS timezone FROM range({clients}) t(i))
        TO '{folder}/customers.parquet' (FORMAT PARQUET)""")
    users = clients * 30
    connection.execute(f"""COPY (
        SELECT 'client_' || lpad(CAST(u % {clients} AS VARCHAR), 5, '0') AS client_id,
          TIMESTAMP '{START}' + to_microseconds(second * 1000000 + CAST(hash(i * 5) % 1000000 AS BIGINT))
            AS occurred_at,
          'user_' || u AS user_id, 'feature_' || least(hash(i * 3) % 20, hash(i * 11) % 20) AS feature,
          CASE WHEN hash(i * 7) % 50 = 0 THEN 'api' ELSE 'ui' END AS source
        FROM (SELECT i, CAST(hash(i // 12) % {users} AS BIGINT) AS u,
                CAST(floor((i // 12) * 12.0 * {days} * 86400 / {events}) AS BIGINT) + (i % 12) * 97 AS second
              FROM range({events}) t(i))
        WHERE second < {days} * 86400)
        TO '{folder}/events.parquet' (FORMAT PARQUET)""")


def split_by_day(folder: Path, target: Path) -> list[Path]:
    """The same portfolio with one file of events a day."""
    (target / "events").mkdir(parents=True)
    shutil.copy(folder / "customers.parquet", target)
    connection = duckdb.connect()
    connection.execute(
        f"COPY (SELECT *, CAST(occurred_at AS DATE) AS day FROM '{folder}/events.parquet') TO "
        f"'{target}/parts' (FORMAT PARQUET, PARTITION_BY (day))"
    )
    for number, part in enumerate(sorted((target / "parts").glob("day=*/*.parquet"))):
        part.rename(
            target / "events" / f"{part.parent.name.removeprefix('day=')}-{number:05d}.parquet"
        )
    shutil.rmtree(target / "parts")
    return sorted((target / "events").glob("*.parquet"))


def build_seconds(folder: Path) -> float:
    began = time.perf_counter()
    portfolio = Portfolio.open(folder)
    if portfolio.reports["events"].refused:
        raise SystemExit(portfolio.reports["events"].reason)
    return time.perf_counter() - began


def rival_seconds(folder: Path) -> float:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW events AS SELECT * FROM '{folder}/events.parquet'")
    connection.execute(f"CREATE VIEW customers AS SELECT * FROM '{folder}/customers.parquet'")
    total = 0.0
    for name, query in RIVALS.items():
        began = time.perf_counter()
        connection.execute(f"CREATE TABLE {name} AS {query}").fetchall()
        spent = time.perf_counter() - began
        print(f"  by hand: {name} {spent:.2f} s")
        total += spent
    return total


def agree(folder: Path) -> None:
    """Both ways count the same."""
    portfolio = Portfolio.open(folder, {"keep_identical_events": True}).connection()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW events AS SELECT * FROM '{folder}/events.parquet'")
    connection.execute(f"CREATE VIEW customers AS SELECT * FROM '{folder}/customers.parquet'")
    sums = {
        "user_day": "count(*), sum(events), sum(api_events)",
        "feature_day": "count(*), sum(events)",
        "user_hour": "count(*), sum(events), sum(hour)",
        "feature_life": "count(*), sum(last_day - first_day)",
        "sessions": "count(*), sum(events), count(DISTINCT start_day)",
    }
    for name, query in RIVALS.items():
        own = portfolio.execute(f"SELECT {sums[name]} FROM {name}").fetchall()
        direct = connection.execute(f"SELECT {sums[name]} FROM ({query})").fetchall()
        print(f"  {name}: {'the same' if own == direct else f'DIFFERENT {own} {direct}'}")


def against_rival(folder: Path, rounds: int) -> float:
    ratios = []
    for _ in range(rounds):
        shutil.rmtree(folder / ".healthseg", ignore_errors=True)
        own, rival = build_seconds(folder), rival_seconds(folder)
        ratios.append(own / rival)
        print(f"  all facts {own:.2f} s, by hand {rival:.2f} s")
    return sorted(ratios)[len(ratios) // 2]


def one_more_day(folder: Path, scratch: Path) -> tuple[float, float]:
    """Seconds of one new file of a day, and of one old file rewritten, over seconds of building all."""
    files = split_by_day(folder, scratch)
    aside = scratch / "aside.parquet"
    files[-1].rename(aside)
    full_build = build_seconds(scratch)
    aside.rename(files[-1])
    added = build_seconds(scratch)
    rewritten = files[len(files) // 2]
    connection = duckdb.connect()
    connection.execute(
        f"COPY (SELECT * FROM '{rewritten}' ORDER BY occurred_at OFFSET 1) TO '{aside}' (FORMAT PARQUET)"
    )
    os.replace(aside, rewritten)
    changed = build_seconds(scratch)
    print(
        f"  a file a day: all {full_build:.2f} s, one day more {added:.2f} s, one old day rewritten {changed:.2f} s"
    )
    return added / full_build, changed / full_build


def rewritten_whole(folder: Path) -> float:
    """The one file of events rewritten with a few rows less at its end: seconds over building all."""
    shutil.rmtree(folder / ".healthseg", ignore_errors=True)
    full_build = build_seconds(folder)
    connection = duckdb.connect()
    connection.execute(
        f"COPY (SELECT * FROM '{folder}/events.parquet' LIMIT (SELECT count(*) - 1000 FROM "
        f"'{folder}/events.parquet')) TO '{folder}/new.parquet' (FORMAT PARQUET)"
    )
    os.replace(folder / "new.parquet", folder / "events.parquet")
    return build_seconds(folder) / full_build


def memory(folder: Path) -> float:
    """Peak memory in GiB of building the facts in a process of its own."""
    code = (
        "import sys, resource; from healthseg.data.portfolio import Portfolio; "
        "Portfolio.open(sys.argv[1]).reports; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=548)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, default=0, help="events of the memory test, 50000000 for the full one"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        make_portfolio(scratch / "one", options.events, options.days)
        agree(scratch / "one")
        print(
            f"facts over hand-written queries: {against_rival(scratch / 'one', options.rounds):.2f} (reach 1.5)"
        )
        added, changed = one_more_day(scratch / "one", scratch / "daily")
        print(f"one day more over building all: {added:.3f} (reach 0.10)")
        print(f"one old day rewritten over building all: {changed:.3f}")
        print(
            f"the single file rewritten over building all: {rewritten_whole(scratch / 'one'):.3f}"
        )
        if options.memory:
            make_portfolio(scratch / "large", options.memory, options.days, clients=2500)
            print(
                f"memory of {options.memory:,} events: {memory(scratch / 'large'):.2f} GiB (reach 2)"
            )
    print(
        f"peak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()
