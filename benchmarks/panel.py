"""The panel of 78 weekly dates against one hand-written DuckDB query per window, over the same facts in the same run.

    python benchmarks/panel.py [--clients 10000] [--events light]

Every query computes its window's metrics of all dates as one would write them for a single report: a join of the
dates with the rows of their window, grouped by customer and date. Prints the seconds of each, the panel's, their ratio,
and the peak of memory; and at 2,000 customers or more what one new date costs. Exit status 1 where a figure misses.
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.data.portfolio import Portfolio  # noqa: E402
from healthseg.metrics.panels import build  # noqa: E402

DATES = 78
MANY = 2_000  # customers from which on memory and a new date are measured
REACH = {"ratio": 3.0, "gib": 6.0, "new date": 5.0}


def within(table: str, days: int, day: str = "day") -> str:
    return f"dates AS d JOIN {table} AS x ON x.{day} <= d.d AND x.{day} > d.d - {days}"


QUERIES = {
    "7 days": f"""
        SELECT x.client_id, d.d, count(DISTINCT x.user_id) AS weekly FROM {within("user_day", 7)}
        WHERE x.events > 0 GROUP BY ALL""",
    "28 days": f"""
        WITH by_user AS (
          SELECT x.client_id, d.d, x.user_id, sum(x.events) AS n, sum(x.api_events) AS api
          FROM {within("user_day", 28)} GROUP BY ALL
        ), users AS (
          SELECT client_id, d, sum(n) AS events, sum(api) AS calls, count(user_id) FILTER (n > 0) AS active,
            max(n) FILTER (user_id IS NOT NULL) AS top, sum(n) FILTER (user_id IS NOT NULL) AS named
          FROM by_user GROUP BY ALL
        ), days AS (
          SELECT x.client_id, d.d, count(DISTINCT x.day) AS active_days FROM {within("user_day", 28)}
          WHERE x.events > 0 GROUP BY ALL
        ), sessions AS (
          SELECT client_id, d, count(*) AS sessions, avg(seconds) / 60 AS minutes FROM (
            SELECT x.client_id, d.d, x.user_id, x.session_start, x.session_id, arg_max(x.seconds, x.day) AS seconds
            FROM {within("sessions", 28, "start_day")} WHERE x.day <= d.d GROUP BY ALL) GROUP BY ALL
        ), features AS (
          SELECT x.client_id, d.d, count(DISTINCT x.feature) AS features FROM {within("feature_day", 28)}
          WHERE x.events > 0 GROUP BY ALL
        ), last AS (
          SELECT c.client_id, d.d, x.day AS last_day FROM dates AS d CROSS JOIN customers AS c
          ASOF JOIN (SELECT DISTINCT client_id, day FROM user_day WHERE events > 0) AS x
            ON x.client_id = c.client_id AND x.day <= d.d
        )
        SELECT *, top / named AS top_share, sessions / nullif(active, 0) / 4 AS per_week FROM users
        LEFT JOIN days USING (client_id, d) LEFT JOIN sessions USING (client_id, d)
        LEFT JOIN features USING (client_id, d) LEFT JOIN last USING (client_id, d)""",
    "30 days": f"""
        WITH daily AS (
          SELECT client_id, day, count(DISTINCT user_id) AS users FROM user_day WHERE events > 0 GROUP BY ALL
        ), monthly AS (
          SELECT x.client_id, d.day, count(DISTINCT x.user_id) AS users
          FROM (SELECT DISTINCT client_id, day FROM user_day) AS d
          JOIN user_day AS x ON x.client_id = d.client_id AND x.day <= d.day AND x.day > d.day - 30
          WHERE x.events > 0 GROUP BY ALL
        ), sticky AS (
          SELECT x.client_id, d.d, avg(coalesce(y.users, 0) / x.users) AS stickiness, sum(y.users) / 30 AS dau
          FROM {within("monthly", 30)} LEFT JOIN daily AS y ON y.client_id = x.client_id AND y.day = x.day GROUP BY ALL
        ), used AS (
          SELECT x.client_id, d.d, x.feature FROM {within("feature_day", 30)} WHERE x.events > 0
          GROUP BY ALL HAVING count(DISTINCT x.day) >= 2
        ), entitled AS (
          SELECT DISTINCT e.client_id, d.d, e.feature FROM dates AS d
          JOIN entitlements AS e ON coalesce(e.starts_on, d.d) <= d.d AND coalesce(e.ends_on, d.d + 1) > d.d
          JOIN features AS f ON f.feature = e.feature AND coalesce(f.released_on, d.d) <= d.d
        ), adoption AS (
          SELECT e.client_id, e.d, count(e.feature) AS entitled, count(u.feature) AS adopted
          FROM entitled AS e LEFT JOIN used AS u USING (client_id, d, feature) GROUP BY ALL
        ), active AS (
          SELECT x.client_id, d.d, count(DISTINCT x.user_id) AS mau FROM {within("user_day", 30)}
          WHERE x.events > 0 GROUP BY ALL
        )
        SELECT * FROM active LEFT JOIN sticky USING (client_id, d) LEFT JOIN adoption USING (client_id, d)""",
    "84 days before": f"""
        WITH base AS (
          SELECT x.client_id, d.d, sum(x.events) AS before FROM (SELECT d - 28 AS d FROM dates) AS d
          JOIN user_day AS x ON x.day <= d.d AND x.day > d.d - 84 GROUP BY ALL
        ), users AS (
          SELECT x.client_id, d.d, x.user_id, sum(x.events) AS n, count(*) AS days
          FROM (SELECT d - 28 AS d FROM dates) AS d JOIN user_day AS x ON x.day <= d.d AND x.day > d.d - 90
          WHERE x.events > 0 AND x.user_id IS NOT NULL GROUP BY ALL
        ), champions AS (
          SELECT client_id, d, max(n) / sum(n) AS share, arg_max(user_id, n) AS user_id, arg_max(days, n) AS days
          FROM users GROUP BY ALL
        ), seen AS (
          SELECT x.client_id, d.d - 28 AS d, x.user_id, count(*) AS recent FROM {within("user_day", 28)}
          WHERE x.events > 0 GROUP BY ALL
        )
        SELECT base.*, c.share, c.days, s.recent FROM base LEFT JOIN champions AS c USING (client_id, d)
        LEFT JOIN seen AS s ON s.client_id = c.client_id AND s.d = c.d AND s.user_id = c.user_id""",
    "90 days": f"""
        WITH opened AS (
          SELECT x.client_id, d.d, count(*) AS tickets FROM {within("tickets", 90, "opened_day")} GROUP BY ALL
        ), solved AS (
          SELECT x.client_id, d.d, median(date_diff('second', x.opened_at, x.resolved_at)) / 3600 AS hours
          FROM {within("tickets", 90, "resolved_day")} GROUP BY ALL
        ), open AS (
          SELECT x.client_id, d.d, count(*) AS open, count(*) FILTER (x.severity IN ('high', 'critical')) AS high
          FROM dates AS d JOIN tickets AS x ON x.opened_day <= d.d AND coalesce(x.resolved_day, d.d + 1) > d.d
          GROUP BY ALL
        )
        SELECT * FROM opened FULL JOIN solved USING (client_id, d) FULL JOIN open USING (client_id, d)""",
    "180 days": f"""
        SELECT client_id, d, avg(score) AS csat, count(*) AS answers FROM (
          SELECT x.client_id, d.d, x.score FROM {within("surveys", 180, "responded_day")} WHERE x.kind = 'csat'
          UNION ALL
          SELECT x.client_id, d.d, x.csat FROM {within("tickets", 180, "resolved_day")} WHERE x.csat IS NOT NULL)
        GROUP BY ALL""",
    "365 days": f"""
        WITH latest AS (
          SELECT x.client_id, d.d, x.user_id, arg_max(x.score, x.responded_at) AS score
          FROM {within("surveys", 365, "responded_day")} WHERE x.kind = 'nps' GROUP BY ALL
        ), nps AS (
          SELECT client_id, d, 100 * avg(CASE WHEN score >= 9 THEN 1 WHEN score <= 6 THEN -1 ELSE 0 END) AS nps,
            count(*) AS respondents FROM latest GROUP BY ALL
        ), punctual AS (
          SELECT x.client_id, d.d, avg(CASE WHEN x.paid_on <= x.due_on + 5 THEN 1 ELSE 0 END) AS in_time
          FROM {within("invoices", 365, "due_on")} WHERE x.paid_on <= d.d OR d.d > x.due_on + 5 GROUP BY ALL
        ), overdue AS (
          SELECT x.client_id, d.d, max(date_diff('day', x.due_on, d.d)) AS worst, count(*) AS unpaid
          FROM dates AS d JOIN invoices AS x ON x.issued_on <= d.d AND coalesce(x.paid_on, d.d + 1) > d.d GROUP BY ALL
        )
        SELECT * FROM nps FULL JOIN punctual USING (client_id, d) FULL JOIN overdue USING (client_id, d)""",
}


def prepare(folder: Path, clients: int, events: str) -> None:
    """The portfolio and its facts, in a process of its own: its memory is not the panel's."""
    from healthseg.demo import make_demo

    make_demo(folder, clients=clients, events=events)
    Portfolio.open(folder).connection()


def seconds(work: Callable[[], object], times: int) -> float:
    """The shortest of so many runs."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return min(durations)


def by_hand(portfolio: Portfolio, dates: list[dt.date], times: int) -> float:
    """Seconds of all the hand-written queries, each printed."""
    connection = portfolio.connection()
    connection.register("date_frame", pd.DataFrame({"d": dates}))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE dates AS SELECT CAST(d AS DATE) AS d FROM date_frame"
    )
    total = 0.0
    for name, query in QUERIES.items():
        durations = seconds(lambda query=query: connection.execute(query).df(), times)
        print(f"  query of {name:16} {durations:8.2f} s", flush=True)
        total += durations
    return total


def metric(folder: Path, clients: int, times: int) -> bool:
    portfolio = Portfolio.open(folder)
    ids = sorted(portfolio.table("customers")["client_id"])
    dates = [portfolio.data_until - dt.timedelta(days=7 * back) for back in range(DATES)]
    build(portfolio, dates[:1], ids[:1])  # opens the files once
    panel = seconds(lambda: build(portfolio, dates, ids), times)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"panel of {clients:,} customers and {DATES} dates: {panel:.2f} s, peak {gib:.2f} GiB",
        flush=True,
    )
    alone = seconds(lambda: build(portfolio, dates[:53], ids[:1]), max(3, times))
    print(f"one customer on 53 dates: {alone * 1000:.0f} ms")
    fresh = seconds(lambda: build(portfolio, dates[:1], ids), times)
    print(f"one new date: {fresh:.2f} s (reach {REACH['new date']:g})", flush=True)
    hand = by_hand(portfolio, dates, times)
    ratio = panel / hand
    print(
        f"panel / queries = {panel:.2f} s / {hand:.2f} s = {ratio:.2f} (reach {REACH['ratio']:g}; "
        f"memory {gib:.2f} of {REACH['gib']:g} GiB)"
    )
    return ratio <= REACH["ratio"] and (
        clients < MANY or (gib <= REACH["gib"] and fresh <= REACH["new date"])
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument(
        "--events", choices=("full", "light"), default="light", help="light: the same facts, sooner"
    )
    parser.add_argument("--folder", type=Path, help="a portfolio that was prepared before")
    options = parser.parse_args()
    times = 3 if options.clients < MANY else 1
    if options.folder:
        return 0 if metric(options.folder, options.clients, times) else 1
    with tempfile.TemporaryDirectory(prefix="healthseg-panel-") as name:
        folder = Path(name) / "portfolio"
        child = multiprocessing.get_context("spawn").Process(
            target=prepare, args=(folder, options.clients, options.events)
        )
        child.start()
        child.join()
        return 0 if metric(folder, options.clients, times) else 1


if __name__ == "__main__":
    sys.exit(main())
