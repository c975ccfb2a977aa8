"""A day of a million events (in full, ten) from a server that streams like Mixpanel: memory, time, exact counts.

    python benchmarks/mixpanel.py [--events 1000000]

The faults (30 and more, each passing and each staying) are tests/data/test_mixpanel.py. Exit status 1 where an event is
lost or counted twice, or the process that syncs needs more than 1 GiB.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

REACH_MB = 1024
DAY = dt.date(2025, 3, 10)
START_MS = int(dt.datetime(2025, 3, 10, tzinfo=dt.UTC).timestamp() * 1000)
REPEATED = 20  # one event in so many is sent twice
BLOCK = 5_000
LINE = (
    '{"event":"feature %d","properties":{"time":%d,"distinct_id":"user-%d","company":"cs_client_%03d",'
    '"$insert_id":"%016x","mp_processing_time_ms":%d,"$browser":"Firefox","$city":"Lisbon","page":"/reports/x"}}\n'
)


def block(first: int, last: int, total: int) -> bytes:
    """Lines of the events from ``first`` to ``last``; every twentieth twice."""
    lines = []
    for k in range(first, last):
        at = START_MS + k * 86_399_000 // total
        line = LINE % (k % 50, at, k % 20_011, k % 250, k * 2654435761 % 2**64, at + 4_000)
        lines += [line, line] if k % REPEATED == 0 else [line]
    return "".join(lines).encode()


def serve(events: int, port: object) -> None:
    """Answers one request with the whole day, in chunks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for first in range(0, events, BLOCK):
                data = block(first, min(first + BLOCK, events), events)
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

    server = HTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.handle_request()


def synced(folder: str, port: int, result: object) -> None:
    """Syncs the day in a process of its own; sends the outcome, seconds and megabytes."""
    from healthseg.integrations.mixpanel.sync import Sync
    from healthseg.settings.operator import MixpanelSettings

    settings = MixpanelSettings(
        api_url=f"http://127.0.0.1:{port}", account_key="company", event_timezone="UTC"
    )
    started = time.monotonic()
    outcome = Sync(
        Path(folder),
        settings,
        {"api_secret": "s"},
        now=lambda: dt.datetime(2025, 3, 20, tzinfo=dt.UTC),
        sleep=time.sleep,
    ).run(DAY, DAY)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result.send((outcome.to_dict(), time.monotonic() - started, peak))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        (port, server_end), (result, client_end) = spawn.Pipe(), spawn.Pipe()
        server = spawn.Process(target=serve, args=(events, server_end))
        server.start()
        client = spawn.Process(target=synced, args=(folder, port.recv(), client_end))
        client.start()
        outcome, seconds, peak = result.recv()
        client.join()
        server.join()
        rows_written = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet")) / 2**20
    sent = events + -(-events // REPEATED)
    exact = (outcome["received"], outcome["events"], outcome["repeats"]) == (
        sent,
        events,
        sent - events,
    )
    size = len(block(0, 1000, events)) / 1000 * events / 2**30
    print(
        f"a day of {events:,} events ({size:.1f} GiB of lines, {sent - events:,} of them sent twice): "
        f"{seconds:.0f} s, {peak:.0f} MB at most (reach {REACH_MB}), {rows_written:.0f} MB of Parquet"
    )
    print(json.dumps({key: outcome[key] for key in ("received", "events", "repeats", "queries")}))
    print("every event once" if exact else "NOT exact")
    return int(not exact or peak > REACH_MB)


if __name__ == "__main__":
    sys.exit(main())
