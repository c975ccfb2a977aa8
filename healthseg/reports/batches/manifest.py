"""The runs of a folder of reports: one file of JSON lines each, written as things happen.

The first line holds the request, then there is one line a report, and the last says how the run ended. A run that was
killed has no last line; all lines before are true, since a report's line is written after its files.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from healthseg.reports import writing
from healthseg.reports.batches.job import Job, ReportOutcome

FOLDER = "runs"
MOST_RUNS = 400


class Manifest:
    """The file of one run."""

    def __init__(self, folder: Path, at: dt.datetime, request: Mapping[str, Any]) -> None:
        self.name = f"{at:%Y%m%dT%H%M%SZ}-{os.getpid()}"
        self.path = writing.inside(folder, FOLDER, f"{self.name}.jsonl")
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._write({"run": self.name, "started": at.isoformat(timespec="seconds"), **request})

    def record(self, job: Job, outcome: ReportOutcome, at: dt.datetime) -> None:
        """One report's line."""
        error = outcome.error or {}
        details = error.get("details", {})
        self._write(
            {
                "report": job.name,
                "tool": job.tool,
                "client_id": job.client_id,
                "status": outcome.status,
                "seconds": round(outcome.seconds, 3),
                "memory_mb": outcome.memory_mb,
                "parameters": dict(job.parameters),
                "key": job.key,
                "fingerprint": outcome.facts.get("fingerprint"),
                "as_of": outcome.facts.get("as_of"),
                "verdict": outcome.facts.get("verdict"),
                "kind": outcome.facts.get("kind"),
                "error": {
                    "code": error["error_code"],
                    "message": error["error_message"],
                    "cell": details.get("cell"),
                }
                if error
                else None,
                "at": at.isoformat(timespec="seconds"),
            }
        )

    def end(self, at: dt.datetime, **facts: Any) -> None:
        """The last line."""
        self._write({"ended": at.isoformat(timespec="seconds"), **facts})
        os.close(self._file)

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":")) + "\n"
        os.write(self._file, text.encode("utf-8", "replace"))
        os.fsync(self._file)


def runs(folder: Path) -> list[Path]:
    """The files of all runs, the newest first."""
    return sorted((folder / FOLDER).glob("*.jsonl"), reverse=True)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """A run's lines; one that was cut when its process was killed is left out."""
    try:
        with open(path, encoding="utf-8") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line
    except OSError:
        return


def latest(folder: Path) -> dict[str, dict[str, Any]]:
    """The last line of each report over all runs: what is true of it now."""
    newest: dict[str, dict[str, Any]] = {}
    for path in runs(folder):
        for line in reversed(list(lines(path))):
            if "report" in line and line.get("status") != "skipped":
                newest.setdefault(line["report"], line)
    return newest


def last_ended(folder: Path, before: str) -> dict[str, Any]:
    """The last line of the newest earlier run that came to its end and holds the customers' scores."""
    for path in runs(folder):
        if path.stem < before:
            for line in reversed(list(lines(path))):
                if "ended" in line and line.get("customers"):
                    return line
    return {}


def tidy(folder: Path) -> None:
    """Remove the files of runs beyond the newest ``MOST_RUNS``."""
    for path in runs(folder)[MOST_RUNS:]:
        path.unlink(missing_ok=True)
