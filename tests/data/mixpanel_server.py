"""A server on this machine that behaves like Mixpanel's export, and misbehaves as it is told."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pandas as pd

FIRST, LAST = dt.date(2025, 3, 10), dt.date(2025, 3, 13)

SECRET, ACCOUNT, ACCOUNT_SECRET, PROJECT = (
    "canary-api-secret",
    "robot.1",
    "canary-account-secret",
    4711,
)
DAY = dt.timedelta(days=1)


@dataclass
class Project:
    """The events that the project has, when it is, and which faults the next requests meet."""

    events: list[dict[str, Any]] = field(default_factory=list)
    zone: str = "UTC"  # in which the project's days are, and its times where it is an old one
    now: Callable[[], dt.datetime] = lambda: dt.datetime(2025, 3, 20, 12, tzinfo=dt.UTC)
    faults: list[str] = field(
        default_factory=list
    )  # one a request; the last one stays where ``forever``
    forever: bool = False
    limit: int = 10**9
    requests: list[tuple[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def fault(self) -> str:
        if not self.faults:
            return ""
        return self.faults[0] if self.forever and len(self.faults) == 1 else self.faults.pop(0)

    def records(self, first: str, last: str) -> Iterator[dict[str, Any]]:
        """The events of these days of the project, ``time`` as its wall clock."""
        zone = ZoneInfo(self.zone)
        for event in self.events:
            local = event["at"].astimezone(zone)
            if first <= local.date().isoformat() <= last:
                wall = int((local.replace(tzinfo=dt.UTC)).timestamp() * 1000)
                yield {"event": event["event"], "properties": {"time": wall, **event["properties"]}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    project: Project

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        project, query = (
            self.project,
            {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()},
        )
        project.requests.append((query.get("from_date", ""), query.get("to_date", "")))
        project.times = [at for at in project.times if at > project.now().timestamp() - 3600]
        fault = project.fault()
        if not self._authorised(query):
            return self._error(401, "Unable to authenticate request", plain=True)
        if len(project.times) >= project.limit:
            return self._error(429, "Query rate limit exceeded")
        project.times.append(project.now().timestamp())
        if query["to_date"] > project.now().astimezone(ZoneInfo(project.zone)).date().isoformat():
            return self._error(400, "to_date cannot be later than today", plain=True)
        lines = [
            json.dumps(record, ensure_ascii=False)
            for record in project.records(query["from_date"], query["to_date"])
        ]
        getattr(self, "fault_" + fault, self._well)(lines) if fault else self._well(lines)

    def _authorised(self, query: dict[str, str]) -> bool:
        login = base64.b64decode(
            self.headers.get("Authorization", "").removeprefix("Basic ")
        ).decode()
        return login == f"{SECRET}:" or (
            login == f"{ACCOUNT}:{ACCOUNT_SECRET}" and query.get("project_id") == str(PROJECT)
        )

    # answers

    def _body(self, lines: list[str]) -> bytes:
        return "".join(line + "\n" for line in lines).encode()

    def _well(self, lines: list[str]) -> None:
        self._send(self._body(lines))

    def _send(
        self,
        body: bytes,
        zipped: bool | None = None,
        length: int | None = None,
        encoded: bytes | None = None,
    ):
        zipped = len(body) > 1400 if zipped is None else zipped
        data = encoded if encoded is not None else gzip.compress(body, 1) if zipped else body
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, words: str, plain: bool = False) -> None:
        body = (
            words.encode() if plain else json.dumps({"error": words, "request": self.path}).encode()
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunks(self, pieces: list[bytes], end: bool = True) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n" if end else b"")
        self.close_connection = True

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    # faults: status

    def fault_400_auth(self, lines):
        self._error(400, "Unable to authenticate request", plain=True)

    def fault_400_timeout(self, lines):
        self._error(400, "Timeout Error.")

    def fault_400_bad(self, lines):
        self._error(400, "Invalid project")

    def fault_400_today(self, lines):
        self._error(400, "to_date cannot be later than today", plain=True)

    def fault_401(self, lines):
        self._error(401, f"no such secret {SECRET}", plain=True)

    def fault_402(self, lines):
        self._error(402, "Payment required")

    def fault_403(self, lines):
        self._error(403, "Forbidden", plain=True)

    def fault_404(self, lines):
        self._error(404, "Not found", plain=True)

    def fault_429(self, lines):
        self._error(429, "Too Many Requests")

    def fault_500(self, lines):
        self._error(500, "<html>Server Error</html>", plain=True)

    def fault_502(self, lines):
        self._error(502, "", plain=True)

    def fault_503(self, lines):
        self._error(503, "unavailable", plain=True)

    def fault_504(self, lines):
        self._error(504, "gateway", plain=True)

    def fault_redirect(self, lines):
        self.send_response(302)
        self.send_header("Location", "https://mixpanel.com/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    # faults: the connection

    def fault_hang(self, lines):
        time.sleep(1.0)

    def fault_hang_midway(self, lines):
        body = self._body(lines)
        self._send(body[: len(body) // 2], zipped=False, length=len(body))
        self.wfile.flush()
        time.sleep(1.0)

    def fault_reset(self, lines):
        self._reset()

    def fault_reset_midway(self, lines):
        body = self._body(lines)
        self._send(body[: len(body) // 2], zipped=False, length=len(body))
        self._reset()

    def fault_short(self, lines):
        body = self._body(lines)
        self._send(self._body(lines[:-1]), zipped=False, length=len(body))
        self.close_connection = True

    def fault_chunks_cut(self, lines):
        self._chunks([self._body([line]) for line in lines[:-1]], end=False)

    def fault_unframed(self, lines):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self._body(lines[:-1]))
        self.close_connection = True

    def fault_gzip_cut(self, lines):
        self._send(b"", True, encoded=gzip.compress(self._body(lines))[:-20])

    def fault_gzip_broken(self, lines):
        self._send(b"", True, encoded=b"\x1f\x8b" + bytes(200))

    def fault_not_gzip(self, lines):
        self._send(b"", True, encoded=self._body(lines))

    # faults: the words

    def fault_early_last(self, lines):
        self._well([*lines[:-2], "export terminated early"])

    def fault_early_only(self, lines):
        self._well(["terminated early"])

    def fault_cut_record(self, lines):
        self._send(self._body(lines)[:-30])

    def fault_html(self, lines):
        self._well(["<html>", "try again", "</html>"])

    def fault_error_line(self, lines):
        self._well([*lines[:3], json.dumps({"error": "Internal error"})])

    def fault_plain_line(self, lines):
        self._well([*lines[:3], "Something went wrong", *lines[3:]])

    def fault_not_utf8(self, lines):
        self._send(self._body(lines[:2]) + b"\xff\xfe\n" + self._body(lines[2:]))

    def fault_empty(self, lines):
        self._send(b"")

    def fault_no_time(self, lines):
        self._well([*lines, json.dumps({"event": "x", "properties": {"company": "a"}})])

    def fault_other_day(self, lines):
        self._well(
            [
                *lines,
                json.dumps(
                    {"event": "x", "properties": {"time": 1_600_000_000_000, "company": "a"}}
                ),
            ]
        )

    # not faults, but what answers are like

    def fault_split(self, lines):
        self._send(
            "".join(
                f"{line[:40]}\n{line[40:]}\n" if k % 2 else line + "\n"
                for k, line in enumerate(lines)
            ).encode()
        )

    def fault_split_many(self, lines):
        self._send(
            "\n".join(
                self._body(lines).decode()[k : k + 50]
                for k in range(0, 50 * (sum(map(len, lines)) // 50 + 2), 50)
            )
            .replace("\n\n", "\n")
            .encode()
            if len(lines) == 1
            else self._body(lines)
        )

    def fault_blank_lines(self, lines):
        self._send(b"\n\n" + b"\r\n\n".join(line.encode() for line in lines) + b"\n\n")

    def fault_chunked(self, lines):
        body = self._body(lines)
        self._chunks([body[k : k + 7] for k in range(0, len(body), 7)])

    def fault_gzip_members(self, lines):
        self._send(b"", True, encoded=b"".join(gzip.compress(self._body([line])) for line in lines))

    def fault_twice(self, lines):
        self._well([*lines, *lines])

    def fault_seconds(self, lines):
        records = [json.loads(line) for line in lines]
        for record in records:
            record["properties"]["time"] //= 1000
        self._well([json.dumps(record) for record in records])


@contextmanager
def serving(project: Project) -> Iterator[str]:
    """The project on a port of this machine; its address."""
    handler = type("Bound", (Handler,), {"project": project})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # connections that a fault broke
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def happened(
    day: int,
    hour: float,
    user: str = "u1",
    company: Any = "a",
    event: str = "opened",
    *,
    number: int = 0,
    after: float = 5.0,
    **properties: Any,
) -> dict[str, Any]:
    """An event of March 2025, in UTC, that arrived so many seconds after it happened."""
    at = dt.datetime(2025, 3, 1, tzinfo=dt.UTC) + dt.timedelta(days=day - 1, hours=hour)
    arrived = int((at.timestamp() + after) * 1000)
    fields = {
        "distinct_id": user,
        "company": company,
        "$insert_id": f"{day}-{hour}-{user}-{number}",
        "mp_processing_time_ms": arrived,
        **properties,
    }
    return {
        "at": at,
        "event": event,
        "properties": {key: value for key, value in fields.items() if value is not ...},
    }


def days_of_use() -> list[dict[str, Any]]:
    return [
        happened(day, hour, user)
        for day in range(10, 14)
        for hour in (0, 9.5, 23.9997)
        for user in ("u1", "u2")
    ]


class Clock:
    """A time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.at = dt.datetime(2025, 3, 20, 12, tzinfo=dt.UTC)
        self.slept: list[float] = []

    def __call__(self) -> dt.datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += dt.timedelta(seconds=seconds)


def rows(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "events" / "mixpanel").glob("*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files]) if files else pd.DataFrame()


def there(folder: Path) -> Counter:
    """Events that are there, each as (account, time, user, event)."""
    frame = rows(folder)
    return (
        Counter()
        if frame.empty
        else Counter(
            zip(
                frame["client_id"],
                frame["occurred_at"].dt.tz_localize("UTC"),
                frame["user_id"],
                frame["event"],
                strict=True,
            )
        )
    )


def truth(events: list[dict[str, Any]]) -> Counter:
    return Counter(
        (
            event["properties"]["company"],
            pd.Timestamp(event["at"]).floor("ms"),
            event["properties"]["distinct_id"],
            event["event"],
        )
        for event in events
    )
